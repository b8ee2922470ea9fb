/* linear_work.h -- what the ways to make a block of a projection share: the order of additions,
 * scratch, X as it is read, sums of chunks, Y as it is written.
 *
 * Each element of Y = X W + b is summed in an order that depends on n_in alone. Parts are chains
 * that start from zero; they are added up over LINEAR_CHUNK features, and chunks merged by error-free
 * sums. So rounding is bounded however many features there are:
 *
 *   |y - exact| <= 32 u (sum |x w| + |b|)
 *
 * (worst where all products are equal, when roundings do not cancel; tests/test_linear.py). From
 * LEAST_STRIP features on a part takes the features of a strip that are LANES apart: the lanes of a
 * dot product along a column of W are then the tile's parts, and a few rows need no packed W.
 */
#ifndef SA_LINEAR_WORK_H
#define SA_LINEAR_WORK_H

#define MAX_ROW_STRIDE 1024 /* bytes: rows further apart meet in few cache sets */

enum {
    LINEAR_PART = LANES > 8 ? 16 : 32,
    LINEAR_STRIP = LINEAR_PART * LANES,
    LINEAR_CHUNK = 32 * LINEAR_PART,
    LEAST_STRIP = 256, /* below, parts of a strip would be too short for the tile */
};

/* A few rows: how many, and columns at a time, of either orientation of W; see linear_rows.h. */
enum { DOT_ROWS = 16, DOT_COLUMNS = 128, STREAM_ROWS = 8, STREAM_COLUMNS = 3072 };

_Static_assert(LINEAR_STRIP <= LEAST_STRIP && LINEAR_CHUNK % LINEAR_STRIP == 0, "whole strips");

typedef struct {
    const sa_linear_plan *plan;
    const sa_linear_block *block;
    const real *x; /* [rows, ldx] */
    ptrdiff_t ldx;
    real *x_copy;
    ptrdiff_t width; /* columns at a time, a multiple of NR */
    real *strip;     /* [width / NR][depth][NR] of W, a strip in its order of features */
    /* [width / NR][rows][NR], or [rows][width] of a few rows: over the present chunk, over those
     * before, and what rounding took from the latter; these two only if there are chunks to merge */
    real *sum, *total, *error;
    real *part; /* [rows][width] of a few rows, over the present part */
} linear_work;

static bool takes_strips(const sa_linear_plan *plan) { return plan->n_in >= LEAST_STRIP; }

/* Steps of each part of a strip, the last of some parts beyond its end. */
static ptrdiff_t steps_of(ptrdiff_t depth) { return (depth + LANES - 1) / LANES; }

/* Rows of a copy of X start on a cache line, and not a multiple of 1024 bytes apart: the rows of a
 * register tile would meet in few cache sets. */
static ptrdiff_t copied_row_length(ptrdiff_t n_in)
{
    const ptrdiff_t line = 64 / (ptrdiff_t)sizeof(real), ld = round_up(n_in, line);
    return ld * (ptrdiff_t)sizeof(real) % MAX_ROW_STRIDE ? ld : ld + line;
}

/* Whether columns of W lie side by side, as in articles, or features, as PyTorch keeps them. */
static bool columns_adjoin(const sa_linear_plan *plan)
{
    return is_contiguous(plan->weight.col_stride, plan->weight.dtype);
}

static bool features_adjoin(const sa_linear_plan *plan)
{
    return is_contiguous(plan->weight.row_stride, plan->weight.dtype);
}

/* Rows up to which W is read where it lies. */
static ptrdiff_t most_few_rows(const sa_linear_plan *plan)
{
    if (!takes_strips(plan)) {
        return 0;
    }
    return columns_adjoin(plan) ? STREAM_ROWS : features_adjoin(plan) ? DOT_ROWS : 0;
}

/* For the tile. Columns that lie side by side are packed several panels at a time: each row of W is
 * then read by a few neighbouring lines, on as many pages as there are features. Rows of W^T are
 * long streams. */
static size_t carve_tile(linear_work *w, const sa_linear_plan *plan, ptrdiff_t rows, void *base)
{
    carver c = {base, 0};
    const bool merges = plan->n_in > LINEAR_CHUNK;
    w->plan = plan;
    w->width = columns_adjoin(plan) ? 4 * NR : NR;
    const size_t sums = (size_t)(rows * w->width) * sizeof(real);
    w->ldx = copied_row_length(plan->n_in);
    w->x_copy = carve(&c, (size_t)(rows * w->ldx) * sizeof(real));
    w->strip = carve(&c, (size_t)(LEAST_STRIP * w->width) * sizeof(real));
    w->sum = carve(&c, sums);
    w->total = carve(&c, merges ? sums : 0);
    w->error = carve(&c, merges ? sums : 0);
    return c.used;
}

/* For a few rows. Sums are read by whole panels. */
static size_t carve_few(linear_work *w, const sa_linear_plan *plan, ptrdiff_t rows, void *base)
{
    carver c = {base, 0};
    const bool merges = plan->n_in > LINEAR_CHUNK;
    w->plan = plan;
    w->width = columns_adjoin(plan) ? STREAM_COLUMNS : DOT_COLUMNS;
    const size_t sums = (size_t)(rows * w->width + NR) * sizeof(real);
    w->ldx = copied_row_length(plan->n_in);
    w->x_copy = carve(&c, (size_t)(rows * w->ldx) * sizeof(real));
    w->sum = carve(&c, sums);
    w->total = carve(&c, merges ? sums : 0);
    w->error = carve(&c, merges ? sums : 0);
    w->part = carve(&c, sums);
    return c.used;
}

/* Whether the rows of X can be read where they lie: elements of the compute type side by side,
 * rows evenly and closely spaced. */
static bool reads_x_in_place(const sa_linear_block *b)
{
    const sa_linear_plan *p = b->plan;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    if (dtype_size(p->x_dtype) != size || p->x_stride != size ||
        (uintptr_t)b->x[0] % sizeof(real) != 0) {
        return false;
    }
    const ptrdiff_t stride = b->rows > 1 ? b->x[1] - b->x[0] : 0;
    for (ptrdiff_t i = 2; i < b->rows; i++) {
        if (b->x[i] - b->x[i - 1] != stride) {
            return false;
        }
    }
    return stride % size == 0 && stride < MAX_ROW_STRIDE && stride > -MAX_ROW_STRIDE;
}

/* dst = a strip of a row, part by part; what is missing is -0, which adds nothing to any sum. */
static void load_strip(real *dst, const char *x, ptrdiff_t stride, sa_dtype t, ptrdiff_t depth)
{
    const ptrdiff_t steps = steps_of(depth);
    ptrdiff_t step = 0;
    for (; steps % LANES == 0 && (step + LANES) * LANES <= depth; step += LANES) {
        pack_block(dst + step, steps, x + step * LANES * stride, LANES * stride, stride, t, LANES,
                   LANES);
    }
    for (ptrdiff_t i = step * LANES; i < steps * LANES; i++) {
        dst[i % LANES * steps + i / LANES] = i < depth ? load_one(x + i * stride, t) : -(real)0;
    }
}

static void load_inputs(linear_work *w)
{
    const sa_linear_block *b = w->block;
    const sa_linear_plan *p = w->plan;
    if (!takes_strips(p) && reads_x_in_place(b)) {
        w->x = (const real *)(const void *)b->x[0];
        w->ldx = b->rows > 1 ? (b->x[1] - b->x[0]) / (ptrdiff_t)sizeof(real) : 0;
        return;
    }
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        real *dst = w->x_copy + i * w->ldx;
        if (!takes_strips(p)) {
            load_row(dst, b->x[i], p->x_stride, p->x_dtype, p->n_in);
            continue;
        }
        for (ptrdiff_t at = 0; at < p->n_in; at += LINEAR_STRIP) {
            const ptrdiff_t left = p->n_in - at;
            load_strip(dst + at, b->x[i] + at * p->x_stride, p->x_stride, p->x_dtype,
                       left < LINEAR_STRIP ? left : LINEAR_STRIP);
        }
    }
    w->x = w->x_copy;
}

/* total and error take in a chunk's sum, n numbers; merging into nothing changes nothing. */
static void merge_chunk(const linear_work *w, ptrdiff_t n, bool is_first)
{
    if (is_first) {
        memcpy(w->total, w->sum, (size_t)n * sizeof(real));
        memset(w->error, 0, (size_t)n * sizeof(real));
    } else {
        merge_row(w->total, w->error, w->sum, 1, 1, n);
    }
}

/* Columns [col, col + n), n <= NR, of Y = sum + error + b; sum and error [rows], ld apart */
static void store_panel(const linear_work *w, ptrdiff_t col, ptrdiff_t n, const real *sum,
                        const real *error, ptrdiff_t ld)
{
    const sa_linear_plan *p = w->plan;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    const bool whole = n == NR && dtype_size(p->y_dtype) == size && p->y_stride == size;
    real bias[NR] = {0}, row[NR];
    if (p->bias) {
        load_row(bias, p->bias + col * p->bias_stride, p->bias_stride, p->bias_dtype, n);
    }
    for (ptrdiff_t i = 0; i < w->block->rows; i++) {
        char *y = w->block->y[i] + col * p->y_stride;
        real *dst = whole ? (real *)(void *)y : row;
        SA_UNROLL
        for (int j = 0; j < NR; j += LANES) {
            vec all = v_load(sum + i * ld + j);
            if (error) {
                all = v_add(all, v_finite_or_zero(v_load(error + i * ld + j)));
            }
            v_store(dst + j, v_add(all, v_load(bias + j)));
        }
        if (!whole) {
            store_row(y, p->y_stride, p->y_dtype, row, n);
        }
    }
}

/* Columns [col, col + n); panels of sums are `panel` apart, their rows ld. */
static void store_columns(const linear_work *w, ptrdiff_t col, ptrdiff_t n, ptrdiff_t panel,
                          ptrdiff_t ld)
{
    const bool merged = w->plan->n_in > LINEAR_CHUNK;
    for (ptrdiff_t at = 0; at < n; at += NR) {
        const ptrdiff_t left = n - at, place = at / NR * panel;
        store_panel(w, col + at, left < NR ? left : NR, (merged ? w->total : w->sum) + place,
                    merged ? w->error + place : NULL, ld);
    }
}

#endif
