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

static void pack_queries(block_work *w)
{
    const sa_head *h = w->head;
    const ptrdiff_t d = w->plan->d;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        const char *src = h->query.data + head_of(w, r) * h->query_head_stride +
                          query_of(w, r) * h->query.row_stride;
        real *q = w->q + r * w->ldq;
        load_row(q, src, h->query.col_stride, h->query.dtype, d);
        for (ptrdiff_t c = 0; w->plan->scale < 0 && c < d; c++) {
            q[c] = -q[c];
        }
        for (ptrdiff_t c = d; c < w->ldq; c++) {
            q[c] = 0;
        }
    }
}

static void begin_block(block_work *w, const sa_block *block, void *workspace, sa_stop stop)
{
    w->head = block->head;
    w->stop = stop;
    w->row_begin = block->row_begin;
    w->n_rows = block->row_end - block->row_begin;
    carve_block(w, block->plan, w->n_rows, workspace);
    find_visible_rows(w);
    find_terms(w);
}

static SA_INLINE bool stopped(const block_work *w) { return w->stop.stop(w->stop.context); }

/* The state of all rows after the keys of one chunk. */
static void take_chunk(block_work *w, const row_state *st, ptrdiff_t chunk)
{
    clear_state(st, w->n_rows, w->ldo);
    ptrdiff_t key = chunk * SA_CHUNK_KEYS, end = key + SA_CHUNK_KEYS;
    end = end < w->last_key ? end : w->last_key;
    if (key < w->first_key) {
        key = w->first_key / SA_TILE_KEYS * SA_TILE_KEYS;
    }
    /* a tile of few rows is over before a clock was read */
    const bool asks_often = w->n_rows > TILE_ROWS;
    if (!asks_often && stopped(w)) {
        return;
    }
    for (; key < end && !(asks_often && stopped(w)); key += SA_TILE_KEYS) {
        take_tile(w, st, key);
    }
}

static void finish_rows(block_work *w, const row_state *st)
{
    const sa_head *h = w->head;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        const ptrdiff_t i = query_of(w, r), g = head_of(w, r);
        real m;
        double l;
        finish_row(w, st, r, &m, &l);
        real *o = st->o + r * w->ldo;
        /* a row that saw nothing is 0; adding 0 makes every zero a positive one */
        const vec scale = v_set1(l == 0 ? 0 : power_between(st->m[r], m));
        const vec divisor = v_set1(l == 0 ? 1 : (real)l);
        for (ptrdiff_t c = 0; c < w->ldo; c += LANES) {
            const vec sum = l == 0 ? v_zero() : v_mul(v_load(o + c), scale);
            v_store(o + c, v_add(v_div(sum, divisor), v_zero()));
        }
        store_row(h->out.data + g * h->out_head_stride + i * h->out.row_stride, h->out.col_stride,
                  h->out.dtype, o, w->plan->d_v);
        if (h->lse) {
            const double lse = l == 0 ? -(double)INFINITY : ((double)m + log2(l)) * LN2;
            store_one(h->lse + g * h->lse_head_stride + i * h->lse_row_stride,
                      SA_UNIT_IS_F64 ? SA_F64 : SA_F32, (real)lse);
        }
        st->m[r] = m;
        st->l[r * LANES] = l == 0 ? 0 : (real)(1 / l);
    }
}

/* out and lse of all rows; leaves w->total as finish_rows does */
static void forward_block(block_work *w)
{
    pack_queries(w);
    const ptrdiff_t first = w->first_key / SA_CHUNK_KEYS;
    const ptrdiff_t end = (w->last_key + SA_CHUNK_KEYS - 1) / SA_CHUNK_KEYS;
    clear_state(&w->total, w->n_rows, w->ldo);
    for (ptrdiff_t chunk = first; chunk < end; chunk++) {
        if (chunk == first) { /* merging into nothing changes nothing */
            take_chunk(w, &w->total, chunk);
        } else {
            take_chunk(w, &w->chunk, chunk);
            merge_states(&w->total, &w->chunk, w->n_rows, w->ldo);
        }
    }
    finish_rows(w, &w->total);
}

#endif
