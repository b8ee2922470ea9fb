/* gemm_simd.h -- the register tile: C = A B, or C = diag(beta) C + A B.
 *
 * A [rows, depth] is read by scalar broadcast, B [depth, vectors * LANES] by whole vectors, both
 * where they lie; the accumulators stay in registers. Scores use it with A = Q and B = a packed K
 * panel, the output with A = P and B = V.
 *
 * Every element of C is the sum of two chains of multiply-adds, one over the even and one over the
 * odd steps of depth, both started from zero: half the length, half the rounding that adds up where
 * terms have one sign. Its bits do not depend on the tile that it falls into. `odd` says that the
 * first step is an odd one.
 *
 * Tile shapes: 2 * rows * vectors <= MAX_ACCUMULATORS, so that the accumulators, one row of B and
 * one broadcast fit the register file, and enough chains hide the latency of the multiply-add.
 */
#ifndef SA_GEMM_SIMD_H
#define SA_GEMM_SIMD_H

typedef void gemm_tile(bool odd, ptrdiff_t depth, const real *restrict a, ptrdiff_t lda,
                       const real *restrict b, ptrdiff_t ldb, real *restrict c, ptrdiff_t ldc,
                       const real *beta);

/* acc += a column of A times a row of B */
static SA_INLINE void gemm_step(const int rows, const int vectors, const real *restrict a,
                                ptrdiff_t lda, const real *restrict b, vec *acc)
{
    vec b_row[8];
    SA_UNROLL
    for (int j = 0; j < vectors; j++) {
        b_row[j] = v_load(b + j * LANES);
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        const vec a_i = v_set1(a[i * lda]);
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            acc[i * vectors + j] = v_fma(a_i, b_row[j], acc[i * vectors + j]);
        }
    }
}

static SA_INLINE void gemm_tile_body(const int rows, const int vectors, bool odd, ptrdiff_t depth,
                                     const real *restrict a,          /* [rows, depth] */
                                     ptrdiff_t lda,                   /* */
                                     const real *restrict b,          /* [depth, vectors] */
                                     ptrdiff_t ldb, real *restrict c, /* [rows, vectors] */
                                     ptrdiff_t ldc, const real *beta) /* [rows] or NULL */
{
    vec even_acc[MAX_ACCUMULATORS / 2], odd_acc[MAX_ACCUMULATORS / 2];
    SA_UNROLL
    for (int i = 0; i < rows * vectors; i++) {
        even_acc[i] = odd_acc[i] = v_zero();
    }
    ptrdiff_t k = 0;
    if (odd) {
        gemm_step(rows, vectors, a, lda, b, odd_acc);
        k = 1;
    }
    for (; k + 2 <= depth; k += 2) {
        gemm_step(rows, vectors, a + k, lda, b + k * ldb, even_acc);
        gemm_step(rows, vectors, a + k + 1, lda, b + (k + 1) * ldb, odd_acc);
    }
    if (k < depth) {
        gemm_step(rows, vectors, a + k, lda, b + k * ldb, even_acc);
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            real *c_ij = c + i * ldc + j * LANES;
            vec sum = v_add(even_acc[i * vectors + j], odd_acc[i * vectors + j]);
            if (beta) {
                sum = v_fma(v_load(c_ij), v_set1(beta[i]), sum);
            }
            v_store(c_ij, sum);
        }
    }
}

#define GEMM_TILE(rows, vectors)                                                              \
    static void gemm_##rows##x##vectors(bool odd, ptrdiff_t depth, const real *restrict a,    \
                                        ptrdiff_t lda, const real *restrict b, ptrdiff_t ldb, \
                                        real *restrict c, ptrdiff_t ldc, const real *beta)    \
    {                                                                                         \
        gemm_tile_body(rows, vectors, odd, depth, a, lda, b, ldb, c, ldc, beta);              \
    }

GEMM_TILE(1, 1)
GEMM_TILE(1, 2)
GEMM_TILE(1, 4)
GEMM_TILE(2, 1)
GEMM_TILE(2, 2)
#if MAX_ACCUMULATORS >= 12
GEMM_TILE(3, 1)
GEMM_TILE(3, 2)
#endif
#if MAX_ACCUMULATORS >= 24
GEMM_TILE(1, 8)
GEMM_TILE(2, 4)
GEMM_TILE(3, 4)
#endif

/* [rows - 1][log2 vectors], NULL from the first that does not fit the registers */
static gemm_tile *const gemm_tiles[][4] = {
#if MAX_ACCUMULATORS >= 24
    {gemm_1x1, gemm_1x2, gemm_1x4, gemm_1x8},
    {gemm_2x1, gemm_2x2, gemm_2x4, NULL},
    {gemm_3x1, gemm_3x2, gemm_3x4, NULL},
#elif MAX_ACCUMULATORS >= 12
    {gemm_1x1, gemm_1x2, gemm_1x4, NULL},
    {gemm_2x1, gemm_2x2, NULL, NULL},
    {gemm_3x1, gemm_3x2, NULL, NULL},
#else
    {gemm_1x1, gemm_1x2, gemm_1x4, NULL},
    {gemm_2x1, gemm_2x2, NULL, NULL},
#endif
};

enum { MOST_ROWS = sizeof gemm_tiles / sizeof gemm_tiles[0] };

/* C [rows, n], rows <= MOST_ROWS, n a multiple of LANES, by tiles as wide as they come. */
static void gemm_few_rows(int rows, ptrdiff_t n, bool odd, ptrdiff_t depth, const real *a,
                          ptrdiff_t lda, const real *b, ptrdiff_t ldb, real *c, ptrdiff_t ldc,
                          const real *beta)
{
    gemm_tile *const *tiles = gemm_tiles[rows - 1];
    for (ptrdiff_t j = 0; j < n;) {
        int width = 3;
        while (!tiles[width] || ((ptrdiff_t)LANES << width) > n - j) {
            width--;
        }
        tiles[width](odd, depth, a, lda, b + j, ldb, c + j, ldc, beta);
        j += (ptrdiff_t)LANES << width;
    }
}

/* C [rows, n]; the full tile, where the time goes, is in line. */
static SA_INLINE void gemm_rows(ptrdiff_t rows, ptrdiff_t n, bool odd, ptrdiff_t depth,
                                const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb, real *c,
                                ptrdiff_t ldc, const real *beta)
{
    enum { WIDTH = TILE_VECTORS * LANES };
    for (ptrdiff_t i = 0; i < rows; i += MOST_ROWS) {
        const real *a_i = a + i * lda, *beta_i = beta ? beta + i : NULL;
        const int some = rows - i < MOST_ROWS ? (int)(rows - i) : MOST_ROWS;
        real *c_i = c + i * ldc;
        ptrdiff_t j = 0;
        for (; some == MOST_ROWS && j + WIDTH <= n; j += WIDTH) {
            gemm_tile_body(MOST_ROWS, TILE_VECTORS, odd, depth, a_i, lda, b + j, ldb, c_i + j, ldc,
                           beta_i);
        }
        if (j < n) {
            gemm_few_rows(some, n - j, odd, depth, a_i, lda, b + j, ldb, c_i + j, ldc, beta_i);
        }
    }
}

#endif
