/* fuzz_core.h -- the fuzz target, called by libFuzzer or by the replay. */
#ifndef SA_TEST_FUZZ_CORE_H
#define SA_TEST_FUZZ_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    long n_inputs, n_computed, n_refused;
} fuzz_tally;

extern fuzz_tally fuzz_counts;
extern bool fuzz_judges; /* whether results are compared with the formula, true unless set */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#endif
