/* unit_avx512_f64.c -- see unit.h */
#define SA_UNIT_TABLE sa_kernels_avx512_f64
#define SA_SIMD_HEADER "simd/simd_avx512_f64.h"
#include "../unit.h"
