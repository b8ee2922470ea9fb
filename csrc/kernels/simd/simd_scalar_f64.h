/* simd_scalar_f64.h -- the vector vocabulary without an instruction set: 2 doubles. See
 * simd_scalar_f32.h for the notation and unit.h for the words. */
#ifndef SA_SIMD_SCALAR_F64_H
#define SA_SIMD_SCALAR_F64_H

#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "scalar"
#define SA_UNIT_IS_F64 1
#define LANES 2
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define EXP_CHAINS 4
#define SCORE_PART 6
#define MAX_WIDENING_ROWS SA_SCORE_ROWS
#define MAX_ACCUMULATORS 8

typedef double real;
typedef double vec __attribute__((vector_size(16)));
typedef int64_t lane_bits __attribute__((vector_size(16)));
typedef uint64_t lane_words __attribute__((vector_size(16)));

/* 1.5 * 2^52: whole numbers, as in simd_avx2_f64.h. */
#define EXP2_BITS 0
#define EXP_MAGIC 6755399441055744.0
#define EXP_LEAST (EXP_MAGIC - 1022.0)
#define EXP_SHIFT 52
#define SIGN_BIT INT64_MIN
#define SPLITTER 134217729.0 /* 2^27 + 1 */
#define ROOT_RANGE 0x1p510

#include "simd_scalar.h"

static SA_INLINE void v_transpose(vec r[LANES])
{
    const real x = r[0][1];
    r[0][1] = r[1][0];
    r[1][0] = x;
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    for (int i = 0; i < 4; i++) {
        sum[i] = a[i][0] + a[i][1];
    }
}
#endif
