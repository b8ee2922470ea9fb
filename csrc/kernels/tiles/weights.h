/* weights.h -- the weights themselves, P_ij = 2^(t_ij - m_i) / l_i, in a second pass over the tiles.
 *
 * The first pass has left each row's final maximum and 1 / denominator; the second makes the same
 * scores again and writes every weight once, in the caller's type and strides. No matrix of n_q x
 * n_k exists but the caller's. Head means are summed in double, one tile of all heads at a time.
 */
#ifndef SA_WEIGHTS_H
#define SA_WEIGHTS_H

/* p *= 1 / l over a whole tile row, zeros outside [begin, end) */
static void normalise_row(real *p, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n, real inverse)
{
    const vec factor = v_set1(inverse);
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        v_store(p + j, v_mul(v_load(p + j), factor));
    }
    memset(p, 0, (size_t)begin * sizeof(real));
    for (ptrdiff_t j = end; j < n; j++) {
        p[j] = 0;
    }
}

/* w->s[r - row][0 .. tile->n) = weights of rows [row, row + rows); st as finish_rows leaves it. */
static void weigh_tile(block_work *w, key_tile *tile, ptrdiff_t row, ptrdiff_t rows,
                       const row_state *st)
{
    row_group groups[MAX_GROUPS];
    const int n_groups = find_groups(w, tile, row, rows, groups);
    if (n_groups && !tile->loaded) {
        load_keys(w, tile);
    }
    real *s0 = w->s;
    ptrdiff_t done = row;
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        const ptrdiff_t begin = g->first / EXP_STEP * EXP_STEP, end = round_up(g->last, LANES);
        memset(s0 + (done - row) * SCORE_LD, 0,
               (size_t)((g->row - done) * SCORE_LD) * sizeof(real));
        done = g->row + g->rows;
        real *s = s0 + (g->row - row) * SCORE_LD;
        score_groups(w, tile, g, 1, s);
        group_logits(w, tile, g, s);
        long_sum sums[TILE_ROWS];
        weigh_rows(w, s, st->m + g->row, sums, g->rows, begin, end);
        for (ptrdiff_t i = 0; i < g->rows; i++, s += SCORE_LD) {
            const ptrdiff_t r = g->row + i;
            const real inverse = (real)st->l[r].sum;
            if (inverse != inverse) {
                spread_nan(w, r, tile->key, tile->n, s);
                continue;
            }
            if (inverse == 0) { /* saw nothing: all zeros, not 0 * NaN */
                memset(s + begin, 0, (size_t)(end - begin) * sizeof(real));
            }
            normalise_row(s, begin, end, tile->n, inverse);
        }
    }
    memset(s0 + (done - row) * SCORE_LD, 0,
           (size_t)((row + rows - done) * SCORE_LD) * sizeof(real));
}

/* Per-head weights of all rows; w->total as finish_rows leaves it. */
static void write_weights(block_work *w)
{
    const sa_head *h = w->head;
    for (ptrdiff_t key = 0; key < w->plan->n_k && !stopped(w); key += w->plan->tile_keys) {
        key_tile tile = tile_at(w, key);
        for (ptrdiff_t row = 0; row < w->n_rows; row += SA_SCORE_ROWS) {
            const ptrdiff_t left = w->n_rows - row;
            const ptrdiff_t rows = left < SA_SCORE_ROWS ? left : SA_SCORE_ROWS;
            weigh_tile(w, &tile, row, rows, &w->total);
            for (ptrdiff_t r = row; r < row + rows; r++) {
                char *dst = h->weights.data + head_of(w, r) * h->weights_head_stride +
                            query_of(w, r) * h->weights.row_stride + key * h->weights.col_stride;
                store_row(dst, h->weights.col_stride, h->weights.dtype, w->s + (r - row) * SCORE_LD,
                          tile.n);
            }
        }
    }
}

/* What a block of queries needs for the mean beyond one head's block_work. */
typedef struct {
    double *sum; /* [n_queries, tile_keys] */
    real *m;     /* [n_kv_heads, rows] */
    long_sum *l; /* the same */
    void *block; /* block_work of one head */
} mean_work;

static size_t carve_mean(mean_work *mw, const sa_plan *plan, ptrdiff_t n_kv_heads,
                         ptrdiff_t n_queries, void *base)
{
    carver c = {base, 0};
    const ptrdiff_t rows = n_queries * plan->group;
    block_work w;
    mw->sum = carve(&c, (size_t)(n_queries * plan->tile_keys) * sizeof(double));
    mw->m = carve(&c, (size_t)(n_kv_heads * rows) * sizeof(real));
    mw->l = carve(&c, (size_t)(n_kv_heads * rows) * sizeof(long_sum));
    mw->block = carve(&c, carve_block(&w, plan, rows, NULL));
    return c.used;
}

static size_t mean_workspace_bytes(const sa_plan *plan, ptrdiff_t n_kv_heads, ptrdiff_t n_queries)
{
    mean_work mw;
    return carve_mean(&mw, plan, n_kv_heads, n_queries, NULL);
}

static void add_rows_to_mean(const block_work *w, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t n,
                             double *sum)
{
    for (ptrdiff_t r = row; r < row + rows; r++) {
        const real *p = w->s + (r - row) * SCORE_LD;
        double *to = sum + r / w->plan->group * w->plan->tile_keys;
        for (ptrdiff_t j = 0; j < n; j++) {
            to[j] += (double)p[j];
        }
    }
}

static void add_head_to_mean(block_work *w, const mean_work *mw, ptrdiff_t head, ptrdiff_t key)
{
    const ptrdiff_t rows = w->n_rows;
    const row_state final = {NULL, NULL, mw->l + head * rows, mw->m + head * rows};
    key_tile tile = tile_at(w, key);
    for (ptrdiff_t row = 0; row < rows; row += SA_SCORE_ROWS) {
        const ptrdiff_t n = rows - row < SA_SCORE_ROWS ? rows - row : SA_SCORE_ROWS;
        weigh_tile(w, &tile, row, n, &final);
        add_rows_to_mean(w, row, n, tile.n, mw->sum);
    }
}

static void forward_mean(const sa_plan *plan, const sa_head *heads, ptrdiff_t n_kv_heads,
                         ptrdiff_t query_begin, ptrdiff_t query_end, const sa_matrix *mean,
                         void *workspace, sa_stop stop)
{
    const ptrdiff_t n_queries = query_end - query_begin, rows = n_queries * plan->group;
    mean_work mw;
    carve_mean(&mw, plan, n_kv_heads, n_queries, workspace);
    block_work w;
    for (ptrdiff_t head = 0; head < n_kv_heads; head++) {
        const sa_block block = {plan, heads + head, query_begin * plan->group,
                                query_end * plan->group};
        begin_block(&w, &block, mw.block, stop);
        forward_block(&w);
        memcpy(mw.m + head * rows, w.total.m, (size_t)rows * sizeof(real));
        memcpy(mw.l + head * rows, w.total.l, (size_t)rows * sizeof(long_sum));
    }
    for (ptrdiff_t key = 0; key < plan->n_k && !stop.stop(stop.context); key += plan->tile_keys) {
        const ptrdiff_t left = plan->n_k - key, n = left < plan->tile_keys ? left : plan->tile_keys;
        memset(mw.sum, 0, (size_t)(n_queries * plan->tile_keys) * sizeof(double));
        for (ptrdiff_t head = 0; head < n_kv_heads; head++) {
            const sa_block block = {plan, heads + head, query_begin * plan->group,
                                    query_end * plan->group};
            begin_block(&w, &block, mw.block, stop);
            pack_queries(&w);
            add_head_to_mean(&w, &mw, head, key);
        }
        const double share = 1.0 / (double)(n_kv_heads * plan->group);
        for (ptrdiff_t i = 0; i < n_queries; i++) {
            real row[SA_MAX_TILE_KEYS];
            for (ptrdiff_t j = 0; j < n; j++) {
                row[j] = (real)(mw.sum[i * plan->tile_keys + j] * share);
            }
            store_row(mean->data + (query_begin + i) * mean->row_stride + key * mean->col_stride,
                      mean->col_stride, mean->dtype, row, n);
        }
    }
}

#endif
