/* choices.h -- the source of every decision that a random problem is made of.
 *
 * A fuzzer's bytes come first; where they end, a generator seeded by all of them goes on. So every
 * byte string is a whole problem, equal strings are equal problems, and a string of 8 bytes is as
 * good as a seed.
 */
#ifndef SA_TEST_CHOICES_H
#define SA_TEST_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *bytes;
    size_t left;
    uint64_t state;
} choices;

choices choices_from(const uint8_t *bytes, size_t n);
/* One of 0 ... n - 1, n <= 2^16. */
uint64_t choose(choices *c, uint64_t n);
/* True once in n times on average. */
bool chance(choices *c, uint64_t n);
/* From the generator alone, whatever bytes are left: for the numbers that fill arrays. */
uint64_t choose_bits(choices *c);
/* Normally distributed, mean 0 and variance 1, near enough. */
double choose_normal(choices *c);

#endif
