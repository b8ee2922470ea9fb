/* simd_avx512_f64.h -- the vector vocabulary: 8 doubles, AVX-512 F, DQ, BW, VL. See unit.h. */
#ifndef SA_SIMD_AVX512_F64_H
#define SA_SIMD_AVX512_F64_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "avx512"
#define SA_UNIT_IS_F64 1
#define LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define EXP_CHAINS 4
#define SCORE_PART 8
#define MAX_WIDENING_ROWS SA_SCORE_ROWS
#define MAX_ACCUMULATORS 24

typedef double real;
typedef __m512d vec;

static SA_INLINE vec v_zero(void) { return _mm512_setzero_pd(); }
static SA_INLINE vec v_set1(real x) { return _mm512_set1_pd(x); }
static SA_INLINE vec v_load(const real *p) { return _mm512_loadu_pd(p); }
static SA_INLINE vec v_load_bytes(const void *p) { return _mm512_loadu_pd(p); }
static SA_INLINE vec v_fetch(const void *p) { return v_load_bytes(p); }
static SA_INLINE vec v_pinned(vec a) { return a; }

static SA_INLINE void v_store(real *p, vec a) { _mm512_storeu_pd(p, a); }
static SA_INLINE void v_stream(real *p, vec a) { _mm512_stream_pd(p, a); }
static SA_INLINE void v_end_streams(void) { _mm_sfence(); }
static SA_INLINE void v_store_column(real *p, vec a) { v_store(p, a); }
static SA_INLINE vec v_add(vec a, vec b) { return _mm512_add_pd(a, b); }
static SA_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_pd(a, b); }
static SA_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_pd(a, b); }
static SA_INLINE vec v_div(vec a, vec b) { return _mm512_div_pd(a, b); }
static SA_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_pd(a, b, c); }
static SA_INLINE vec v_product_error(vec a, vec b, vec p) { return _mm512_fmsub_pd(a, b, p); }
static SA_INLINE vec v_max(vec a, vec b) { return _mm512_max_pd(a, b); }

static SA_INLINE vec v_abs(vec a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }

static SA_INLINE vec v_copysign(vec magnitude, vec sign)
{
    const vec bit = _mm512_set1_pd(-0.0);
    return _mm512_or_pd(_mm512_andnot_pd(bit, magnitude), _mm512_and_pd(bit, sign));
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    __m256d half[4], x, y;
    SA_UNROLL
    for (int i = 0; i < 4; i++) {
        half[i] = _mm256_add_pd(_mm512_castpd512_pd256(a[i]), _mm512_extractf64x4_pd(a[i], 1));
    }
    x = _mm256_add_pd(_mm256_unpacklo_pd(half[0], half[1]), _mm256_unpackhi_pd(half[0], half[1]));
    y = _mm256_add_pd(_mm256_unpacklo_pd(half[2], half[3]), _mm256_unpackhi_pd(half[2], half[3]));
    _mm256_storeu_pd(
        sum, _mm256_add_pd(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31)));
}

static SA_INLINE real v_reduce_max(vec a)
{
    const __m256d y = _mm256_max_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    const __m128d x = _mm_max_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
}

/* 1.5 * 2^52: whole numbers, where simd_avx2_f32.h has eighths. */
#define EXP2_BITS 0
#define EXP_MAGIC 6755399441055744.0

static SA_INLINE vec v_origin(real m) { return _mm512_set1_pd(m); }

static SA_INLINE vec v_split(vec s, vec c, vec origin, vec *k)
{
    const vec magic = _mm512_set1_pd(EXP_MAGIC), whole = _mm512_fmadd_pd(s, c, magic);
    *k = _mm512_sub_pd(whole, origin);
    return _mm512_fmsub_pd(s, c, _mm512_sub_pd(whole, magic));
}

static SA_INLINE vec v_raise(vec p, vec k)
{
    const __m512i exponent = _mm512_slli_epi64(_mm512_castpd_si512(k), 52);
    return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(p), exponent));
}

static SA_INLINE vec v_grow(vec p, vec f, vec q)
{
    return _mm512_mul_pd(p, _mm512_fmadd_pd(f, q, _mm512_set1_pd(1)));
}

static SA_INLINE vec v_if_normal(vec p, vec k)
{
    const vec least = _mm512_set1_pd(EXP_MAGIC - 1022.0);
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(k, least, _CMP_NLT_UQ), p);
}

static SA_INLINE vec v_keep(vec t, const uint8_t *seen)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)seen);
    const __mmask8 kept = (__mmask8)_mm_test_epi8_mask(bytes, bytes);
    return _mm512_mask_mov_pd(_mm512_set1_pd(-INFINITY), kept, t);
}

static SA_INLINE bool v_is_zero(vec a)
{
    return !_mm512_cmp_pd_mask(a, _mm512_setzero_pd(), _CMP_NEQ_UQ);
}

static SA_INLINE vec v_finite_or_zero(vec a)
{
    const __mmask8 finite = _mm512_cmp_pd_mask(v_abs(a), _mm512_set1_pd(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_mov_pd(finite, a);
}

static SA_INLINE void v_transpose(vec r[LANES])
{
    vec a[8], b[8];
    SA_UNROLL
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    SA_UNROLL
    for (int i = 0; i < 2; i++) { /* quarters 0 2 and 1 3 of two rows */
        b[i] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0x88);
        b[i + 2] = _mm512_shuffle_f64x2(a[i], a[i + 2], 0xDD);
        b[i + 4] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0x88);
        b[i + 6] = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0xDD);
    }
    SA_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0xDD);
    }
}

#endif
