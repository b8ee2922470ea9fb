/* unit_avx2_f32.c -- see unit.h */
#define SA_UNIT_TABLE sa_kernels_avx2_f32
#define SA_SIMD_HEADER "simd/simd_avx2_f32.h"
#include "../unit.h"
