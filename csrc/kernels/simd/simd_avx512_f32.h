/* simd_avx512_f32.h -- the vector vocabulary: 16 floats, AVX-512 F, DQ, BW, VL. See unit.h. */
#ifndef SA_SIMD_AVX512_F32_H
#define SA_SIMD_AVX512_F32_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "avx512"
#define SA_UNIT_IS_F64 0
#define LANES 16
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define EXP_CHAINS 4
#define SCORE_PART 16
#define MAX_WIDENING_ROWS SA_SCORE_ROWS
#define MAX_ACCUMULATORS 24

typedef float real;
typedef __m512 vec;

static SA_INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
static SA_INLINE vec v_set1(real x) { return _mm512_set1_ps(x); }
static SA_INLINE vec v_load(const real *p) { return _mm512_loadu_ps(p); }
static SA_INLINE vec v_load_bytes(const void *p) { return _mm512_loadu_ps(p); }
static SA_INLINE vec v_fetch(const void *p) { return v_load_bytes(p); }
static SA_INLINE vec v_pinned(vec a) { return a; }

static SA_INLINE void v_store(real *p, vec a) { _mm512_storeu_ps(p, a); }
static SA_INLINE void v_stream(real *p, vec a) { _mm512_stream_ps(p, a); }
static SA_INLINE void v_end_streams(void) { _mm_sfence(); }

_Static_assert(TILE_ROWS <= 8, "half a vector holds a column of the register tile");

static SA_INLINE void v_store_column(real *p, vec a)
{
    _mm256_storeu_ps(p, _mm512_castps512_ps256(a));
}

static SA_INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static SA_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static SA_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static SA_INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
static SA_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static SA_INLINE vec v_product_error(vec a, vec b, vec p) { return _mm512_fmsub_ps(a, b, p); }
static SA_INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }

static SA_INLINE vec v_abs(vec a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }

static SA_INLINE vec v_copysign(vec magnitude, vec sign)
{
    const vec bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign));
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    __m256 half[4], x, y;
    SA_UNROLL
    for (int i = 0; i < 4; i++) {
        half[i] = _mm256_add_ps(_mm512_castps512_ps256(a[i]), _mm512_extractf32x8_ps(a[i], 1));
    }
    x = _mm256_add_ps(_mm256_unpacklo_ps(half[0], half[1]), _mm256_unpackhi_ps(half[0], half[1]));
    y = _mm256_add_ps(_mm256_unpacklo_ps(half[2], half[3]), _mm256_unpackhi_ps(half[2], half[3]));
    x = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
    _mm_storeu_ps(sum, _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}

typedef struct {
    __m512d low, high;
} wide;

static SA_INLINE wide wide_zero(void) { return (wide){_mm512_setzero_pd(), _mm512_setzero_pd()}; }

static SA_INLINE wide wide_add(wide a, vec x)
{
    return (wide){_mm512_add_pd(a.low, _mm512_cvtps_pd(_mm512_castps512_ps256(x))),
                  _mm512_add_pd(a.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)))};
}

static SA_INLINE wide wide_add_at(wide a, const real *p)
{
    return (wide){_mm512_add_pd(a.low, _mm512_cvtps_pd(_mm256_loadu_ps(p))),
                  _mm512_add_pd(a.high, _mm512_cvtps_pd(_mm256_loadu_ps(p + 8)))};
}

static SA_INLINE double wide_total(wide a)
{
    const __m512d z = _mm512_add_pd(a.low, a.high);
    const __m256d y = _mm256_add_pd(_mm512_castpd512_pd256(z), _mm512_extractf64x4_pd(z, 1));
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

static SA_INLINE real v_reduce_max(vec a)
{
    const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

/* 1.5 * 2^20: as in simd_avx2_f32.h. */
#define EXP2_BITS 3
#define EXP_MAGIC 1572864.0f
typedef vec table;

static SA_INLINE vec v_origin(real m) { return _mm512_set1_ps(EXP_MAGIC - m); }

static SA_INLINE vec v_split(vec s, vec c, vec origin, vec *k)
{
    *k = _mm512_fmadd_ps(s, c, origin);
    return _mm512_fmsub_ps(s, c, _mm512_sub_ps(*k, origin));
}

/* Twice, as four bits choose a lane */
static SA_INLINE table v_table(const real *t) { return _mm512_broadcast_f32x8(_mm256_loadu_ps(t)); }

static SA_INLINE vec v_pick(table t, vec k)
{
    return _mm512_permutexvar_ps(_mm512_castps_si512(k), t);
}

static SA_INLINE vec v_raise(vec p, vec k)
{
    const __m512i eighths = _mm512_slli_epi32(_mm512_castps_si512(k), 23 - EXP2_BITS);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), eighths));
}

static SA_INLINE vec v_grow(vec p, vec f, vec q)
{
    return _mm512_fmadd_ps(p, _mm512_mul_ps(f, q), p);
}

static SA_INLINE vec v_if_normal(vec p, vec k)
{
    const vec least = _mm512_set1_ps(EXP_MAGIC - 126.0f);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(k, least, _CMP_NLT_UQ), p);
}

static SA_INLINE vec v_keep(vec t, const uint8_t *seen)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)seen);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), _mm_test_epi8_mask(bytes, bytes), t);
}

static SA_INLINE bool v_is_zero(vec a)
{
    return !_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

static SA_INLINE vec v_finite_or_zero(vec a)
{
    const __mmask16 finite = _mm512_cmp_ps_mask(v_abs(a), _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_mov_ps(finite, a);
}

static SA_INLINE void v_transpose(vec r[LANES])
{
    vec a[16], b[16];
    SA_UNROLL
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    SA_UNROLL
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    SA_UNROLL
    for (int i = 0; i < 4; i++) { /* quarters 0 2 and 1 3 of two rows */
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xDD);
        a[i + 8] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xDD);
    }
    SA_UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0xDD);
    }
}

static SA_INLINE vec v_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static SA_INLINE vec v_load_bf16(const void *p)
{
    const __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}

static SA_INLINE void v_store_f16(uint16_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#endif
