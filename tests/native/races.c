/* races.c -- many threads in the core at once, for ThreadSanitizer.
 *
 *   races ROUNDS      callers that share the pool and the memory of results, settings that change
 *                     meanwhile, calls that are interrupted, forks of an idle and of a busy process;
 *                     every result has the bits of one thread alone
 *   races --plant     a race on purpose
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attention_problem.h"
#include "memory.h"
#include "test_build.h"

enum { N_CALLERS = 5 };

static attention_problem shared;
static char *expected;
static long n_rounds = 10;
static int max_threads = 1;
static atomic_long n_right, n_wrong, n_interrupted;
static atomic_bool is_over;

static int poll_never(void *context)
{
    (void)context;
    return 0;
}

static int poll_interrupts(void *context)
{
    (void)context;
    return 1;
}

/* The shared problem into a result of this caller. */
static sa_status compute(char *out, int num_threads, int (*poll)(void *))
{
    sa_error error;
    const sa_control control = {poll, NULL};
    sa_problem problem = shared.problem;
    sa_tensor tensor = shared.arrays[A_OUT].tensor;
    tensor.data = out;
    problem.num_threads = num_threads;
    const sa_outputs outputs = {&tensor, NULL, NULL};
    return sa_forward(&problem, &shared.sizes, &outputs, &control, &error);
}

static bool is_right(char *out, int num_threads)
{
    const size_t n = shared.arrays[A_OUT].n_bytes;
    return out && memset(out, 0xFF, n) && compute(out, num_threads, poll_never) == SA_OK &&
           memcmp(out, expected, n) == 0;
}

static void *call_again_and_again(void *number)
{
    const int me = *(const int *)number;
    for (long i = 0; i < n_rounds; i++) {
        char *out = sa_result_take(SA_LARGE_RESULT);
        const bool right = is_right(out, 1 + (int)(i + me) % max_threads);
        atomic_fetch_add(right ? &n_right : &n_wrong, 1);
        if (me == 0 && compute(out, max_threads, poll_interrupts) == SA_INTERRUPTED) {
            atomic_fetch_add(&n_interrupted, 1);
        }
        sa_result_give(out);
    }
    return NULL;
}

static void *change_settings(void *unused)
{
    (void)unused;
    for (int i = 0; !atomic_load(&is_over); i++) {
        const char *units[4];
        sa_set_num_threads(i % 3);
        if (sa_get_units(units, 4) < 1 || sa_get_num_threads() < 1 ||
            !sa_get_num_threads_source()) {
            atomic_fetch_add(&n_wrong, 1);
        }
        usleep(1000);
    }
    return NULL;
}

static void fork_and_compute(void)
{
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        char *out = sa_result_take(SA_LARGE_RESULT);
        const bool right = is_right(out, 3);
        sa_result_give(out);
        _exit(right ? 0 : 1);
    }
    int status = -1;
    const bool ended = waitpid(child, &status, 0) == child;
    atomic_fetch_add(ended && status == 0 ? &n_right : &n_wrong, 1);
}

static void run_callers(bool forks)
{
    pthread_t callers[N_CALLERS], changer;
    int numbers[N_CALLERS];
    atomic_store(&is_over, false);
    pthread_create(&changer, NULL, change_settings, NULL);
    for (int i = 0; i < N_CALLERS; i++) {
        numbers[i] = i;
        pthread_create(&callers[i], NULL, call_again_and_again, &numbers[i]);
    }
    for (long i = 0; forks && i < n_rounds; i++) {
        fork_and_compute();
    }
    for (int i = 0; i < N_CALLERS; i++) {
        pthread_join(callers[i], NULL);
    }
    atomic_store(&is_over, true);
    pthread_join(changer, NULL);
}

static bool make_problem(void)
{
    sa_error error;
    const uint8_t plain[64] = {1};
    choices c = choices_from(plain, sizeof plain);
    memory_place(ON_HEAP);
    attention_make(&shared, &c, (wish){150, 600, 32, 32, SA_F32});
    shared.problem.weights = SA_WEIGHTS_NONE;
    shared.problem.lse = false;
    if (sa_init(NULL, &error) != SA_OK ||
        sa_check_attention(&shared.problem, &shared.sizes, &error) != SA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    attention_make_outputs(&shared, &c);
    expected = malloc(shared.arrays[A_OUT].n_bytes);
    return expected && compute(expected, 1, NULL) == SA_OK;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--plant") == 0) {
        return sa_test_plant("race") ? 0 : 2;
    }
    n_rounds = argc == 2 ? atol(argv[1]) : n_rounds;
    if (!make_problem()) {
        return 2;
    }
    run_callers(true); /* a process that has no pool yet */
    max_threads = 4;
    for (long i = 0; i < n_rounds; i++) {
        fork_and_compute(); /* the pool is idle: no thread of ours is alive */
    }
    run_callers(false);
    run_callers(true);
    attention_free(&shared);
    free(expected);
    printf("%ld calls interrupted\n%ld passed, %ld failed\n", atomic_load(&n_interrupted),
           atomic_load(&n_right), atomic_load(&n_wrong));
    return atomic_load(&n_wrong) != 0;
}
