/* linear.h -- a block of a projection: Y = X W + b, on the register tile of the scores.
 *
 * W is taken in strips of STRIP_DEPTH features and one or a few panels of NR columns. A strip is
 * packed near the core, in whatever type and orientation W has, and serves all rows of the block,
 * whose X stays in the second-level cache.
 *
 * Each element of Y is summed in an order that depends on n_in alone: over LINEAR_PART features
 * from zero, parts added up over LINEAR_CHUNK of them, and chunks merged by error-free sums, so
 * that rounding is bounded however many features there are:
 *
 *   |y - exact| <= 32 u (sum |x w| + |b|)
 *
 * (worst where all products are equal, when roundings do not cancel; tests/test_linear.py).
 */
#ifndef SA_LINEAR_H
#define SA_LINEAR_H

enum { LINEAR_PART = 32, STRIP_DEPTH = 256, LINEAR_CHUNK = 1024 };

typedef struct {
    const sa_linear_plan *plan;
    const sa_linear_block *block;
    const real *x; /* [rows, ldx] */
    ptrdiff_t ldx;
    real *x_copy;
    ptrdiff_t width; /* of a strip, a multiple of NR */
    real *strip;     /* [width / NR][STRIP_DEPTH][NR] of W */
    /* [width / NR][rows][NR]: over the present chunk, over those before, and what rounding took
     * from the latter; these two only if there are chunks to merge */
    real *sum, *total, *error;
} linear_work;

/* Rows of a copy of X start on a cache line, and not a multiple of 1024 bytes apart: the rows of a
 * register tile would meet in few cache sets. */
static ptrdiff_t copied_row_length(ptrdiff_t n_in)
{
    const ptrdiff_t line = 64 / (ptrdiff_t)sizeof(real), ld = round_up(n_in, line);
    return ld * (ptrdiff_t)sizeof(real) % MAX_ROW_STRIDE ? ld : ld + line;
}

/* Columns that lie side by side are packed several panels at a time: each row of W is then read by
 * a few neighbouring lines, on as many pages as there are features. Rows of W^T are long streams. */
static ptrdiff_t strip_width(const sa_linear_plan *plan)
{
    return is_contiguous(plan->weight.col_stride, plan->weight.dtype) ? 4 * NR : NR;
}

static size_t carve_linear(linear_work *w, const sa_linear_plan *plan, ptrdiff_t rows, void *base)
{
    carver c = {base, 0};
    const bool merges = plan->n_in > LINEAR_CHUNK;
    w->plan = plan;
    w->width = strip_width(plan);
    const size_t sums = (size_t)(rows * w->width) * sizeof(real);
    w->ldx = copied_row_length(plan->n_in);
    w->x_copy = carve(&c, (size_t)(rows * w->ldx) * sizeof(real));
    w->strip = carve(&c, (size_t)(STRIP_DEPTH * w->width) * sizeof(real));
    w->sum = carve(&c, sums);
    w->total = carve(&c, merges ? sums : 0);
    w->error = carve(&c, merges ? sums : 0);
    return c.used;
}

static size_t linear_bytes(const sa_linear_plan *plan, ptrdiff_t max_rows)
{
    linear_work w;
    return carve_linear(&w, plan, max_rows, NULL);
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

static void load_inputs(linear_work *w)
{
    const sa_linear_block *b = w->block;
    const sa_linear_plan *p = w->plan;
    if (reads_x_in_place(b)) {
        w->x = (const real *)(const void *)b->x[0];
        w->ldx = b->rows > 1 ? (b->x[1] - b->x[0]) / (ptrdiff_t)sizeof(real) : 0;
        return;
    }
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        load_row(w->x_copy + i * w->ldx, b->x[i], p->x_stride, p->x_dtype, p->n_in);
    }
    w->x = w->x_copy;
}

/* Features [first, first + depth) of columns [col, col + n) into the strip, with zeros up to a
 * whole panel. */
static void pack_strip(const linear_work *w, ptrdiff_t first, ptrdiff_t depth, ptrdiff_t col,
                       ptrdiff_t n)
{
    const sa_matrix *m = &w->plan->weight;
    const ptrdiff_t size = dtype_size(m->dtype), panel = depth * NR;
    const char *src = m->data + first * m->row_stride;
    if (!is_contiguous(m->col_stride, m->dtype)) {
        const sa_matrix transposed = {(char *)(uintptr_t)src, m->col_stride, m->row_stride,
                                      m->dtype};
        pack_panels(w->strip, &transposed, col, n, depth);
        return;
    }
    const ptrdiff_t whole = n / NR * NR, rest = n - whole;
    for (ptrdiff_t i = 0; i < depth; i++) {
        const char *row = src + i * m->row_stride + col * size;
        real *dst = w->strip + i * NR;
        for (ptrdiff_t at = 0; at < whole; at += NR, dst += panel) {
            SA_UNROLL
            for (int j = 0; j < NR; j += LANES) {
                v_store(dst + j, load_lanes(row + (at + j) * size, m->dtype));
            }
        }
        if (rest) {
            load_row(dst, row + whole * size, size, m->dtype, rest);
            memset(dst + rest, 0, (size_t)(NR - rest) * sizeof(real));
        }
    }
}

/* sum [rows, NR] = X W, or sum + X W, over features [first, first + depth); b [depth, NR] of W */
static void multiply_panel(const linear_work *w, ptrdiff_t first, ptrdiff_t depth, const real *b,
                           real *sum, bool adds)
{
    static const real ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    const gemm_depth k = {depth, depth < LINEAR_PART ? depth : LINEAR_PART, LINEAR_PART};
    for (ptrdiff_t r = 0; r < w->block->rows; r += TILE_ROWS) {
        const ptrdiff_t left = w->block->rows - r, rows = left < TILE_ROWS ? left : TILE_ROWS;
        const real *x = w->x + r * w->ldx + first;
        gemm_rows(rows, NR, k, x, w->ldx, 1, b, NR, sum + r * NR, NR, adds ? ones : NULL);
    }
}

/* total and error take in a chunk's sum; merging into nothing changes nothing. */
static void merge_chunk(const linear_work *w, ptrdiff_t columns, bool is_first)
{
    const ptrdiff_t n = w->block->rows * round_up(columns, NR);
    if (is_first) {
        memcpy(w->total, w->sum, (size_t)n * sizeof(real));
        memset(w->error, 0, (size_t)n * sizeof(real));
    } else {
        merge_row(w->total, w->error, w->sum, 1, 1, n);
    }
}

/* X W of columns [col, col + n), n <= width: in sum, or in total + error if n_in > LINEAR_CHUNK */
static void multiply_columns(const linear_work *w, ptrdiff_t col, ptrdiff_t n)
{
    const ptrdiff_t n_in = w->plan->n_in, rows = w->block->rows;
    if (n_in == 0) {
        memset(w->sum, 0, (size_t)(rows * w->width) * sizeof(real));
    }
    for (ptrdiff_t first = 0; first < n_in; first += STRIP_DEPTH) {
        const ptrdiff_t left = n_in - first, depth = left < STRIP_DEPTH ? left : STRIP_DEPTH;
        const ptrdiff_t end = first + depth;
        pack_strip(w, first, depth, col, n);
        for (ptrdiff_t at = 0; at < n; at += NR) {
            multiply_panel(w, first, depth, w->strip + at * depth, w->sum + at * rows,
                           first % LINEAR_CHUNK != 0);
        }
        if (n_in > LINEAR_CHUNK && (end % LINEAR_CHUNK == 0 || end == n_in)) {
            merge_chunk(w, n, end <= LINEAR_CHUNK);
        }
    }
}

/* Columns [col, col + n), n <= NR, of Y = sum + error + b; sum and error [rows, NR] */
static void store_panel(const linear_work *w, ptrdiff_t col, ptrdiff_t n, const real *sum,
                        const real *error)
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
            vec all = v_load(sum + i * NR + j);
            if (error) {
                all = v_add(all, v_load(error + i * NR + j));
            }
            v_store(dst + j, v_add(all, v_load(bias + j)));
        }
        if (!whole) {
            store_row(y, p->y_stride, p->y_dtype, row, n);
        }
    }
}

static void store_columns(const linear_work *w, ptrdiff_t col, ptrdiff_t n)
{
    const bool merged = w->plan->n_in > LINEAR_CHUNK;
    for (ptrdiff_t at = 0; at < n; at += NR) {
        const ptrdiff_t left = n - at, place = at * w->block->rows;
        store_panel(w, col + at, left < NR ? left : NR, (merged ? w->total : w->sum) + place,
                    merged ? w->error + place : NULL);
    }
}

static void linear(const sa_linear_block *block, void *workspace, sa_stop stop)
{
    linear_work w;
    w.block = block;
    carve_linear(&w, block->plan, block->rows, workspace);
    load_inputs(&w);
    for (ptrdiff_t col = block->col_begin; col < block->col_end; col += w.width) {
        const ptrdiff_t left = block->col_end - col, n = left < w.width ? left : w.width;
        if (stop.stop(stop.context)) {
            return;
        }
        multiply_columns(&w, col, n);
        store_columns(&w, col, n);
    }
}

#endif
