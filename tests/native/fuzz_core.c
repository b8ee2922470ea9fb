/* fuzz_core.c -- a byte string becomes calls of the core: libFuzzer's entry, and the replay's.
 *
 * The first byte picks the function, the second may refuse a request for memory or a thread; the
 * rest makes the problem (choices.h). A wrong result ends the program, as a crash would.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/include/selfattn.h"
#include "calls.h"
#include "fuzz_core.h"
#include "memory.h"
#include "test_build.h"

fuzz_tally fuzz_counts;
bool fuzz_judges = true;

static void report(void)
{
    printf("inputs: %ld, of which %ld computed, %ld refused by the checks or for want of memory\n",
           fuzz_counts.n_inputs, fuzz_counts.n_computed, fuzz_counts.n_refused);
}

static void begin(void)
{
    sa_error error;
    memory_place(ON_HEAP);
    if (sa_init(NULL, &error) != SA_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    atexit(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static bool has_begun;
    char text[512];
    if (!has_begun) {
        has_begun = true;
        begin();
    }
    choices c = choices_from(bytes, n);
    const call *f = &calls[choose(&c, (uint64_t)n_calls)];
    demand d = no_demand;
    d.judges = fuzz_judges;
    const uint64_t refused = choose(&c, 256);
    d.may_fail = refused >= 224;
    sa_test_refuse(d.may_fail ? (long)(refused & 15) : -1, refused >= 240);
    const verdict v = f->run(&c, &d, text);
    fuzz_counts.n_inputs++;
    fuzz_counts.n_computed += v == CALL_RIGHT;
    fuzz_counts.n_refused += v == CALL_REFUSED;
    if (v == CALL_WRONG) {
        fprintf(stderr, "%s: %s\n", f->name, text);
        abort();
    }
    return 0;
}
