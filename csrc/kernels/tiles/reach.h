/* reach.h -- how large the logits of a group of rows can be, without looking at them.
 *
 *   |t_ij| <= |scale| log2(e) |q_i| |k_j|    (Cauchy and Schwarz)
 *
 * Where that shows that all 2^(t - m) are normal numbers, exp.h has a shorter way to the same bits.
 */
#ifndef SA_REACH_H
#define SA_REACH_H

/* For fewer rows or keys it would take longer than what it saves. */
enum { MIN_REACH_ROWS = 192, MIN_REACH_KEYS = 384 };

/* |x| from the sum of d squares: the sum has lost d roundings, and each square up to the smallest
 * normal number. */
static double upper_norm(real squares, ptrdiff_t d)
{
    const double lost = ldexp((double)d, -SIGNIFICAND_BITS);
    return sqrt(((double)squares + (double)d * (double)SMALLEST_NORMAL) * (1 + 2 * lost));
}

/* |x|^2 of vectors, an element of each in every lane, `apart` from the next */
static SA_INLINE vec sum_squares(const real *x, ptrdiff_t d, const ptrdiff_t apart)
{
    enum { CHAINS = 4 };
    vec sum[CHAINS] = {v_zero(), v_zero(), v_zero(), v_zero()};
    ptrdiff_t c = 0;
    for (; c + CHAINS <= d; c += CHAINS) {
        SA_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            const vec y = v_load(x + (c + i) * apart);
            sum[i] = v_fma(y, y, sum[i]);
        }
    }
    for (; c < d; c++) {
        const vec y = v_load(x + c * apart);
        sum[0] = v_fma(y, y, sum[0]);
    }
    return sum_vectors(CHAINS, sum);
}

/* The greatest |q| of a group, q [d][TILE_ROWS], or infinity if one is not finite */
static real longest_query(const real *q, ptrdiff_t rows, ptrdiff_t d)
{
    real squares[ROW_VECTORS * LANES]; /* lanes beyond the rows are not looked at */
    SA_UNROLL
    for (int i = 0; i < ROW_VECTORS; i++) {
        v_store(squares + i * LANES, sum_squares(q + i * LANES, d, TILE_ROWS));
    }
    real most = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        if (!(squares[i] < (real)INFINITY)) {
            return (real)INFINITY;
        }
        most = squares[i] > most ? squares[i] : most;
    }
    return (real)upper_norm(most, d);
}

/* What is below 0 was not looked for yet. */
static void forget_reach(block_work *w)
{
    if (!w->plan->packed_keys || w->has_terms || w->n_rows < MIN_REACH_ROWS ||
        w->plan->n_k < MIN_REACH_KEYS) {
        w->reach = NULL;
        return;
    }
    for (ptrdiff_t r = 0; r < w->n_rows; r += TILE_ROWS) {
        w->reach[r / TILE_ROWS] = -1;
    }
}

/* The greatest |k| of n packed keys, or infinity if one is not finite */
static SA_NOINLINE real longest_key(const real *panels, ptrdiff_t n, ptrdiff_t d)
{
    vec most = v_zero(), zero = v_zero(); /* 0 * x stays 0 while x is finite */
    for (ptrdiff_t j = 0; j < n; j += LANES) {
        const vec squares = sum_squares(panels + j / NR * NR * d + j % NR, d, NR);
        most = v_max(most, squares);
        zero = v_fma(squares, v_zero(), zero);
    }
    return v_is_zero(zero) ? (real)upper_norm(v_reduce_max(most), d) : (real)INFINITY;
}

/* Whether the products of a group are its logits: nothing is added to them or hidden, nor filled
 * up to whole vectors */
static bool is_plain(const block_work *w, const row_group *g)
{
    return !g->mixed && !w->has_terms && g->first % EXP_STEP == 0 && g->last % LANES == 0;
}

/* A bound of a group's |t| */
static real logit_bound(block_work *w, key_tile *tile, const row_group *g)
{
    const ptrdiff_t d = w->plan->d;
    real *reach = w->reach + g->row / TILE_ROWS;
    if (*reach < 0) {
        *reach = longest_query(w->q + g->row * w->ldq, g->rows, d) * w->factor;
    }
    if (tile->longest < 0) {
        tile->longest = longest_key(tile->k, tile->n_keys, d);
    }
    return *reach * tile->longest;
}

/* Whether all 2^(t - m) of a group are normal numbers, with room for the rounding of t and of its
 * bound */
static bool stays_normal(block_work *w, key_tile *tile, const row_group *g, const real *m)
{
    const real most = (real)(-0.75 * MIN_EXPONENT);
    if (!w->reach || !is_plain(w, g)) {
        return false;
    }
    const real bound = logit_bound(w, tile, g);
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        if (!(bound + (m[i] > 0 ? m[i] : 0) < most)) {
            return false;
        }
    }
    return true;
}

#endif
