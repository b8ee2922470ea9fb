/* stats_entry.h -- a block of rows with statistics: forward, then what it has left is finished.
 *
 * A row that sees no key has zeros and index -1; one that a NaN or +inf reached has NaN and -1.
 */
#ifndef SA_STATS_ENTRY_H
#define SA_STATS_ENTRY_H

static size_t carve_stats(stats_work *sw, block_work *w, const sa_plan *plan, ptrdiff_t rows,
                          ptrdiff_t n_sets, void *base)
{
    carver c = {base, 0};
    carve(&c, carve_block(w, plan, rows, NULL));
    sw->rows = carve(&c, (size_t)rows * sizeof(row_stats));
    sw->t = carve(&c, TILE_ROWS * SCORE_LD * sizeof(real));
    sw->places = carve(&c, SCORE_LD * sizeof(real));
    sw->sets = carve_sets(&c, rows * n_sets);
    return c.used;
}

static size_t stats_bytes(const sa_plan *plan, ptrdiff_t max_rows, ptrdiff_t n_sets)
{
    stats_work sw;
    block_work w;
    return carve_stats(&sw, &w, plan, max_rows, n_sets, NULL);
}

static void begin_stats(stats_work *sw, const sa_row_stats *wanted, ptrdiff_t rows)
{
    sw->wanted = wanted;
    for (ptrdiff_t r = 0; r < rows; r++) {
        sw->rows[r] = (row_stats){.m = -(real)INFINITY, .most = -1, .argmax = -1};
    }
    for (int j = 0; j < SCORE_LD; j++) {
        sw->places[j] = (real)j;
    }
}

static SA_INLINE void put(void *array, ptrdiff_t at, real x)
{
    if (array) {
        ((real *)array)[at] = x;
    }
}

/* Slots that hold nothing get the weight `none`, and all of them if that is NaN. */
static double finish_top(const block_work *w, ptrdiff_t r, real power, real inverse, real none)
{
    real *weights = top_weights_of(w, r);
    int64_t *indices = top_indices_of(w, r);
    const bool valid = none == 0 && inverse != 0;
    const ptrdiff_t n = valid ? w->stats->rows[r].n_top : 0;
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const real p = weights[i] * power * inverse;
        const int64_t key = indices[i];
        insert_top(weights, indices, i, p, key);
        for (ptrdiff_t at = i; at > 0 && weights[at - 1] == weights[at]; at--) {
            if (indices[at - 1] > indices[at]) { /* equal now, not before p was divided */
                const int64_t later = indices[at - 1];
                indices[at - 1] = indices[at];
                indices[at] = later;
            }
        }
        sum += (double)p;
    }
    for (ptrdiff_t i = n; i < w->stats->wanted->top_k; i++) {
        weights[i] = none;
        indices[i] = -1;
    }
    return sum;
}

static void finish_row_stats(const block_work *w, ptrdiff_t r)
{
    const sa_row_stats *wanted = w->stats->wanted;
    const row_stats *x = &w->stats->rows[r];
    const ptrdiff_t at = stats_index(w, r);
    const double inverse = w->total.l[r].sum;
    const bool lost = inverse != inverse, blind = inverse == 0;
    const real power = power_between(x->m, w->total.m[r]), none = lost ? (real)NAN : 0;
    const bool valid = !lost && !blind;
    const double shift = valid ? (double)(x->m - w->total.m[r]) : 0;
    const double part = (double)power * inverse, weights = part * x->mass;
    double entropy = 0;
    if (valid) {
        entropy =
            -log(inverse) * weights - 0.69314718055994530942 * part * (x->logits + shift * x->mass);
    }
    put(wanted->entropy, at, valid ? (real)(entropy > 0 ? entropy : 0) : none);
    put(wanted->distance, at, valid ? (real)(part * x->distance) : none);
    put(wanted->max, at, valid ? x->most * power * (real)inverse : none);
    if (wanted->argmax) {
        wanted->argmax[at] = valid ? x->argmax : -1;
    }
    if (wanted->top_k > 0) {
        const double top = finish_top(w, r, power, (real)inverse, none);
        const double rest = x->n_top < wanted->top_k ? 0 : weights - top;
        put(wanted->top_rest, at, valid ? (real)(rest > 0 ? rest : 0) : none);
    }
    for (ptrdiff_t i = 0; i < wanted->n_sets; i++) {
        const double sum = w->stats->sets.sums[r * wanted->n_sets + i];
        put(wanted->set_weights, at * wanted->n_sets + i, valid ? (real)(part * sum) : none);
    }
    put(wanted->row_m, w->row_begin + r, w->total.m[r]);
    if (wanted->row_inverse) {
        wanted->row_inverse[w->row_begin + r] = inverse;
    }
}

static void stats(const sa_block *block, const sa_row_stats *wanted, void *workspace, sa_stop stop)
{
    block_work w;
    stats_work sw;
    const ptrdiff_t rows = block->row_end - block->row_begin;
    carve_stats(&sw, &w, block->plan, rows, wanted->n_sets, workspace);
    begin_stats(&sw, wanted, rows);
    begin_block(&w, block, workspace, stop);
    begin_sets(&w, &sw.sets, wanted);
    w.stats = &sw;
    forward_block(&w);
    for (ptrdiff_t r = 0; r < rows && !stopped(&w); r++) {
        finish_row_stats(&w, r);
    }
}

#endif
