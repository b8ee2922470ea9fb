/* groups.h -- a tile of keys, and the groups of rows that see any of it.
 *
 * Rows are taken in groups of TILE_ROWS, the height of the register tile. Each group has the
 * interval of keys that any of its rows sees; panels and multiplications outside it are left out,
 * so that a causal diagonal costs what lies below it. What is left out would have added exact
 * zeros: bits do not change.
 */
#ifndef SA_GROUPS_H
#define SA_GROUPS_H

enum { MAX_GROUPS = (SA_SCORE_ROWS + TILE_ROWS - 1) / TILE_ROWS };

typedef struct {
    ptrdiff_t row;         /* first row in the block */
    ptrdiff_t rows;        /* 1 ... TILE_ROWS */
    ptrdiff_t first, last; /* keys of the tile that any of them sees */
    bool mixed;
    sight seen[TILE_ROWS]; /* what a mask leaves of each row's own interval */
} row_group;

/* Rows that load_lanes reads, stride bytes apart */
typedef struct {
    const char *data;
    ptrdiff_t stride;
    sa_dtype dtype;
} lane_rows;

typedef struct {
    ptrdiff_t key, n; /* keys key ... key + n - 1 */
    ptrdiff_t n_keys; /* how many of them may be read */
    bool loaded;
    const real *k;          /* panels ... */
    lane_rows k_rows;       /* ... or rows */
    real longest;           /* greatest |k|, below 0 before it is looked for */
    const real *v;          /* strips, n_keys * v_width apart, or rows; of either with stride ldv */
    ptrdiff_t ldv, v_width; /* columns side by side: NR, or all */
    lane_rows v_rows;       /* for a few rows, which may do without the above */
    ptrdiff_t ahead;        /* the first key that was not asked for yet */
    enum { V_UNKNOWN, V_FINITE, V_NOT_FINITE } v_state;
} key_tile;

static key_tile tile_at(const block_work *w, ptrdiff_t key)
{
    const ptrdiff_t left = w->plan->n_k - key, valid = w->head->n_keys - key;
    const ptrdiff_t n = left < w->plan->tile_keys ? left : w->plan->tile_keys;
    return (key_tile){
        .key = key, .n = n, .n_keys = clamp(valid, 0, n), .longest = -1, .ahead = key + n};
}

/* Narrow a group to what the mask leaves of its rows. */
static void look_through_mask(const block_work *w, const key_tile *tile, row_group *g)
{
    const ptrdiff_t begin = g->first, end = g->last;
    g->first = end;
    g->last = begin;
    for (ptrdiff_t i = 0; i < g->rows; i++) {
        const ptrdiff_t first = clamp(w->first[g->row + i] - tile->key, begin, end);
        const ptrdiff_t last = clamp(w->last[g->row + i] - tile->key, begin, end);
        g->seen[i] =
            first < last ? mask_sight(w, g->row + i, tile->key + first, last - first) : SEE_NONE;
        g->mixed |= g->seen[i] != SEE_ALL;
        if (g->seen[i] != SEE_NONE) {
            g->first = first < g->first ? first : g->first;
            g->last = last > g->last ? last : g->last;
        }
    }
}

/* The groups among rows [row, row + rows) that see any key of the tile; returns how many. row is
 * a multiple of TILE_ROWS. */
static int find_groups(const block_work *w, const key_tile *tile, ptrdiff_t row, ptrdiff_t rows,
                       row_group *groups)
{
    int count = 0;
    for (ptrdiff_t r0 = row; r0 < row + rows; r0 += TILE_ROWS) {
        const interval *v = &w->seen[r0 / TILE_ROWS];
        row_group *g = &groups[count];
        g->row = r0;
        g->rows = row + rows - r0 < TILE_ROWS ? row + rows - r0 : TILE_ROWS;
        g->first = clamp(v->first - tile->key, 0, tile->n_keys);
        g->last = clamp(v->last - tile->key, 0, tile->n_keys);
        g->mixed = v->all_first > tile->key + g->first || v->all_last < tile->key + g->last;
        if (g->first < g->last && w->head->mask.data) {
            look_through_mask(w, tile, g);
        }
        count += g->first < g->last;
    }
    return count;
}

#endif
