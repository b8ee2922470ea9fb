/* stats_sets.h -- how much of each row's weight lies on some keys, taken from P as the tiles come.
 *
 *   c_r = sum p_rj over j in S(r)
 *
 * S(r) is an interval of keys, or the keys of a token before the row's own position (or those right
 * after them). The keys of a token are a chain; a row's cursor walks along it once, as tiles come in
 * the order of their keys. So no set is ever a matrix, and a row pays for its own keys only.
 */
#ifndef SA_STATS_SETS_H
#define SA_STATS_SETS_H

typedef struct {
    double *sums;     /* [rows, n_sets] */
    int64_t *cursors; /* [rows, n_sets] the next key of the chain */
} set_sums;

static set_sums carve_sets(carver *c, ptrdiff_t n)
{
    return (set_sums){carve(c, (size_t)n * sizeof(double)), carve(c, (size_t)n * sizeof(int64_t))};
}

static SA_INLINE int64_t position_of(const block_work *w, ptrdiff_t r)
{
    return (int64_t)query_of(w, r) + w->head->query_offset;
}

static void begin_sets(const block_work *w, const set_sums *x, const sa_row_stats *wanted)
{
    const ptrdiff_t n_k = w->plan->n_k;
    for (ptrdiff_t r = 0; r < w->n_rows; r++) {
        const int64_t position = position_of(w, r);
        const bool has_token = position >= 0 && position < n_k;
        for (ptrdiff_t i = 0; i < wanted->n_sets; i++) {
            const int64_t *first_same = wanted->sets[i].first_same;
            const ptrdiff_t at = r * wanted->n_sets + i;
            x->sums[at] = 0;
            x->cursors[at] =
                first_same && has_token ? first_same[wanted->batch * n_k + position] : INT64_MAX;
        }
    }
}

static void scale_sets(const set_sums *x, const sa_row_stats *wanted, ptrdiff_t r, double a)
{
    for (ptrdiff_t i = 0; i < wanted->n_sets; i++) {
        x->sums[r * wanted->n_sets + i] *= a;
    }
}

/* The sum of p over [begin, end). Which numbers are added one by one depends on begin and end, but
 * those that a caller may leave out are zeros. */
static double sum_interval(const real *p, ptrdiff_t begin, ptrdiff_t end)
{
    double sum = 0;
    wide many = wide_zero();
    ptrdiff_t j = begin;
    for (; j < end && j % LANES != 0; j++) {
        sum += (double)p[j];
    }
    for (; j + LANES <= end; j += LANES) {
        many = wide_add_at(many, p + j);
    }
    double rest = 0;
    for (; j < end; j++) {
        rest += (double)p[j];
    }
    return (sum + wide_sum(many).sum) + rest;
}

/* The same over the keys of a chain before `position`, moved by `shift`, that lie in [begin, end) of
 * the tile at key. Leaves the first one beyond in *cursor. */
static double sum_chain(const real *p, const int64_t *next, int64_t *cursor, int64_t position,
                        int64_t shift, ptrdiff_t key, ptrdiff_t begin, ptrdiff_t end)
{
    double sum = 0;
    int64_t j = *cursor;
    while (j < position && j + shift < key + end) {
        const int64_t at = j + shift - key;
        sum += at >= begin ? (double)p[at] : 0;
        j = next[j];
    }
    *cursor = j;
    return sum;
}

/* Row r takes b p, p over [begin, end) of the tile that begins at key; hidden keys have p = 0. */
static void take_sets(const block_work *w, const set_sums *x, const sa_row_stats *wanted,
                      ptrdiff_t r, ptrdiff_t key, const real *p, double b, ptrdiff_t begin,
                      ptrdiff_t end)
{
    const int64_t position = position_of(w, r);
    for (ptrdiff_t i = 0; i < wanted->n_sets; i++) {
        const sa_key_set *set = &wanted->sets[i];
        const ptrdiff_t at = r * wanted->n_sets + i;
        if (set->kind == SA_KEYS_OF_TOKEN) {
            const int64_t *next = set->next_same + wanted->batch * w->plan->n_k;
            x->sums[at] +=
                b * sum_chain(p, next, &x->cursors[at], position, set->first, key, begin, end);
        } else {
            const int64_t origin = (set->kind == SA_KEYS_NEAR ? position : 0) - key;
            const ptrdiff_t first = clamp(origin + set->first, begin, end);
            const ptrdiff_t last = clamp(origin + set->last + 1, first, end);
            x->sums[at] += b * sum_interval(p, first, last);
        }
    }
}

#endif
