/* keep.h -- weights in one pass: P of a block's rows is kept as the tiles come, and finished when the
 * rows' maxima and denominators are known.
 *
 *   W_ij = P_ij / l_i * 2^(m_tile - m_i)
 *
 * m_tile is the maximum that stood when the tile was taken. The last factor is exact, so the bits
 * are those of the second pass in weights.h.
 */
#ifndef SA_KEEP_H
#define SA_KEEP_H

static ptrdiff_t count_tiles(const block_work *w)
{
    return (w->plan->n_k + w->plan->tile_keys - 1) / w->plan->tile_keys;
}

static void begin_keeping(block_work *w)
{
    const ptrdiff_t n = w->n_rows * count_tiles(w);
    for (ptrdiff_t i = 0; i < n; i++) {
        w->tile_m[i] = (real)NAN;
    }
    w->keeping = true;
}

static SA_INLINE void clear_vectors(real *dst, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        v_store(dst + j, v_zero());
    }
}

/* dst[0, n) = s[begin, end) at its place, zeros around it; all are whole vectors */
static SA_INLINE void keep_row(real *restrict dst, const real *restrict s, ptrdiff_t begin,
                               ptrdiff_t end, ptrdiff_t n)
{
    clear_vectors(dst, 0, begin);
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        v_store(dst + j, v_load(s + j));
    }
    clear_vectors(dst, end, n);
}

/* P of the groups, which stands in w->s, with the maxima of st. */
static SA_NOINLINE void keep_groups(block_work *w, const key_tile *tile, const row_group *groups,
                                    int n_groups, const row_state *st)
{
    const ptrdiff_t tiles = count_tiles(w), index = tile->key / w->plan->tile_keys;
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        for (ptrdiff_t r = g->row; r < g->row + g->rows; r++) {
            const real *s = w->s + (r - groups[0].row) * SCORE_LD;
            keep_row(w->kept + r * w->kept_ld + tile->key, s, g->first / EXP_STEP * EXP_STEP,
                     round_up(g->last, LANES), round_up(tile->n, LANES));
            w->tile_m[r * tiles + index] = st->m[r];
        }
    }
}

/* Numbers before the first whole vector of memory */
static ptrdiff_t count_unaligned(const real *p)
{
    return (ptrdiff_t)(-(uintptr_t)p % sizeof(vec) / sizeof(real));
}

/* to[0, n) = p inverse power; to may be p, but not of a stream */
static void finish_kept_tile(real *to, const real *p, ptrdiff_t n, real inverse, real power,
                             bool streams)
{
    const vec a = v_set1(inverse), b = v_set1(power);
    ptrdiff_t j = 0;
    if (streams) {
        for (const ptrdiff_t head = least(count_unaligned(to), n); j < head; j++) {
            to[j] = p[j] * inverse * power;
        }
        for (; j + LANES <= n; j += LANES) {
            v_stream(to + j, v_mul(v_mul(v_load(p + j), a), b));
        }
    }
    for (; j + LANES <= n; j += LANES) {
        v_store(to + j, v_mul(v_mul(v_load(p + j), a), b));
    }
    for (; j < n; j++) {
        to[j] = p[j] * inverse * power;
    }
}

static real *kept_row(const block_work *w, ptrdiff_t r, ptrdiff_t key)
{
    return w->kept + r * w->kept_ld + key;
}

/* to[0, n) = weights of row r for the tile of n keys from key on, where its P was kept; w->total as
 * finish_rows leaves it. */
static void finish_kept(const block_work *w, ptrdiff_t r, ptrdiff_t key, ptrdiff_t n, real *to,
                        bool streams)
{
    const real m_tile = w->tile_m[r * count_tiles(w) + key / w->plan->tile_keys];
    const real inverse = (real)w->total.l[r].sum;
    if (inverse != inverse) {
        spread_nan(w, r, key, n, to);
    } else if (m_tile == m_tile && inverse != 0) {
        finish_kept_tile(to, kept_row(w, r, key), n, inverse, power_between(m_tile, w->total.m[r]),
                         streams);
    } else { /* saw none of it */
        memset(to, 0, (size_t)n * sizeof(real));
    }
}

#endif
