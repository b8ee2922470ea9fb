/* pack.h -- the caller's layout on one side, aligned rows of `real` on the other.
 *
 * Every element type and every stride (negative, zero, not a multiple of anything) is read and
 * written here and nowhere else: load_row, store_row, and three ways to lay out a tile:
 *   pack_rows     [n, d]            rows, padded with zeros to ld
 *   pack_strips   [d / NR][n][NR]   rows cut into strips: the B operand of the outputs
 *   pack_panels   [n / NR][d][NR]   keys in lanes: the B operand of the scores
 */
#ifndef SA_PACK_H
#define SA_PACK_H

#define REAL_DTYPE (SA_UNIT_IS_F64 ? SA_F64 : SA_F32)

enum { NR = TILE_VECTORS * LANES }; /* keys of a panel */

static SA_INLINE ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static SA_INLINE ptrdiff_t dtype_size(sa_dtype t)
{
    return t == SA_BOOL ? 1 : t == SA_F16 || t == SA_BF16 ? 2 : t == SA_F32 ? 4 : 8;
}

static SA_INLINE real load_one(const char *p, sa_dtype t)
{
    uint16_t h;
    float f;
    double d;
    switch (t) {
    case SA_F16:
        memcpy(&h, p, sizeof h);
        return half_to_float(h);
    case SA_BF16:
        memcpy(&h, p, sizeof h);
        return bfloat_to_float(h);
    case SA_F32:
        memcpy(&f, p, sizeof f);
        return f;
    default:
        memcpy(&d, p, sizeof d);
        return (real)d;
    }
}

static SA_INLINE void store_one(char *p, sa_dtype t, real x)
{
    uint16_t h;
    float f;
    double d;
    switch (t) {
    case SA_F16:
        h = float_to_half((float)x);
        memcpy(p, &h, sizeof h);
        break;
    case SA_BF16:
        h = float_to_bfloat((float)x);
        memcpy(p, &h, sizeof h);
        break;
    case SA_F32:
        f = (float)x;
        memcpy(p, &f, sizeof f);
        break;
    default:
        d = x;
        memcpy(p, &d, sizeof d);
    }
}

/* LANES neighbouring elements */
static SA_INLINE vec load_lanes(const char *p, sa_dtype t)
{
#if !SA_UNIT_IS_F64
    if (t == SA_F16) {
        return v_load_f16(p);
    }
    if (t == SA_BF16) {
        return v_load_bf16(p);
    }
#endif
    (void)t;
    return v_load_bytes(p);
}

/* FOR_EACH_DTYPE: MAKE(name, type) for each element type that load_lanes reads, so that the compiler
 * knows it there. OF_DTYPE: of prefix_real, prefix_f16, prefix_bf16 made so, the one for type t. */
#if SA_UNIT_IS_F64
#define FOR_EACH_DTYPE(MAKE) MAKE(real, REAL_DTYPE)
#define OF_DTYPE(prefix, t) ((void)(t), prefix##_real)
#else
#define FOR_EACH_DTYPE(MAKE) \
    MAKE(real, REAL_DTYPE)   \
    MAKE(f16, SA_F16)        \
    MAKE(bf16, SA_BF16)
#define OF_DTYPE(prefix, t) \
    ((t) == SA_F16 ? prefix##_f16 : (t) == SA_BF16 ? prefix##_bf16 : prefix##_real)
#endif

/* Whether load_lanes can read elements of type t that lie side by side. */
static SA_INLINE bool is_contiguous(ptrdiff_t stride, sa_dtype t)
{
    const bool own_type = SA_UNIT_IS_F64 ? t == SA_F64 : t == SA_F16 || t == SA_BF16 || t == SA_F32;
    return own_type && stride == dtype_size(t);
}

/* dst[0 .. n) = elements of type t, stride bytes apart */
static void load_row(real *restrict dst, const char *src, ptrdiff_t stride, sa_dtype t, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    if (is_contiguous(stride, t)) {
        for (; i + LANES <= n; i += LANES) {
            v_store(dst + i, load_lanes(src + i * stride, t));
        }
    }
    for (; i < n; i++) {
        dst[i] = load_one(src + i * stride, t);
    }
}

/* elements of type t, stride bytes apart = src[0 .. n) */
static void store_row(char *dst, ptrdiff_t stride, sa_dtype t, const real *restrict src,
                      ptrdiff_t n)
{
    ptrdiff_t i = 0;
    if (is_contiguous(stride, t)) {
        for (; i + LANES <= n; i += LANES) {
            char *p = dst + i * stride;
#if !SA_UNIT_IS_F64
            if (t == SA_F16) {
                v_store_f16((uint16_t *)(void *)p, v_load(src + i));
                continue;
            }
            if (t == SA_BF16) {
                for (int j = 0; j < LANES; j++) {
                    store_one(p + j * 2, t, src[i + j]);
                }
                continue;
            }
#endif
            v_store((real *)(void *)p, v_load(src + i));
        }
    }
    for (; i < n; i++) {
        store_one(dst + i * stride, t, src[i]);
    }
}

/* Ask for rows [first, first + n) of a matrix. Rows are read by columns of vectors, or a good while
 * later, which hardware does not foresee. */
static SA_INLINE void prefetch_rows(const sa_matrix *m, ptrdiff_t first, ptrdiff_t n, ptrdiff_t d)
{
    const ptrdiff_t bytes = d * dtype_size(m->dtype);
    if (m->col_stride != dtype_size(m->dtype)) {
        return;
    }
    for (ptrdiff_t j = first; j < first + n; j++) {
        for (ptrdiff_t at = 0; at < bytes; at += 64) {
            __builtin_prefetch(m->data + j * m->row_stride + at, 0, 2);
        }
    }
}

static void pack_rows(real *restrict dst, ptrdiff_t ld, const sa_matrix *m, ptrdiff_t first,
                      ptrdiff_t n, ptrdiff_t d)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        real *row = dst + i * ld;
        load_row(row, m->data + (first + i) * m->row_stride, m->col_stride, m->dtype, d);
        for (ptrdiff_t c = d; c < ld; c++) {
            row[c] = 0;
        }
    }
}

static SA_INLINE void pack_strips_of(real *restrict dst, const sa_matrix *m, const sa_dtype t,
                                     ptrdiff_t first, ptrdiff_t n, ptrdiff_t d)
{
    enum { AHEAD = 8 };
    const bool contiguous = is_contiguous(m->col_stride, t);
    for (ptrdiff_t i = 0; i < n; i++) {
        const char *row = m->data + (first + i) * m->row_stride;
        real *to = dst + i * NR;
        ptrdiff_t c = 0;
        prefetch_rows(m, first + i + AHEAD, i + AHEAD < n, d);
        for (; contiguous && c + NR <= d; c += NR, to += n * NR) {
            SA_UNROLL
            for (int j = 0; j < NR; j += LANES) {
                v_store(to + j, load_lanes(row + (c + j) * dtype_size(t), t));
            }
        }
        for (; c < d; c += NR, to += n * NR) {
            const ptrdiff_t width = d - c < NR ? d - c : NR;
            load_row(to, row + c * m->col_stride, m->col_stride, t, width);
            memset(to + width, 0, (size_t)(NR - width) * sizeof(real));
        }
    }
}

/* Rows [first, first + n), zeros up to a multiple of NR columns. */
static SA_NOINLINE void pack_strips(real *restrict dst, const sa_matrix *m, ptrdiff_t first,
                                    ptrdiff_t n, ptrdiff_t d)
{
    if (m->dtype == REAL_DTYPE) {
        pack_strips_of(dst, m, REAL_DTYPE, first, n, d);
    } else {
        pack_strips_of(dst, m, m->dtype, first, n, d);
    }
}

/* width <= LANES elements of a row, then zeros */
static SA_INLINE vec load_some(const char *p, ptrdiff_t stride, sa_dtype t, ptrdiff_t width)
{
    if (width == LANES && is_contiguous(stride, t)) {
        return load_lanes(p, t);
    }
    real some[LANES] = {0};
    for (ptrdiff_t c = 0; c < width; c++) {
        some[c] = load_one(p + c * stride, t);
    }
    return v_load(some);
}

/* Where a panel's columns go, in elements: column c to c / LANES * block + c % LANES * lane, NR rows
 * side by side; the next NR rows are a panel further. */
typedef struct {
    ptrdiff_t panel, block, lane;
} panel_layout;

/* Columns [c, c + width) of up to LANES rows, the rest zero, transposed into dst [width], ld apart. */
static SA_INLINE void pack_block(real *restrict dst, ptrdiff_t ld, const char *src,
                                 ptrdiff_t row_stride, ptrdiff_t col_stride, sa_dtype t,
                                 ptrdiff_t rows, ptrdiff_t width)
{
    vec x[LANES];
    for (ptrdiff_t i = 0; i < LANES; i++) {
        x[i] = i < rows ? load_some(src + i * row_stride, col_stride, t, width) : v_zero();
    }
    v_transpose(x);
    for (ptrdiff_t c = 0; c < width; c++) {
        v_store(dst + c * ld, x[c]);
    }
}

/* Zeros up to a multiple of unit rows, NR or LANES */
static SA_INLINE void pack_panels_of(real *restrict dst, const panel_layout to,
                                     const ptrdiff_t unit, const sa_matrix *m, const sa_dtype t,
                                     ptrdiff_t first, ptrdiff_t n, ptrdiff_t d)
{
    for (ptrdiff_t j = 0; j < round_up(n, unit); j += LANES) {
        real *panel = dst + j / NR * to.panel + j % NR;
        const char *src = m->data + (first + j) * m->row_stride;
        const ptrdiff_t rows = n - j < LANES ? n - j : LANES;
        const ptrdiff_t left = n - j - 2 * LANES;
        ptrdiff_t c = 0;
        prefetch_rows(m, first + j + 2 * LANES, left < LANES ? left : LANES, d);
        for (; is_contiguous(m->col_stride, t) && c + LANES <= d; c += LANES) {
            real *block = panel + c / LANES * to.block;
            const char *from = src + c * dtype_size(t);
            if (rows == LANES) {
                pack_block(block, to.lane, from, m->row_stride, dtype_size(t), t, LANES, LANES);
            } else {
                pack_block(block, to.lane, from, m->row_stride, dtype_size(t), t, rows, LANES);
            }
        }
        for (; c < d; c += LANES) {
            pack_block(panel + c / LANES * to.block, to.lane, src + c * m->col_stride,
                       m->row_stride, m->col_stride, t, rows, d - c < LANES ? d - c : LANES);
        }
    }
}

/* Keys [first, first + n), zeros up to a multiple of LANES. The compiler knows the compute type. */
static SA_NOINLINE void pack_panels(real *restrict dst, const sa_matrix *m, ptrdiff_t first,
                                    ptrdiff_t n, ptrdiff_t d)
{
    const panel_layout to = {.panel = NR * d, .block = LANES * NR, .lane = NR};
    if (m->dtype == REAL_DTYPE) {
        pack_panels_of(dst, to, LANES, m, REAL_DTYPE, first, n, d);
    } else {
        pack_panels_of(dst, to, LANES, m, m->dtype, first, n, d);
    }
}

#endif
