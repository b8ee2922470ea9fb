/* simd_scalar_f32.h -- the vector vocabulary without an instruction set: 4 floats.
 *
 * A vec is a fixed-width array in the compilers' portable vector notation (GCC, clang), which any
 * target turns into what it has: SSE2, NEON, or four scalars. fma is a * b + c with two roundings,
 * never libm's. See unit.h for the meaning of each word.
 */
#ifndef SA_SIMD_SCALAR_F32_H
#define SA_SIMD_SCALAR_F32_H

#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "scalar"
#define SA_UNIT_IS_F64 0
#define LANES 4
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define EXP_CHAINS 4
#define SCORE_PART 6
#define MAX_WIDENING_ROWS 4
#define MAX_ACCUMULATORS 8

typedef float real;
typedef float vec __attribute__((vector_size(16)));
typedef int32_t lane_bits __attribute__((vector_size(16)));
typedef uint32_t lane_words __attribute__((vector_size(16)));

/* 1.5 * 2^20: eighths, as in simd_avx2_f32.h. */
#define EXP2_BITS 3
#define EXP_MAGIC 1572864.0f
#define EXP_LEAST (EXP_MAGIC - 126.0f)
#define EXP_SHIFT (23 - EXP2_BITS)
#define SIGN_BIT INT32_MIN
#define SPLITTER 4097.0f /* 2^12 + 1 */
#define ROOT_RANGE 0x1p62f

typedef const real *table;

#include "simd_scalar.h"

static SA_INLINE table v_table(const real *t) { return t; }

static SA_INLINE vec v_pick(table t, vec k)
{
    const lane_bits bits = (lane_bits)k & ((1 << EXP2_BITS) - 1);
    return (vec){t[bits[0]], t[bits[1]], t[bits[2]], t[bits[3]]};
}

static SA_INLINE void v_transpose(vec r[LANES])
{
    for (int i = 0; i < LANES; i++) {
        for (int j = 0; j < i; j++) {
            const real x = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = x;
        }
    }
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    for (int i = 0; i < 4; i++) {
        sum[i] = (a[i][0] + a[i][2]) + (a[i][1] + a[i][3]);
    }
}

typedef struct {
    double lane[LANES];
} wide;

static SA_INLINE wide wide_zero(void) { return (wide){{0}}; }

static SA_INLINE wide wide_add(wide a, vec x)
{
    for (int i = 0; i < LANES; i++) {
        a.lane[i] += (double)x[i];
    }
    return a;
}

static SA_INLINE wide wide_add_at(wide a, const real *p) { return wide_add(a, v_load(p)); }

static SA_INLINE double wide_total(wide a)
{
    return (a.lane[0] + a.lane[2]) + (a.lane[1] + a.lane[3]);
}

static SA_INLINE vec v_load_f16(const void *p)
{
    uint16_t h[LANES];
    memcpy(h, p, sizeof h);
    return (vec){half_to_float(h[0]), half_to_float(h[1]), half_to_float(h[2]),
                 half_to_float(h[3])};
}

static SA_INLINE vec v_load_bf16(const void *p)
{
    uint16_t h[LANES];
    memcpy(h, p, sizeof h);
    return (vec){bfloat_to_float(h[0]), bfloat_to_float(h[1]), bfloat_to_float(h[2]),
                 bfloat_to_float(h[3])};
}

static SA_INLINE void v_store_f16(uint16_t *p, vec a)
{
    for (int i = 0; i < LANES; i++) {
        p[i] = float_to_half(a[i]);
    }
}

#endif
