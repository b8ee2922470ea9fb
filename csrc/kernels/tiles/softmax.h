/* softmax.h -- the running softmax of rows: take in a tile, merge two states, finish.
 *
 *   m' = max(m, floor(max_j t_j)),  l' = 2^(m - m') l + sum_j p_j,  p_j = 2^(t_j - m')
 *
 * (Milakov and Gimelshein, "Online normalizer calculation for softmax".) As m is an integer, the
 * rescaling is exact, and a row's bits depend on nothing but its own visible scores: whether a
 * tile is skipped or seen through a mask changes neither m nor l nor o. The greatest p lies in
 * [1, 2), so that l >= 1 and no weight is lost that is not below the smallest normal number.
 *
 * m: -inf until a finite score was seen; +inf or NaN make the row NaN, as in NumPy.
 */
#ifndef SA_SOFTMAX_H
#define SA_SOFTMAX_H

/* 2^(m_old - m_new) for integers m_old <= m_new, 0 below the normal range; 0 if both are -inf or
 * +inf, when the sums are 0 or NaN and stay so. */
static SA_INLINE real power_between(real m_old, real m_new)
{
    const real d = m_old - m_new, least = MIN_EXPONENT - 1;
    const real_bits biased = (real_bits)(d > least ? d : least) + (1 - MIN_EXPONENT);
    const real_bits bits = biased << SIGNIFICAND_BITS;
    real power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

static SA_INLINE real row_max(const real *s, ptrdiff_t begin, ptrdiff_t end)
{
    enum { CHAINS = 4, TURN = CHAINS * LANES };
    vec most = v_set1(-(real)INFINITY);
    ptrdiff_t j = begin;
    if (j + TURN <= end) {
        vec chain[CHAINS] = {most, most, most, most};
        for (; j + TURN <= end; j += TURN) {
            SA_UNROLL
            for (int i = 0; i < CHAINS; i++) { /* a NaN is passed over; it shows in the sum */
                chain[i] = v_max(v_load(s + j + i * LANES), chain[i]);
            }
        }
        most = v_max(v_max(chain[0], chain[1]), v_max(chain[2], chain[3]));
    }
    for (; j < end; j += LANES) {
        most = v_max(v_load(s + j), most);
    }
    return v_reduce_max(most);
}

enum { MAX_STEPS = SA_MAX_TILE_KEYS / EXP_STEP };

/* s = 2^(c s + low - m) over [begin, end), begin a multiple of EXP_STEP. part = the sums of its
 * steps, each LANES of them; what is missing at the end would have added zeros. Returns how many. */
static SA_INLINE int exp_row(real *s, const real *low, const bool has_low, const exp_constants *e,
                             real m, ptrdiff_t begin, ptrdiff_t end, real *part)
{
    const vec origin = v_origin(m);
    int steps = 0;
    for (ptrdiff_t j = begin; j < end; steps++) {
        const ptrdiff_t stop = j + EXP_STEP < end ? j + EXP_STEP : end;
        vec sum = v_zero(), rest = v_zero();
        SA_UNROLL_2
        for (; j + EXP_TURN <= stop; j += EXP_TURN) {
            /* the next group's row; after the last one what is asked for is never read */
            __builtin_prefetch(s + TILE_ROWS * SCORE_LD + j, 1);
            sum = v_add(sum, exp2_shifted(EXP_CHAINS, s + j, low + j, has_low, e, origin));
        }
        for (; j < stop; j += LANES) {
            rest = v_add(rest, exp2_shifted(1, s + j, low + j, has_low, e, origin));
        }
        v_store(part + steps * LANES, v_add(sum, rest));
    }
    return steps;
}

static SA_INLINE long_sum sum_steps(const real *part, int steps)
{
    wide sum = wide_zero();
    for (int i = 0; i < steps; i++) {
        sum = wide_add_at(sum, part + i * LANES);
    }
    return wide_sum(sum);
}

/* Beyond this what rounding took from t, up to half of its last place, is dropped: 2^ of it may
 * leave the range. Logits that differ by no more than that then count as equal. */
#define ABSORBING (SA_UNIT_IS_F64 ? 1152921504606846976.0 /* 2^60 */ : 2147483648.0 /* 2^31 */)

static SA_INLINE bool is_absorbing(real m) { return fabs((double)m) >= ABSORBING; }

static SA_INLINE bool is_far(real m) { return !(fabs((double)m) < MAX_ORIGIN); }

/* What is subtracted from the logits of a row whose maximum is m */
static SA_INLINE real finite_origin(real m) { return m == -(real)INFINITY ? 0 : m; }

/* t - m where m is far */
static SA_INLINE real far_logit(real s, const real *low, const bool has_low, real c, real m)
{
    const real t = s * c - m;
    return has_low && !is_absorbing(m) ? t + *low : t;
}

static SA_NOINLINE int exp_far_row(real *s, const real *low, const bool has_low, real c, real m,
                                   ptrdiff_t begin, ptrdiff_t end, real *part)
{
    const exp_constants e = load_exp_constants(1, 0, false);
    for (ptrdiff_t j = begin; j < end; j++) {
        s[j] = far_logit(s[j], low + j, has_low, c, m);
    }
    return exp_row(s, s, false, &e, 0, begin, end, part);
}

/* exp_row for a row that is no turn long: it is summed at once */
static SA_INLINE long_sum exp_short_row(real *s, const exp_constants *e, real m, ptrdiff_t begin,
                                        ptrdiff_t end)
{
    const vec origin = v_origin(m);
    vec sum = v_zero();
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        sum = v_add(sum, exp2_shifted(1, s + j, s + j, false, e, origin));
    }
    return wide_sum(wide_add(wide_zero(), sum));
}

/* For each of n <= TILE_ROWS rows, SCORE_LD apart: s = 2^(t - m), and l its sum. t < m + 1. Rows
 * are summed when all are done: a sum alone is a chain that would be waited for. */
static SA_INLINE void exp_rows(real *s, const real *low, const bool has_low, const bool normal,
                               real c, real c_low, const real *m, long_sum *l, ptrdiff_t n,
                               ptrdiff_t begin, ptrdiff_t end)
{
    const exp_constants e = load_exp_constants(c, c_low, normal);
    real part[TILE_ROWS][MAX_STEPS * LANES];
    int steps = 0;
    for (ptrdiff_t i = 0; i < n; i++, s += SCORE_LD, low += has_low ? SCORE_LD : 0) {
        const real origin = finite_origin(m[i]);
        if (!normal && is_far(origin)) {
            steps = exp_far_row(s, low, has_low, c, origin, begin, end, part[i]);
        } else {
            steps = exp_row(s, low, has_low, &e, origin, begin, end, part[i]);
        }
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        l[i] = sum_steps(part[i], steps);
    }
}

static SA_NOINLINE void exp_plain_rows(real *s, real c, real c_low, const real *m, long_sum *l,
                                       ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end)
{
    exp_rows(s, s, false, false, c, c_low, m, l, n, begin, end);
}

static SA_NOINLINE void exp_normal_rows(real *s, real c, real c_low, const real *m, long_sum *l,
                                        ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end)
{
    exp_rows(s, s, false, true, c, c_low, m, l, n, begin, end);
}

static SA_NOINLINE void exp_split_rows(real *s, const real *low, real c, const real *m, long_sum *l,
                                       ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end)
{
    exp_rows(s, low, true, false, c, 0, m, l, n, begin, end);
}

/* Rows that are no turn long */
static SA_NOINLINE void exp_short_rows(real *s, real c, real c_low, const real *m, long_sum *l,
                                       ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end)
{
    const exp_constants e = load_exp_constants(c, c_low, false);
    for (ptrdiff_t i = 0; i < n; i++, s += SCORE_LD) {
        const real origin = finite_origin(m[i]);
        if (is_far(origin)) {
            exp_plain_rows(s, c, c_low, m + i, l + i, 1, begin, end);
        } else {
            l[i] = exp_short_row(s, &e, origin, begin, end);
        }
    }
}

/* Logits of n <= TILE_ROWS rows become 2^(t - m), l their sums; w->low belongs to them. normal:
 * all 2^(t - m) are known to be normal numbers. */
static void weigh_rows(const block_work *w, bool normal, real *s, const real *m, long_sum *l,
                       ptrdiff_t n, ptrdiff_t begin, ptrdiff_t end)
{
    if (normal) {
        exp_normal_rows(s, w->factor, w->factor_low, m, l, n, begin, end);
    } else if (w->has_terms) {
        exp_split_rows(s, w->low, w->factor, m, l, n, begin, end);
    } else if (end - begin < EXP_TURN) {
        exp_short_rows(s, w->factor, w->factor_low, m, l, n, begin, end);
    } else {
        exp_plain_rows(s, w->factor, w->factor_low, m, l, n, begin, end);
    }
}

/* The new maximum of a row that takes in s */
static SA_INLINE real raise_max(const block_work *w, const real *s, real m_old, ptrdiff_t begin,
                                ptrdiff_t end)
{
    const real most = row_max(s, begin, end) * w->factor;
    const real top = real_floor(most) + w->headroom;
    return top > m_old ? top : m_old;
}

/* o = a o + b part, and e = a e + what rounding took; a and b are powers of two. Where o is not
 * finite, e may be NaN. */
static SA_INLINE void merge_row(real *o, real *e, const real *part, real a, real b, ptrdiff_t ldo)
{
    for (ptrdiff_t j = 0; j < ldo; j += LANES) {
        const vec x = v_mul(v_load(o + j), v_set1(a)), y = v_mul(v_load(part + j), v_set1(b));
        vec lost;
        v_store(o + j, two_sum(x, y, &lost));
        v_store(e + j, v_fma(v_load(e + j), v_set1(a), lost));
    }
}

/* total += part for rows [row, row + rows). However many chunks there are, o loses no more than to
 * one of them. */
static void merge_states(const row_state *total, const row_state *part, ptrdiff_t row,
                         ptrdiff_t rows, ptrdiff_t ldo)
{
    for (ptrdiff_t r = row; r < row + rows; r++) {
        const real m_total = total->m[r], m_part = part->m[r];
        const real m = m_part > m_total ? m_part : m_total;
        const real a = power_between(m_total, m), b = power_between(m_part, m);
        merge_row(total->o + r * ldo, total->e + r * ldo, part->o + r * ldo, a, b, ldo);
        add_long(&total->l[r], (double)a, (double)b, part->l[r]);
        total->m[r] = m;
    }
}

/* Join a sink's logit to the row's maximum and denominator. Returns the factor from the old maximum
 * to the new. */
static SA_NOINLINE real join_sink(double sink, real *m, long_sum *l)
{
    sink = fmax(-(double)LARGEST_LOGIT, fmin(sink, (double)LARGEST_LOGIT));
    const double whole = floor(sink * LOG2E);
    const double n = is_absorbing((real)whole) ? (double)(real)whole : whole;
    /* sink log2(e) - n, from log2(e) = LOG2E + LOG2E_REST */
    const double f = is_absorbing((real)whole) ? 0 : fma(sink, LOG2E, -n) + sink * LOG2E_REST;
    const real top = (real)n > *m ? (real)n : *m, alpha = power_between(*m, top);
    const long_sum share = {exp2(f), 0};
    add_long(l, (double)alpha, exp2(n - (double)top), share);
    *m = top;
    return alpha;
}

/* Join row r's sink, if there is one. Returns the factor that the row's sums then lack. */
static SA_INLINE real join_sink_of_row(const block_work *w, ptrdiff_t r, real *m, long_sum *l)
{
    const sa_head *h = w->head;
    double sink = -(double)INFINITY;
    if (h->sinks) {
        memcpy(&sink, h->sinks + head_of(w, r) * h->sinks_stride, sizeof sink);
    }
    return sink > -(double)INFINITY ? join_sink(sink, m, l) : 1;
}

#endif
