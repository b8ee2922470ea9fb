/* half.h -- float16 and bfloat16 to float32 and back, one number at a time, in integer arithmetic.
 *
 * Exact to float; from float rounded to nearest, ties to even; NaN stays NaN. Subnormal float16
 * numbers are kept whatever the flush-to-zero mode, as no subnormal float is ever formed.
 * Format: IEEE 754-2008 binary16; bfloat16 is the upper half of a binary32.
 */
#ifndef SA_HALF_H
#define SA_HALF_H

#include <stdint.h>
#include <string.h>

static inline float bits_to_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline uint32_t float_to_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float bfloat_to_float(uint16_t h) { return bits_to_float((uint32_t)h << 16); }

static inline uint16_t float_to_bfloat(float x)
{
    const uint32_t u = float_to_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) {
        return (uint16_t)((u >> 16) | 0x40u); /* quiet NaN */
    }
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

static inline float half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 31u, fraction = h & 1023u;
    if (exponent == 31u) {
        return bits_to_float(sign | 0x7F800000u | (fraction << 13));
    }
    if (exponent == 0u) { /* fraction * 2^-24 */
        const float magnitude = (float)fraction * 5.9604644775390625e-8f;
        return bits_to_float(sign | float_to_bits(magnitude));
    }
    return bits_to_float(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

static inline uint16_t float_to_half(float x)
{
    const uint32_t u = float_to_bits(x);
    const uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {
        return (uint16_t)(sign | 0x7E00u);
    }
    if (magnitude >= 0x477FF000u) { /* from 65520 on: rounds to infinity */
        return (uint16_t)(sign | 0x7C00u);
    }
    if (magnitude >= 0x38800000u) { /* from 2^-14 on: normal */
        const uint32_t rebased = magnitude - 0x38000000u;
        return (uint16_t)(sign | ((rebased + 0xFFFu + ((rebased >> 13) & 1u)) >> 13));
    }
    if (magnitude < 0x33000000u) { /* below 2^-25: rounds to zero */
        return sign;
    }
    const uint32_t shift = 126u - (magnitude >> 23); /* 14 ... 24: significand * 2^-24 */
    const uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    const uint32_t floor = significand >> shift;
    const uint32_t rest = significand & ((1u << shift) - 1u), tie = 1u << (shift - 1u);
    return (uint16_t)(sign | (floor + (rest > tie || (rest == tie && (floor & 1u)))));
}

#endif
