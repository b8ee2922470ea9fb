/* stats_overview.h -- the largest and the mean weight of blocks of queries x keys.
 *
 *   max_ab = max w_ij,   mean_ab = sum w_ij / cells,   i in block a of queries, j in block b of keys
 *
 * Weights are made again as in stats_columns.h. An item of work has whole rows of blocks, so that
 * no cell belongs to two. Up to SA_SCORE_ROWS rows of one block of queries are first joined key by
 * key, in vectors, and then block by block.
 */
#ifndef SA_STATS_OVERVIEW_H
#define SA_STATS_OVERVIEW_H

typedef struct {
    long_sum *sum; /* [group, end - begin, side] */
    real *max;     /* the same */
    real *part;    /* [2, SCORE_LD] sums and maxima of some rows, key by key */
    void *block;   /* block_work */
} overview_work;

static ptrdiff_t overview_cells(const sa_overview *o)
{
    return o->plan->group * (o->end - o->begin) * o->side;
}

static size_t carve_overview(overview_work *ow, const sa_overview *o, void *base)
{
    carver at = {base, 0};
    block_work w;
    ow->sum = carve(&at, (size_t)overview_cells(o) * sizeof(long_sum));
    ow->max = carve(&at, (size_t)overview_cells(o) * sizeof(real));
    ow->part = carve(&at, 2 * SCORE_LD * sizeof(real));
    ow->block = carve(&at, carve_block(&w, o->plan, o->block_rows, NULL));
    return at.used;
}

static size_t overview_bytes(const sa_overview *o)
{
    overview_work ow;
    return carve_overview(&ow, o, NULL);
}

/* part[j] = sum of p[j] over the rows, `step` of them apart; part[SCORE_LD + j] = their maximum */
static void join_rows(const real *p, ptrdiff_t rows, ptrdiff_t step, ptrdiff_t n, real *part)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        vec sum = v_zero(), most = v_zero();
        for (ptrdiff_t i = 0; i < rows; i++) {
            const vec x = v_load(p + i * step * SCORE_LD + j);
            sum = v_add(sum, x);
            most = v_max(x, most);
        }
        v_store(part + j, sum);
        v_store(part + SCORE_LD + j, most);
    }
}

/* Joins keys [key, key + n) of part into cells `at`, `at` + 1, ... of span keys each. Chains of
 * plain additions are short, so that the number of weights in a cell costs no accuracy. */
static void join_keys(const overview_work *ow, ptrdiff_t at, ptrdiff_t key, ptrdiff_t n,
                      ptrdiff_t span)
{
    enum { CHAIN = 16 };
    for (ptrdiff_t j = 0; j < n;) {
        const ptrdiff_t b = (key + j) / span, left = (b + 1) * span - key;
        const ptrdiff_t end = left < n ? left : n;
        const ptrdiff_t stop = end - j < CHAIN ? end : j + CHAIN;
        double total = 0;
        real most = ow->max[at + b];
        for (; j < stop; j++) {
            total += (double)ow->part[j];
            most = ow->part[SCORE_LD + j] > most ? ow->part[SCORE_LD + j] : most;
        }
        add_long(&ow->sum[at + b], 1, 1, (long_sum){total, 0});
        ow->max[at + b] = most;
    }
}

/* Rows [row, row + rows) of the block, whose weights stand in w->s, as far as they are of head
 * `head`: stretches of queries of one block each. */
static void overview_head_rows(const block_work *w, const overview_work *ow, const sa_overview *o,
                               ptrdiff_t row, ptrdiff_t first, ptrdiff_t rows, const key_tile *tile)
{
    const ptrdiff_t group = o->plan->group, head = head_of(w, row + first);
    for (ptrdiff_t i = first; i < rows;) {
        const ptrdiff_t a = query_of(w, row + i) / o->span_q;
        const ptrdiff_t in_block = (a + 1) * o->span_q - query_of(w, row + i);
        const ptrdiff_t left = (rows - i + group - 1) / group;
        const ptrdiff_t count = in_block < left ? in_block : left;
        const ptrdiff_t at = (head * (o->end - o->begin) + a - o->begin) * o->side;
        join_rows(w->s + i * SCORE_LD, count, group, tile->n, ow->part);
        join_keys(ow, at, tile->key, tile->n, o->span_k);
        i += count * group;
    }
}

static void overview_block(block_work *w, const overview_work *ow, const sa_overview *o)
{
    const ptrdiff_t rows = w->n_rows, step = o->plan->tile_keys;
    begin_weighing(w, o->row_m, o->row_inverse);
    for (ptrdiff_t key = w->first_key / step * step; key < w->last_key && !stopped(w);
         key += step) {
        key_tile tile = tile_at(w, key);
        for (ptrdiff_t row = 0; row < rows; row += SA_SCORE_ROWS) {
            const ptrdiff_t n = rows - row < SA_SCORE_ROWS ? rows - row : SA_SCORE_ROWS;
            if (meets_tile(w, &tile, row, n)) {
                weigh_tile(w, &tile, row, n, &w->total);
                for (ptrdiff_t g = 0; g < o->plan->group && g < n; g++) {
                    overview_head_rows(w, ow, o, row, g, n, &tile);
                }
            }
        }
    }
}

static void store_overview(const overview_work *ow, const sa_overview *o)
{
    const sa_plan *plan = o->plan;
    const ptrdiff_t used = (plan->n_k + o->span_k - 1) / o->span_k;
    for (ptrdiff_t i = 0; i < plan->group * (o->end - o->begin); i++) {
        const ptrdiff_t head = i / (o->end - o->begin), a = o->begin + i % (o->end - o->begin);
        const ptrdiff_t high = clamp(plan->n_q - a * o->span_q, 0, o->span_q);
        const ptrdiff_t to = (head * o->side + a) * o->side, from = i * o->side;
        for (ptrdiff_t b = 0; b < used; b++) {
            const ptrdiff_t width = clamp(plan->n_k - b * o->span_k, 0, o->span_k);
            const double sum = long_total(ow->sum[from + b]);
            ((real *)o->mean)[to + b] = (real)(sum / (double)(high * width));
            ((real *)o->max)[to + b] = sum == sum ? ow->max[from + b] : (real)NAN;
        }
    }
}

static void overview(const sa_overview *o, void *workspace, sa_stop stop)
{
    const sa_plan *plan = o->plan;
    const ptrdiff_t end = clamp(o->end * o->span_q, 0, plan->n_q) * plan->group;
    overview_work ow;
    block_work w;
    carve_overview(&ow, o, workspace);
    memset(ow.sum, 0, (size_t)overview_cells(o) * sizeof(long_sum));
    memset(ow.max, 0, (size_t)overview_cells(o) * sizeof(real));
    for (ptrdiff_t row = o->begin * o->span_q * plan->group; row < end && !stop.stop(stop.context);
         row += o->block_rows) {
        const ptrdiff_t last = row + o->block_rows < end ? row + o->block_rows : end;
        const sa_block block = {plan, o->head, row, last};
        begin_block(&w, &block, ow.block, stop);
        overview_block(&w, &ow, o);
    }
    store_overview(&ow, o);
}

#endif
