/* choices.c -- see choices.h. The generator is splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
#include "choices.h"

choices choices_from(const uint8_t *bytes, size_t n)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return (choices){bytes, n, hash};
}

uint64_t choose_bits(choices *c)
{
    uint64_t z = c->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t next_byte(choices *c)
{
    if (c->left == 0) {
        return choose_bits(c) >> 56;
    }
    c->left--;
    return *c->bytes++;
}

uint64_t choose(choices *c, uint64_t n)
{
    uint64_t x = next_byte(c);
    if (n > 256) {
        x = x << 8 | next_byte(c);
    }
    return x % n;
}

bool chance(choices *c, uint64_t n) { return choose(c, n) == n - 1; }

double choose_normal(choices *c)
{
    double sum = 0; /* of 12 uniform numbers */
    for (int i = 0; i < 12; i++) {
        sum += (double)(choose_bits(c) >> 11) * 0x1p-53;
    }
    return sum - 6;
}
