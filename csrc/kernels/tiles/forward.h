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
    w->stats = NULL;
    carve_block(w, block->plan, w->n_rows, workspace);
    find_visible_rows(w);
    find_terms(w);
}

static SA_INLINE bool stopped(const block_work *w) { return w->stop.stop(w->stop.context); }

/* Take the keys of one chunk into st, which holds none so far, and then st into total, unless that
 * is NULL. st->o is zeros without total, else whatever it was. */
static void take_chunk(block_work *w, const row_state *st, ptrdiff_t chunk, const row_state *total)
{
    memset(w->touched, !total, (size_t)((w->n_rows + TILE_ROWS - 1) / TILE_ROWS) * sizeof(bool));
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

/* (o + e) / l, or 0 if l is 0: a row that saw nothing. Adding 0 makes every zero a positive one.
 * Returns whether a finite denominator met a sum that is not finite. */
static bool divide_row(const block_work *w, real *o, const real *e, double l, real alpha)
{
    vec zero = v_zero(); /* 0 * x stays 0 while x is finite */
    for (ptrdiff_t c = 0; c < w->ldo; c += LANES) {
        const vec all = v_add(v_load(o + c), v_load(e + c));
        const vec sum = l == 0 ? v_zero() : v_mul(all, v_set1(alpha));
        zero = v_fma(sum, v_zero(), zero);
        v_store(o + c, v_add(v_div(sum, v_set1(l == 0 ? 1 : (real)l)), v_zero()));
    }
    return l - l == 0 && v_reduce_add(zero) != 0;
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

/* Writes out and lse of all rows, or, with headroom, out of those that overflowed without. Leaves
 * the final maximum in st->m and 1 / l in st->l. Returns how many overflowed. */
static ptrdiff_t finish_rows(block_work *w, const row_state *st)
{
    const sa_head *h = w->head;
    ptrdiff_t count = 0;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        if (w->headroom > 0 && !w->overflowed[r]) {
            continue;
        }
        real m, *o = st->o + r * w->ldo;
        long_sum l;
        const bool saw_any = finish_row(w, st, r, &m, &l);
        w->overflowed[r] =
            divide_row(w, o, st->e + r * w->ldo, saw_any ? l.sum : 0, power_between(st->m[r], m));
        count += w->overflowed[r];
        store_row(h->out.data + head_of(w, r) * h->out_head_stride +
                      query_of(w, r) * h->out.row_stride,
                  h->out.col_stride, h->out.dtype, o, w->plan->d_v);
        if (w->headroom > 0) {
            continue;
        }
        store_lse(w, r, m, l);
        st->m[r] = m;
        st->l[r].sum = saw_any ? 1 / l.sum : 0;
    }
    return count;
}

static void take_chunks(block_work *w, const row_state *total)
{
    const ptrdiff_t first = w->first_key / SA_CHUNK_KEYS;
    const ptrdiff_t end = (w->last_key + SA_CHUNK_KEYS - 1) / SA_CHUNK_KEYS;
    clear_state(total, w->n_rows, w->ldo);
    for (ptrdiff_t chunk = first; chunk < end; chunk++) {
        if (chunk == first) { /* merging into nothing changes nothing */
            take_chunk(w, total, chunk, NULL);
        } else {
            take_chunk(w, &w->chunk, chunk, total);
        }
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
