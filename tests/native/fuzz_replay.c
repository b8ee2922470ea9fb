/* fuzz_replay.c -- the fuzz target without a fuzzer: files, or that many inputs of a generator.
 *
 *   fuzz_replay FILE ...            each file once
 *   fuzz_replay --random N SEED [unjudged]     N strings of up to 64 random bytes; unjudged:
 *                                   results are compared with each other, not with the formula
 *   fuzz_replay --plant BUG         commit a bug, for the checker that watches this program
 *
 * Ends with status 0 if nothing was found and six of ten inputs reached a kernel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choices.h"
#include "fuzz_core.h"
#include "test_build.h"

enum { MAX_INPUT = 4096 };

static bool replay_file(const char *path)
{
    uint8_t bytes[MAX_INPUT];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return false;
    }
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, n);
    return true;
}

static void replay_random(long n_inputs, uint64_t seed)
{
    choices c = {.state = seed};
    for (long i = 0; i < n_inputs; i++) {
        uint8_t bytes[64];
        const size_t n = choose_bits(&c) % sizeof bytes;
        for (size_t k = 0; k < n; k++) {
            bytes[k] = (uint8_t)choose_bits(&c);
        }
        LLVMFuzzerTestOneInput(bytes, n);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--plant") == 0) {
        return sa_test_plant(argv[2]) ? 0 : 2;
    }
    if (argc >= 4 && strcmp(argv[1], "--random") == 0) {
        fuzz_judges = argc == 4;
        replay_random(atol(argv[2]), strtoull(argv[3], NULL, 10));
    } else {
        for (int i = 1; i < argc; i++) {
            if (!replay_file(argv[i])) {
                return 2;
            }
        }
    }
    printf("%ld passed, 0 failed\n", fuzz_counts.n_inputs);
    return fuzz_counts.n_computed * 10 < fuzz_counts.n_inputs * 6;
}
