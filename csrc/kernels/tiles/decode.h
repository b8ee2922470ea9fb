/* decode.h -- the scores of a few rows (a decoding step): K is read where it lies; values.h reads V.
 *
 * Packing K pays when many rows share a panel. Here each key row is read as vectors along d, for
 * four rows at a time; the sums over lanes come last. What counts is the order in which memory is
 * read: keys that are worked on together lie far apart, each in a stream that goes on from row to
 * row, as hardware foresees. Neighbours, each a stream that ends with its row, come at half the
 * speed.
 */
#ifndef SA_DECODE_H
#define SA_DECODE_H

/* Rows [first, first + n) of a matrix with d padded by zeros to ld: in place if they are whole vectors
 * of a type that load_lanes reads, and not too many rows of the block widen them again, else copied. */
static lane_rows load_lane_rows(const block_work *w, const sa_matrix *m, ptrdiff_t first,
                                ptrdiff_t n, ptrdiff_t d, ptrdiff_t ld, real *copy)
{
    const bool widens = m->dtype != REAL_DTYPE && w->n_rows > MAX_WIDENING_ROWS;
    if (is_contiguous(m->col_stride, m->dtype) && ld == d && !widens) {
        return (lane_rows){m->data + first * m->row_stride, m->row_stride, m->dtype};
    }
    pack_rows(copy, ld, m, first, n, d);
    return (lane_rows){(const char *)copy, ld * (ptrdiff_t)sizeof(real), REAL_DTYPE};
}

/* Sums of a block of rows x keys: chains enough to hide the latency of the multiply-add, and keys
 * enough that a vector of q serves several. No more streams than hardware follows. */
enum { DOT_STREAMS = 8, DOT_SUMS = MAX_ACCUMULATORS >= 24 ? 16 : 8, MAX_DOT_SUMS = 16 };

/* acc[i][j] += lane by lane, products of row i of q and row j of k over their n elements, whole
 * vectors; rows of k are k_stride bytes apart. */
static SA_INLINE void dot_lanes(const int rows, const int keys, const sa_dtype k_dtype, ptrdiff_t n,
                                const real *restrict q, ptrdiff_t ldq, const char *restrict k,
                                ptrdiff_t k_stride, vec *acc)
{
    for (ptrdiff_t c = 0; c < n; c += LANES) {
        vec k_c[MAX_DOT_SUMS];
        SA_UNROLL
        for (int j = 0; j < keys; j++) {
            const char *at = k + j * k_stride + c * dtype_size(k_dtype);
            k_c[j] = rows > 1 && k_dtype == REAL_DTYPE ? v_fetch(at) : load_lanes(at, k_dtype);
        }
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            const vec q_c = v_fetch(q + i * ldq + c);
            SA_UNROLL
            for (int j = 0; j < keys; j++) {
                acc[i * keys + j] = v_fma(q_c, k_c[j], acc[i * keys + j]);
            }
        }
    }
}

_Static_assert((int)DOT_SUMS <= (int)MAX_ACCUMULATORS, "their parts wait like those of a tile");

/* s[i][j apart] = q_i . k_j for rows x keys <= DOT_SUMS; keys are k_stride bytes apart. Lanes are added
 * up when all parts are; in_parts: there is more than one. The bits of a sum are the same in a block of
 * any shape. */
static SA_INLINE void dot_block(const bool in_parts, const int rows, const int keys,
                                const sa_dtype k_dtype, const gemm_depth *depth,
                                const real *restrict q, ptrdiff_t ldq, const char *restrict k,
                                ptrdiff_t k_stride, real *restrict s, ptrdiff_t apart)
{
    vec acc[DOT_SUMS];
    real sum[DOT_SUMS];
    ptrdiff_t begin = 0, end = depth->head;
    for (size_t place = 0;; place++) {
        SA_UNROLL
        for (int i = 0; i < DOT_SUMS; i++) {
            acc[i] = v_zero();
        }
        dot_lanes(rows, keys, k_dtype, end - begin, q + begin, ldq, k + begin * dtype_size(k_dtype),
                  k_stride, acc);
        if (!in_parts) {
            break;
        }
        const bool is_last = end == depth->depth;
        real *level = join_pairs(rows * keys, depth->pairs, place, is_last, acc);
        if (is_last) {
            break;
        }
        gemm_store(rows, keys, GEMM_REPLACE, acc, level, keys * LANES, NULL);
        begin = end;
        end = least(end + depth->part, depth->depth);
    }
    SA_UNROLL
    for (int i = 0; i < rows * keys; i += 4) {
        v_reduce_add4(acc + i, sum + i);
    }
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        SA_UNROLL
        for (int j = 0; j < keys; j++) {
            s[i * SCORE_LD + j * apart] = sum[i * keys + j];
        }
    }
}

static SA_INLINE void dot_parts(const bool in_parts, const int rows, const sa_dtype k_dtype,
                                const gemm_depth *depth, const real *q, const char *k,
                                ptrdiff_t stride, ptrdiff_t n, real *s)
{
    const int keys = DOT_SUMS / rows < DOT_STREAMS ? DOT_SUMS / rows : DOT_STREAMS;
    const ptrdiff_t apart = n / keys, ldq = depth->depth;
    for (ptrdiff_t j = 0; j < apart; j++) {
        dot_block(in_parts, rows, keys, k_dtype, depth, q, ldq, k + j * stride, apart * stride,
                  s + j, apart);
    }
    for (ptrdiff_t j = keys * apart; j < n; j++) {
        dot_block(in_parts, rows, 1, k_dtype, depth, q, ldq, k + j * stride, 0, s + j, 0);
    }
}

/* Scores of some rows for n keys from k on, stride bytes apart */
typedef void score_function(const gemm_depth *depth, const real *q, const char *k, ptrdiff_t stride,
                            ptrdiff_t n, real *s);

#define SCORE_ROWS(name, rows, dtype)                                                        \
    static void score_##name##_##rows(const gemm_depth *depth, const real *q, const char *k, \
                                      ptrdiff_t stride, ptrdiff_t n, real *s)                \
    {                                                                                        \
        if (depth->head < depth->depth) {                                                    \
            dot_parts(true, rows, dtype, depth, q, k, stride, n, s);                         \
        } else {                                                                             \
            dot_parts(false, rows, dtype, depth, q, k, stride, n, s);                        \
        }                                                                                    \
    }

#define SCORES_OF(name, dtype)                                                           \
    SCORE_ROWS(name, 1, dtype)                                                           \
    SCORE_ROWS(name, 2, dtype)                                                           \
    SCORE_ROWS(name, 4, dtype)                                                           \
    static score_function *const scores_##name[3] = {score_##name##_1, score_##name##_2, \
                                                     score_##name##_4};

FOR_EACH_DTYPE(SCORES_OF)

/* Rows that see the same keys are taken together, whatever group they are of. */
static void score_dots(const block_work *w, const key_tile *tile, const row_group *groups,
                       int n_groups, real *s0)
{
    const gemm_depth depth = cut_in_parts(w->ldq, SCORE_PART * LANES, w->pairs);
    const lane_rows *k = &tile->k_rows;
    score_function *const *functions = OF_DTYPE(scores, k->dtype);
    for (int g = 0; g < n_groups;) {
        const ptrdiff_t first = groups[g].first, last = groups[g].last;
        ptrdiff_t row = groups[g].row, end = row;
        while (g < n_groups && groups[g].row == end && groups[g].first == first &&
               groups[g].last == last) {
            end += groups[g++].rows;
        }
        while (row < end) {
            const int log2_rows = end - row >= 4 ? 2 : end - row >= 2;
            functions[log2_rows](&depth, w->q + row * w->ldq, k->data + first * k->stride,
                                 k->stride, last - first,
                                 s0 + (row - groups[0].row) * SCORE_LD + first);
            row += (ptrdiff_t)1 << log2_rows;
        }
    }
}

#endif
