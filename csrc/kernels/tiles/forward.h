/* forward.h -- attention of a block of rows: all visible keys, tile by tile, then out and lse.
 *
 *   out_i = sum_j p_ij v_j / l_i,   lse_i = ln 2 (m_i + log2 l_i)
 *
 * Keys are cut into chunks of SA_CHUNK_KEYS. A chunk's sums start from zero and are merged in the
 * order of the chunks, whoever computes them; sums in two steps also keep the rounding of a long
 * row small. Dao et al., "FlashAttention"; Rabe and Staats, "Self-attention Does Not Need O(n^2)
 * Memory".
 */
#ifndef SA_FORWARD_H
#define SA_FORWARD_H

static void begin_block(block_work *w, const sa_block *block, void *workspace, sa_stop stop)
{
    w->head = block->head;
    w->stop = stop;
    w->row_begin = block->row_begin;
    w->n_rows = block->row_end - block->row_begin;
    w->headroom = 0;
    w->keeping = false;
    w->fetch_end = 0;
    w->stats = NULL;
    carve_block(w, block->plan, w->n_rows, workspace);
    find_visible_rows(w);
    find_terms(w);
}

static SA_INLINE bool stopped(const block_work *w) { return w->stop.stop(w->stop.context); }

/* Take the keys of one chunk into st, which holds none so far, and then st into total, unless that
 * is NULL. st->o may hold anything before, and still does in groups of rows that see none of them. */
static void take_chunk(block_work *w, const row_state *st, ptrdiff_t chunk, const row_state *total)
{
    memset(w->touched, false, (size_t)((w->n_rows + TILE_ROWS - 1) / TILE_ROWS) * sizeof(bool));
    clear_sums(st, w->n_rows);
    const ptrdiff_t step = w->plan->tile_keys;
    ptrdiff_t key = chunk * SA_CHUNK_KEYS, end = key + SA_CHUNK_KEYS;
    end = end < w->last_key ? end : w->last_key;
    if (key < w->first_key) {
        key = w->first_key / step * step;
    }
    /* a tile of few rows is over before a clock was read */
    const bool asks_often = w->n_rows > TILE_ROWS;
    if (!asks_often && stopped(w)) {
        return;
    }
    for (; key < end && !(asks_often && stopped(w)); key += step) {
        take_tile(w, st, key, key + step < end ? NULL : total);
    }
}

/* to = (o + e) alpha / l, e NULL for zeros, or 0 if l is 0: a row that saw nothing. inverse = 1 / l
 * becomes a sum of two numbers, so that products with it lose no more than a division, which takes
 * many times as long. Adding 0 makes every zero a positive one. Returns whether a finite denominator
 * met a sum that is not finite. */
static SA_INLINE bool divide_row(real *to, const real *o, const real *e, ptrdiff_t n, double l,
                                 double inverse, real alpha)
{
    if (l == 0) {
        memset(to, 0, (size_t)n * sizeof(real));
        return false;
    }
    const vec high = v_set1((real)inverse), factor = v_set1(alpha);
    const vec low = v_set1(
        (real)(SA_UNIT_IS_F64 ? fma(-l, inverse, 1) * inverse : inverse - (double)(real)inverse));
    vec zero = v_zero(); /* 0 * x stays 0 while x is finite */
    for (ptrdiff_t c = 0; c < n; c += LANES) {
        const vec left = e ? v_finite_or_zero(v_load(e + c)) : v_zero();
        const vec all = v_add(v_load(o + c), left);
        const vec sum = v_mul(all, factor);
        const vec product = v_mul(sum, high);
        const vec lost = v_product_error(sum, high, product);
        const vec rest = v_finite_or_zero(v_fma(sum, low, lost));
        zero = v_fma(sum, v_zero(), zero);
        v_store(to + c, v_add(v_add(product, rest), v_zero()));
    }
    return !v_is_zero(zero) && l - l == 0;
}

/* m ln 2 + ln l. l is brought near 1, so that ln l is small, and ln 2 is the sum of a part that an
 * exponent multiplies exactly and a rest (constants of fdlibm's e_log.c). */
static real log_sum_exp(real m, long_sum l)
{
    const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    int exponent;
    if (l.sum == 0) {
        return -(real)INFINITY;
    }
    frexp(l.sum * 1.4142135623730951, &exponent); /* l / 2^(exponent - 1) in [1 / sqrt 2, sqrt 2) */
    const double small = log(ldexp(l.sum, 1 - exponent)), n = (double)m + (exponent - 1);
    const double big = n * ln2_high, sum = big + small;
    const double rest = l.rest / l.sum; /* NaN or 0 / inf where the sum is not finite */
    return (real)(sum + ((small - (sum - big)) + n * ln2_low + (rest - rest == 0 ? rest : 0)));
}

static void store_lse(const block_work *w, ptrdiff_t r, real m, long_sum l)
{
    const sa_head *h = w->head;
    if (h->lse) {
        store_one(h->lse + head_of(w, r) * h->lse_head_stride + query_of(w, r) * h->lse_row_stride,
                  SA_UNIT_IS_F64 ? SA_F64 : SA_F32, log_sum_exp(m, l));
    }
}

/* The chunks of keys that any row sees: [first, end) */
static ptrdiff_t first_chunk(const block_work *w) { return w->first_key / SA_CHUNK_KEYS; }

static ptrdiff_t end_chunk(const block_work *w)
{
    return (w->last_key + SA_CHUNK_KEYS - 1) / SA_CHUNK_KEYS;
}

static bool is_merged(const block_work *w) { return end_chunk(w) - first_chunk(w) > 1; }

/* Whether the quotients of a block's rows can be written straight into out */
static bool writes_in_place(const block_work *w)
{
    const sa_matrix *out = &w->head->out;
    const bool contiguous = out->col_stride == (ptrdiff_t)sizeof(real);
    return out->dtype == REAL_DTYPE && contiguous && w->ldo == w->plan->d_v;
}

/* finish_rows; plain: in place, of one chunk, without sinks, lse and headroom */
static SA_INLINE ptrdiff_t finish_rows_of(block_work *w, const row_state *st, const bool plain)
{
    /* copies, as any store of a vector might change what stands in memory */
    const sa_matrix out = w->head->out;
    const ptrdiff_t head_stride = w->head->out_head_stride, n_rows = w->n_rows;
    const ptrdiff_t ldo = w->ldo, d_v = w->plan->d_v;
    const bool in_place = plain || writes_in_place(w), again = !plain && w->headroom > 0;
    const real *e = !plain && is_merged(w) ? st->e : NULL;
    real *o = st->o;
    ptrdiff_t count = 0;
    for (ptrdiff_t r = 0; r < n_rows; r++, o += ldo, e += e ? ldo : 0) {
        if (again && !w->overflowed[r]) {
            continue;
        }
        real m = st->m[r], alpha = 1;
        long_sum l = st->l[r];
        const bool saw_any = l.sum != 0; /* a visible score above -inf */
        if (!plain) {
            alpha = join_sink_of_row(w, r, &m, &l);
        }
        const double denominator = saw_any ? long_total(l) : 0;
        const double inverse = saw_any ? 1 / denominator : 0;
        char *to = out.data + head_of(w, r) * head_stride + query_of(w, r) * out.row_stride;
        real *quotient = in_place ? (real *)(void *)to : o;
        const bool overflowed = divide_row(quotient, o, e, ldo, denominator, inverse, alpha);
        w->overflowed[r] = overflowed;
        count += overflowed;
        if (!in_place) {
            store_row(to, out.col_stride, out.dtype, o, d_v);
        }
        if (!plain && !again) {
            store_lse(w, r, m, l);
            st->m[r] = m;
        }
        if (!again) {
            st->l[r].sum = inverse;
        }
    }
    return count;
}

/* Writes out and lse of all rows, or, with headroom, out of those that overflowed without. Leaves
 * the final maximum in st->m and 1 / l in st->l. Returns how many overflowed. */
static ptrdiff_t finish_rows(block_work *w, const row_state *st)
{
    const bool plain =
        writes_in_place(w) && !is_merged(w) && !w->head->sinks && !w->head->lse && w->headroom == 0;
    return plain ? finish_rows_of(w, st, true) : finish_rows_of(w, st, false);
}

/* The first chunk was taken straight into total: what else others can be merged into */
static void begin_merging(const block_work *w, const row_state *total)
{
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        if (!w->touched[r / TILE_ROWS]) {
            memset(total->o + r * w->ldo, 0, (size_t)w->ldo * sizeof(real));
        }
    }
    memset(total->e, 0, (size_t)(w->n_rows * w->ldo) * sizeof(real));
}

static void take_chunks(block_work *w, const row_state *total)
{
    const ptrdiff_t first = first_chunk(w), end = end_chunk(w);
    clear_sums(total, w->n_rows);
    w->fetch_end = w->plan->fetches_ahead ? w->last_key : 0;
    for (ptrdiff_t chunk = first; chunk < end; chunk++) {
        if (chunk == first) { /* merging into nothing changes nothing */
            take_chunk(w, total, chunk, NULL);
            continue;
        }
        if (chunk == first + 1) {
            begin_merging(w, total);
        }
        take_chunk(w, &w->chunk, chunk, total);
    }
}

/* Sums of p v with p up to 2 can overflow where the mean of v does not. Rows in which that
 * happened are computed once more with all p smaller by a power of two. */
static void take_overflowed_rows(block_work *w)
{
    /* weights need m and 1 / l */
    const row_state again = {w->total.o, w->total.e, w->again_l, w->again_m};
    w->headroom = 1;
    for (ptrdiff_t n = w->plan->n_k; n > 0; n /= 2) {
        w->headroom++;
    }
    take_chunks(w, &again);
    finish_rows(w, &again);
    w->headroom = 0;
}

/* out and lse of all rows; leaves w->total as finish_rows does */
static void forward_block(block_work *w)
{
    pack_queries(w);
    if (w->plan->keeps_p) {
        begin_keeping(w);
    }
    take_chunks(w, &w->total);
    w->keeping = false;
    if (finish_rows(w, &w->total) > 0) {
        take_overflowed_rows(w);
    }
}

#endif
