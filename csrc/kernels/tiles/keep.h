/* keep.h -- weights in one pass: P goes into the caller's rows as the tiles come, and is finished
 * there when the row's maximum and denominator are known.
 *
 *   W_ij = P_ij / l_i * 2^(m_tile - m_i)
 *
 * m_tile is the maximum that stood when the tile was taken. The last factor is exact, so the bits
 * are those of the second pass in weights.h. Only for rows of whole elements of the compute type;
 * a block's rows should fit the cache, as they are read once more.
 */
#ifndef SA_KEEP_H
#define SA_KEEP_H

static ptrdiff_t count_tiles(const block_work *w)
{
    return (w->plan->n_k + w->plan->tile_keys - 1) / w->plan->tile_keys;
}

static real *weights_row(const block_work *w, ptrdiff_t r)
{
    const sa_head *h = w->head;
    return (real *)(void *)(h->weights.data + head_of(w, r) * h->weights_head_stride +
                            query_of(w, r) * h->weights.row_stride);
}

static void begin_keeping(block_work *w)
{
    const ptrdiff_t n = w->n_rows * count_tiles(w);
    for (ptrdiff_t i = 0; i < n; i++) {
        w->tile_m[i] = (real)NAN;
    }
    w->keeping = true;
}

/* dst[0, n) = s[begin, end) at its place, zeros around it */
static void keep_row(real *restrict dst, const real *restrict s, ptrdiff_t begin, ptrdiff_t end,
                     ptrdiff_t n)
{
    const ptrdiff_t last = end < n ? end : n;
    memset(dst, 0, (size_t)begin * sizeof(real));
    memcpy(dst + begin, s + begin, (size_t)(last - begin) * sizeof(real));
    memset(dst + last, 0, (size_t)(n - last) * sizeof(real));
}

/* P of the groups, which stands in w->s, with the maxima of st. */
static void keep_groups(block_work *w, const key_tile *tile, const row_group *groups, int n_groups,
                        const row_state *st)
{
    const ptrdiff_t tiles = count_tiles(w), index = tile->key / w->plan->tile_keys;
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        for (ptrdiff_t r = g->row; r < g->row + g->rows; r++) {
            const real *s = w->s + (r - groups[0].row) * SCORE_LD;
            keep_row(weights_row(w, r) + tile->key, s, g->first / EXP_STEP * EXP_STEP,
                     round_up(g->last, LANES), tile->n);
            w->tile_m[r * tiles + index] = st->m[r];
        }
    }
}

static void finish_kept_tile(real *p, ptrdiff_t n, real inverse, real power)
{
    const vec a = v_set1(inverse), b = v_set1(power);
    ptrdiff_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        v_store(p + j, v_mul(v_mul(v_load(p + j), a), b));
    }
    for (; j < n; j++) {
        p[j] = p[j] * inverse * power;
    }
}

/* All kept rows; w->total as finish_rows leaves it. */
static void finish_kept(block_work *w)
{
    const ptrdiff_t tiles = count_tiles(w);
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        real *row = weights_row(w, r);
        const real inverse = (real)w->total.l[r].sum, m = w->total.m[r];
        for (ptrdiff_t i = 0; i < tiles; i++) {
            const ptrdiff_t key = i * w->plan->tile_keys, left = w->plan->n_k - key;
            const ptrdiff_t n = left < w->plan->tile_keys ? left : w->plan->tile_keys;
            const real m_tile = w->tile_m[r * tiles + i];
            if (inverse != inverse) {
                spread_nan(w, r, key, n, row + key);
            } else if (m_tile == m_tile && inverse != 0) {
                finish_kept_tile(row + key, n, inverse, power_between(m_tile, m));
            } else { /* saw none of it */
                memset(row + key, 0, (size_t)n * sizeof(real));
            }
        }
    }
    w->keeping = false;
}

#endif
