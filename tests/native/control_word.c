/* control_word.c -- MXCSR on all threads of a job. The program stands in for seam.h, so it is there
 * when a thread of the pool begins and ends. Prints the threads that began and ended with the same
 * word, the items that ran with the word of kernels, and 1 if the caller's word was left as it was;
 * see tests/test_floating_point.py. The caller's word: argv[1], hexadecimal. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/core/pool.h"
#include "../../csrc/core/seam.h"

enum { N_THREADS = 3 };

static const unsigned control = ~0x3Fu; /* all but the flags */

static atomic_int n_same, n_right, n_begun;
static void *(*work)(void *);

void *sa_alloc(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

void sa_free(void *memory) { free(memory); }

bool sa_lend(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return false;
}

static void *watched_work(void *argument)
{
    const unsigned before = __builtin_ia32_stmxcsr();
    work(argument);
    n_same += __builtin_ia32_stmxcsr() == before;
    return NULL;
}

int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument)
{
    work = run;
    return pthread_create(thread, attributes, watched_work, argument);
}

/* Waits for the others, so that each thread gets an item, and raises flags. */
static void run(void *unused, ptrdiff_t item, int thread)
{
    (void)unused, (void)item, (void)thread;
    n_right += (__builtin_ia32_stmxcsr() & control) == 0x9FC0;
    volatile float x = 1e30f;
    x = x * x / 3;
    for (++n_begun; n_begun < N_THREADS;) {
        usleep(1000);
    }
}

int main(int argc, char **argv)
{
    const unsigned word = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 16) : 0;
    const sa_job job = {run, NULL, N_THREADS};
    sa_pool_begin();
    __builtin_ia32_ldmxcsr(word);
    const sa_status status = sa_pool_run(&job, N_THREADS, NULL);
    const unsigned after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x1F80);
    const pid_t child = fork(); /* which ends the pool's threads */
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("%d %d %d\n", n_same, n_right, after == word && status == SA_OK);
    return 0;
}
