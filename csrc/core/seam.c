/* seam.c -- memory and threads from the system; a test build may refuse either (tests/native). */
#if defined(__linux__)
#define _GNU_SOURCE /* madvise */
#endif
#include "seam.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifdef SA_TEST_BUILD
bool sa_test_refuses(void);           /* asked once for each request */
void sa_test_counts_blocks(int more); /* told of each block taken (1) and given back (-1) */
#else
static bool sa_test_refuses(void) { return false; }
static void sa_test_counts_blocks(int more) { (void)more; }
#endif

/* The scratch of a long call is walked over again and again, here a piece and there a piece: from
 * half of a huge page on it is asked for as whole ones, as NumPy does for its arrays. */
void *sa_alloc(size_t bytes)
{
    enum { CACHE_LINE = 64 };
    const size_t unit = bytes < SA_HUGE_PAGE / 2 ? CACHE_LINE : SA_HUGE_PAGE;
    if (bytes > PTRDIFF_MAX - SA_HUGE_PAGE || sa_test_refuses()) {
        return NULL;
    }
    const size_t whole = (bytes + unit - 1) / unit * unit;
    void *memory = aligned_alloc(unit, whole);
#ifdef MADV_HUGEPAGE
    if (memory && unit == SA_HUGE_PAGE) {
        (void)madvise(memory, whole, MADV_HUGEPAGE); /* a wish: what it says changes nothing */
    }
#endif
    sa_test_counts_blocks(memory ? 1 : 0);
    return memory;
}

void sa_free(void *memory)
{
    sa_test_counts_blocks(memory ? -1 : 0);
    free(memory);
}

#ifdef MADV_FREE
/* Whether the process may have only so many addresses, or the machine promises only what it has: lent
 * memory counts there as if it were in use. */
static bool is_rationed(void)
{
    struct rlimit addresses;
    char policy = '0';
    FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");
    if (file) {
        policy = (char)getc(file);
        fclose(file);
    }
    return policy == '2' || getrlimit(RLIMIT_AS, &addresses) != 0 ||
           addresses.rlim_cur != RLIM_INFINITY;
}
#endif

bool sa_lend(void *memory, size_t bytes)
{
#ifdef MADV_FREE
    return !is_rationed() && madvise(memory, bytes, MADV_FREE) == 0;
#else
    (void)memory, (void)bytes;
    return false;
#endif
}

int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument)
{
    return sa_test_refuses() ? EAGAIN : pthread_create(thread, attributes, run, argument);
}
