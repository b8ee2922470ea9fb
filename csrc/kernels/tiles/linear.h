/* linear.h -- a block of a projection: Y = X W + b, on the register tile of the scores.
 *
 * W is taken in strips of features and one or a few panels of NR columns. A strip is packed near the
 * core, in whatever type and orientation W has, and serves all rows of the block, whose X stays in
 * the second-level cache, its features in the strip's order too. A few rows read W where it lies
 * (linear_rows.h). The order of additions: linear_work.h.
 */
#ifndef SA_LINEAR_H
#define SA_LINEAR_H

/* Columns of W that are features side by side. */
static SA_NOINLINE void pack_columns(real *restrict dst, panel_layout to, const sa_matrix *w,
                                     ptrdiff_t first, ptrdiff_t n, ptrdiff_t depth)
{
    if (w->dtype == REAL_DTYPE) {
        pack_panels_of(dst, to, NR, w, REAL_DTYPE, first, n, depth);
    } else {
        pack_panels_of(dst, to, NR, w, w->dtype, first, n, depth);
    }
}

/* Features [first, first + depth) of columns [col, col + n) into the strip, in its order, with
 * zeros up to a whole panel and whole parts. */
static void pack_strip(const linear_work *w, ptrdiff_t first, ptrdiff_t depth, ptrdiff_t col,
                       ptrdiff_t n, panel_layout to)
{
    const sa_matrix *m = &w->plan->weight;
    const ptrdiff_t size = dtype_size(m->dtype);
    const char *src = m->data + first * m->row_stride;
    for (ptrdiff_t i = depth; takes_strips(w->plan) && i % LANES; i++) {
        for (ptrdiff_t at = 0; at < n; at += NR) {
            memset(w->strip + at / NR * to.panel + i / LANES * to.block + i % LANES * to.lane, 0,
                   NR * sizeof(real));
        }
    }
    if (!is_contiguous(m->col_stride, m->dtype)) {
        const sa_matrix transposed = {(char *)(uintptr_t)src, m->col_stride, m->row_stride,
                                      m->dtype};
        pack_columns(w->strip, to, &transposed, col, n, depth);
        return;
    }
    const ptrdiff_t whole = n / NR * NR, rest = n - whole;
    for (ptrdiff_t i = 0; i < depth; i++) {
        const char *row = src + i * m->row_stride + col * size;
        real *dst = w->strip + i / LANES * to.block + i % LANES * to.lane;
        for (ptrdiff_t at = 0; at < whole; at += NR, dst += to.panel) {
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

/* sum [rows, NR] = X W, or sum + X W; x [rows, ldx] and b [k->depth, NR] of a strip */
static void multiply_panel(const linear_work *w, const gemm_depth *k, const real *x, const real *b,
                           real *sum, bool adds)
{
    static const real ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (ptrdiff_t r = 0; r < w->block->rows; r += TILE_ROWS) {
        const ptrdiff_t left = w->block->rows - r, rows = left < TILE_ROWS ? left : TILE_ROWS;
        gemm_rows(false, rows, NR, k, x + r * w->ldx, w->ldx, 1, b, NR, sum + r * NR, NR,
                  adds ? ones : NULL);
    }
}

/* X W of columns [col, col + n), n <= width: in sum, or in total + error if n_in > LINEAR_CHUNK */
static void multiply_columns(const linear_work *w, ptrdiff_t col, ptrdiff_t n)
{
    const ptrdiff_t n_in = w->plan->n_in, rows = w->block->rows;
    const ptrdiff_t strip = takes_strips(w->plan) ? LINEAR_STRIP : LEAST_STRIP;
    if (n_in == 0) {
        memset(w->sum, 0, (size_t)(rows * w->width) * sizeof(real));
    }
    for (ptrdiff_t first = 0; first < n_in; first += strip) {
        const ptrdiff_t left = n_in - first, depth = left < strip ? left : strip;
        const ptrdiff_t end = first + depth, steps = steps_of(depth);
        gemm_depth k = cut_in_parts(depth, LINEAR_PART, NULL);
        panel_layout to = {.panel = depth * NR, .block = LANES * NR, .lane = NR};
        if (takes_strips(w->plan)) {
            k = cut_in_parts(LANES * steps, steps, NULL);
            to = (panel_layout){.panel = LANES * steps * NR, .block = NR, .lane = steps * NR};
        }
        pack_strip(w, first, depth, col, n, to);
        for (ptrdiff_t at = 0; at < n; at += NR) {
            multiply_panel(w, &k, w->x + first, w->strip + at / NR * to.panel, w->sum + at * rows,
                           first % LINEAR_CHUNK != 0);
        }
        if (n_in > LINEAR_CHUNK && (end % LINEAR_CHUNK == 0 || end == n_in)) {
            merge_chunk(w, rows * round_up(n, NR), end <= LINEAR_CHUNK);
        }
    }
}

static size_t linear_bytes(const sa_linear_plan *plan, ptrdiff_t max_rows)
{
    linear_work w;
    const ptrdiff_t most = most_few_rows(plan), few = max_rows < most ? max_rows : most;
    const size_t tile = carve_tile(&w, plan, max_rows, NULL), rows = carve_few(&w, plan, few, NULL);
    return tile > rows ? tile : rows;
}

static void linear(const sa_linear_block *block, void *workspace, sa_stop stop)
{
    linear_work w;
    w.block = block;
    ptrdiff_t col = block->col_begin;
    if (block->rows <= most_few_rows(block->plan)) {
        carve_few(&w, block->plan, block->rows, workspace);
        col = linear_few_rows(&w, stop);
    }
    carve_tile(&w, block->plan, block->rows, workspace);
    if (col < block->col_end) {
        load_inputs(&w);
    }
    for (; col < block->col_end; col += w.width) {
        const ptrdiff_t left = block->col_end - col, n = left < w.width ? left : w.width;
        if (stop.stop(stop.context)) {
            return;
        }
        multiply_columns(&w, col, n);
        store_columns(&w, col, n, block->rows * NR, NR);
    }
}

#endif
