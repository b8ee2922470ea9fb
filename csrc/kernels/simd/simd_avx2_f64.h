/* simd_avx2_f64.h -- the vector vocabulary: 4 doubles, AVX2 + FMA. See unit.h. */
#ifndef SA_SIMD_AVX2_F64_H
#define SA_SIMD_AVX2_F64_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "avx2"
#define SA_UNIT_IS_F64 1
#define LANES 4
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define EXP_CHAINS 4
#define SCORE_PART 8
#define MAX_WIDENING_ROWS SA_SCORE_ROWS
#define MAX_ACCUMULATORS 12

typedef double real;
typedef __m256d vec;

static SA_INLINE vec v_zero(void) { return _mm256_setzero_pd(); }
static SA_INLINE vec v_set1(real x) { return _mm256_set1_pd(x); }
static SA_INLINE vec v_load(const real *p) { return _mm256_loadu_pd(p); }
static SA_INLINE vec v_load_bytes(const void *p) { return _mm256_loadu_pd(p); }
static SA_INLINE vec v_fetch(const void *p) { return _mm256_castsi256_pd(_mm256_lddqu_si256(p)); }

static SA_INLINE vec v_pinned(vec a)
{
    __asm__ volatile("" : "+x"(a));
    return a;
}

static SA_INLINE void v_store(real *p, vec a) { _mm256_storeu_pd(p, a); }
static SA_INLINE void v_stream(real *p, vec a) { _mm256_stream_pd(p, a); }
static SA_INLINE void v_end_streams(void) { _mm_sfence(); }
static SA_INLINE void v_store_column(real *p, vec a) { v_store(p, a); }
static SA_INLINE vec v_add(vec a, vec b) { return _mm256_add_pd(a, b); }
static SA_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_pd(a, b); }
static SA_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_pd(a, b); }
static SA_INLINE vec v_div(vec a, vec b) { return _mm256_div_pd(a, b); }
static SA_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_pd(a, b, c); }
static SA_INLINE vec v_product_error(vec a, vec b, vec p) { return _mm256_fmsub_pd(a, b, p); }
static SA_INLINE vec v_max(vec a, vec b) { return _mm256_max_pd(a, b); }

static SA_INLINE vec v_abs(vec a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }

static SA_INLINE vec v_copysign(vec magnitude, vec sign)
{
    const vec bit = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(bit, magnitude), _mm256_and_pd(bit, sign));
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    __m256d x, y;
    x = _mm256_add_pd(_mm256_unpacklo_pd(a[0], a[1]), _mm256_unpackhi_pd(a[0], a[1]));
    y = _mm256_add_pd(_mm256_unpacklo_pd(a[2], a[3]), _mm256_unpackhi_pd(a[2], a[3]));
    _mm256_storeu_pd(
        sum, _mm256_add_pd(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31)));
}

static SA_INLINE real v_reduce_max(vec a)
{
    const __m128d x = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
}

/* 1.5 * 2^52: whole numbers, where simd_avx2_f32.h has eighths. */
#define EXP2_BITS 0
#define EXP_MAGIC 6755399441055744.0

static SA_INLINE vec v_origin(real m) { return _mm256_set1_pd(m); }

static SA_INLINE vec v_split(vec s, vec c, vec origin, vec *k)
{
    const vec magic = _mm256_set1_pd(EXP_MAGIC), whole = _mm256_fmadd_pd(s, c, magic);
    *k = _mm256_sub_pd(whole, origin);
    return _mm256_fmsub_pd(s, c, _mm256_sub_pd(whole, magic));
}

static SA_INLINE vec v_raise(vec p, vec k)
{
    const __m256i exponent = _mm256_slli_epi64(_mm256_castpd_si256(k), 52);
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(p), exponent));
}

/* p is a power of two, and the product exact. */
static SA_INLINE vec v_grow(vec p, vec f, vec q)
{
    return _mm256_mul_pd(p, _mm256_fmadd_pd(f, q, _mm256_set1_pd(1)));
}

static SA_INLINE vec v_if_normal(vec p, vec k)
{
    return _mm256_and_pd(p, _mm256_cmp_pd(k, _mm256_set1_pd(EXP_MAGIC - 1022.0), _CMP_NLT_UQ));
}

static SA_INLINE vec v_keep(vec t, const uint8_t *seen)
{
    int32_t four;
    memcpy(&four, seen, sizeof four);
    const __m256i bytes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four));
    const __m256i hidden = _mm256_cmpeq_epi64(bytes, _mm256_setzero_si256());
    return _mm256_blendv_pd(t, _mm256_set1_pd(-INFINITY), _mm256_castsi256_pd(hidden));
}

static SA_INLINE bool v_is_zero(vec a)
{
    return !_mm256_movemask_pd(_mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_NEQ_UQ));
}

static SA_INLINE vec v_finite_or_zero(vec a)
{
    return _mm256_and_pd(a, _mm256_cmp_pd(v_abs(a), _mm256_set1_pd(INFINITY), _CMP_LT_OQ));
}

static SA_INLINE void v_transpose(vec r[LANES])
{
    const vec a0 = _mm256_unpacklo_pd(r[0], r[1]), a1 = _mm256_unpackhi_pd(r[0], r[1]);
    const vec a2 = _mm256_unpacklo_pd(r[2], r[3]), a3 = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a0, a2, 0x20);
    r[1] = _mm256_permute2f128_pd(a1, a3, 0x20);
    r[2] = _mm256_permute2f128_pd(a0, a2, 0x31);
    r[3] = _mm256_permute2f128_pd(a1, a3, 0x31);
}

#endif
