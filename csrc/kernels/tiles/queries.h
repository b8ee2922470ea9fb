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

enum { ROW_VECTORS = (TILE_ROWS + LANES - 1) / LANES };

/* Columns [c, c + LANES) of rows [r, r + TILE_ROWS), transposed to q [LANES][TILE_ROWS]. Rows and
 * columns that do not exist are zeros. Whole vectors are stored, in order: what one has too much is
 * the start of the next. */
static void pack_query_block(const block_work *w, ptrdiff_t r, ptrdiff_t c, real *q)
{
    const sa_matrix *m = &w->head->query;
    const ptrdiff_t left = w->plan->d - c, width = left < LANES ? left : LANES;
    vec x[ROW_VECTORS][LANES];
    for (int i = 0; i < ROW_VECTORS * LANES; i++) {
        vec row = v_zero();
        if (i < TILE_ROWS && r + i < w->n_rows) {
            row =
                load_some(query_row(w, r + i) + c * m->col_stride, m->col_stride, m->dtype, width);
        }
        x[i / LANES][i % LANES] = w->plan->scale < 0 ? v_sub(v_zero(), row) : row;
    }
    for (int i = 0; i < ROW_VECTORS; i++) {
        v_transpose(x[i]);
    }
    for (ptrdiff_t j = 0; j < width; j++) {
        for (int i = 0; i < ROW_VECTORS; i++) {
            v_store(q + j * TILE_ROWS + i * LANES, x[i][j]);
        }
    }
}

static void pack_queries(block_work *w)
{
    if (!w->plan->packed_keys) {
        pack_query_rows(w);
        return;
    }
    for (ptrdiff_t r = 0; r < w->n_rows; r += TILE_ROWS) {
        for (ptrdiff_t c = 0; c < w->plan->d; c += LANES) {
            pack_query_block(w, r, c, w->q + r * w->ldq + c * TILE_ROWS);
        }
    }
}

#endif
