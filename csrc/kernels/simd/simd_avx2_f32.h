/* simd_avx2_f32.h -- the vector vocabulary: 8 floats, AVX2 + FMA + F16C.
 *
 * The vocabulary is spelled the same in every simd header; unit.h lists what each word means.
 */
#ifndef SA_SIMD_AVX2_F32_H
#define SA_SIMD_AVX2_F32_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SA_ISA_NAME "avx2"
#define SA_UNIT_IS_F64 0
#define LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define EXP_CHAINS 2
#define SCORE_PART 16
#define MAX_WIDENING_ROWS SA_SCORE_ROWS
#define MAX_ACCUMULATORS 12

typedef float real;
typedef __m256 vec;

static SA_INLINE vec v_zero(void) { return _mm256_setzero_ps(); }
static SA_INLINE vec v_set1(real x) { return _mm256_set1_ps(x); }
static SA_INLINE vec v_load(const real *p) { return _mm256_loadu_ps(p); }
static SA_INLINE vec v_load_bytes(const void *p) { return _mm256_loadu_ps(p); }
static SA_INLINE vec v_fetch(const void *p) { return _mm256_castsi256_ps(_mm256_lddqu_si256(p)); }

static SA_INLINE vec v_pinned(vec a)
{
    __asm__ volatile("" : "+x"(a));
    return a;
}

static SA_INLINE void v_store(real *p, vec a) { _mm256_storeu_ps(p, a); }
static SA_INLINE void v_stream(real *p, vec a) { _mm256_stream_ps(p, a); }
static SA_INLINE void v_end_streams(void) { _mm_sfence(); }
static SA_INLINE void v_store_column(real *p, vec a) { v_store(p, a); }
static SA_INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static SA_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static SA_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static SA_INLINE vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static SA_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static SA_INLINE vec v_product_error(vec a, vec b, vec p) { return _mm256_fmsub_ps(a, b, p); }
static SA_INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }

static SA_INLINE vec v_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }

static SA_INLINE vec v_copysign(vec magnitude, vec sign)
{
    const vec bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}

/* sum[i] = all lanes of a[i] */
static SA_INLINE void v_reduce_add4(const vec *a, real *sum)
{
    __m256 x, y;
    x = _mm256_add_ps(_mm256_unpacklo_ps(a[0], a[1]), _mm256_unpackhi_ps(a[0], a[1]));
    y = _mm256_add_ps(_mm256_unpacklo_ps(a[2], a[3]), _mm256_unpackhi_ps(a[2], a[3]));
    x = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
    _mm_storeu_ps(sum, _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}

typedef struct {
    __m256d low, high;
} wide;

static SA_INLINE wide wide_zero(void) { return (wide){_mm256_setzero_pd(), _mm256_setzero_pd()}; }

static SA_INLINE wide wide_add(wide a, vec x)
{
    return (wide){_mm256_add_pd(a.low, _mm256_cvtps_pd(_mm256_castps256_ps128(x))),
                  _mm256_add_pd(a.high, _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)))};
}

static SA_INLINE wide wide_add_at(wide a, const real *p)
{
    return (wide){_mm256_add_pd(a.low, _mm256_cvtps_pd(_mm_loadu_ps(p))),
                  _mm256_add_pd(a.high, _mm256_cvtps_pd(_mm_loadu_ps(p + 4)))};
}

static SA_INLINE double wide_total(wide a)
{
    const __m256d y = _mm256_add_pd(a.low, a.high);
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

static SA_INLINE real v_reduce_max(vec a)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

/* Adding 1.5 * 2^20 rounds to eighths and leaves their number in the low bits of the significand:
 * one addition yields round(t) - m, the exponent that belongs to it and the place in a table. */
#define EXP2_BITS 3
#define EXP_MAGIC 1572864.0f
typedef vec table;

static SA_INLINE vec v_origin(real m) { return _mm256_set1_ps(EXP_MAGIC - m); }

static SA_INLINE vec v_split(vec s, vec c, vec origin, vec *k)
{
    *k = _mm256_fmadd_ps(s, c, origin);
    return _mm256_fmsub_ps(s, c, _mm256_sub_ps(*k, origin));
}

static SA_INLINE table v_table(const real *t) { return v_pinned(_mm256_loadu_ps(t)); }

static SA_INLINE vec v_pick(table t, vec k)
{
    return _mm256_permutevar8x32_ps(t, _mm256_castps_si256(k));
}

static SA_INLINE vec v_raise(vec p, vec k)
{
    const __m256i eighths = _mm256_slli_epi32(_mm256_castps_si256(k), 23 - EXP2_BITS);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), eighths));
}

static SA_INLINE vec v_grow(vec p, vec f, vec q)
{
    return _mm256_fmadd_ps(p, _mm256_mul_ps(f, q), p);
}

static SA_INLINE vec v_if_normal(vec p, vec k)
{
    return _mm256_and_ps(p, _mm256_cmp_ps(k, _mm256_set1_ps(EXP_MAGIC - 126.0f), _CMP_NLT_UQ));
}

static SA_INLINE vec v_keep(vec t, const uint8_t *seen)
{
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)seen));
    const __m256i hidden = _mm256_cmpeq_epi32(bytes, _mm256_setzero_si256());
    return _mm256_blendv_ps(t, _mm256_set1_ps(-INFINITY), _mm256_castsi256_ps(hidden));
}

static SA_INLINE bool v_is_zero(vec a)
{
    return !_mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

static SA_INLINE vec v_finite_or_zero(vec a)
{
    return _mm256_and_ps(a, _mm256_cmp_ps(v_abs(a), _mm256_set1_ps(INFINITY), _CMP_LT_OQ));
}

static SA_INLINE void v_transpose(vec r[LANES])
{
    vec a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
        b[4 * i + 1] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0xEE);
        b[4 * i + 2] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
        b[4 * i + 3] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

static SA_INLINE vec v_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

static SA_INLINE vec v_load_bf16(const void *p)
{
    const __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

static SA_INLINE void v_store_f16(uint16_t *p, vec a)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#endif
