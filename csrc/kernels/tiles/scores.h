/* scores.h -- from the products q.k to t, the logit in units of log2.
 *
 *   t = log2(e) * (cap(scale q.k) + bias - slope |p - j| + mask),  cap(x) = softcap tanh(x / softcap)
 *
 * Without any term t = c (q.k) is left to the exponential, which has the factor for nothing. With
 * terms t is kept as a sum of two numbers: t may be far from 0 where q.k is not, and rounding it
 * would cost exp(t) the bits that the error bound of weights promises. Two-sum: Knuth, TAOCP vol. 2,
 * 4.2.2.
 */
#ifndef SA_SCORES_H
#define SA_SCORES_H

/* log2(e) less its rounding to double, and to the compute type */
#define LOG2E_REST 2.03552737409310331e-17
#define LOG2E_LOW ((real)(SA_UNIT_IS_F64 ? LOG2E_REST : LOG2E - (double)(float)LOG2E))

/* |scale| log2(e), rounded once but for what *low gets */
static double scaled_log2e(const sa_plan *plan, double *low)
{
    const double scale = fabs(plan->scale), product = scale * LOG2E;
    const double rest = (plan->scale < 0 ? -plan->scale_low : plan->scale_low) * LOG2E;
    const double all = fma(scale, LOG2E, -product) + scale * LOG2E_REST + rest;
    const double sum = product + all;
    *low = all - (sum - product);
    return sum;
}

/* softcap tanh(x / softcap) log2(e) = cap (1 + cap_low) tanh(s cap_slope / (2 log2 e)). cap_slope is
 * rounded, and cap made up for it: near 0 the product of both counts. 0: no cap. Above
 * MOST_CAP_SLOPE a cap is as good as 0. */
static void find_softcap(block_work *w)
{
    const double scale = fabs(w->plan->scale), softcap = w->plan->softcap;
    w->cap_slope = 0;
    if (softcap == 0 || !(scale / softcap >= LEAST_CAP_SLOPE)) {
        return; /* below, x / softcap rounds away, and tanh is its argument */
    }
    w->cap_slope = (real)(2 * LOG2E * fmin(scale / softcap, MOST_CAP_SLOPE));
    double low;
    const double slope = (double)w->cap_slope, log2e_low = LOG2E_REST;
    const double c = scaled_log2e(w->plan, &low), high = 2 * LOG2E * c;
    const double rest = fma(2 * LOG2E, c, -high) + 2 * log2e_low * c + 2 * LOG2E * low;
    const double cap = high / slope, cap_low = (fma(-cap, slope, high) + rest) / slope;
    w->cap = (real)cap;
    w->cap_low = 0;
    if (w->cap >= SMALLEST_NORMAL) {
        w->cap_low = (real)(((cap - (double)w->cap) + cap_low) / (double)w->cap);
    }
}

/* Sets has_terms and the factors: whether logits_row must make t, and what its results still lack. A
 * factor of 0 would turn a hidden -inf into NaN, and counts as a term. */
static void find_terms(block_work *w)
{
    const sa_head *h = w->head;
    double low;
    const double scaled = scaled_log2e(w->plan, &low);
    const real c = (real)scaled;
    w->has_terms = w->plan->softcap != 0 || h->bias.data || h->slopes ||
                   (h->mask.data && h->mask.dtype != SA_BOOL) || !(c >= SMALLEST_NORMAL);
    w->scale = c;
    w->scale_low = (real)((scaled - (double)c) + low);
    w->factor = w->has_terms ? 1 : c;
    w->factor_low = w->has_terms ? 0 : w->scale_low;
    find_softcap(w);
}

/* a + b, and what rounding took from it */
static SA_INLINE vec two_sum(vec a, vec b, vec *error)
{
    const vec sum = v_add(a, b), b_part = v_sub(sum, a);
    *error = v_add(v_sub(a, v_sub(sum, b_part)), v_sub(b, b_part));
    return sum;
}

/* |scale| log2(e) as a sum of two */
typedef struct {
    vec high, low;
} split_scale;

static SA_INLINE split_scale load_scale(const block_work *w)
{
    return (split_scale){v_set1(w->scale), v_set1(w->scale_low)};
}

/* (s, low) += (high, rest), a vector of each; first s = scale s and low = 0, unless that is done.
 * What the product loses is kept where the exponential has that, too. */
static SA_INLINE void add_split(const bool is_scaled, split_scale scale, real *s, real *low,
                                vec high, vec rest)
{
    const vec x = v_load(s), a = is_scaled ? x : v_mul(scale.high, x);
    if (!is_scaled) {
        rest = v_add(rest, v_fma(scale.low, x, v_product_error(scale.high, x, a)));
    }
    vec error;
    v_store(s, two_sum(a, high, &error));
    const vec small = v_finite_or_zero(v_add(error, rest));
    v_store(low, is_scaled ? v_add(v_load(low), small) : small);
}

/* Add w->term, w->term_low to a row over [begin, end); *is_scaled: whether it has been made of the
 * products. */
static void add_term(const block_work *w, real *s, real *low, ptrdiff_t begin, ptrdiff_t end,
                     bool *is_scaled)
{
    const split_scale scale = load_scale(w);
    for (ptrdiff_t j = begin; !*is_scaled && j < end; j += LANES) {
        add_split(false, scale, s + j, low + j, v_load(w->term + j), v_load(w->term_low + j));
    }
    for (ptrdiff_t j = begin; *is_scaled && j < end; j += LANES) {
        add_split(true, scale, s + j, low + j, v_load(w->term + j), v_load(w->term_low + j));
    }
    *is_scaled = true;
}

/* (s, low) += log2(e) x, a vector of a mask or bias. A finite x stays finite: the lowest float is a
 * common way to write "hidden" and must not become -inf. */
static SA_INLINE void add_given(const bool is_scaled, split_scale scale, real *s, real *low, vec x)
{
    const vec least = v_set1(-LARGEST_LOGIT), minus_log2e = v_set1(-(real)LOG2E);
    const vec finite = v_finite_or_zero(x), rest = v_sub(x, finite); /* 0, or x */
    const vec minus_x = v_max(least, v_sub(v_zero(), v_max(least, finite)));
    const vec high = v_fma(minus_x, minus_log2e, rest);
    const vec error = v_product_error(minus_x, minus_log2e, high);
    add_split(is_scaled, scale, s, low, high, v_fma(minus_x, v_set1(-LOG2E_LOW), error));
}

/* The same for n elements of type t side by side */
static SA_INLINE void add_given_row(const block_work *w, const bool is_scaled, const sa_dtype t,
                                    real *s, real *low, const char *x, ptrdiff_t n)
{
    const ptrdiff_t size = dtype_size(t), whole = n / LANES * LANES;
    const split_scale scale = load_scale(w);
    for (ptrdiff_t j = 0; j < whole; j += LANES) {
        add_given(is_scaled, scale, s + j, low + j, load_lanes(x + j * size, t));
    }
    if (whole < n) {
        add_given(is_scaled, scale, s + whole, low + whole,
                  load_some(x + whole * size, size, t, n - whole));
    }
}

#define ADD_GIVEN(name, dtype)                                                                  \
    static SA_NOINLINE void add_##name(const block_work *w, bool is_scaled, real *s, real *low, \
                                       const char *x, ptrdiff_t n)                              \
    {                                                                                           \
        if (is_scaled) {                                                                        \
            add_given_row(w, true, dtype, s, low, x, n);                                        \
        } else {                                                                                \
            add_given_row(w, false, dtype, s, low, x, n);                                       \
        }                                                                                       \
    }

ADD_GIVEN(reals, REAL_DTYPE)
#if !SA_UNIT_IS_F64
ADD_GIVEN(f16, SA_F16)
ADD_GIVEN(bf16, SA_BF16)
#endif

/* Add a mask or bias to a row over [first, last): where it lies if it is of a type that vectors can
 * be made of. */
static void add_mask(block_work *w, const sa_score_term *term, ptrdiff_t r, ptrdiff_t key, real *s,
                     real *low, ptrdiff_t first, ptrdiff_t last, bool *is_scaled)
{
    const char *x = term_row(w, term, r, key + first);
    const ptrdiff_t n = last - first;
    const bool was_scaled = *is_scaled;
    *is_scaled = true;
#if !SA_UNIT_IS_F64
    if (term->dtype == SA_F16 && is_contiguous(term->col_stride, SA_F16)) {
        add_f16(w, was_scaled, s + first, low + first, x, n);
        return;
    }
    if (term->dtype == SA_BF16 && is_contiguous(term->col_stride, SA_BF16)) {
        add_bf16(w, was_scaled, s + first, low + first, x, n);
        return;
    }
#endif
    if (!is_contiguous(term->col_stride, term->dtype)) {
        load_row(w->term, x, term->col_stride, term->dtype, n);
        x = (const char *)w->term;
    }
    add_reals(w, was_scaled, s + first, low + first, x, n);
}

/* Distances that every type holds exactly, and slopes whose products with them it holds at all */
#define NEAR_DISTANCE 8388608 /* 2^23 */
#define MOST_SLOPE 1e30

/* w->term, w->term_low = -log2(e) slope |p - key - j|, distance = p - key */
static void alibi_term(block_work *w, double slope, int64_t distance, ptrdiff_t begin,
                       ptrdiff_t end)
{
    /* -slope log2(e) as a sum of two */
    const double product = -slope * LOG2E;
    const double rest = fma(-slope, LOG2E, -product) - slope * LOG2E_REST;
    if (distance <= -NEAR_DISTANCE || distance >= NEAR_DISTANCE || !(fabs(product) < MOST_SLOPE)) {
        for (ptrdiff_t j = begin; j < end; j++) {
            const double x = fabs((double)distance - (double)j), high = product * x;
            w->term[j] = (real)high;
            w->term_low[j] =
                (real)((high - (double)w->term[j]) + fma(product, x, -high) + rest * x);
        }
        return;
    }
    const int d = (int)distance, stop = (int)end;
    for (int j = (int)begin; j < stop; j++) {
        w->term[j] = (real)abs(d - j);
    }
    const vec a = v_set1((real)product);
    const vec a_low = v_set1((real)((product - (double)(real)product) + rest));
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        const vec x = v_load(w->term + j), high = v_mul(a, x);
        v_store(w->term + j, high);
        v_store(w->term_low + j, v_fma(a_low, x, v_product_error(a, x, high)));
    }
}

/* (s, low) = the soft-capped form of scale q.k, times log2(e), n vectors of it */
static SA_INLINE void cap_vectors(const block_work *w, const int n, real *s, real *low)
{
    const vec size = v_set1(w->cap), cap_low = v_set1(w->cap_low);
    tanh_stages stages;
    begin_tanh(&stages, n, s, w->cap_slope);
    for (int i = 0; i < n; i++) {
        vec x_low;
        const vec x = end_tanh(&stages, i, &x_low), cap = v_copysign(size, v_load(s + i * LANES));
        const vec t = v_mul(cap, x), t_low = v_product_error(cap, x, t);
        const vec small = v_fma(cap, x_low, v_fma(cap_low, t, t_low));
        v_store(s + i * LANES, t);
        v_store(low + i * LANES, v_finite_or_zero(small));
    }
}

static SA_NOINLINE void cap_row(const block_work *w, real *s, real *low, ptrdiff_t begin,
                                ptrdiff_t end)
{
    ptrdiff_t j = begin;
    for (; j + TANH_VECTORS * LANES <= end; j += TANH_VECTORS * LANES) {
        cap_vectors(w, TANH_VECTORS, s + j, low + j);
    }
    for (; j < end; j += LANES) {
        cap_vectors(w, 1, s + j, low + j);
    }
}

static void scale_row(const block_work *w, real *s, real *low, ptrdiff_t begin, ptrdiff_t end)
{
    const split_scale scale = load_scale(w);
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        add_split(false, scale, s + j, low + j, v_zero(), v_zero());
    }
}

/* (s, low) = t, all terms added up; the mask may be one of them */
static void add_terms(block_work *w, ptrdiff_t r, ptrdiff_t key, real *s, real *low,
                      ptrdiff_t begin, ptrdiff_t end, ptrdiff_t first, ptrdiff_t last)
{
    const sa_head *h = w->head;
    bool is_scaled = w->cap_slope > 0;
    if (is_scaled) {
        cap_row(w, s, low, begin, end);
    }
    if (h->bias.data) {
        add_mask(w, &h->bias, r, key, s, low, first, last, &is_scaled);
    }
    if (h->slopes) {
        double slope;
        memcpy(&slope, h->slopes + head_of(w, r) * h->slopes_stride, sizeof slope);
        const int64_t position = (int64_t)query_of(w, r) + h->query_offset;
        alibi_term(w, slope, position - key, begin, end);
        add_term(w, s, low, begin, end, &is_scaled);
    }
    if (h->mask.data && h->mask.dtype != SA_BOOL) {
        add_mask(w, &h->mask, r, key, s, low, first, last, &is_scaled);
    }
    if (!is_scaled) {
        scale_row(w, s, low, begin, end);
    }
}

static SA_INLINE void hide(real *s, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t j = begin; j < end; j++) {
        s[j] = -(real)INFINITY;
    }
}

/* Turn the products s[begin, end) of row r with keys key + j into t = w->factor (s + low), -inf
 * where hidden; low only if w->has_terms. [begin, end) are whole vectors around [first, last), the
 * keys that intervals let the row see; seen says what the mask leaves of those. */
static void logits_row(block_work *w, ptrdiff_t r, ptrdiff_t key, real *s, real *low,
                       ptrdiff_t begin, ptrdiff_t end, ptrdiff_t first, ptrdiff_t last, sight seen)
{
    if (seen == SEE_NONE || first >= last) {
        hide(s, begin, end);
        memset(low + begin, 0, (size_t)(end - begin) * sizeof(real));
        return;
    }
    if (w->has_terms) {
        add_terms(w, r, key, s, low, begin, end, first, last);
    }
    if (seen == SEE_SOME) {
        uint8_t bytes[SA_MAX_TILE_KEYS] = {0};
        mask_bytes(w, r, key + first, last - first, bytes + first);
        for (ptrdiff_t j = begin; j < end; j += LANES) {
            v_store(s + j, v_keep(v_load(s + j), bytes + j));
        }
    }
    hide(s, begin, first);
    hide(s, last, end);
    if (w->has_terms) { /* what was beside the products there is nobody's number */
        memset(low + begin, 0, (size_t)(first - begin) * sizeof(real));
        memset(low + last, 0, (size_t)(end - last) * sizeof(real));
    }
}

#endif
