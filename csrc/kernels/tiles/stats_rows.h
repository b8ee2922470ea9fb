/* stats_rows.h -- statistics of each row's weights, taken from P as the tiles come.
 *
 *   A = sum_j p_j (t_j - m),  D = sum_j p_j |pos - j|,  L = sum_j p_j,  p_j = 2^(t_j - m)
 *   entropy = -sum w ln w = (ln l L - ln 2 A) / l,  distance = D / l,  w_j = p_j / l
 *
 * with the largest p, its key, and the k largest. When the maximum moves from m to m', sums and kept
 * p are multiplied by 2^(m - m'), which is exact, and A loses (m' - m) L. l has the sink's share, L
 * has not. The largest p and the kept ones have the bits of the dense weights.
 */
#ifndef SA_STATS_ROWS_H
#define SA_STATS_ROWS_H

typedef struct {
    double logits, distance, mass; /* A, D, L */
    real m, most;                  /* m; the largest p, -1 before the first */
    int64_t argmax;
    ptrdiff_t n_top; /* kept so far */
} row_stats;

typedef struct stats_work {
    const sa_row_stats *wanted;
    row_stats *rows; /* [rows] */
    real *t;         /* [TILE_ROWS, SCORE_LD] the logits that P was made of */
    real *places;    /* 0, 1, 2 ... */
    set_sums sets;
} stats_work;

static SA_INLINE bool takes_stats(const block_work *w) { return w->stats && w->headroom == 0; }

static void keep_logits(const block_work *w, const real *s, ptrdiff_t rows, ptrdiff_t begin,
                        ptrdiff_t end)
{
    for (ptrdiff_t i = 0; w->stats->wanted->entropy && i < rows; i++) {
        memcpy(w->stats->t + i * SCORE_LD + begin, s + i * SCORE_LD + begin,
               (size_t)(end - begin) * sizeof(real));
    }
}

/* n <= STEP_VECTORS vectors: their p (t - m). Where p is 0, t may be -inf. */
static SA_INLINE vec weigh_logits(const int n, const real *p, const real *t, const real *low,
                                  const bool has_low, vec c, vec c_low, vec minus_m)
{
    vec sum[STEP_VECTORS];
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        const vec t_i = v_load(t + i * LANES);
        vec x = v_fma(t_i, c, minus_m);
        if (has_low) {
            x = v_add(x, v_load(low + i * LANES));
        } else {
            x = v_fma(t_i, c_low, x);
        }
        x = v_max(x, v_set1(2 * MIN_EXPONENT));
        sum[i] = v_mul(v_load(p + i * LANES), x);
    }
    return sum_vectors(n, sum);
}

static SA_INLINE double sum_logits(const real *p, const real *t, const real *low,
                                   const bool has_low, real c, real c_low, real m, ptrdiff_t begin,
                                   ptrdiff_t end)
{
    const vec factor = v_set1(c), factor_low = v_set1(c_low), origin = v_set1(-m);
    wide sum = wide_zero();
    ptrdiff_t j = begin;
    for (; j + EXP_STEP <= end; j += EXP_STEP) {
        sum = wide_add(sum, weigh_logits(STEP_VECTORS, p + j, t + j, low + j, has_low, factor,
                                         factor_low, origin));
    }
    for (; j < end; j += LANES) {
        sum = wide_add(sum,
                       weigh_logits(1, p + j, t + j, low + j, has_low, factor, factor_low, origin));
    }
    return wide_sum(sum).sum;
}

static SA_NOINLINE double sum_plain_logits(const real *p, const real *t, real c, real c_low, real m,
                                           ptrdiff_t begin, ptrdiff_t end)
{
    return sum_logits(p, t, t, false, c, c_low, m, begin, end);
}

static SA_NOINLINE double sum_split_logits(const real *p, const real *t, const real *low, real c,
                                           real m, ptrdiff_t begin, ptrdiff_t end)
{
    return sum_logits(p, t, low, true, c, 0, m, begin, end);
}

/* Where m is far, with t - m rounded as for p; rounding of another kind would be larger than it. */
static SA_NOINLINE double sum_far_logits(const real *p, const real *t, const real *low,
                                         const bool has_low, real c, real m, ptrdiff_t begin,
                                         ptrdiff_t end)
{
    double sum = 0;
    for (ptrdiff_t j = begin; j < end; j++) {
        sum += p[j] == 0 ? 0 : (double)p[j] * (double)far_logit(t[j], low + j, has_low, c, m);
    }
    return sum;
}

static SA_INLINE vec weigh_places(const int n, const real *p, const real *places, vec position)
{
    vec sum[STEP_VECTORS];
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        const vec away = v_abs(v_sub(position, v_load(places + i * LANES)));
        sum[i] = v_mul(v_load(p + i * LANES), away);
    }
    return sum_vectors(n, sum);
}

/* sum_j p_j |position - j| over [begin, end) */
static SA_NOINLINE double sum_distances(const real *p, const real *places, real position,
                                        ptrdiff_t begin, ptrdiff_t end)
{
    const vec at = v_set1(position);
    wide sum = wide_zero();
    ptrdiff_t j = begin;
    for (; j + EXP_STEP <= end; j += EXP_STEP) {
        sum = wide_add(sum, weigh_places(STEP_VECTORS, p + j, places + j, at));
    }
    for (; j < end; j += LANES) {
        sum = wide_add(sum, weigh_places(1, p + j, places + j, at));
    }
    return wide_sum(sum).sum;
}

/* Where the statistics of row r stand. */
static SA_INLINE ptrdiff_t stats_index(const block_work *w, ptrdiff_t r)
{
    return head_of(w, r) * w->plan->n_q + query_of(w, r);
}

static SA_INLINE real *top_weights_of(const block_work *w, ptrdiff_t r)
{
    const sa_row_stats *wanted = w->stats->wanted;
    return (real *)wanted->top_weights + stats_index(w, r) * wanted->top_k;
}

static SA_INLINE int64_t *top_indices_of(const block_work *w, ptrdiff_t r)
{
    const sa_row_stats *wanted = w->stats->wanted;
    return wanted->top_indices + stats_index(w, r) * wanted->top_k;
}

/* Largest first, and among equal ones the first that came. */
static SA_INLINE void insert_top(real *weights, int64_t *indices, ptrdiff_t n, real p, int64_t key)
{
    ptrdiff_t at = n;
    for (; at > 0 && weights[at - 1] < p; at--) {
        weights[at] = weights[at - 1];
        indices[at] = indices[at - 1];
    }
    weights[at] = p;
    indices[at] = key;
}

static bool sees_key(const block_work *w, ptrdiff_t r, ptrdiff_t key)
{
    uint8_t seen;
    mask_bytes(w, r, key, 1, &seen);
    return seen != 0;
}

/* Offers b p[j], j in [begin, end), all inside the row's interval of keys. A hidden key has p = 0,
 * which only a list that is not full would take. */
static void offer_top(block_work *w, ptrdiff_t r, ptrdiff_t key, const real *p, real b,
                      ptrdiff_t begin, ptrdiff_t end)
{
    row_stats *x = &w->stats->rows[r];
    const ptrdiff_t k = w->stats->wanted->top_k;
    real *weights = top_weights_of(w, r);
    int64_t *indices = top_indices_of(w, r);
    for (ptrdiff_t j = begin; j < end; j++) {
        const real mine = p[j] * b;
        if (x->n_top == k ? mine > weights[k - 1] : mine > 0 || sees_key(w, r, key + j)) {
            x->n_top += x->n_top < k;
            insert_top(weights, indices, x->n_top - 1, mine, key + j);
        }
    }
}

/* The largest p of a row of a tile, the first place where it stands, and the k largest. */
static void take_largest(block_work *w, ptrdiff_t r, ptrdiff_t key, const real *p, real b,
                         ptrdiff_t begin, ptrdiff_t end)
{
    const sa_row_stats *wanted = w->stats->wanted;
    row_stats *x = &w->stats->rows[r];
    const ptrdiff_t first = clamp(w->first[r] - key, begin, end);
    const ptrdiff_t last = clamp(w->last[r] - key, first, end);
    for (ptrdiff_t j = begin; j < end; j += EXP_STEP) {
        const ptrdiff_t stop = j + EXP_STEP < end ? j + EXP_STEP : end;
        const real most = row_max(p, j, stop), mine = most * b;
        if (mine > x->most && most > 0) {
            ptrdiff_t at = j;
            while (p[at] != most) {
                at++;
            }
            x->most = mine;
            x->argmax = key + at;
        }
        if (wanted->top_k > 0 &&
            (x->n_top < wanted->top_k || mine > top_weights_of(w, r)[wanted->top_k - 1])) {
            offer_top(w, r, key, p, b, clamp(first, j, stop), clamp(last, j, stop));
        }
    }
}

/* Let the row's maximum be m. */
static void raise_stats(block_work *w, ptrdiff_t r, real m)
{
    row_stats *x = &w->stats->rows[r];
    const real a = power_between(x->m, m);
    if (x->mass > 0) {
        x->logits = (double)a * (x->logits + (double)(x->m - m) * x->mass);
        x->distance *= (double)a;
        x->mass *= (double)a;
        x->most *= a;
    }
    for (ptrdiff_t i = 0; i < x->n_top; i++) {
        top_weights_of(w, r)[i] *= a;
    }
    scale_sets(&w->stats->sets, w->stats->wanted, r, (double)a);
    x->m = m;
}

static void take_row_stats(block_work *w, ptrdiff_t key, const row_group *g, ptrdiff_t i,
                           const real *p, real m, double mass)
{
    const ptrdiff_t r = g->row + i;
    const ptrdiff_t begin = g->first / EXP_STEP * EXP_STEP, end = round_up(g->last, LANES);
    const stats_work *sw = w->stats;
    row_stats *x = &sw->rows[r];
    if (m > x->m) {
        raise_stats(w, r, m);
    }
    const real b = power_between(m, x->m);
    const real origin = m == -(real)INFINITY ? 0 : m;
    double logits = 0, distance = 0;
    if (sw->wanted->entropy) {
        const real *t = sw->t + i * SCORE_LD;
        const real *low = w->low + i * SCORE_LD;
        if (is_far(origin)) {
            logits = sum_far_logits(p, t, low, w->has_terms, w->factor, origin, begin, end);
        } else if (w->has_terms) {
            logits = sum_split_logits(p, t, low, w->factor, origin, begin, end);
        } else {
            logits = sum_plain_logits(p, t, w->factor, w->factor_low, origin, begin, end);
        }
    }
    if (sw->wanted->distance) {
        const int64_t position = (int64_t)query_of(w, r) + w->head->query_offset;
        distance = sum_distances(p, sw->places, (real)(position - key), begin, end);
    }
    if (mass != 0) {
        x->logits += (double)b * (logits + (double)(m - x->m) * mass);
        x->distance += (double)b * distance;
        x->mass += (double)b * mass;
    }
    take_sets(w, &sw->sets, sw->wanted, r, key, p, (double)b, begin, end);
    if (sw->wanted->max || sw->wanted->argmax || sw->wanted->top_k > 0) {
        take_largest(w, r, key, p, b, begin, end);
    }
}

/* The rows of a group of a tile that begins at key: p of them, SCORE_LD apart, made with maxima m;
 * sums are those of p. */
static void take_stats(block_work *w, ptrdiff_t key, const row_group *g, const real *p,
                       const real *m, const long_sum *sums)
{
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        take_row_stats(w, key, g, i, p + i * SCORE_LD, m[i], long_total(sums[i]));
    }
}

#endif
