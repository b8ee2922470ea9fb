/* queries.h -- Q of a block, laid out for the way in which its scores are made.
 *
 *   dot products   [rows][ldq]                       padded with zeros
 *   register tile  [rows / TILE_ROWS][d][TILE_ROWS]  a step of depth reads its column side by side
 *
 * The sign of the scale is folded in.
 */
#ifndef SA_QUERIES_H
#define SA_QUERIES_H

static const char *query_row(const block_work *w, ptrdiff_t r)
{
    const sa_head *h = w->head;
    return h->query.data + head_of(w, r) * h->query_head_stride +
           query_of(w, r) * h->query.row_stride;
}

static void pack_query_rows(block_work *w)
{
    const sa_matrix *m = &w->head->query;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        real *q = w->q + r * w->ldq;
        load_row(q, query_row(w, r), m->col_stride, m->dtype, w->plan->d);
        for (ptrdiff_t c = 0; w->plan->scale < 0 && c < w->plan->d; c++) {
            q[c] = -q[c];
        }
        for (ptrdiff_t c = w->plan->d; c < w->ldq; c++) {
            q[c] = 0;
        }
    }
}

/* Columns [c, c + width) of rows [r, r + TILE_ROWS), transposed to q [width][TILE_ROWS]; rows that do
 * not exist are zeros. Columns are stored in order: what one has too much is the start of the next. */
static SA_INLINE void pack_query_block(const block_work *w, const sa_dtype t,
                                       const char *const *rows, ptrdiff_t n_rows, ptrdiff_t c,
                                       ptrdiff_t width, real *q)
{
    const ptrdiff_t stride = w->head->query.col_stride;
    vec x[ROW_VECTORS][LANES];
    SA_UNROLL
    for (int i = 0; i < ROW_VECTORS * LANES; i++) {
        x[i / LANES][i % LANES] = i < TILE_ROWS && i < n_rows
                                      ? load_some(rows[i] + c * stride, stride, t, width)
                                      : v_zero();
    }
    SA_UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        v_transpose(x[i]);
    }
    const bool negate = w->plan->scale < 0;
    SA_UNROLL
    for (int j = 0; j < LANES; j++) {
        if (j < width) {
            SA_UNROLL
            for (int i = 0; i < ROW_VECTORS; i++) {
                const vec column = negate ? v_sub(v_zero(), x[i][j]) : x[i][j];
                v_store_column(q + j * TILE_ROWS + i * LANES, column);
            }
        }
    }
}

static SA_INLINE void pack_query_panels(block_work *w, const sa_dtype t)
{
    const ptrdiff_t d = w->plan->d;
    for (ptrdiff_t r = 0; r < w->n_rows; r += TILE_ROWS) {
        const ptrdiff_t n = w->n_rows - r < TILE_ROWS ? w->n_rows - r : TILE_ROWS;
        real *q = w->q + r * w->ldq;
        const char *rows[TILE_ROWS];
        for (ptrdiff_t i = 0; i < n; i++) {
            rows[i] = query_row(w, r + i);
        }
        ptrdiff_t c = 0;
        for (; c + LANES <= d; c += LANES) {
            pack_query_block(w, t, rows, n, c, LANES, q + c * TILE_ROWS);
        }
        if (c < d) {
            pack_query_block(w, t, rows, n, c, d - c, q + c * TILE_ROWS);
        }
    }
}

static void pack_queries(block_work *w)
{
    if (!w->plan->packed_keys) {
        pack_query_rows(w);
    } else if (w->head->query.dtype == REAL_DTYPE) {
        pack_query_panels(w, REAL_DTYPE);
    } else {
        pack_query_panels(w, w->head->query.dtype);
    }
    forget_reach(w);
}

#endif
