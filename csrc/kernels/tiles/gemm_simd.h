/* gemm_simd.h -- the register tile: C = A B, or C = diag(beta) C + A B.
 *
 * A [rows, depth] is read by scalar broadcast, B [depth, vectors * LANES] by whole vectors, both
 * where they lie; the accumulators stay in registers. Scores use it with A = Q and B = a packed K
 * panel, the output with A = P and B = V.
 *
 * Every element of C is a sum of stretches, a stretch a sum of parts, and a part one chain of
 * multiply-adds that starts from zero: short chains and short sums of them keep the rounding small
 * that adds up where terms have one sign. Stretches are added to C one after the other, or first in
 * pairs, those in pairs, and so on: a sum of two equal numbers is exact. An element's bits do not
 * depend on the tile that it falls into.
 *
 * Tile shapes: rows * vectors <= MAX_ACCUMULATORS, so that the accumulators, one row of B and one
 * broadcast fit the register file, and enough chains hide the latency of the multiply-add.
 */
#ifndef SA_GEMM_SIMD_H
#define SA_GEMM_SIMD_H

/* What holds a number for each row of the register tile */
enum { ROW_VECTORS = (TILE_ROWS + LANES - 1) / LANES };

/* Up to 512 equal terms of values are summed within 6.0 u in parts of 13, 5.3 u in parts of 11 (7.7 u
 * in parts of 22 and stretches of 128); what follows takes up to 1.4 u in float and 1.9 u in double,
 * and the bound of outputs is 8 u. Stretches start at multiples of their length, and parts of theirs
 * from there, whatever is left out of a tile. Scores, whose stretches are added up in pairs, are within
 * 4.5 u of the sum of any number of equal products in parts of 16, and 3 u in parts of 8; the bound of
 * lse is 4 u. */
enum {
    SCORE_STRETCH = 4 * SCORE_PART,
    VALUE_PART = SCORE_PART == 16 ? 13 : 11,
    VALUE_STRETCH = 64
};

enum { TILE_SUMS = MAX_ACCUMULATORS * LANES };

/* How a depth is cut: the first part has `head` steps, the others `part`, those at the end of a
 * stretch what is left of it; the first stretch ends at `stop`, the others are `stretch` long. Parts
 * of a stretch are added up in sums [TILE_SUMS], which stretches of one part do without. In
 * pairs [levels][TILE_SUMS] a sum of 2^level stretches waits for its other half; NULL: C takes one
 * stretch after the other. */
typedef struct {
    ptrdiff_t depth, head, part, stop, stretch;
    real *sums, *pairs;
} gemm_depth;

static SA_INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static SA_INLINE gemm_depth cut_in_parts(ptrdiff_t depth, ptrdiff_t part, real *pairs)
{
    const ptrdiff_t head = least(depth, part);
    return (gemm_depth){depth, head, part, head, part, NULL, pairs};
}

/* Levels of pairs for so many stretches */
static int levels_of(ptrdiff_t stretches)
{
    int levels = 0;
    while ((ptrdiff_t)1 << levels < stretches) {
        levels++;
    }
    return levels;
}

/* k by reference: a copy would be read in pieces wider than it was just written in */
typedef void gemm_tile(const gemm_depth *k, const real *restrict a, ptrdiff_t a_row,
                       ptrdiff_t a_step, const real *restrict b, ptrdiff_t ldb, real *restrict c,
                       ptrdiff_t ldc, const real *beta);

/* acc += a column of A times a row of B, or, with is_first, acc = that */
static SA_INLINE void gemm_step(const int rows, const int vectors, const bool is_first,
                                const real *restrict a, const ptrdiff_t a_row,
                                const real *restrict b, vec *acc)
{
    vec b_row[8];
    SA_UNROLL
    for (int j = 0; j < vectors; j++) {
        b_row[j] = v_load(b + j * LANES);
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        const vec a_i = v_set1(a[i * a_row]);
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            vec *sum = &acc[i * vectors + j];
            *sum = is_first ? v_mul(a_i, b_row[j]) : v_fma(a_i, b_row[j], *sum);
        }
    }
}

/* acc = A B over `depth` >= 1 steps */
static SA_INLINE void gemm_part(const int rows, const int vectors, ptrdiff_t depth,
                                const real *restrict a, const ptrdiff_t a_row,
                                const ptrdiff_t a_step, const real *restrict b, ptrdiff_t ldb,
                                vec *acc)
{
    gemm_step(rows, vectors, true, a, a_row, b, acc);
    for (ptrdiff_t k = 1; k < depth; k++) {
        gemm_step(rows, vectors, false, a + k * a_step, a_row, b + k * ldb, acc);
    }
}

/* What becomes of C as sums are stored */
typedef enum { GEMM_REPLACE, GEMM_SCALE, GEMM_ADD } gemm_update;

static SA_INLINE void gemm_store(const int rows, const int vectors, const gemm_update update,
                                 const vec *acc, real *restrict c, ptrdiff_t ldc, const real *beta)
{
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        SA_UNROLL
        for (int j = 0; j < vectors; j++) {
            real *c_ij = c + i * ldc + j * LANES;
            vec sum = acc[i * vectors + j];
            if (update == GEMM_SCALE) {
                sum = v_fma(v_load(c_ij), v_set1(beta[i]), sum);
            } else if (update == GEMM_ADD) {
                sum = v_add(v_load(c_ij), sum);
            }
            v_store(c_ij, sum);
        }
    }
}

/* acc = sums + acc */
static SA_INLINE void add_sums(const int n, const real *restrict sums, vec *acc)
{
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        acc[i] = v_add(v_load(sums + i * LANES), acc[i]);
    }
}

/* acc, the sums of stretch number `place`, += what it completes, or after the last one += all that
 * waits. Returns the level where acc is to wait. */
static SA_INLINE real *join_pairs(const int n, real *level, size_t place, bool is_last, vec *acc)
{
    for (size_t left = place; is_last ? left > 0 : left & 1; left >>= 1) {
        if (left & 1) {
            add_sums(n, level, acc);
        }
        level += TILE_SUMS;
    }
    return level;
}

/* pairs: whether k->pairs is there */
static SA_INLINE void gemm_tile_body(const bool pairs, const int rows, const int vectors,
                                     const gemm_depth *k,
                                     const real *restrict a, /* [rows, depth] */
                                     const ptrdiff_t a_row, const ptrdiff_t a_step,
                                     const real *restrict b,          /* [depth, vectors] */
                                     ptrdiff_t ldb, real *restrict c, /* [rows, vectors] */
                                     ptrdiff_t ldc, const real *beta) /* [rows] or NULL */
{
    ptrdiff_t stop = k->stop;
    size_t place = 0;
    for (ptrdiff_t begin = 0, end = k->head; begin < k->depth; place++) {
        vec acc[MAX_ACCUMULATORS];
        const ptrdiff_t stretch = begin;
        for (;;) {
            gemm_part(rows, vectors, end - begin, a + begin * a_step, a_row, a_step,
                      b + begin * ldb, ldb, acc);
            if (end == stop) {
                break;
            }
            gemm_store(rows, vectors, begin > stretch ? GEMM_ADD : GEMM_REPLACE, acc, k->sums,
                       vectors * LANES, NULL);
            begin = end;
            end = least(end + k->part, stop);
        }
        if (begin > stretch) {
            add_sums(rows * vectors, k->sums, acc);
        }
        const bool is_last = end == k->depth;
        real *level = pairs ? join_pairs(rows * vectors, k->pairs, place, is_last, acc) : NULL;
        if (pairs && !is_last) {
            gemm_store(rows, vectors, GEMM_REPLACE, acc, level, vectors * LANES, NULL);
        } else if (!pairs && place > 0) {
            gemm_store(rows, vectors, GEMM_ADD, acc, c, ldc, NULL);
        } else if (beta) {
            gemm_store(rows, vectors, GEMM_SCALE, acc, c, ldc, beta);
        } else {
            gemm_store(rows, vectors, GEMM_REPLACE, acc, c, ldc, NULL);
        }
        begin = end;
        end = least(end + k->part, k->depth);
        stop = least(stop + k->stretch, k->depth);
    }
}

#define GEMM_TILE(rows, vectors)                                                                  \
    static void gemm_##rows##x##vectors(                                                          \
        const gemm_depth *k, const real *restrict a, ptrdiff_t a_row, ptrdiff_t a_step,           \
        const real *restrict b, ptrdiff_t ldb, real *restrict c, ptrdiff_t ldc, const real *beta) \
    {                                                                                             \
        gemm_tile_body(k->pairs, rows, vectors, k, a, a_row, a_step, b, ldb, c, ldc, beta);       \
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
GEMM_TILE(4, 4)
GEMM_TILE(5, 4)
GEMM_TILE(6, 4)
#endif

/* [rows - 1][log2 vectors], NULL from the first that does not fit the registers */
static gemm_tile *const gemm_tiles[][4] = {
#if MAX_ACCUMULATORS >= 24
    {gemm_1x1, gemm_1x2, gemm_1x4, gemm_1x8}, {gemm_2x1, gemm_2x2, gemm_2x4, gemm_2x8},
    {gemm_3x1, gemm_3x2, gemm_3x4, NULL},     {gemm_4x1, gemm_4x2, gemm_4x4, NULL},
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

_Static_assert(sizeof gemm_tiles / sizeof gemm_tiles[0] == TILE_ROWS, "a tile for each height");

/* log2 of the vectors of the widest tile for n columns, if there is one */
static SA_INLINE int log2_width(ptrdiff_t n)
{
    return n >= 8 * LANES ? 3 : n >= 4 * LANES ? 2 : n >= 2 * LANES;
}

/* C [rows, n], rows <= TILE_ROWS, n a multiple of LANES, by tiles as wide as they come. */
static void gemm_few_rows(int rows, ptrdiff_t n, const gemm_depth *k, const real *a,
                          ptrdiff_t a_row, ptrdiff_t a_step, const real *b, ptrdiff_t ldb, real *c,
                          ptrdiff_t ldc, const real *beta)
{
    gemm_tile *const *tiles = gemm_tiles[rows - 1];
    for (ptrdiff_t j = 0; j < n;) {
        int width = log2_width(n - j);
        while (!tiles[width]) {
            width--;
        }
        tiles[width](k, a, a_row, a_step, b + j, ldb, c + j, ldc, beta);
        j += (ptrdiff_t)LANES << width;
    }
}

/* C [rows, n]; the full tile, where the time goes, is in line. */
static SA_INLINE void gemm_rows(const bool pairs, ptrdiff_t rows, ptrdiff_t n, const gemm_depth *k,
                                const real *a, ptrdiff_t a_row, ptrdiff_t a_step, const real *b,
                                ptrdiff_t ldb, real *c, ptrdiff_t ldc, const real *beta)
{
    enum { WIDTH = TILE_VECTORS * LANES };
    for (ptrdiff_t i = 0; i < rows; i += TILE_ROWS) {
        const real *a_i = a + i * a_row, *beta_i = beta ? beta + i : NULL;
        const int some = rows - i < TILE_ROWS ? (int)(rows - i) : TILE_ROWS;
        real *c_i = c + i * ldc;
        ptrdiff_t j = 0;
        for (; some == TILE_ROWS && j + WIDTH <= n; j += WIDTH) {
            gemm_tile_body(pairs, TILE_ROWS, TILE_VECTORS, k, a_i, a_row, a_step, b + j, ldb,
                           c_i + j, ldc, beta_i);
        }
        if (j < n) {
            gemm_few_rows(some, n - j, k, a_i, a_row, a_step, b + j, ldb, c_i + j, ldc, beta_i);
        }
    }
}

#endif
