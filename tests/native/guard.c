/* guard.c -- every call between inaccessible pages: no byte beyond an array is read or written.
 *
 *   guard CASES       that many random calls for each size of each axis, number type and end
 *   guard --plant     moves each array over each of its ends: every unit must fault
 *
 * Inputs, outputs and scratch memory lie flush against such a page, at their upper and then at their
 * lower end. Sizes go one by one over all tails of every kernel. Exit status 0: nothing found.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/core/arena.h"
#include "../../csrc/include/selfattn.h"
#include "calls.h"
#include "memory.h"

/* Scratch memory is carved in steps of 64 bytes, so that its last ones need not be in use. */
enum { FAULT = 86, LARGEST_SIZE = 131, PLANTED_TRIES = 600, SCRATCH_SHIFT = 256 };

static uint64_t seed_now;

static void on_fault(int signal_number, siginfo_t *info, void *unused)
{
    ptrdiff_t at = 0;
    size_t n = 0;
    (void)signal_number;
    (void)unused;
    const bool found = memory_explain(info->si_addr, &at, &n);
    if (!getenv("SELFATTN_TEST_QUIET")) {
        printf("unit %s, seed %llu: %s byte %td of a block of %zu\n", unit_now,
               (unsigned long long)seed_now, found ? "touched" : "fault far from any block;", at,
               n);
        fflush(stdout);
    }
    _exit(found ? FAULT : 1);
}

static verdict run_seed(const call *f, uint64_t seed, const demand *d, char text[512])
{
    uint8_t bytes[sizeof seed];
    memcpy(bytes, &seed, sizeof seed);
    choices c = choices_from(bytes, sizeof bytes);
    c.left = 0; /* the seed itself would make neighbours alike */
    seed_now = seed;
    const verdict result = f->run(&c, d, text);
    sa_arena_free_all();
    return result;
}

typedef struct {
    long n_right, n_refused, n_wrong;
} tally;

static void run_size(const call *f, demand d, long n_cases, uint64_t *seed, tally *sum)
{
    char text[512];
    for (int end = 0; end < 2; end++) {
        memory_place(end ? AT_LOWER_PAGE : AT_UPPER_PAGE);
        for (long i = 0; i < n_cases; i++) {
            const verdict v = run_seed(f, ++*seed, &d, text);
            sum->n_right += v == CALL_RIGHT;
            sum->n_refused += v == CALL_REFUSED;
            sum->n_wrong += v == CALL_WRONG;
            if (v == CALL_WRONG) {
                printf("%s, seed %llu: %s\n", f->name, (unsigned long long)*seed, text);
            }
        }
    }
}

static int run_all(long n_cases)
{
    uint64_t seed = 0;
    tally sum = {0};
    for (int k = 0; k < n_calls; k++) {
        for (int axis = 0; axis < calls[k].n_axes; axis++) {
            for (long size = 0; size < LARGEST_SIZE; size++) {
                for (int dtype = 0; dtype < 4; dtype++) {
                    demand d = no_demand;
                    d.axis = axis;
                    d.size = size;
                    d.dtype = dtype;
                    d.judges = false;
                    run_size(&calls[k], d, n_cases, &seed, &sum);
                }
            }
        }
    }
    printf("guard pages: %ld calls computed, %ld refused by the checks\n%ld passed, %ld failed\n",
           sum.n_right, sum.n_refused, sum.n_right, sum.n_wrong);
    return sum.n_wrong || sum.n_right < sum.n_refused;
}

/* Whether a child that moves this array (-1: the scratch memory) faults. */
static bool faults(const call *f, int planted, long step, const char *unit)
{
    const pid_t child = fork();
    if (child == 0) {
        char text[512];
        demand d = no_demand;
        d.judges = false;
        d.planted_array = planted;
        d.planted_step = step;
        d.unit = unit;
        memory_place(step > 0 ? AT_UPPER_PAGE : AT_LOWER_PAGE);
        memory_shift_scratch(planted < 0 ? SCRATCH_SHIFT * step : 0);
        setenv("SELFATTN_TEST_QUIET", "1", 1);
        for (uint64_t seed = 1; seed <= PLANTED_TRIES; seed++) {
            run_seed(f, seed, &d, text);
        }
        _exit(0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == FAULT;
}

static int plant_all(void)
{
    const char *units[8];
    const int n_units = sa_get_units(units, 8);
    int n_seen = 0, n_missed = 0;
    for (int k = 0; k < n_calls; k++) {
        for (int u = 0; u < n_units; u++) {
            for (int i = -1; i < 0 || calls[k].arrays[i]; i++) {
                for (long step = -1; step <= 1; step += 2) {
                    const bool seen = faults(&calls[k], i, step, units[u]);
                    n_seen += seen;
                    n_missed += !seen;
                    if (!seen) {
                        printf("%s, unit %s: %s moved by %ld was not noticed\n", calls[k].name,
                               units[u], i < 0 ? "scratch memory" : calls[k].arrays[i], step);
                    }
                }
            }
        }
    }
    printf("planted overruns that faulted:\n%d passed, %d failed\n", n_seen, n_missed);
    return n_missed != 0;
}

int main(int argc, char **argv)
{
    sa_error error;
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (sa_init(NULL, &error) != SA_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    if (argc == 2 && strcmp(argv[1], "--plant") == 0) {
        return plant_all();
    }
    return run_all(argc == 2 ? atol(argv[1]) : 1);
}
