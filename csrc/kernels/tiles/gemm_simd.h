/* gemm_simd.h -- the register tile: C = A B, or C = diag(beta) C + A B.
 *
 * A [rows, depth] is read by scalar broadcast, B [depth, vectors * LANES] by whole vectors, both
 * where they lie; rows x vectors accumulators stay in registers. Scores use it with A = Q and B = a
 * packed K panel, the output with A = P and B = V.
 *
 * Every element of C is one chain of fused multiply-adds in the order of depth, started from zero:
 * its bits do not depend on the tile it falls into. The loop bounds `rows` and `vectors` are
 * constants in each instance below.
 *
 * Tile shapes: rows * vectors <= MAX_ACCUMULATORS, so that the accumulators, one row of B and one
 * broadcast fit the register file, and at least 8 chains hide the latency of the multiply-add.
 */
#ifndef SA_GEMM_SIMD_H
#define SA_GEMM_SIMD_H

typedef void gemm_tile(ptrdiff_t depth, const real *restrict a, ptrdiff_t lda,
                       const real *restrict b, ptrdiff_t ldb, real *restrict c, ptrdiff_t ldc,
                       const real *beta);

static SA_INLINE void gemm_tile_body(const int rows, const int vectors, ptrdiff_t depth,
                                     const real *restrict a,          /* [rows, depth] */
                                     ptrdiff_t lda,                   /* */
                                     const real *restrict b,          /* [depth, vectors] */
                                     ptrdiff_t ldb, real *restrict c, /* [rows, vectors] */
                                     ptrdiff_t ldc, const real *beta) /* [rows] or NULL */
{
    vec acc[MAX_ACCUMULATORS];
    SA_UNROLL
    for (int i = 0; i < rows * vectors; i++) {
        acc[i] = v_zero();
    }
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b_row[8];
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            b_row[j] = v_load(b + k * ldb + j * LANES);
        }
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            const vec a_ik = v_set1(a[i * lda + k]);
            SA_UNROLL
            for (int j = 0; j < vectors; j++) {
                acc[i * vectors + j] = v_fma(a_ik, b_row[j], acc[i * vectors + j]);
            }
        }
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            real *c_ij = c + i * ldc + j * LANES;
            vec sum = acc[i * vectors + j];
            if (beta) {
                sum = v_fma(v_load(c_ij), v_set1(beta[i]), sum);
            }
            v_store(c_ij, sum);
        }
    }
}

#define GEMM_TILE(rows, vectors)                                                                 \
    static void gemm_##rows##x##vectors(ptrdiff_t depth, const real *restrict a, ptrdiff_t lda,  \
                                        const real *restrict b, ptrdiff_t ldb, real *restrict c, \
                                        ptrdiff_t ldc, const real *beta)                         \
    {                                                                                            \
        gemm_tile_body(rows, vectors, depth, a, lda, b, ldb, c, ldc, beta);                      \
    }

GEMM_TILE(1, 1)
GEMM_TILE(1, 2)
GEMM_TILE(1, 4)
GEMM_TILE(1, 8)
GEMM_TILE(2, 1)
GEMM_TILE(2, 2)
GEMM_TILE(2, 4)
GEMM_TILE(3, 1)
GEMM_TILE(3, 2)
GEMM_TILE(4, 1)
GEMM_TILE(4, 2)
#if MAX_ACCUMULATORS >= 12
GEMM_TILE(3, 4)
GEMM_TILE(5, 1)
GEMM_TILE(5, 2)
GEMM_TILE(6, 1)
GEMM_TILE(6, 2)
#endif
#if MAX_ACCUMULATORS >= 24
GEMM_TILE(2, 8)
GEMM_TILE(3, 8)
GEMM_TILE(4, 4)
GEMM_TILE(5, 4)
GEMM_TILE(6, 4)
#endif

/* [rows - 1][log2 vectors]; every row ends at its widest tile */
static gemm_tile *const gemm_tiles[TILE_ROWS][4] = {
#if MAX_ACCUMULATORS >= 24
    {gemm_1x1, gemm_1x2, gemm_1x4, gemm_1x8}, {gemm_2x1, gemm_2x2, gemm_2x4, gemm_2x8},
    {gemm_3x1, gemm_3x2, gemm_3x4, gemm_3x8}, {gemm_4x1, gemm_4x2, gemm_4x4, NULL},
    {gemm_5x1, gemm_5x2, gemm_5x4, NULL},     {gemm_6x1, gemm_6x2, gemm_6x4, NULL},
#elif MAX_ACCUMULATORS >= 12
    {gemm_1x1, gemm_1x2, gemm_1x4, gemm_1x8}, {gemm_2x1, gemm_2x2, gemm_2x4, NULL},
    {gemm_3x1, gemm_3x2, gemm_3x4, NULL},     {gemm_4x1, gemm_4x2, NULL, NULL},
    {gemm_5x1, gemm_5x2, NULL, NULL},         {gemm_6x1, gemm_6x2, NULL, NULL},
#else
    {gemm_1x1, gemm_1x2, gemm_1x4, gemm_1x8},
    {gemm_2x1, gemm_2x2, gemm_2x4, NULL},
    {gemm_3x1, gemm_3x2, NULL, NULL},
    {gemm_4x1, gemm_4x2, NULL, NULL},
#endif
};

/* C [rows, n] with rows <= TILE_ROWS and n a multiple of LANES, by tiles as wide as they come. */
static void gemm_any_rows(int rows, ptrdiff_t n, ptrdiff_t depth, const real *a, ptrdiff_t lda,
                          const real *b, ptrdiff_t ldb, real *c, ptrdiff_t ldc, const real *beta)
{
    gemm_tile *const *tiles = gemm_tiles[rows - 1];
    for (ptrdiff_t j = 0; j < n;) {
        int width = 3;
        while (!tiles[width] || ((ptrdiff_t)LANES << width) > n - j) {
            width--;
        }
        tiles[width](depth, a, lda, b + j, ldb, c + j, ldc, beta);
        j += (ptrdiff_t)LANES << width;
    }
}

/* The same; the full tile, where the time goes, is in line. */
static SA_INLINE void gemm_rows(int rows, ptrdiff_t n, ptrdiff_t depth, const real *a,
                                ptrdiff_t lda, const real *b, ptrdiff_t ldb, real *c, ptrdiff_t ldc,
                                const real *beta)
{
    enum { WIDTH = TILE_VECTORS * LANES };
    ptrdiff_t j = 0;
    if (rows == TILE_ROWS) {
        for (; j + WIDTH <= n; j += WIDTH) {
            gemm_tile_body(TILE_ROWS, TILE_VECTORS, depth, a, lda, b + j, ldb, c + j, ldc, beta);
        }
    }
    if (j < n) {
        gemm_any_rows(rows, n - j, depth, a, lda, b + j, ldb, c + j, ldc, beta);
    }
}

#endif
