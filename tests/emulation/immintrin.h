/* immintrin.h -- stands before the compiler's own: the AVX-512 words that csrc/kernels/simd uses,
 * spelled in portable vector notation, so that the AVX-512 units can be tested on a CPU with AVX2.
 *
 * Meaning from the Intel Intrinsics Guide. Only for SELFATTN_EMULATE=avx512 builds (see setup.py);
 * speed does not matter here, the lane-by-lane meaning does.
 */
#ifndef SA_EMULATED_IMMINTRIN_H
#define SA_EMULATED_IMMINTRIN_H

#include_next <immintrin.h>

#include <math.h>
#include <string.h>

#define EMU static inline __attribute__((always_inline))
#define LANE_LOOP(n) for (int i = 0; i < (n); i++)

typedef int emu_i32 __attribute__((vector_size(64)));
typedef long long emu_i64 __attribute__((vector_size(64)));
typedef unsigned emu_u32 __attribute__((vector_size(64)));
typedef unsigned long long emu_u64 __attribute__((vector_size(64)));

EMU __m512 emu_set1_ps(float x) { return x - (__m512){0}; }
EMU __m512d emu_set1_pd(double x) { return x - (__m512d){0}; }
EMU __m512 emu_loadu_ps(const void *p) { __m512 a; memcpy(&a, p, 64); return a; }
EMU __m512d emu_loadu_pd(const void *p) { __m512d a; memcpy(&a, p, 64); return a; }
EMU void emu_storeu(void *p, __m512 a) { memcpy(p, &a, 64); }
EMU void emu_storeu_pd(void *p, __m512d a) { memcpy(p, &a, 64); }
EMU __m512 emu_fmadd_ps(__m512 a, __m512 b, __m512 c)
{
    LANE_LOOP(16) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}
EMU __m512d emu_fmadd_pd(__m512d a, __m512d b, __m512d c)
{
    LANE_LOOP(8) c[i] = fma(a[i], b[i], c[i]);
    return c;
}
EMU __m512 emu_max_ps(__m512 a, __m512 b)
{
    LANE_LOOP(16) b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}
EMU __m512d emu_max_pd(__m512d a, __m512d b)
{
    LANE_LOOP(8) b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}
#define EMU_COMPARE(a, b, how) \
    ((how) == _CMP_LT_OQ ? (a) < (b) : (how) == _CMP_NEQ_UQ ? (a) != (b) : !((a) < (b)))
EMU __mmask16 emu_cmp_ps(__m512 a, __m512 b, int how)
{
    unsigned m = 0;
    LANE_LOOP(16) m |= (unsigned)EMU_COMPARE(a[i], b[i], how) << i;
    return (__mmask16)m;
}
EMU __mmask8 emu_cmp_pd(__m512d a, __m512d b, int how)
{
    unsigned m = 0;
    LANE_LOOP(8) m |= (unsigned)EMU_COMPARE(a[i], b[i], how) << i;
    return (__mmask8)m;
}
EMU __m512 emu_mask_mov_ps(__m512 src, __mmask16 m, __m512 a)
{
    LANE_LOOP(16) src[i] = (m >> i & 1) ? a[i] : src[i];
    return src;
}
EMU __m512d emu_mask_mov_pd(__m512d src, __mmask8 m, __m512d a)
{
    LANE_LOOP(8) src[i] = (m >> i & 1) ? a[i] : src[i];
    return src;
}
EMU __mmask16 emu_test_epi8(__m128i a, __m128i b)
{
    unsigned char x[16], y[16];
    unsigned m = 0;
    memcpy(x, &a, 16);
    memcpy(y, &b, 16);
    LANE_LOOP(16) m |= (unsigned)((x[i] & y[i]) != 0) << i;
    return (__mmask16)m;
}
/* Within each 128-bit quarter q: elements from of (a or b), as unpack and shuffle choose them. */
EMU __m512 emu_quads(__m512 a, __m512 b, const int pick[4])
{
    __m512 r;
    LANE_LOOP(16)
    {
        const int at = pick[i % 4];
        r[i] = at < 4 ? a[i / 4 * 4 + at] : b[i / 4 * 4 + at - 4];
    }
    return r;
}
EMU __m512 emu_unpacklo_ps(__m512 a, __m512 b) { return emu_quads(a, b, (const int[]){0, 4, 1, 5}); }
EMU __m512 emu_unpackhi_ps(__m512 a, __m512 b) { return emu_quads(a, b, (const int[]){2, 6, 3, 7}); }
EMU __m512 emu_shuffle_ps(__m512 a, __m512 b, int k)
{
    return emu_quads(a, b, (const int[]){k & 3, k >> 2 & 3, 4 + (k >> 4 & 3), 4 + (k >> 6 & 3)});
}
EMU __m512d emu_unpack_pd(__m512d a, __m512d b, int high)
{
    __m512d r;
    LANE_LOOP(8) r[i] = i % 2 ? b[i / 2 * 2 + high] : a[i / 2 * 2 + high];
    return r;
}
/* Quarters k & 3, k >> 2 & 3 of a, then k >> 4 & 3, k >> 6 & 3 of b. */
EMU __m512 emu_shuffle_f32x4(__m512 a, __m512 b, int k)
{
    __m512 r;
    LANE_LOOP(16)
    {
        const int from = (k >> (2 * (i / 4)) & 3) * 4 + i % 4;
        r[i] = i < 8 ? a[from] : b[from];
    }
    return r;
}
EMU __m512d emu_shuffle_f64x2(__m512d a, __m512d b, int k)
{
    return (__m512d)emu_shuffle_f32x4((__m512)a, (__m512)b, k);
}
EMU __m256 emu_upper_ps(__m512 a) { __m256 r; memcpy(&r, (char *)&a + 32, 32); return r; }
EMU __m256d emu_upper_pd(__m512d a) { __m256d r; memcpy(&r, (char *)&a + 32, 32); return r; }
EMU __m256 emu_lower_ps(__m512 a) { __m256 r; memcpy(&r, &a, 32); return r; }
EMU __m256d emu_lower_pd(__m512d a) { __m256d r; memcpy(&r, &a, 32); return r; }
EMU __m512 emu_cvtph_ps(__m256i h)
{
    __m128i x[2];
    __m256 y[2];
    __m512 r;
    memcpy(x, &h, 32);
    y[0] = _mm256_cvtph_ps(x[0]);
    y[1] = _mm256_cvtph_ps(x[1]);
    memcpy(&r, y, 64);
    return r;
}
EMU __m512d emu_cvtps_pd(__m256 a)
{
    __m512d r;
    for (int i = 0; i < 8; i++) {
        r[i] = (double)a[i];
    }
    return r;
}

EMU __m256i emu_cvtps_ph(__m512 a)
{
    __m128i x[2] = {_mm256_cvtps_ph(emu_lower_ps(a), _MM_FROUND_TO_NEAREST_INT),
                    _mm256_cvtps_ph(emu_upper_ps(a), _MM_FROUND_TO_NEAREST_INT)};
    __m256i r;
    memcpy(&r, x, 32);
    return r;
}
EMU __m512i emu_cvtepu16_epi32(__m256i h)
{
    unsigned short x[16];
    emu_i32 r;
    memcpy(x, &h, 32);
    LANE_LOOP(16) r[i] = x[i];
    return (__m512i)r;
}
EMU __m512 emu_broadcast_f32x8(__m256 a)
{
    __m512 r;
    LANE_LOOP(16) r[i] = a[i % 8];
    return r;
}
EMU __m512 emu_permutexvar_ps(__m512i at, __m512 a)
{
    __m512 r;
    LANE_LOOP(16) r[i] = a[((emu_i32)at)[i] & 15];
    return r;
}

#define _mm512_setzero_ps() ((__m512){0})
#define _mm512_setzero_pd() ((__m512d){0})
#define _mm512_set1_ps emu_set1_ps
#define _mm512_set1_pd emu_set1_pd
#define _mm512_loadu_ps emu_loadu_ps
#define _mm512_loadu_pd emu_loadu_pd
#define _mm512_storeu_ps emu_storeu
#define _mm512_storeu_pd emu_storeu_pd
#define _mm512_stream_ps emu_storeu
#define _mm512_stream_pd emu_storeu_pd
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_add_pd(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_sub_pd(a, b) ((a) - (b))
#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_mul_pd(a, b) ((a) * (b))
#define _mm512_div_ps(a, b) ((a) / (b))
#define _mm512_div_pd(a, b) ((a) / (b))
#define _mm512_fmadd_ps emu_fmadd_ps
#define _mm512_fmadd_pd emu_fmadd_pd
#define _mm512_fmsub_ps(a, b, c) emu_fmadd_ps(a, b, -(c))
#define _mm512_fmsub_pd(a, b, c) emu_fmadd_pd(a, b, -(c))
#define _mm512_max_ps emu_max_ps
#define _mm512_max_pd emu_max_pd
#define _mm512_and_ps(a, b) ((__m512)((emu_i32)(a) & (emu_i32)(b)))
#define _mm512_and_pd(a, b) ((__m512d)((emu_i64)(a) & (emu_i64)(b)))
#define _mm512_or_ps(a, b) ((__m512)((emu_i32)(a) | (emu_i32)(b)))
#define _mm512_or_pd(a, b) ((__m512d)((emu_i64)(a) | (emu_i64)(b)))
#define _mm512_andnot_ps(a, b) ((__m512)(~(emu_i32)(a) & (emu_i32)(b)))
#define _mm512_andnot_pd(a, b) ((__m512d)(~(emu_i64)(a) & (emu_i64)(b)))
#define _mm512_cmp_ps_mask emu_cmp_ps
#define _mm512_cmp_pd_mask emu_cmp_pd
#define _mm512_mask_mov_ps emu_mask_mov_ps
#define _mm512_mask_mov_pd emu_mask_mov_pd
#define _mm512_maskz_mov_ps(m, a) emu_mask_mov_ps((__m512){0}, m, a)
#define _mm512_maskz_mov_pd(m, a) emu_mask_mov_pd((__m512d){0}, m, a)
#define _mm512_broadcast_f32x8 emu_broadcast_f32x8
#define _mm512_permutexvar_ps emu_permutexvar_ps
#define _mm512_castps_si512(a) ((__m512i)(a))
#define _mm512_castpd_si512(a) ((__m512i)(a))
#define _mm512_castsi512_ps(a) ((__m512)(a))
#define _mm512_castsi512_pd(a) ((__m512d)(a))
#define _mm512_castps512_ps256 emu_lower_ps
#define _mm512_castpd512_pd256 emu_lower_pd
#undef _mm512_slli_epi32
#undef _mm512_slli_epi64
#undef _mm512_shuffle_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#undef _mm512_extractf32x8_ps
#undef _mm512_extractf64x4_pd
#undef _mm512_cmp_ps_mask
#undef _mm512_cmp_pd_mask
#undef _mm512_cvtps_ph
#define _mm512_cmp_ps_mask emu_cmp_ps
#define _mm512_cmp_pd_mask emu_cmp_pd
#define _mm512_add_epi32(a, b) ((__m512i)((emu_u32)(a) + (emu_u32)(b))) /* wraps */
#define _mm512_add_epi64(a, b) ((__m512i)((emu_u64)(a) + (emu_u64)(b)))
#define _mm512_slli_epi32(a, n) ((__m512i)((emu_i32)(a) << (n)))
#define _mm512_slli_epi64(a, n) ((__m512i)((emu_i64)(a) << (n)))
#define _mm512_unpacklo_ps emu_unpacklo_ps
#define _mm512_unpackhi_ps emu_unpackhi_ps
#define _mm512_unpacklo_pd(a, b) emu_unpack_pd(a, b, 0)
#define _mm512_unpackhi_pd(a, b) emu_unpack_pd(a, b, 1)
#define _mm512_shuffle_ps emu_shuffle_ps
#define _mm512_shuffle_f32x4 emu_shuffle_f32x4
#define _mm512_shuffle_f64x2 emu_shuffle_f64x2
#define _mm512_extractf32x8_ps(a, upper) emu_upper_ps(a)
#define _mm512_extractf64x4_pd(a, upper) emu_upper_pd(a)
#define _mm_test_epi8_mask emu_test_epi8
#define _mm512_cvtph_ps emu_cvtph_ps
#define _mm512_cvtps_pd emu_cvtps_pd
#define _mm512_cvtps_ph(a, how) emu_cvtps_ph(a)
#define _mm512_cvtepu16_epi32 emu_cvtepu16_epi32

#endif
