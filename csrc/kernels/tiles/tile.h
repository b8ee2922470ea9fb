/* tile.h -- one tile of keys against all rows of a block: S = Q K^T, P = 2^(t - m), O += P V.
 *
 * 0 * NaN: a group is *mixed* if a row does not see all of the interval. If then V is not finite,
 * its rows are gathered one by one from a copy of V with zeros where the row does not look.
 */
#ifndef SA_TILE_H
#define SA_TILE_H

/* V can be read where it lies if its rows are whole vectors of the compute type. */
static bool reads_v_in_place(const block_work *w)
{
    const sa_matrix *v = &w->head->value;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    return dtype_size(v->dtype) == size && v->col_stride == size && w->ldo == w->plan->d_v &&
           v->row_stride % size == 0;
}

/* A column of the register tile walks down V. In rows a power of two apart it would meet few cache
 * sets and turn to the second-level cache at every step; in strips it is a stream. What fits the
 * first-level cache as it lies is not worth that. */
static bool cuts_strips(const block_work *w, ptrdiff_t n_keys)
{
    enum { NEAR_BYTES = 1 << 15 };
    const ptrdiff_t stride = w->head->value.row_stride, most = NEAR_BYTES / n_keys;
    const bool is_near = stride <= most && stride >= -most;
    return w->plan->packed_keys && !(is_near && reads_v_in_place(w));
}

static void load_keys(block_work *w, key_tile *tile)
{
    if (w->plan->packed_keys) {
        pack_panels(w->k, &w->head->key, tile->key, tile->n_keys, w->plan->d);
        tile->k = w->k;
    } else {
        tile->k_rows =
            load_lane_rows(w, &w->head->key, tile->key, tile->n_keys, w->plan->d, w->ldq, w->k);
    }
    tile->loaded = true;
}

/* Whether values.h multiplies. The register tile is faster for one row alone, if it is as wide. */
static bool is_few(const block_work *w)
{
    const bool fits_tile = w->ldo <= 8 * LANES && w->head->value.dtype == REAL_DTYPE;
    return !w->plan->packed_keys && (w->n_rows > 1 || !fits_tile);
}

/* as_real: V in the compute type, for rows of O that do not see all of it */
static void load_values(block_work *w, key_tile *tile, bool as_real)
{
    const sa_matrix *m = &w->head->value;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real), d_v = w->plan->d_v;
    if (is_few(w) && !as_real) {
        tile->v_rows = load_lane_rows(w, m, tile->key, tile->n_keys, d_v, w->ldo, w->v);
        return;
    }
    tile->v = w->v;
    tile->v_width = w->ldo;
    if (cuts_strips(w, tile->n_keys)) {
        pack_strips(w->v, m, tile->key, tile->n_keys, d_v);
        tile->ldv = NR;
        tile->v_width = NR;
    } else if (reads_v_in_place(w)) {
        tile->ldv = m->row_stride / size;
        tile->v = (const real *)(const void *)m->data + tile->key * tile->ldv;
    } else {
        pack_rows(w->v, w->ldo, m, tile->key, tile->n_keys, d_v);
        tile->ldv = w->ldo;
    }
    tile->v_rows = (lane_rows){(const char *)tile->v, tile->ldv * size, REAL_DTYPE};
}

/* Stretches, and parts of a stretch, of about equal length. At least two parts, so that short products
 * gain too. */
static gemm_depth score_depth(const block_work *w)
{
    const ptrdiff_t d = w->plan->d, stretches = (d + SCORE_STRETCH - 1) / SCORE_STRETCH;
    const ptrdiff_t stretch = d > 0 ? (d + stretches - 1) / stretches : 1;
    const ptrdiff_t parts = stretch > 2 * SCORE_PART ? (stretch + SCORE_PART - 1) / SCORE_PART : 2;
    const ptrdiff_t part = (stretch + parts - 1) / parts;
    return (gemm_depth){d, least(d, part), part, least(d, stretch), stretch, w->sums, w->pairs};
}

/* Ask for a part of the next tile's keys and values: as much as makes all of it when each group of
 * rows was taken against each panel. Where rows are few, memory would else idle while they compute. */
static SA_INLINE void fetch_ahead(const block_work *w, key_tile *tile)
{
    const ptrdiff_t left = least(w->fetch_end, tile->key + 2 * tile->n) - tile->ahead;
    if (left > 0) {
        const ptrdiff_t n_groups = (w->n_rows + TILE_ROWS - 1) / TILE_ROWS;
        const ptrdiff_t share = least((NR + n_groups - 1) / n_groups, left);
        prefetch_rows(&w->head->key, tile->ahead, share, w->plan->d);
        prefetch_rows(&w->head->value, tile->ahead, share, w->plan->d_v);
        tile->ahead += share;
    }
}

static SA_NOINLINE void score_panels(const block_work *w, key_tile *tile, const row_group *groups,
                                     int n_groups, real *s0)
{
    const ptrdiff_t d = w->plan->d;
    const gemm_depth depth = score_depth(w);
    for (ptrdiff_t j = 0; j < tile->n_keys; j += NR) {
        const real *panel = tile->k + j * d;
        for (int i = 0; i < n_groups; i++) {
            const row_group *g = &groups[i];
            if (j >= g->last || j + NR <= g->first) {
                continue;
            }
            const real *q = w->q + g->row * w->ldq;
            real *s = s0 + (g->row - groups[0].row) * SCORE_LD + j;
            const ptrdiff_t left = round_up(g->last - j, LANES);
            const ptrdiff_t width = left < NR ? left : NR;
            fetch_ahead(w, tile);
            gemm_rows(true, g->rows, width, &depth, q, 1, TILE_ROWS, panel, NR, s, SCORE_LD, NULL);
        }
    }
}

/* q.k of all groups; row r of the block goes to row r - groups[0].row of s0. */
static void score_groups(const block_work *w, key_tile *tile, const row_group *groups, int n_groups,
                         real *s0)
{
    if (w->plan->packed_keys && w->plan->d == 0) {
        const row_group *g = &groups[n_groups - 1];
        memset(s0, 0, (size_t)((g->row + g->rows - groups[0].row) * SCORE_LD) * sizeof(real));
    } else if (w->plan->packed_keys) {
        score_panels(w, tile, groups, n_groups, s0);
    } else {
        score_dots(w, tile, groups, n_groups, s0);
    }
}

/* Turn the products of a group into logits, in place; rows of s are SCORE_LD apart. */
static void group_logits(block_work *w, const key_tile *tile, const row_group *g, real *s)
{
    if (is_plain(w, g)) {
        return;
    }
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const ptrdiff_t r = g->row + i, at = i * SCORE_LD;
        const ptrdiff_t first = clamp(w->first[r] - tile->key, g->first, g->last);
        const ptrdiff_t last = clamp(w->last[r] - tile->key, first, g->last);
        logits_row(w, r, tile->key, s + at, w->low + at, g->first / EXP_STEP * EXP_STEP,
                   round_up(g->last, LANES), first, last,
                   w->head->mask.data ? g->seen[i] : SEE_ALL);
    }
}

/* Take the scores of all groups into the state; w->s becomes P, w->alpha the rows' factors. */
static void weigh_groups(block_work *w, key_tile *tile, const row_group *groups, int n_groups,
                         const row_state *st)
{
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        const ptrdiff_t at = g->row - groups[0].row;
        const ptrdiff_t begin = g->first / EXP_STEP * EXP_STEP, end = round_up(g->last, LANES);
        real *s = w->s + at * SCORE_LD, *m = st->m + g->row;
        group_logits(w, tile, g, s);
        const bool is_first = !w->touched[g->row / TILE_ROWS];
        for (ptrdiff_t i = 0; i < g->rows; i++) {
            const real m_old = m[i];
            m[i] = raise_max(w, s + i * SCORE_LD, m_old, begin, end);
            if (!is_first) {
                w->alpha[at + i] = power_between(m_old, m[i]);
            }
        }
        long_sum more[TILE_ROWS], *sums = is_first ? st->l + g->row : more;
        if (takes_stats(w)) {
            keep_logits(w, s, g->rows, begin, end);
        }
        weigh_rows(w, stays_normal(w, tile, g, m), s, m, sums, g->rows, begin, end);
        if (takes_stats(w)) {
            take_stats(w, tile->key, g, s, m, sums);
        }
        for (ptrdiff_t i = 0; !is_first && i < g->rows; i++) {
            add_long(&st->l[g->row + i], (double)w->alpha[at + i], 1, sums[i]);
        }
    }
}

static bool is_v_finite(const block_work *w, key_tile *tile)
{
    if (tile->v_state == V_UNKNOWN) {
        vec zero = v_zero(); /* 0 * x stays 0 while x is finite */
        const ptrdiff_t width = tile->v_width;
        for (ptrdiff_t c = 0; c < w->ldo; c += width) {
            for (ptrdiff_t j = 0; j < tile->n_keys; j++) {
                const real *v = tile->v + c * tile->n_keys + j * tile->ldv;
                for (ptrdiff_t i = 0; i < width; i += LANES) {
                    zero = v_fma(v_load(v + i), v_zero(), zero);
                }
            }
        }
        tile->v_state = v_is_zero(zero) ? V_FINITE : V_NOT_FINITE;
    }
    return tile->v_state == V_FINITE;
}

static gemm_depth value_depth(const block_work *w, const row_group *g)
{
    const ptrdiff_t n = g->last - g->first, at = g->first % VALUE_STRETCH;
    const ptrdiff_t stop = least(n, VALUE_STRETCH - at);
    const ptrdiff_t head = least(stop, VALUE_PART - at % VALUE_PART);
    return (gemm_depth){n, head, VALUE_PART, stop, VALUE_STRETCH, w->sums, NULL};
}

/* o = diag(alpha) o + p v over the group's keys, for the columns from c on that lie side by side in
 * v; p and v start at the tile's first key. */
static SA_INLINE void gather_strip(const block_work *w, const key_tile *tile, const row_group *g,
                                   const gemm_depth *depth, ptrdiff_t rows, ptrdiff_t c,
                                   const real *p, const real *v, ptrdiff_t ldv, real *o,
                                   const real *alpha)
{
    gemm_rows(false, rows, least(w->ldo - c, tile->v_width), depth, p + g->first, SCORE_LD, 1,
              v + c * tile->n_keys + g->first * ldv, ldv, o + c, w->ldo, alpha);
}

/* v_seen = the tile's V, and 0 at the keys of the group that row r does not see */
static void copy_seen(block_work *w, const key_tile *tile, const row_group *g, ptrdiff_t r)
{
    uint8_t bytes[SA_MAX_TILE_KEYS];
    const ptrdiff_t width = tile->v_width;
    mask_bytes(w, r, tile->key + g->first, g->last - g->first, bytes);
    for (ptrdiff_t j = g->first; j < g->last; j++) {
        const ptrdiff_t key = tile->key + j;
        const bool seen = key >= w->first[r] && key < w->last[r] && bytes[j - g->first];
        for (ptrdiff_t c = 0; c < w->ldo; c += width) {
            real *to = w->v_seen + c * tile->n_keys + j * width;
            const size_t row_bytes = (size_t)width * sizeof(real);
            if (seen) {
                memcpy(to, tile->v + c * tile->n_keys + j * tile->ldv, row_bytes);
            } else {
                memset(to, 0, row_bytes);
            }
        }
    }
}

static void gather_row_seen(block_work *w, const key_tile *tile, const row_group *g, ptrdiff_t i,
                            const real *p, real *o, const real *alpha)
{
    const ptrdiff_t width = tile->v_width;
    copy_seen(w, tile, g, g->row + i);
    if (is_few(w)) {
        const lane_rows v = {(const char *)w->v_seen, width * (ptrdiff_t)sizeof(real), REAL_DTYPE};
        gather_few(w, g->first, g->last, 1, p, &v, o, alpha);
        return;
    }
    const gemm_depth depth = value_depth(w, g);
    for (ptrdiff_t c = 0; c < w->ldo; c += width) {
        gather_strip(w, tile, g, &depth, 1, c, p, w->v_seen, width, o, alpha);
    }
}

/* Rows of a mixed group over values that are not all finite; see the head of this file. */
static void gather_group_seen(block_work *w, const key_tile *tile, const row_group *g,
                              const real *p, real *o, const real *alpha)
{
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        gather_row_seen(w, tile, g, i, p + i * SCORE_LD, o + i * w->ldo, alpha ? alpha + i : NULL);
    }
}

/* O = diag(alpha) O + P V for all groups, or P V where O holds nothing yet. A strip of V serves all
 * groups. */
static SA_NOINLINE void gather_groups(block_work *w, key_tile *tile, const row_group *groups,
                                      int n_groups, const row_state *st)
{
    bool done[MAX_GROUPS];
    const real *alpha[MAX_GROUPS];
    gemm_depth depth[MAX_GROUPS];
    for (int k = 0; k < n_groups; k++) {
        const row_group *g = &groups[k];
        const ptrdiff_t at = g->row - groups[0].row;
        alpha[k] = w->touched[g->row / TILE_ROWS] ? w->alpha + at : NULL;
        w->touched[g->row / TILE_ROWS] = true;
        depth[k] = value_depth(w, g);
        done[k] = g->mixed && !is_v_finite(w, tile);
        if (done[k]) {
            gather_group_seen(w, tile, g, w->s + at * SCORE_LD, st->o + g->row * w->ldo, alpha[k]);
        }
    }
    const ptrdiff_t width = is_few(w) ? w->ldo : tile->v_width;
    for (ptrdiff_t c = 0; c < w->ldo; c += width) {
        for (int k = 0; k < n_groups; k++) {
            const row_group *g = &groups[k];
            const real *p = w->s + (g->row - groups[0].row) * SCORE_LD;
            real *o = st->o + g->row * w->ldo;
            if (!done[k] && is_few(w)) {
                gather_few(w, g->first, g->last, g->rows, p, &tile->v_rows, o, alpha[k]);
            } else if (!done[k]) {
                gather_strip(w, tile, g, &depth[k], g->rows, c, p, tile->v, tile->ldv, o, alpha[k]);
            }
        }
    }
}

static void take_groups(block_work *w, key_tile *tile, const row_group *groups, int n_groups,
                        const row_state *st)
{
    if (!tile->loaded) {
        bool mixed = false;
        for (int i = 0; i < n_groups; i++) {
            mixed |= groups[i].mixed;
        }
        load_keys(w, tile);
        load_values(w, tile, mixed);
    }
    score_groups(w, tile, groups, n_groups, w->s);
    weigh_groups(w, tile, groups, n_groups, st);
    if (w->keeping) {
        keep_groups(w, tile, groups, n_groups, st);
    }
    gather_groups(w, tile, groups, n_groups, st);
}

/* Take the tile of keys that starts at key into the state of all rows. After the last tile of a
 * chunk the rows' state is merged into total while it is near, unless total is NULL. */
static void take_tile(block_work *w, const row_state *st, ptrdiff_t key, const row_state *total)
{
    key_tile tile = tile_at(w, key);
    for (ptrdiff_t row = 0; row < w->n_rows; row += SA_SCORE_ROWS) {
        row_group groups[MAX_GROUPS];
        const ptrdiff_t rows = w->n_rows - row < SA_SCORE_ROWS ? w->n_rows - row : SA_SCORE_ROWS;
        const int n_groups = find_groups(w, &tile, row, rows, groups);
        if (n_groups > 0) {
            take_groups(w, &tile, groups, n_groups, st);
        }
        for (ptrdiff_t r = row; total && r < row + rows; r += TILE_ROWS) {
            if (w->touched[r / TILE_ROWS]) {
                merge_states(total, st, r, row + rows - r < TILE_ROWS ? row + rows - r : TILE_ROWS,
                             w->ldo);
            }
        }
    }
}

#endif
