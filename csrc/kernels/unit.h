/* unit.h -- one instruction set with one compute type: the algorithm over a vector vocabulary.
 *
 * A unit is a .c file that defines SA_UNIT_TABLE and SA_SIMD_HEADER and includes this file. All in
 * it is static but the table. The vocabulary, spelled the same in each simd header:
 *
 *   real, vec, LANES                 number, vector of LANES numbers
 *   TILE_ROWS, TILE_VECTORS, MAX_ACCUMULATORS      shape of the register tile, see gemm_simd.h
 *   SCORE_PART                       products of a chain; 16 is 3 % faster than 8, which is exacter.
 *                                    VALUE_PART in gemm_simd.h follows it
 *   MAX_WIDENING_ROWS                up to so many rows of a block widen numbers of 16 bits each time
 *                                    they read them
 *   v_zero v_set1 v_load v_store     loads and stores need no alignment
 *   v_stream(p, a)                   v_store past the caches, p aligned to a vector; after the last,
 *                                    v_end_streams(), for other threads to see them
 *   v_store_column(p, a)             v_store, of which the first TILE_ROWS numbers count, if there are
 *                                    more; others may be left as they were
 *   v_add v_sub v_mul v_div v_fma    v_fma(a, b, c) = a b + c
 *   v_product_error(a, b, p)         a b - p exactly, for p = a b rounded
 *   v_max(a, b)                      a > b ? a : b, hence b if either is NaN
 *   v_abs v_copysign v_reduce_max
 *   v_is_zero(a)                     whether all of a are zeros
 *   v_reduce_add4(a, sum)            sum[i] = all lanes of a[i] added up, for 4 vectors
 *   wide, wide_zero, wide_add(w, a), wide_total(w)  sums of vectors in double (float units only)
 *   wide_add_at(w, p)                wide_add(w, v_load(p)), the halves straight from memory
 *   EXP2_BITS                        2^(s c - m): s c is rounded to 2^-EXP2_BITS
 *   v_origin(m), v_split(s, c, o, &k)  the fraction f = s c - n, n rounded the same way whatever m
 *                                    is, halves too; k stands for n - m
 *   table, v_table(t), v_pick(t, k)  of 2^EXP2_BITS numbers the one that n's fraction chooses; not
 *                                    where EXP2_BITS is 0
 *   v_raise(p, k)                    p 2^(n - m) for p so chosen, if that is normal, in one addition
 *   v_grow(p, f, q)                  p (1 + f q) for such a p, also where p f is below the range
 *   v_if_normal(p, k)                p, but 0 where 2^(n - m) is below the normal range; p where k
 *                                    is NaN
 *   v_keep(t, seen)                  t where the byte is not 0, else -inf
 *   v_finite_or_zero(a)              a where finite, else 0
 *   v_transpose(rows)                LANES x LANES
 *   v_load_bytes(p)                  v_load from any address: a mask need not be aligned to its type
 *   v_fetch(p)                       the same into a register, where compilers would rather read
 *                                    memory for each of two uses
 *   v_pinned(a)                      a, in a register from here on: compilers would rather read a
 *                                    constant from memory for each of its uses
 *   v_load_f16 v_load_bf16           v_load_bytes from 16-bit numbers; float units only
 *   v_store_f16                      float units only
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "kernels.h"

#ifdef __FAST_MATH__
#error "selfattn must not be compiled with -ffast-math: it breaks NaN, infinity and rounding"
#endif

#define SA_INLINE inline __attribute__((always_inline))
#define SA_NOINLINE __attribute__((noinline)) /* a hot loop with registers of its own */
#define SA_UNROLL _Pragma("GCC unroll 64")
#define SA_UNROLL_2 _Pragma("GCC unroll 2") /* a loop that stays one */

#include SA_SIMD_HEADER

#if SA_UNIT_IS_F64
#define SMALLEST_NORMAL 2.2250738585072014e-308
#define LARGEST_LOGIT 1.2e308 /* times log2(e) still finite */
#define LEAST_CAP_SLOPE 0x1p-500
#define MOST_CAP_SLOPE 0x1p+1000
#define MIN_EXPONENT (-1022)
#define SIGNIFICAND_BITS 52
#define real_floor floor
typedef int64_t real_bits;
#else
#define SMALLEST_NORMAL 1.17549435e-38f
#define LARGEST_LOGIT 2.3e38f
#define LEAST_CAP_SLOPE 0x1p-60
#define MOST_CAP_SLOPE 0x1p+120
#define MIN_EXPONENT (-126)
#define SIGNIFICAND_BITS 23
#define real_floor floorf
typedef int32_t real_bits;
#endif

#include "tiles/exp.h"
#include "tiles/tanh.h"
#include "tiles/gemm_simd.h"
#include "tiles/pack.h"
#include "tiles/workspace.h"
#include "tiles/visible.h"
#include "tiles/scores.h"
#include "tiles/sums.h"
#include "tiles/softmax.h"
#include "tiles/groups.h"
#include "tiles/reach.h"
#include "tiles/decode.h"
#include "tiles/values.h"
#include "tiles/keep.h"
#include "tiles/stats_sets.h"
#include "tiles/stats_rows.h"
#include "tiles/tile.h"
#include "tiles/queries.h"
#include "tiles/forward.h"
#include "tiles/weights.h"
#include "tiles/stats_columns.h"
#include "tiles/stats_overview.h"
#include "tiles/entry.h"
#include "tiles/stats_entry.h"
#include "tiles/linear_work.h"
#include "tiles/linear_rows.h"
#include "tiles/linear.h"
#include "tiles/probe.h"

const sa_kernels SA_UNIT_TABLE = {
    .isa = SA_ISA_NAME,
    .compute = SA_UNIT_IS_F64 ? SA_F64 : SA_F32,
    .lanes = LANES,
    .tile_rows = TILE_ROWS,
    .tile_vectors = TILE_VECTORS,
    .workspace_bytes = workspace_bytes,
    .forward = forward,
    .state_bytes = state_bytes,
    .partial = partial,
    .combine = combine,
    .mean_workspace_bytes = mean_workspace_bytes,
    .forward_mean = forward_mean,
    .stats_bytes = stats_bytes,
    .stats = stats,
    .columns_bytes = columns_bytes,
    .columns = columns,
    .overview_bytes = overview_bytes,
    .overview = overview,
    .linear_bytes = linear_bytes,
    .linear = linear,
    .probe_gemm = probe_gemm,
    .probe_exp2 = probe_exp2,
    .probe_tanh = probe_tanh,
    .probe_transpose = probe_transpose,
    .probe_fma_peak = probe_fma_peak,
};
