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

/* Sums of a block of rows x keys: chains enough to hide the latency of the multiply-add. */
enum { DOT_SUMS = 8 };

/* A lane sums at most this many products before the lanes are added up; see tile.h. */
enum { DOT_DEPTH = 16 * LANES };

/* s[i][j apart] = q_i . k_j for rows x keys <= DOT_SUMS; keys are ldk apart. The bits of a sum are
 * the same in a block of any shape. */
static SA_INLINE void dot_block(const int rows, const int keys, ptrdiff_t d, const real *restrict q,
                                ptrdiff_t ldq, const real *restrict k, ptrdiff_t ldk,
                                real *restrict s, ptrdiff_t apart)
{
    ptrdiff_t c = 0;
    do {
        vec acc[DOT_SUMS];
        real sum[DOT_SUMS];
        const ptrdiff_t end = d < c + DOT_DEPTH ? d : c + DOT_DEPTH;
        const bool is_first = c == 0;
        SA_UNROLL
        for (int i = 0; i < DOT_SUMS; i++) {
            acc[i] = v_zero();
        }
        for (; c < end; c += LANES) {
            vec k_c[DOT_SUMS];
            SA_UNROLL
            for (int j = 0; j < keys; j++) {
                k_c[j] = v_load(k + j * ldk + c);
            }
            SA_UNROLL
            for (int i = 0; i < rows; i++) {
                const vec q_c = v_load(q + i * ldq + c);
                SA_UNROLL
                for (int j = 0; j < keys; j++) {
                    acc[i * keys + j] = v_fma(q_c, k_c[j], acc[i * keys + j]);
                }
            }
        }
        SA_UNROLL
        for (int i = 0; i < rows * keys; i += 4) {
            v_reduce_add4(acc + i, sum + i);
        }
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            SA_UNROLL
            for (int j = 0; j < keys; j++) {
                real *s_ij = s + i * SCORE_LD + j * apart;
                *s_ij = (is_first ? 0 : *s_ij) + sum[i * keys + j];
            }
        }
    } while (c < d);
}

/* Scores of `rows` rows for n keys from k on. The keys of a block are far apart: each then is a
 * stream of memory that goes on from row to row, which is what hardware foresees. Neighbours, each
 * a stream that ends with its row, come at half the speed. */
static SA_INLINE void dot_rows(const int rows, ptrdiff_t d, const real *q, ptrdiff_t ldq,
                               const real *k, ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    const int keys = DOT_SUMS / rows;
    const ptrdiff_t apart = n / keys;
    for (ptrdiff_t j = 0; j < apart; j++) {
        dot_block(rows, keys, d, q, ldq, k + j * ldk, apart * ldk, s + j, apart);
    }
    for (ptrdiff_t j = keys * apart; j < n; j++) {
        dot_block(rows, 1, d, q, ldq, k + j * ldk, 0, s + j, 0);
    }
}

static SA_NOINLINE void dot_4_rows(ptrdiff_t d, const real *q, ptrdiff_t ldq, const real *k,
                                   ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(4, d, q, ldq, k, ldk, n, s);
}

static SA_NOINLINE void dot_2_rows(ptrdiff_t d, const real *q, ptrdiff_t ldq, const real *k,
                                   ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(2, d, q, ldq, k, ldk, n, s);
}

static SA_NOINLINE void dot_1_row(ptrdiff_t d, const real *q, ptrdiff_t ldq, const real *k,
                                  ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(1, d, q, ldq, k, ldk, n, s);
}

static void score_dots(const block_work *w, const key_tile *tile, const row_group *groups,
                       int n_groups, real *s0)
{
    for (int i = 0; i < n_groups; i++) {
        const row_group *g = &groups[i];
        const ptrdiff_t n = g->last - g->first, ldk = tile->ldk;
        const real *q = w->q + g->row * w->ldq, *k = tile->k + g->first * ldk;
        real *s = s0 + (g->row - groups[0].row) * SCORE_LD + g->first;
        ptrdiff_t left = g->rows;
        for (; left >= 4; left -= 4, q += 4 * w->ldq, s += 4 * SCORE_LD) {
            dot_4_rows(w->ldq, q, w->ldq, k, ldk, n, s);
        }
        for (; left >= 2; left -= 2, q += 2 * w->ldq, s += 2 * SCORE_LD) {
            dot_2_rows(w->ldq, q, w->ldq, k, ldk, n, s);
        }
        if (left) {
            dot_1_row(w->ldq, q, w->ldq, k, ldk, n, s);
        }
    }
}

#endif
