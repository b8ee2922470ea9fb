/* decode.h -- a few rows (a decoding step): K and V read where they lie.
 *
 * Packing K pays when many rows share a panel. Here each key row is read as vectors along d, for
 * four rows at a time; the sums over lanes come last. What counts is the order in which memory is
 * read: keys that are worked on together lie far apart, each in a stream that goes on from row to
 * row, as hardware foresees. Neighbours, each a stream that ends with its row, come at half the
 * speed, and so do columns of V. Where two rows of O fit the registers, V is one stream of whole rows.
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

/* s[i][j apart] = q_i . k_j for rows x keys <= DOT_SUMS; keys are ldk apart. Lanes are added up when
 * all parts are; in_parts: there is more than one. The bits of a sum are the same in a block of any
 * shape. */
static SA_INLINE void dot_block(const bool in_parts, const int rows, const int keys,
                                const gemm_depth *depth, const real *restrict q, ptrdiff_t ldq,
                                const real *restrict k, ptrdiff_t ldk, real *restrict s,
                                ptrdiff_t apart)
{
    const ptrdiff_t k_stride = ldk * (ptrdiff_t)sizeof(real);
    vec acc[DOT_SUMS];
    real sum[DOT_SUMS];
    ptrdiff_t begin = 0, end = depth->head;
    for (size_t place = 0;; place++) {
        SA_UNROLL
        for (int i = 0; i < DOT_SUMS; i++) {
            acc[i] = v_zero();
        }
        dot_lanes(rows, keys, REAL_DTYPE, end - begin, q + begin, ldq, (const char *)(k + begin),
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

static SA_INLINE void dot_parts(const bool in_parts, const int rows, const gemm_depth *depth,
                                const real *q, const real *k, ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    const int keys = DOT_SUMS / rows < DOT_STREAMS ? DOT_SUMS / rows : DOT_STREAMS;
    const ptrdiff_t apart = n / keys, ldq = depth->depth;
    for (ptrdiff_t j = 0; j < apart; j++) {
        dot_block(in_parts, rows, keys, depth, q, ldq, k + j * ldk, apart * ldk, s + j, apart);
    }
    for (ptrdiff_t j = keys * apart; j < n; j++) {
        dot_block(in_parts, rows, 1, depth, q, ldq, k + j * ldk, 0, s + j, 0);
    }
}

/* Scores of `rows` rows for n keys from k on. */
static SA_INLINE void dot_rows(const int rows, const gemm_depth *depth, const real *q,
                               const real *k, ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    if (depth->head < depth->depth) {
        dot_parts(true, rows, depth, q, k, ldk, n, s);
    } else {
        dot_parts(false, rows, depth, q, k, ldk, n, s);
    }
}

static SA_NOINLINE void dot_4_rows(const gemm_depth *depth, const real *q, const real *k,
                                   ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(4, depth, q, k, ldk, n, s);
}

static SA_NOINLINE void dot_2_rows(const gemm_depth *depth, const real *q, const real *k,
                                   ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(2, depth, q, k, ldk, n, s);
}

static SA_NOINLINE void dot_1_row(const gemm_depth *depth, const real *q, const real *k,
                                  ptrdiff_t ldk, ptrdiff_t n, real *s)
{
    dot_rows(1, depth, q, k, ldk, n, s);
}

static void score_dots(const block_work *w, const key_tile *tile, const row_group *groups,
                       int n_groups, real *s0)
{
    const gemm_depth depth = cut_in_parts(w->ldq, SCORE_PART * LANES, w->pairs);
    for (int i = 0; i < n_groups; i++) {
        const row_group *g = &groups[i];
        const ptrdiff_t n = g->last - g->first, ldk = tile->ldk;
        const real *q = w->q + g->row * w->ldq, *k = tile->k + g->first * ldk;
        real *s = s0 + (g->row - groups[0].row) * SCORE_LD + g->first;
        ptrdiff_t left = g->rows;
        for (; left >= 4; left -= 4, q += 4 * w->ldq, s += 4 * SCORE_LD) {
            dot_4_rows(&depth, q, k, ldk, n, s);
        }
        for (; left >= 2; left -= 2, q += 2 * w->ldq, s += 2 * SCORE_LD) {
            dot_2_rows(&depth, q, k, ldk, n, s);
        }
        if (left) {
            dot_1_row(&depth, q, k, ldk, n, s);
        }
    }
}

/* The four streams of V: keys j, j + 32, j + 64, j + 96 of a stretch of 128, four steps to a part. */
enum { STREAMS = 4, STREAM_KEYS = VALUE_STRETCH / STREAMS, PART_STEPS = 4 };

/* part (+)= p v for the keys at[0 .. keys); rows of p are ldp apart, those of v v_stride bytes */
static SA_INLINE void value_step(const int rows, const int keys, const bool is_first, ptrdiff_t n,
                                 const real *p, ptrdiff_t ldp, const ptrdiff_t *at, const char *v,
                                 ptrdiff_t v_stride, const sa_dtype v_dtype, real *restrict part)
{
    vec p_ij[2 * STREAMS];
    const char *v_j[STREAMS];
    SA_UNROLL
    for (int j = 0; j < keys; j++) {
        v_j[j] = v + at[j] * v_stride;
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            p_ij[i * keys + j] = v_set1(p[i * ldp + at[j]]);
        }
    }
    for (ptrdiff_t c = 0; c < n; c += LANES) {
        vec v_c[STREAMS];
        SA_UNROLL
        for (int j = 0; j < keys; j++) {
            v_c[j] = load_lanes(v_j[j] + c * dtype_size(v_dtype), v_dtype);
        }
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            vec sum = is_first ? v_mul(p_ij[i * keys], v_c[0])
                               : v_fma(p_ij[i * keys], v_c[0], v_load(part + i * n + c));
            SA_UNROLL
            for (int j = 1; j < keys; j++) {
                sum = v_fma(p_ij[i * keys + j], v_c[j], sum);
            }
            v_store(part + i * n + c, sum);
        }
    }
}

typedef void value_function(bool is_first, ptrdiff_t n, const real *p, ptrdiff_t ldp,
                            const ptrdiff_t *at, const char *v, ptrdiff_t v_stride,
                            real *restrict part);

#define VALUE_STEP(rows, keys, name, dtype)                                                       \
    static void value_##name##_##rows##x##keys(bool is_first, ptrdiff_t n, const real *p,         \
                                               ptrdiff_t ldp, const ptrdiff_t *at, const char *v, \
                                               ptrdiff_t v_stride, real *restrict part)           \
    {                                                                                             \
        if (is_first) {                                                                           \
            value_step(rows, keys, true, n, p, ldp, at, v, v_stride, dtype, part);                \
        } else {                                                                                  \
            value_step(rows, keys, false, n, p, ldp, at, v, v_stride, dtype, part);               \
        }                                                                                         \
    }

/* value_steps_NAME[rows - 1][keys - 1] for v of one type */
#define VALUE_STEPS(name, dtype)                                                          \
    VALUE_STEP(1, 1, name, dtype)                                                         \
    VALUE_STEP(1, 2, name, dtype)                                                         \
    VALUE_STEP(1, 3, name, dtype)                                                         \
    VALUE_STEP(1, 4, name, dtype)                                                         \
    VALUE_STEP(2, 1, name, dtype)                                                         \
    VALUE_STEP(2, 2, name, dtype)                                                         \
    VALUE_STEP(2, 3, name, dtype)                                                         \
    VALUE_STEP(2, 4, name, dtype)                                                         \
    static value_function *const value_steps_##name[2][STREAMS] = {                       \
        {value_##name##_1x1, value_##name##_1x2, value_##name##_1x3, value_##name##_1x4}, \
        {value_##name##_2x1, value_##name##_2x2, value_##name##_2x3, value_##name##_2x4}, \
    };

VALUE_STEPS(real, REAL_DTYPE)

/* part = p v over the keys of [first, last) in a part that starts at key `begin` of its stretch;
 * returns whether there are any. */
static bool value_part(ptrdiff_t begin, ptrdiff_t first, ptrdiff_t last, ptrdiff_t rows,
                       ptrdiff_t n, const real *p, const real *v, ptrdiff_t ldv, real *part)
{
    const ptrdiff_t v_stride = ldv * (ptrdiff_t)sizeof(real);
    bool is_first = true;
    for (ptrdiff_t j = begin; j < begin + PART_STEPS; j++) {
        ptrdiff_t at[STREAMS];
        int keys = 0;
        for (ptrdiff_t key = j; key < j + VALUE_STRETCH; key += STREAM_KEYS) {
            if (key >= first && key < last) {
                at[keys++] = key;
            }
        }
        for (ptrdiff_t i = 0; keys && i < rows; i += 2) {
            value_steps_real[i + 1 < rows][keys - 1](is_first, n, p + i * SCORE_LD, SCORE_LD, at,
                                                     (const char *)v, v_stride, part + i * n);
        }
        is_first &= !keys;
    }
    return !is_first;
}

/* o = diag(alpha) o + x, or x without alpha */
static void add_values(real *o, const real *x, const real *alpha, ptrdiff_t rows, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t c = i * n; c < (i + 1) * n; c += LANES) {
            const vec sum = v_load(x + c);
            v_store(o + c, alpha ? v_fma(v_load(o + c), v_set1(alpha[i]), sum) : sum);
        }
    }
}

/* The widest rows of V whose sums for two rows fit the registers, and keys of a part of theirs: 512
 * equal terms are summed within 4.7 u. */
enum { NEAR_VECTORS = MAX_ACCUMULATORS >= 24 ? 8 : 4, NEAR_KEYS = 8 };

/* sum = p v over the keys [first, last), neighbours a part at a time: from memory for two rows, from
 * the first-level cache for the others */
static void gather_near(const block_work *w, ptrdiff_t first, ptrdiff_t last, ptrdiff_t rows,
                        const real *p, const real *v, ptrdiff_t ldv, const real *ones)
{
    const ptrdiff_t n = w->ldo;
    const real *beta = NULL;
    for (ptrdiff_t key = first; key < last;) {
        const ptrdiff_t end = least(last, (key / NEAR_KEYS + 1) * NEAR_KEYS);
        const gemm_depth depth = cut_in_parts(end - key, NEAR_KEYS, NULL);
        for (ptrdiff_t i = 0; i < rows; i += 2) {
            gemm_few_rows(i + 1 < rows ? 2 : 1, n, &depth, p + i * SCORE_LD + key, SCORE_LD, 1,
                          v + key * ldv, ldv, w->part + i * n, n, beta);
        }
        beta = ones;
        key = end;
    }
}

/* The same in four streams, for a stretch that starts at key `begin` */
static void gather_far(const block_work *w, ptrdiff_t begin, ptrdiff_t first, ptrdiff_t last,
                       ptrdiff_t rows, const real *p, const real *v, ptrdiff_t ldv,
                       const real *ones)
{
    real *part = w->part;
    for (ptrdiff_t j = begin; j < begin + STREAM_KEYS; j += PART_STEPS) {
        if (value_part(j, first, last, rows, w->ldo, p, v, ldv, part)) {
            if (part > w->part) {
                add_values(w->part, part, ones, rows, w->ldo);
            }
            part = w->part + TILE_ROWS * w->ldo;
        }
    }
}

/* o = diag(alpha) o + p v over the keys [first, last) of a tile, for a few rows */
static SA_NOINLINE void gather_streams(const block_work *w, ptrdiff_t first, ptrdiff_t last,
                                       ptrdiff_t rows, const real *p, const real *v, ptrdiff_t ldv,
                                       real *o, const real *alpha)
{
    real ones[TILE_ROWS];
    for (int i = 0; i < TILE_ROWS; i++) {
        ones[i] = 1;
    }
    for (ptrdiff_t key = first; key < last;) {
        const ptrdiff_t stretch = key / VALUE_STRETCH * VALUE_STRETCH;
        const ptrdiff_t end = least(last, stretch + VALUE_STRETCH);
        if (w->ldo <= NEAR_VECTORS * LANES) {
            gather_near(w, key, end, rows, p, v, ldv, ones);
        } else {
            gather_far(w, stretch, key, end, rows, p, v, ldv, ones);
        }
        add_values(o, w->part, alpha, rows, w->ldo);
        alpha = ones;
        key = end;
    }
}

#endif
