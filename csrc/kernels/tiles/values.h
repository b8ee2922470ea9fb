/* values.h -- P V of a few rows: V is read where it lies.
 *
 * Rows of V whose sums for two rows of O fit the registers are one stream, in the order in which they
 * lie. Wider ones come as four far streams, with the sums in scratch: columns of V, each a stream that
 * ends with its row, would come at half the speed.
 */
#ifndef SA_VALUES_H
#define SA_VALUES_H

/* The widest rows that are near, and keys of a part of theirs: up to 512 equal terms are summed
 * within 4.5 u. */
enum { NEAR_VECTORS = MAX_ACCUMULATORS >= 24 ? 8 : 4, NEAR_KEYS = 8 };

/* acc += p v for one key, or, with is_first, acc = that; rows of p are SCORE_LD apart */
static SA_INLINE void near_step(const int rows, const int vectors, const sa_dtype v_dtype,
                                const bool is_first, const real *p, const char *v, vec *acc)
{
    vec p_i[2];
    SA_UNROLL
    for (int i = 0; i < rows; i++) {
        p_i[i] = v_set1(p[i * SCORE_LD]);
    }
    SA_UNROLL
    for (int j = 0; j < vectors; j++) {
        const vec v_j = load_lanes(v + j * LANES * dtype_size(v_dtype), v_dtype);
        SA_UNROLL
        for (int i = 0; i < rows; i++) {
            vec *sum = &acc[i * vectors + j];
            *sum = is_first ? v_mul(p_i[i], v_j) : v_fma(p_i[i], v_j, *sum);
        }
    }
}

/* sum = p v over n_keys >= 1 neighbouring keys, or sum += that; rows of v are v_stride bytes apart,
 * those of sum n elements */
static SA_INLINE void near_block(const int rows, const int vectors, const sa_dtype v_dtype,
                                 ptrdiff_t n_keys, const real *p, const char *v, ptrdiff_t v_stride,
                                 bool is_first, real *restrict sum, ptrdiff_t n)
{
    vec acc[2 * NEAR_VECTORS];
    near_step(rows, vectors, v_dtype, true, p, v, acc);
    for (ptrdiff_t key = 1; key < n_keys; key++) {
        near_step(rows, vectors, v_dtype, false, p + key, v + key * v_stride, acc);
    }
    gemm_store(rows, vectors, is_first ? GEMM_REPLACE : GEMM_ADD, acc, sum, n, NULL);
}

typedef void near_function(ptrdiff_t n_keys, const real *p, const char *v, ptrdiff_t v_stride,
                           bool is_first, real *restrict sum, ptrdiff_t n);

#define NEAR_BLOCK(name, rows, vectors, dtype)                                                   \
    static void near_##name##_##rows##x##vectors(ptrdiff_t n_keys, const real *p, const char *v, \
                                                 ptrdiff_t v_stride, bool is_first,              \
                                                 real *restrict sum, ptrdiff_t n)                \
    {                                                                                            \
        near_block(rows, vectors, dtype, n_keys, p, v, v_stride, is_first, sum, n);              \
    }

/* What there is of rows of 8 vectors */
#if MAX_ACCUMULATORS >= 24
#define NEAR_WIDEST(x) x
#else
#define NEAR_WIDEST(x)
#endif

/* near_NAME_ROWS[log2 vectors] for v of one type */
#define NEAR_WIDTHS(name, rows, dtype)                                                \
    NEAR_BLOCK(name, rows, 1, dtype)                                                  \
    NEAR_BLOCK(name, rows, 2, dtype)                                                  \
    NEAR_BLOCK(name, rows, 4, dtype)                                                  \
    NEAR_WIDEST(NEAR_BLOCK(name, rows, 8, dtype))                                     \
    static near_function *const near_##name##_##rows[4] = {                           \
        near_##name##_##rows##x1, near_##name##_##rows##x2, near_##name##_##rows##x4, \
        NEAR_WIDEST(near_##name##_##rows##x8)};

/* near_NAME[rows - 1][log2 vectors] */
#define NEAR_BLOCKS(name, dtype) \
    NEAR_WIDTHS(name, 1, dtype)  \
    NEAR_WIDTHS(name, 2, dtype)  \
    static near_function *const *const near_##name[2] = {near_##name##_1, near_##name##_2};

FOR_EACH_DTYPE(NEAR_BLOCKS)

/* w->part [rows, ldo] = p v over the keys [first, last), a part at a time: from memory for two rows,
 * from the first-level cache for the others */
static void gather_near(const block_work *w, ptrdiff_t first, ptrdiff_t last, ptrdiff_t rows,
                        const real *p, const lane_rows *v)
{
    near_function *const *const *functions = OF_DTYPE(near, v->dtype);
    const ptrdiff_t n = w->ldo, size = dtype_size(v->dtype);
    for (ptrdiff_t key = first; key < last;) {
        const ptrdiff_t end = least(last, (key / NEAR_KEYS + 1) * NEAR_KEYS);
        for (ptrdiff_t i = 0; i < rows; i += 2) {
            near_function *const *widths = functions[i + 1 < rows];
            for (ptrdiff_t c = 0; c < n;) {
                const int width = log2_width(n - c); /* near rows have a function of any */
                widths[width](end - key, p + i * SCORE_LD + key,
                              v->data + key * v->stride + c * size, v->stride, key == first,
                              w->part + i * n + c, n);
                c += (ptrdiff_t)LANES << width;
            }
        }
        key = end;
    }
}

/* The four streams of V: keys j, j + 16, j + 32, j + 48 of a stretch of 64, two steps to a part. */
enum { STREAMS = 4, STREAM_KEYS = VALUE_STRETCH / STREAMS, PART_STEPS = 2 };

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

FOR_EACH_DTYPE(VALUE_STEPS)

/* part = p v over the keys of [first, last) in a part that starts at key `begin` of its stretch;
 * returns whether there are any. */
static bool value_part(ptrdiff_t begin, ptrdiff_t first, ptrdiff_t last, ptrdiff_t rows,
                       ptrdiff_t n, const real *p, const lane_rows *v, real *part)
{
    value_function *const(*functions)[STREAMS] = OF_DTYPE(value_steps, v->dtype);
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
            functions[i + 1 < rows][keys - 1](is_first, n, p + i * SCORE_LD, SCORE_LD, at, v->data,
                                              v->stride, part + i * n);
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

/* w->part = p v over the keys [first, last) of the stretch that starts at key `begin`, in four
 * streams */
static void gather_far(const block_work *w, ptrdiff_t begin, ptrdiff_t first, ptrdiff_t last,
                       ptrdiff_t rows, const real *p, const lane_rows *v, const real *ones)
{
    real *part = w->part;
    for (ptrdiff_t j = begin; j < begin + STREAM_KEYS; j += PART_STEPS) {
        if (value_part(j, first, last, rows, w->ldo, p, v, part)) {
            if (part > w->part) {
                add_values(w->part, part, ones, rows, w->ldo);
            }
            part = w->part + TILE_ROWS * w->ldo;
        }
    }
}

/* o = diag(alpha) o + p v over the keys [first, last) of a tile, for a few rows */
static SA_NOINLINE void gather_few(const block_work *w, ptrdiff_t first, ptrdiff_t last,
                                   ptrdiff_t rows, const real *p, const lane_rows *v, real *o,
                                   const real *alpha)
{
    real ones[TILE_ROWS];
    for (int i = 0; i < TILE_ROWS; i++) {
        ones[i] = 1;
    }
    for (ptrdiff_t key = first; key < last;) {
        const ptrdiff_t stretch = key / VALUE_STRETCH * VALUE_STRETCH;
        const ptrdiff_t end = least(last, stretch + VALUE_STRETCH);
        if (w->ldo <= NEAR_VECTORS * LANES) {
            gather_near(w, key, end, rows, p, v);
        } else {
            gather_far(w, stretch, key, end, rows, p, v, ones);
        }
        add_values(o, w->part, alpha, rows, w->ldo);
        alpha = ones;
        key = end;
    }
}

#endif
