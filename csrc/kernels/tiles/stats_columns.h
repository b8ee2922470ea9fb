/* stats_columns.h -- sums over queries, for the keys of one tile: a second pass over the tiles.
 *
 *   received_j = sum_i w_ij,   weighted_jc = sum_i w_ij r_ic
 *
 * Scores are made again with the row's final maximum and 1 / denominator, as in weights.h. A tile's
 * columns belong to one call, which walks over all rows in order: no bit depends on who else works.
 * The weights of up to SA_SCORE_ROWS rows are added in the compute type, these sums in double.
 */
#ifndef SA_STATS_COLUMNS_H
#define SA_STATS_COLUMNS_H

typedef struct {
    double *received; /* [group, tile_keys] */
    double *weighted; /* [n_columns, group, tile_keys] */
    real *part;       /* [SCORE_LD] */
    void *block;      /* block_work */
} column_work;

static size_t carve_columns(column_work *cw, const sa_columns *c, void *base)
{
    carver at = {base, 0};
    block_work w;
    const size_t bytes = (size_t)(c->plan->group * c->plan->tile_keys) * sizeof(double);
    cw->received = carve(&at, c->received ? bytes : 0);
    cw->weighted = carve(&at, (size_t)c->n_columns * bytes);
    cw->part = carve(&at, SCORE_LD * sizeof(real));
    cw->block = carve(&at, carve_block(&w, c->plan, c->block_rows, NULL));
    return at.used;
}

static size_t columns_bytes(const sa_columns *c)
{
    column_work cw;
    return carve_columns(&cw, c, NULL);
}

/* sum += the rows of p, `step` of them apart, each times its factor if there are any. */
static void add_weights(const real *p, ptrdiff_t rows, ptrdiff_t step, const real *factors,
                        ptrdiff_t n, real *restrict part, double *restrict sum)
{
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        vec x = v_zero();
        for (ptrdiff_t i = 0; i < rows; i++) {
            const vec y = v_load(p + i * step * SCORE_LD + j);
            x = factors ? v_fma(v_set1(factors[i]), y, x) : v_add(x, y);
        }
        v_store(part + j, x);
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        sum[j] += (double)part[j];
    }
}

/* Rows [row, row + rows) of the block, whose weights stand in w->s, of one head of the group: the
 * first of them is `first` and the others follow in steps of the group. */
static void add_head_rows(const block_work *w, const column_work *cw, const sa_columns *c,
                          ptrdiff_t row, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t n)
{
    const ptrdiff_t group = c->plan->group, count = (rows - first + group - 1) / group;
    const ptrdiff_t head = head_of(w, row + first), query = query_of(w, row + first);
    const real *p = w->s + first * SCORE_LD;
    if (c->received) {
        const ptrdiff_t begin = clamp(c->received_begin - query, 0, count);
        const ptrdiff_t end = clamp(c->received_end - query, begin, count);
        if (begin < end) {
            add_weights(p + begin * group * SCORE_LD, end - begin, group, NULL, n, cw->part,
                        cw->received + head * c->plan->tile_keys);
        }
    }
    for (ptrdiff_t column = 0; column < c->n_columns; column++) {
        real factors[SA_SCORE_ROWS];
        load_row(factors,
                 c->factors.data + head * c->factors_head_stride + query * c->factors.row_stride +
                     column * c->factors.col_stride,
                 c->factors.row_stride, REAL_DTYPE, count);
        add_weights(p, count, group, factors, n, cw->part,
                    cw->weighted + (column * group + head) * c->plan->tile_keys);
    }
}

/* Whether any of the rows may see a key of the tile. */
static bool meets_tile(const block_work *w, const key_tile *tile, ptrdiff_t row, ptrdiff_t rows)
{
    for (ptrdiff_t r = row; r < row + rows; r += TILE_ROWS) {
        const interval *v = &w->seen[r / TILE_ROWS];
        if (v->first < tile->key + tile->n && v->last > tile->key) {
            return true;
        }
    }
    return false;
}

/* Ready for weigh_tile, with what stats has left of the head's rows. */
static void begin_weighing(block_work *w, const void *row_m, const double *row_inverse)
{
    pack_queries(w);
    memcpy(w->total.m, (const real *)row_m + w->row_begin, (size_t)w->n_rows * sizeof(real));
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        w->total.l[r] = (long_sum){row_inverse[w->row_begin + r], 0};
    }
}

static void add_block(block_work *w, const column_work *cw, const sa_columns *c)
{
    const ptrdiff_t rows = w->n_rows;
    key_tile tile = tile_at(w, c->key);
    if (!meets_tile(w, &tile, 0, rows)) {
        return;
    }
    begin_weighing(w, c->row_m, c->row_inverse);
    for (ptrdiff_t row = 0; row < rows && !stopped(w); row += SA_SCORE_ROWS) {
        const ptrdiff_t n = rows - row < SA_SCORE_ROWS ? rows - row : SA_SCORE_ROWS;
        if (meets_tile(w, &tile, row, n)) {
            weigh_tile(w, &tile, row, n, &w->total);
            for (ptrdiff_t g = 0; g < c->plan->group && g < n; g++) {
                add_head_rows(w, cw, c, row, g, n, tile.n);
            }
        }
    }
}

static void store_column_sums(const column_work *cw, const sa_columns *c, ptrdiff_t n)
{
    const sa_plan *plan = c->plan;
    for (ptrdiff_t g = 0; g < plan->group; g++) {
        const ptrdiff_t at = g * plan->n_k + c->key, from = g * plan->tile_keys;
        for (ptrdiff_t j = 0; c->received && j < n; j++) {
            ((real *)c->received)[at + j] = (real)cw->received[from + j];
        }
        for (ptrdiff_t column = 0; column < c->n_columns; column++) {
            const double *sum = cw->weighted + column * plan->group * plan->tile_keys + from;
            for (ptrdiff_t j = 0; j < n; j++) {
                ((real *)c->weighted)[(at + j) * c->ld_weighted + column] = (real)sum[j];
            }
        }
    }
}

static void columns(const sa_columns *c, void *workspace, sa_stop stop)
{
    const ptrdiff_t all = c->plan->n_q * c->plan->group;
    const ptrdiff_t left = c->plan->n_k - c->key;
    column_work cw;
    block_work w;
    carve_columns(&cw, c, workspace);
    const size_t bytes = (size_t)(c->plan->group * c->plan->tile_keys) * sizeof(double);
    memset(cw.received, 0, c->received ? bytes : 0);
    memset(cw.weighted, 0, (size_t)c->n_columns * bytes);
    for (ptrdiff_t row = 0; row < all && !stop.stop(stop.context); row += c->block_rows) {
        const ptrdiff_t end = row + c->block_rows < all ? row + c->block_rows : all;
        const ptrdiff_t group = c->plan->group;
        if (c->n_columns == 0 &&
            (end <= c->received_begin * group || row >= c->received_end * group)) {
            continue;
        }
        const sa_block block = {c->plan, c->head, row, end};
        begin_block(&w, &block, cw.block, stop);
        add_block(&w, &cw, c);
    }
    store_column_sums(&cw, c, left < c->plan->tile_keys ? left : c->plan->tile_keys);
}

#endif
