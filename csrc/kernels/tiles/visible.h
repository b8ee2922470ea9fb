/* visible.h -- which keys a row may look at. Every rule that hides a key stands here.
 *
 * Position p = i + query_offset. causal: j <= p; window: p - left <= j <= p + right; key_lengths:
 * j < n_keys. These three give each row one interval of keys. A bool mask (false) and a float mask
 * (-inf) hide single keys inside it. What is hidden is never read from K or V where a whole tile
 * is, and never reaches the row where another row of the tile sees it.
 */
#ifndef SA_VISIBLE_H
#define SA_VISIBLE_H

typedef enum { SEE_NONE, SEE_SOME, SEE_ALL } sight;

static SA_INLINE ptrdiff_t clamp(int64_t x, ptrdiff_t least, ptrdiff_t most)
{
    return x < least ? least : x > most ? most : (ptrdiff_t)x;
}

/* a + b, or the nearest number of 64 bits: a side of the window may be as wide as those reach. */
static SA_INLINE int64_t add_saturated(int64_t a, int64_t b)
{
    int64_t sum;
    return !__builtin_add_overflow(a, b, &sum) ? sum : b < 0 ? INT64_MIN : INT64_MAX;
}

static SA_INLINE ptrdiff_t query_of(const block_work *w, ptrdiff_t r)
{
    const ptrdiff_t row = w->row_begin + r, group = w->plan->group;
    return group == 1 ? row : row / group; /* a division takes as long as a vector of scores */
}

static SA_INLINE ptrdiff_t head_of(const block_work *w, ptrdiff_t r)
{
    return w->plan->group == 1 ? 0 : (w->row_begin + r) % w->plan->group;
}

static SA_INLINE void widen(interval *v, ptrdiff_t first, ptrdiff_t last)
{
    if (first < last) {
        v->first = first < v->first ? first : v->first;
        v->last = last > v->last ? last : v->last;
    }
    v->all_first = first > v->all_first ? first : v->all_first;
    v->all_last = last < v->all_last ? last : v->all_last;
}

/* The keys that causal, window and lengths let row r see */
static SA_INLINE void find_visible_keys(const block_work *w, ptrdiff_t r, ptrdiff_t *first,
                                        ptrdiff_t *last)
{
    const sa_plan *p = w->plan;
    *first = 0;
    *last = w->head->n_keys;
    const int64_t position = (int64_t)query_of(w, r) + w->head->query_offset;
    if (p->causal) {
        *last = clamp(position + 1, 0, *last);
    }
    if (p->has_window && p->window_right != SA_WINDOW_OPEN) {
        *last = clamp(add_saturated(position + 1, p->window_right), 0, *last);
    }
    if (p->has_window && p->window_left != SA_WINDOW_OPEN) {
        *first = clamp(add_saturated(position, -p->window_left), 0, *last);
    }
}

/* find_visible_rows where all rows see the same keys */
static void show_all_keys(block_work *w)
{
    const ptrdiff_t n = w->head->n_keys, n_rows = w->n_rows;
    ptrdiff_t *last = w->last;
    interval *seen = w->seen;
    memset(w->first, 0, (size_t)n_rows * sizeof(ptrdiff_t));
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        last[r] = n;
    }
    for (ptrdiff_t i = 0; i * TILE_ROWS < n_rows; i++) {
        seen[i] = (interval){0, n, 0, n};
    }
    w->first_key = 0;
    w->last_key = n;
}

/* Fills first, last (of each row), seen (of each group), first_key and last_key (of the block). */
static void find_visible_rows(block_work *w)
{
    if (!w->plan->causal && !w->plan->has_window) {
        show_all_keys(w);
        return;
    }
    const interval none = {w->head->n_keys, 0, 0, w->head->n_keys};
    interval block = none;
    for (ptrdiff_t row = 0; row < w->n_rows; row += TILE_ROWS) {
        const ptrdiff_t end = row + TILE_ROWS < w->n_rows ? row + TILE_ROWS : w->n_rows;
        interval group = none;
        for (ptrdiff_t r = row; r < end; r++) {
            find_visible_keys(w, r, &w->first[r], &w->last[r]);
            widen(&group, w->first[r], w->last[r]);
        }
        w->seen[row / TILE_ROWS] = group;
        widen(&block, group.first, group.last);
    }
    w->first_key = block.first;
    w->last_key = block.last;
}

static SA_INLINE const char *term_row(const block_work *w, const sa_score_term *term, ptrdiff_t r,
                                      ptrdiff_t key)
{
    return term->data + head_of(w, r) * term->head_stride + query_of(w, r) * term->row_stride +
           key * term->col_stride;
}

static SA_INLINE bool is_hidden(const char *p, sa_dtype t)
{
    return t == SA_BOOL ? *p == 0 : load_one(p, t) == -(real)INFINITY;
}

/* Ask for a row of a mask or bias that is read when the next rows' scores stand in scratch: each row
 * is a short stretch of a long one, which hardware does not foresee. */
static SA_INLINE void prefetch_term(const block_work *w, const sa_score_term *term, ptrdiff_t r,
                                    ptrdiff_t key, ptrdiff_t n)
{
    const ptrdiff_t next = r + SA_SCORE_ROWS, bytes = n * dtype_size(term->dtype);
    if (term->col_stride != dtype_size(term->dtype) || next >= w->n_rows) {
        return;
    }
    const char *p = term_row(w, term, next, key);
    for (ptrdiff_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch(p + at, 0, 2);
    }
}

/* How many of n elements side by side are -inf; mostly none, which is found by vectors. */
static ptrdiff_t count_hidden(const char *p, sa_dtype t, ptrdiff_t n)
{
    const ptrdiff_t size = dtype_size(t);
    vec most = v_set1(-(real)INFINITY);
    ptrdiff_t hidden = 0, j = 0;
    for (; j + LANES <= n; j += LANES) {
        most = v_max(v_sub(v_zero(), load_lanes(p + j * size, t)), most);
    }
    if (v_reduce_max(most) < (real)INFINITY) {
        p += j * size;
        n -= j;
    }
    for (j = 0; j < n; j++) {
        hidden += is_hidden(p + j * size, t);
    }
    return hidden;
}

/* How many of n bytes are 0; a byte holds what a stretch can count, and many of them make a vector. */
static ptrdiff_t count_zeros(const char *p, ptrdiff_t n)
{
    enum { STRETCH = 128 };
    ptrdiff_t zeros = 0;
    for (ptrdiff_t j = 0; j < n;) {
        const ptrdiff_t end = least(n, j + STRETCH);
        uint8_t some = 0;
        for (; j < end; j++) {
            some = (uint8_t)(some + (p[j] == 0));
        }
        zeros += some;
    }
    return zeros;
}

/* What the mask leaves of keys [key, key + n) for row r. */
static sight mask_sight(const block_work *w, ptrdiff_t r, ptrdiff_t key, ptrdiff_t n)
{
    const sa_score_term *mask = &w->head->mask;
    if (!mask->data) {
        return SEE_ALL;
    }
    const char *p = term_row(w, mask, r, key);
    const ptrdiff_t count = mask->col_stride == 0 ? 1 : n;
    prefetch_term(w, mask, r, key, n);
    ptrdiff_t hidden = 0;
    if (mask->dtype == SA_BOOL && mask->col_stride == 1) {
        hidden = count_zeros(p, count);
    } else if (is_contiguous(mask->col_stride, mask->dtype)) {
        hidden = count_hidden(p, mask->dtype, count);
    } else {
        for (ptrdiff_t j = 0; j < count; j++) {
            hidden += is_hidden(p + j * mask->col_stride, mask->dtype);
        }
    }
    return hidden == 0 ? SEE_ALL : hidden == count ? SEE_NONE : SEE_SOME;
}

/* seen[j] = whether the mask lets row r see key + j, for j in [0, n) */
static void mask_bytes(const block_work *w, ptrdiff_t r, ptrdiff_t key, ptrdiff_t n, uint8_t *seen)
{
    const sa_score_term *mask = &w->head->mask;
    if (!mask->data) {
        memset(seen, 1, (size_t)n);
        return;
    }
    const char *p = term_row(w, mask, r, key);
    if (mask->dtype == SA_BOOL && mask->col_stride == 1) {
        memcpy(seen, p, (size_t)n);
        return;
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        seen[j] = !is_hidden(p + j * mask->col_stride, mask->dtype);
    }
}

/* p[0, n) of keys key ... of a row whose denominator is NaN: NaN where it looks, 0 elsewhere */
static void spread_nan(const block_work *w, ptrdiff_t r, ptrdiff_t key, ptrdiff_t n, real *p)
{
    const ptrdiff_t first = clamp(w->first[r] - key, 0, n);
    const ptrdiff_t last = clamp(w->last[r] - key, first, n);
    uint8_t seen[SA_MAX_TILE_KEYS];
    mask_bytes(w, r, key + first, last - first, seen + first);
    for (ptrdiff_t j = 0; j < n; j++) {
        p[j] = j >= first && j < last && seen[j] ? (real)NAN : 0;
    }
}

#endif
