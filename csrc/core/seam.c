/* seam.c -- memory and threads from the system; a test build may refuse either (tests/native). */
#include "seam.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef SA_TEST_BUILD
bool sa_test_refuses(void);           /* asked once for each request */
void sa_test_counts_blocks(int more); /* told of each block taken (1) and given back (-1) */
#else
static bool sa_test_refuses(void) { return false; }
static void sa_test_counts_blocks(int more) { (void)more; }
#endif

void *sa_alloc(size_t bytes)
{
    enum { ALIGNMENT = 64 };
    if (bytes > PTRDIFF_MAX - ALIGNMENT || sa_test_refuses()) {
        return NULL;
    }
    void *memory = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    sa_test_counts_blocks(memory ? 1 : 0);
    return memory;
}

void sa_free(void *memory)
{
    sa_test_counts_blocks(memory ? -1 : 0);
    free(memory);
}

int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument)
{
    return sa_test_refuses() ? EAGAIN : pthread_create(thread, attributes, run, argument);
}
