/* tile.h -- one tile of keys against all rows of a block: S = Q K^T, P = 2^(t - m), O += P V.
 *
 * 0 * NaN: a group is *mixed* if a row does not see all of the interval. If then V is not finite,
 * its rows are gathered one by one from a copy of V with zeros where the row does not look.
 */
#ifndef SA_TILE_H
#define SA_TILE_H

/* V can be read where it lies if its rows are whole vectors of the compute type, near enough to
 * each other that a column of the tile does not fall into few cache sets. */
static bool reads_v_in_place(const block_work *w)
{
    const sa_matrix *v = &w->head->value;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    return dtype_size(v->dtype) == size && v->col_stride == size && w->ldo == w->plan->d_v &&
           v->row_stride % size == 0 && v->row_stride < MAX_ROW_STRIDE &&
           v->row_stride > -MAX_ROW_STRIDE;
}

static void load_keys(block_work *w, key_tile *tile)
{
    if (w->plan->packed_keys) {
        pack_panels(w->k, &w->head->key, tile->key, tile->n_keys, w->plan->d);
        tile->k = w->k;
    } else {
        load_key_rows(w, tile->key, tile->n_keys, &tile->k, &tile->ldk);
    }
    tile->loaded = true;
}

static void load_values(block_work *w, key_tile *tile)
{
    const sa_head *h = w->head;
    if (reads_v_in_place(w)) {
        tile->ldv = h->value.row_stride / (ptrdiff_t)sizeof(real);
        tile->v = (const real *)(const void *)h->value.data + tile->key * tile->ldv;
    } else {
        pack_rows(w->v, w->ldo, &h->value, tile->key, tile->n_keys, w->plan->d_v);
        tile->v = w->v;
        tile->ldv = w->ldo;
    }
}

/* The register tile sums a chain from zero; longer products are cut into parts whose sums are added,
 * for a chain over all of them would lose more than the error bound allows where the terms have one
 * sign. Parts start at multiples of their length, whatever is left out of a tile. */
enum { VALUE_DEPTH = 64 };

static ptrdiff_t score_depth(ptrdiff_t d) { return d <= 512 ? 32 : 64; }

static const real ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};

static void score_panels(const block_work *w, const key_tile *tile, const row_group *groups,
                         int n_groups, real *s0)
{
    const ptrdiff_t d = w->plan->d, part = score_depth(d);
    for (ptrdiff_t j = 0; j < tile->n_keys; j += NR) {
        const real *panel = tile->k + j * d;
        for (int i = 0; i < n_groups; i++) {
            const row_group *g = &groups[i];
            if (j >= g->last || j + NR <= g->first) {
                continue;
            }
            const real *q = w->q + g->row * w->ldq;
            real *s = s0 + (g->row - groups[0].row) * SA_TILE_KEYS + j;
            const ptrdiff_t left = round_up(g->last - j, LANES);
            const ptrdiff_t width = left < NR ? left : NR;
            ptrdiff_t c = 0;
            do {
                const ptrdiff_t depth = d - c < part ? d - c : part;
                gemm_rows(g->rows, width, false, depth, q + c, w->ldq, panel + c * NR, NR, s,
                          SA_TILE_KEYS, c ? ones : NULL);
                c += part;
            } while (c < d);
        }
    }
}

/* q.k of all groups; row r of the block goes to row r - groups[0].row of s0. */
static void score_groups(const block_work *w, const key_tile *tile, const row_group *groups,
                         int n_groups, real *s0)
{
    if (w->plan->packed_keys) {
        score_panels(w, tile, groups, n_groups, s0);
    } else {
        score_dots(w, tile, groups, n_groups, s0);
    }
}

/* Turn the products of a group into logits, in place; rows of s are SA_TILE_KEYS apart. */
static void group_logits(block_work *w, const key_tile *tile, const row_group *g, real *s)
{
    const bool whole_steps = g->first % EXP_STEP == 0 && g->last % EXP_STEP == 0;
    if (!g->mixed && !w->has_terms && whole_steps) {
        return;
    }
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const ptrdiff_t r = g->row + i, at = i * SA_TILE_KEYS;
        const ptrdiff_t first = clamp(w->first[r] - tile->key, g->first, g->last);
        const ptrdiff_t last = clamp(w->last[r] - tile->key, first, g->last);
        logits_row(w, r, tile->key, s + at, w->low + at, g->first / EXP_STEP * EXP_STEP,
                   round_up(g->last, EXP_STEP), first, last,
                   w->head->mask.data ? g->seen[i] : SEE_ALL);
    }
}

/* Take the scores of all groups into the state; w->s becomes P, w->alpha the rows' factors. */
static void weigh_groups(block_work *w, const key_tile *tile, const row_group *groups, int n_groups,
                         const row_state *st)
{
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        const ptrdiff_t at = g->row - groups[0].row;
        const ptrdiff_t begin = g->first / EXP_STEP * EXP_STEP, end = round_up(g->last, EXP_STEP);
        real *s = w->s + at * SA_TILE_KEYS, *m = st->m + g->row;
        double *l = st->l + g->row;
        group_logits(w, tile, g, s);
        for (ptrdiff_t i = 0; i < g->rows; i++) {
            m[i] = raise_max(w, s + i * SA_TILE_KEYS, m[i], begin, end, &w->alpha[at + i]);
        }
        for (ptrdiff_t i = 0; i < g->rows; i++) {
            const double sum =
                weigh_row(w, s + i * SA_TILE_KEYS, w->low + i * SA_TILE_KEYS, m[i], begin, end);
            l[i] = l[i] * (double)w->alpha[at + i] + sum;
        }
    }
}

static bool is_v_finite(const block_work *w, key_tile *tile)
{
    if (tile->v_state == V_UNKNOWN) {
        vec zero = v_zero(); /* 0 * x stays 0 while x is finite */
        for (ptrdiff_t j = 0; j < tile->n_keys; j++) {
            for (ptrdiff_t c = 0; c < w->ldo; c += LANES) {
                zero = v_fma(v_load(tile->v + j * tile->ldv + c), v_zero(), zero);
            }
        }
        tile->v_state = v_reduce_add(zero) == 0 ? V_FINITE : V_NOT_FINITE;
    }
    return tile->v_state == V_FINITE;
}

/* Columns [c, c + width) of o = diag(alpha) o + p v over the group's keys in the part of VALUE_DEPTH
 * keys that starts at j; p, v and o start at the group's first row, the tile's first key and
 * column 0. alpha counts with the group's first part. */
static SA_INLINE void gather_part(const block_work *w, const row_group *g, ptrdiff_t rows,
                                  ptrdiff_t j, ptrdiff_t c, ptrdiff_t width, const real *p,
                                  const real *v, ptrdiff_t ldv, real *o, const real *alpha)
{
    const ptrdiff_t begin = g->first > j ? g->first : j;
    const ptrdiff_t end = g->last < j + VALUE_DEPTH ? g->last : j + VALUE_DEPTH;
    if (begin < end) {
        gemm_rows(rows, width, begin % 2 != 0, end - begin, p + begin, SA_TILE_KEYS,
                  v + begin * ldv + c, ldv, o + c, w->ldo, g->first >= j ? alpha : ones);
    }
}

static void gather_row_seen(block_work *w, const key_tile *tile, const row_group *g, ptrdiff_t i,
                            const real *p, real *o, const real *alpha)
{
    const ptrdiff_t r = g->row + i;
    uint8_t bytes[SA_TILE_KEYS];
    mask_bytes(w, r, tile->key + g->first, g->last - g->first, bytes);
    for (ptrdiff_t j = g->first; j < g->last; j++) {
        const ptrdiff_t key = tile->key + j;
        const bool seen = key >= w->first[r] && key < w->last[r] && bytes[j - g->first];
        real *row = w->v_seen + j * w->ldo;
        if (seen) {
            memcpy(row, tile->v + j * tile->ldv, (size_t)w->ldo * sizeof(real));
        } else {
            memset(row, 0, (size_t)w->ldo * sizeof(real));
        }
    }
    for (ptrdiff_t j = 0; j < g->last; j += VALUE_DEPTH) {
        gather_part(w, g, 1, j, 0, w->ldo, p, w->v_seen, w->ldo, o, alpha);
    }
}

/* Rows of a mixed group over values that are not all finite; see the head of this file. */
static void gather_group_seen(block_work *w, const key_tile *tile, const row_group *g,
                              const real *p, real *o, const real *alpha)
{
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        gather_row_seen(w, tile, g, i, p + i * SA_TILE_KEYS, o + i * w->ldo, alpha + i);
    }
}

/* O = diag(alpha) O + P V for all groups. A strip of V, as wide as the register tile, serves all
 * groups while it is in the first-level cache; one group alone takes whole rows of V. */
static void gather_groups(block_work *w, key_tile *tile, const row_group *groups, int n_groups,
                          const row_state *st)
{
    bool done[MAX_GROUPS] = {false};
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        const ptrdiff_t at = g->row - groups[0].row;
        done[k] = g->mixed && !is_v_finite(w, tile);
        if (done[k]) {
            gather_group_seen(w, tile, g, w->s + at * SA_TILE_KEYS, st->o + g->row * w->ldo,
                              w->alpha + at);
        }
    }
    const ptrdiff_t strip = n_groups > 1 ? NR : w->ldo;
    for (ptrdiff_t j = 0; j < tile->n_keys; j += VALUE_DEPTH) {
        for (ptrdiff_t c = 0; c < w->ldo; c += strip) {
            const ptrdiff_t width = w->ldo - c < strip ? w->ldo - c : strip;
            for (int k = 0; k < n_groups; k++) {
                const row_group *g = &groups[k];
                const ptrdiff_t at = g->row - groups[0].row;
                if (!done[k]) {
                    gather_part(w, g, g->rows, j, c, width, w->s + at * SA_TILE_KEYS, tile->v,
                                tile->ldv, st->o + g->row * w->ldo, w->alpha + at);
                }
            }
        }
    }
}

/* This tile's values are wanted after the scores, the next tile's keys after that. */
static void prefetch_tile(const block_work *w, const key_tile *tile)
{
    const ptrdiff_t next = tile->key + SA_TILE_KEYS, left = w->last_key - next;
    if (w->plan->packed_keys) {
        prefetch_rows(&w->head->value, tile->key, tile->n_keys, w->plan->d_v);
        prefetch_rows(&w->head->key, next, left < SA_TILE_KEYS ? left : SA_TILE_KEYS, w->plan->d);
    }
}

/* Take the tile of keys that starts at key into the state of all rows. */
static void take_tile(block_work *w, const row_state *st, ptrdiff_t key)
{
    key_tile tile = tile_at(w, key);
    for (ptrdiff_t row = 0; row < w->n_rows; row += SA_SCORE_ROWS) {
        row_group groups[MAX_GROUPS];
        const ptrdiff_t rows = w->n_rows - row < SA_SCORE_ROWS ? w->n_rows - row : SA_SCORE_ROWS;
        const int n_groups = find_groups(w, &tile, row, rows, groups);
        if (n_groups == 0) {
            continue;
        }
        if (!tile.loaded) {
            load_keys(w, &tile);
            load_values(w, &tile);
            prefetch_tile(w, &tile);
        }
        score_groups(w, &tile, groups, n_groups, w->s);
        weigh_groups(w, &tile, groups, n_groups, st);
        if (w->keeping) {
            keep_groups(w, &tile, groups, n_groups, st);
        }
        gather_groups(w, &tile, groups, n_groups, st);
    }
}

#endif
