/* decode.h -- scores of a few rows: dot products along d, K read where it lies.
 *
 * Packing K pays when many rows share a panel. With one to a few rows (a decoding step) each key
 * row is read once, as vectors along d, for all rows of the group; the sums over lanes come last.
 */
#ifndef SA_DECODE_H
#define SA_DECODE_H

/* The rows of a K tile with d padded by zeros to ldq: in place if they are whole vectors of the
 * compute type, else copied. */
static void load_key_rows(block_work *w, ptrdiff_t key, ptrdiff_t n, const real **k, ptrdiff_t *ldk)
{
    const sa_matrix *m = &w->head->key;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    if (dtype_size(m->dtype) == size && m->col_stride == size && w->ldq == w->plan->d &&
        m->row_stride % size == 0) {
        *ldk = m->row_stride / size;
        *k = (const real *)(const void *)m->data + key * *ldk;
        return;
    }
    pack_rows(w->k, w->ldq, m, key, n, w->plan->d);
    *k = w->k;
    *ldk = w->ldq;
}

enum { DOT_ROWS = 4, DOT_KEYS = 2 };

/* A lane sums at most this many products before the lanes are added up; see tile.h. */
enum { DOT_DEPTH = 16 * LANES };

/* s[i][j] = q_i . k_j for rows x keys */
static SA_INLINE void dot_block(const int rows, const int keys, ptrdiff_t d, const real *restrict q,
                                ptrdiff_t ldq, const real *restrict k, ptrdiff_t ldk,
                                real *restrict s)
{
    ptrdiff_t c = 0;
    do {
        vec acc[DOT_ROWS * DOT_KEYS];
        const ptrdiff_t end = d < c + DOT_DEPTH ? d : c + DOT_DEPTH;
        const bool is_first = c == 0;
        SA_UNROLL
        for (int i = 0; i < rows * keys; i++) {
            acc[i] = v_zero();
        }
        for (; c < end; c += LANES) {
            SA_UNROLL
            for (int j = 0; j < keys; j++) {
                const vec k_c = v_load(k + j * ldk + c);
                SA_UNROLL
                for (int i = 0; i < rows; i++) {
                    acc[i * keys + j] = v_fma(v_load(q + i * ldq + c), k_c, acc[i * keys + j]);
                }
            }
        }
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            SA_UNROLL
            for (int j = 0; j < keys; j++) {
                real *s_ij = s + i * SCORE_LD + j;
                *s_ij = (is_first ? 0 : *s_ij) + v_reduce_add(acc[i * keys + j]);
            }
        }
    } while (c < d);
}

/* One row takes more keys at a time, so that there are chains enough to hide their latency. */
static void dot_keys(ptrdiff_t rows, int keys, ptrdiff_t d, const real *q, ptrdiff_t ldq,
                     const real *k, ptrdiff_t ldk, real *s)
{
    ptrdiff_t i = 0;
    for (; keys == DOT_KEYS && i + DOT_ROWS <= rows; i += DOT_ROWS) {
        dot_block(DOT_ROWS, DOT_KEYS, d, q + i * ldq, ldq, k, ldk, s + i * SCORE_LD);
    }
    for (; keys == DOT_KEYS && i < rows; i++) {
        dot_block(1, DOT_KEYS, d, q + i * ldq, ldq, k, ldk, s + i * SCORE_LD);
    }
    for (; i < rows; i++) {
        dot_block(1, 1, d, q + i * ldq, ldq, k, ldk, s + i * SCORE_LD);
    }
}

static void score_dots(const block_work *w, const key_tile *tile, const row_group *groups,
                       int n_groups, real *s0)
{
    const ptrdiff_t ldk = tile->ldk;
    for (int n = 0; n < n_groups; n++) {
        const row_group *g = &groups[n];
        const real *q = w->q + g->row * w->ldq;
        real *s = s0 + (g->row - groups[0].row) * SCORE_LD;
        for (ptrdiff_t j = g->first; j < g->last; j += DOT_KEYS) {
            const int keys = g->last - j < DOT_KEYS ? 1 : DOT_KEYS;
            if (n == 0) {
                prefetch_rows(&w->head->value, tile->key + j, keys, w->plan->d_v);
            }
            dot_keys(g->rows, keys, w->ldq, q, w->ldq, tile->k + j * ldk, ldk, s + j);
        }
    }
}

#endif
