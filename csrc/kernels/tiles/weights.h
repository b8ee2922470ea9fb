/* weights.h -- the weights themselves, P_ij = 2^(t_ij - m_i) / l_i: finished where keep.h kept them,
 * or made again.
 *
 * Where the keys of a row are spread over threads nothing is kept: from each row's final maximum
 * and 1 / denominator the same scores are made again, tile by tile. So are those whose columns are
 * summed (stats_columns.h). No matrix of n_q x n_k exists but the caller's. Head means are summed in
 * double, head by head, for a few queries at a time.
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
        const real *m = st->m + g->row;
        weigh_rows(w, stays_normal(w, tile, g, m), s, m, sums, g->rows, begin, end);
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

static char *weights_row(const block_work *w, ptrdiff_t r, ptrdiff_t key)
{
    const sa_head *h = w->head;
    return h->weights.data + head_of(w, r) * h->weights_head_stride +
           query_of(w, r) * h->weights.row_stride + key * h->weights.col_stride;
}

static void store_weights_row(const block_work *w, ptrdiff_t r, ptrdiff_t key, ptrdiff_t n,
                              const real *p)
{
    store_row(weights_row(w, r, key), w->head->weights.col_stride, w->head->weights.dtype, p, n);
}

/* Per-head weights of all rows, by a second pass; w->total as finish_rows leaves it. */
static void write_weights(block_work *w)
{
    for (ptrdiff_t key = 0; key < w->plan->n_k && !stopped(w); key += w->plan->tile_keys) {
        key_tile tile = tile_at(w, key);
        for (ptrdiff_t row = 0; row < w->n_rows; row += SA_SCORE_ROWS) {
            const ptrdiff_t left = w->n_rows - row;
            const ptrdiff_t rows = left < SA_SCORE_ROWS ? left : SA_SCORE_ROWS;
            weigh_tile(w, &tile, row, rows, &w->total);
            for (ptrdiff_t r = row; r < row + rows; r++) {
                store_weights_row(w, r, key, tile.n, w->s + (r - row) * SCORE_LD);
            }
        }
    }
}

/* The same from what was kept. */
static void write_kept_weights(const block_work *w)
{
    const sa_matrix *m = &w->head->weights;
    const bool in_place = m->dtype == REAL_DTYPE && is_contiguous(m->col_stride, REAL_DTYPE);
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        for (ptrdiff_t key = 0; key < w->plan->n_k; key += w->plan->tile_keys) {
            const ptrdiff_t n = tile_at(w, key).n;
            if (in_place) {
                finish_kept(w, r, key, n, (real *)(void *)weights_row(w, r, key), w->plan->streams);
            } else {
                real *p = kept_row(w, r, key);
                finish_kept(w, r, key, n, p, false);
                store_weights_row(w, r, key, n, p);
            }
        }
    }
    if (w->plan->streams) {
        v_end_streams();
    }
}

/* What a block of queries needs for the mean beyond one head's block_work. */
typedef struct {
    double *sum; /* [n_queries, n_k] */
    void *block; /* block_work of one head */
} mean_work;

static size_t carve_mean(mean_work *mw, const sa_plan *plan, ptrdiff_t n_queries, void *base)
{
    carver c = {base, 0};
    block_work w;
    mw->sum = carve(&c, (size_t)(n_queries * plan->n_k) * sizeof(double));
    mw->block = carve(&c, carve_block(&w, plan, n_queries * plan->group, NULL));
    return c.used;
}

static size_t mean_workspace_bytes(const sa_plan *plan, ptrdiff_t n_queries)
{
    mean_work mw;
    return carve_mean(&mw, plan, n_queries, NULL);
}

static void add_to_mean(const block_work *w, double *sum)
{
    const ptrdiff_t n_k = w->plan->n_k;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        double *to = sum + r / w->plan->group * n_k;
        for (ptrdiff_t key = 0; key < n_k; key += w->plan->tile_keys) {
            const ptrdiff_t n = tile_at(w, key).n;
            real *p = kept_row(w, r, key);
            finish_kept(w, r, key, n, p, false);
            for (ptrdiff_t j = 0; j < n; j++) {
                to[key + j] += (double)p[j];
            }
        }
    }
}

static void store_mean_row(const sa_matrix *mean, ptrdiff_t i, const double *sum, ptrdiff_t n_k,
                           double share)
{
    real row[SA_MAX_TILE_KEYS];
    for (ptrdiff_t key = 0; key < n_k; key += SA_MAX_TILE_KEYS) {
        const ptrdiff_t n = n_k - key < SA_MAX_TILE_KEYS ? n_k - key : SA_MAX_TILE_KEYS;
        for (ptrdiff_t j = 0; j < n; j++) {
            row[j] = (real)(sum[key + j] * share);
        }
        store_row(mean->data + i * mean->row_stride + key * mean->col_stride, mean->col_stride,
                  mean->dtype, row, n);
    }
}

static void forward_mean(const sa_plan *plan, const sa_head *heads, ptrdiff_t n_kv_heads,
                         ptrdiff_t query_begin, ptrdiff_t query_end, const sa_matrix *mean,
                         void *workspace, sa_stop stop)
{
    const ptrdiff_t n_queries = query_end - query_begin;
    mean_work mw;
    carve_mean(&mw, plan, n_queries, workspace);
    memset(mw.sum, 0, (size_t)(n_queries * plan->n_k) * sizeof(double));
    for (ptrdiff_t head = 0; head < n_kv_heads && !stop.stop(stop.context); head++) {
        block_work w;
        const sa_block block = {plan, heads + head, query_begin * plan->group,
                                query_end * plan->group};
        begin_block(&w, &block, mw.block, stop);
        forward_block(&w);
        add_to_mean(&w, mw.sum);
    }
    for (ptrdiff_t i = 0; i < n_queries; i++) {
        store_mean_row(mean, query_begin + i, mw.sum + i * plan->n_k, plan->n_k,
                       1.0 / (double)(n_kv_heads * plan->group));
    }
}

#endif
