/* unit_scalar_f64.c -- see unit.h */
#define SA_UNIT_TABLE sa_kernels_scalar_f64
#define SA_SIMD_HEADER "simd/simd_scalar_f64.h"
#include "../unit.h"
