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

enum { DOT_KEYS = 4 };

/* s[i][j] = q_i . k_j for rows x keys, both at most DOT_KEYS */
static SA_INLINE void dot_block(const int rows, const int keys, ptrdiff_t d, const real *restrict q,
                                ptrdiff_t ldq, const real *restrict k, ptrdiff_t ldk,
                                real *restrict s)
{
    vec acc[2 * DOT_KEYS];
    SA_UNROLL
    for (int i = 0; i < rows * keys; i++) {
        acc[i] = v_zero();
    }
    for (ptrdiff_t c = 0; c < d; c += LANES) {
        vec q_c[2];
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            q_c[i] = v_load(q + i * ldq + c);
        }
        SA_UNROLL
        for (int j = 0; j < keys; j++) {
            const vec k_c = v_load(k + j * ldk + c);
            SA_UNROLL
            for (int i = 0; i < rows; i++) {
                acc[i * keys + j] = v_fma(q_c[i], k_c, acc[i * keys + j]);
            }
        }
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        SA_UNROLL
        for (int j = 0; j < keys; j++) {
            s[i * SA_TILE_KEYS + j] = v_reduce_add(acc[i * keys + j]);
        }
    }
}

static void dot_rows(ptrdiff_t rows, ptrdiff_t keys, ptrdiff_t d, const real *q, ptrdiff_t ldq,
                     const real *k, ptrdiff_t ldk, real *s)
{
    ptrdiff_t j = 0;
    for (; j + DOT_KEYS <= keys; j += DOT_KEYS) {
        if (rows == 2) {
            dot_block(2, DOT_KEYS, d, q, ldq, k + j * ldk, ldk, s + j);
        } else {
            dot_block(1, DOT_KEYS, d, q, ldq, k + j * ldk, ldk, s + j);
        }
    }
    for (; j < keys; j++) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            dot_block(1, 1, d, q + i * ldq, ldq, k + j * ldk, ldk, s + i * SA_TILE_KEYS + j);
        }
    }
}

static void score_dots(const block_work *w, const real *k, ptrdiff_t ldk, const row_group *groups,
                       int n_groups, real *s0)
{
    for (int n = 0; n < n_groups; n++) {
        const row_group *g = &groups[n];
        for (ptrdiff_t i = 0; i < g->rows; i += 2) {
            const ptrdiff_t rows = g->rows - i < 2 ? g->rows - i : 2;
            const real *q = w->q + (g->row + i) * w->ldq;
            real *s = s0 + (g->row - groups[0].row + i) * SA_TILE_KEYS + g->first;
            dot_rows(rows, g->last - g->first, w->ldq, q, w->ldq, k + g->first * ldk, ldk, s);
        }
    }
}

#endif
