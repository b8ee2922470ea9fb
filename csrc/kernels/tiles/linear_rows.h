/* linear_rows.h -- a few rows of a projection (text made token by token): W read where it lies.
 *
 * Each number of W is then used a few times only, and to pack it takes longer than to multiply it.
 * Where a column's features lie side by side, y is made of dot products, whose lanes are the parts
 * of the tile's order; where columns lie side by side, y = x W is P V of values.h with P = X and
 * V = W, whose keys at a time are those of a part. Either way memory is read as a few far streams.
 */
#ifndef SA_LINEAR_ROWS_H
#define SA_LINEAR_ROWS_H

/* Dot products at a time: whole vectors of them. */
enum { LINEAR_SUMS = LANES > DOT_STREAMS ? LANES : (int)DOT_STREAMS };

_Static_assert(LINEAR_SUMS % LANES == 0 && (int)LINEAR_SUMS <= (int)MAX_DOT_SUMS, "whole vectors");

/* sum[i][j apart] = x_i . w_j over `depth` features, for rows x columns = LINEAR_SUMS; rows of x are
 * padded by -0 to whole vectors, columns of w are w_stride bytes apart. */
static SA_INLINE void dot_columns(const int rows, const sa_dtype t, ptrdiff_t depth, const real *x,
                                  ptrdiff_t ldx, const char *w, ptrdiff_t w_stride, real *sum,
                                  ptrdiff_t ld, ptrdiff_t apart)
{
    const int columns = LINEAR_SUMS / rows;
    const ptrdiff_t size = dtype_size(t);
    vec total[LINEAR_SUMS / LANES];
    SA_UNROLL
    for (int g = 0; g < LINEAR_SUMS / LANES; g++) {
        total[g] = v_set1(-(real)0); /* adds nothing */
    }
    for (ptrdiff_t first = 0; first < depth; first += LINEAR_STRIP) {
        const ptrdiff_t left = depth - first, n = left < LINEAR_STRIP ? left : LINEAR_STRIP;
        const ptrdiff_t whole = n / LANES * LANES;
        vec acc[LINEAR_SUMS];
        SA_UNROLL
        for (int i = 0; i < LINEAR_SUMS; i++) {
            acc[i] = v_set1(-(real)0);
        }
        dot_lanes(rows, columns, t, whole, x + first, ldx, w + first * size, w_stride, acc);
        if (whole < n) {
            real rest[LINEAR_SUMS][LANES];
            for (int j = 0; j < columns; j++) {
                v_store(rest[j],
                        load_some(w + j * w_stride + (first + whole) * size, size, t, n - whole));
            }
            dot_lanes(rows, columns, REAL_DTYPE, LANES, x + first + whole, ldx, (const char *)rest,
                      sizeof rest[0], acc);
        }
        SA_UNROLL
        for (int g = 0; g < LINEAR_SUMS / LANES; g++) {
            v_transpose(acc + g * LANES);
            SA_UNROLL
            for (int i = 0; i < LANES; i++) {
                total[g] = v_add(total[g], acc[g * LANES + i]);
            }
        }
    }
    real all[LINEAR_SUMS];
    SA_UNROLL
    for (int g = 0; g < LINEAR_SUMS / LANES; g++) {
        v_store(all + g * LANES, total[g]);
    }
    SA_UNROLL
    for (int i = 0; i < LINEAR_SUMS; i++) {
        sum[i / columns * ld + i % columns * apart] = all[i];
    }
}

typedef void dot_function(ptrdiff_t depth, const real *x, ptrdiff_t ldx, const char *w,
                          ptrdiff_t w_stride, real *sum, ptrdiff_t ld, ptrdiff_t apart);

#define DOT_FUNCTION(name, rows, dtype)                                                           \
    static void dot_##name##_##rows(ptrdiff_t depth, const real *x, ptrdiff_t ldx, const char *w, \
                                    ptrdiff_t w_stride, real *sum, ptrdiff_t ld, ptrdiff_t apart) \
    {                                                                                             \
        dot_columns(rows, dtype, depth, x, ldx, w, w_stride, sum, ld, apart);                     \
    }

/* For 1, 2 and 4 rows */
#define DOT_FUNCTIONS(name, dtype) \
    DOT_FUNCTION(name, 1, dtype)   \
    DOT_FUNCTION(name, 2, dtype)   \
    DOT_FUNCTION(name, 4, dtype)   \
    static dot_function *const dots_##name[3] = {dot_##name##_1, dot_##name##_2, dot_##name##_4};

FOR_EACH_DTYPE(DOT_FUNCTIONS)

/* w->sum [rows, ld] = features [first, first + depth) of a chunk, columns [col, col + n), n >=
 * LINEAR_SUMS: neighbours of a row are made together with columns a part of n further. */
static void multiply_dots(const linear_work *w, ptrdiff_t first, ptrdiff_t depth, ptrdiff_t col,
                          ptrdiff_t n, ptrdiff_t ld)
{
    const sa_matrix *m = &w->plan->weight;
    dot_function *const *dots = OF_DTYPE(dots, m->dtype);
    const char *begin = m->data + first * m->row_stride + col * m->col_stride;
    for (ptrdiff_t i = 0; i < w->block->rows;) {
        const ptrdiff_t left = w->block->rows - i;
        const int log2_rows = left >= 4 ? 2 : left >= 2;
        const ptrdiff_t columns = LINEAR_SUMS >> log2_rows, apart = n / columns;
        const real *x = w->x + i * w->ldx + first;
        real *sum = w->sum + i * ld;
        for (ptrdiff_t j = 0; j < apart; j++) {
            dots[log2_rows](depth, x, w->ldx, begin + j * m->col_stride, apart * m->col_stride,
                            sum + j, ld, apart);
        }
        if (columns * apart < n) { /* some of them once more */
            dots[log2_rows](depth, x, w->ldx, begin + (n - columns) * m->col_stride, m->col_stride,
                            sum + n - columns, ld, 1);
        }
        i += (ptrdiff_t)1 << log2_rows;
    }
}

/* The same for n columns side by side, whole vectors; ld = n */
static void multiply_streams(const linear_work *w, ptrdiff_t first, ptrdiff_t depth, ptrdiff_t col,
                             ptrdiff_t n)
{
    const sa_matrix *m = &w->plan->weight;
    value_function *const(*functions)[STREAMS] = OF_DTYPE(value_steps, m->dtype);
    const char *columns = m->data + col * m->col_stride;
    real ones[STREAM_ROWS];
    for (int i = 0; i < STREAM_ROWS; i++) {
        ones[i] = 1;
    }
    for (ptrdiff_t strip = first; strip < first + depth; strip += LINEAR_STRIP) {
        const ptrdiff_t left = first + depth - strip;
        const ptrdiff_t end = strip + (left < LINEAR_STRIP ? left : LINEAR_STRIP);
        for (ptrdiff_t part = strip; part < strip + LANES && part < end; part++) {
            for (ptrdiff_t f = part; f < end; f += STREAMS * LANES) {
                ptrdiff_t at[STREAMS];
                int n_at = 0;
                while (n_at < STREAMS && f + n_at * LANES < end) {
                    at[n_at] = f + n_at * LANES;
                    n_at++;
                }
                for (ptrdiff_t i = 0; i < w->block->rows; i += 2) {
                    functions[i + 1 < w->block->rows][n_at - 1](f == part, n, w->x + i * w->ldx,
                                                                w->ldx, at, columns, m->row_stride,
                                                                w->part + i * n);
                }
            }
            add_values(w->sum, w->part, part == first ? NULL : ones, w->block->rows, n);
        }
    }
}

static void load_few_rows(linear_work *w)
{
    const sa_linear_plan *p = w->plan;
    for (ptrdiff_t i = 0; i < w->block->rows; i++) {
        real *x = w->x_copy + i * w->ldx;
        load_row(x, w->block->x[i], p->x_stride, p->x_dtype, p->n_in);
        for (ptrdiff_t c = p->n_in; c % LANES; c++) {
            x[c] = -(real)0;
        }
    }
    w->x = w->x_copy;
}

/* w->sum [rows, ld] = columns [col, col + n), or w->total + w->error if n_in > LINEAR_CHUNK */
static void multiply_few_rows(const linear_work *w, ptrdiff_t col, ptrdiff_t n, ptrdiff_t ld)
{
    const ptrdiff_t n_in = w->plan->n_in;
    for (ptrdiff_t first = 0; first < n_in; first += LINEAR_CHUNK) {
        const ptrdiff_t left = n_in - first, depth = left < LINEAR_CHUNK ? left : LINEAR_CHUNK;
        if (columns_adjoin(w->plan)) {
            multiply_streams(w, first, depth, col, n);
        } else {
            multiply_dots(w, first, depth, col, n, ld);
        }
        if (n_in > LINEAR_CHUNK) {
            merge_chunk(w, w->block->rows * ld, first == 0);
        }
    }
}

/* Returns the first column that is left to the tile: too few to be read so. */
static ptrdiff_t linear_few_rows(linear_work *w, sa_stop stop)
{
    const sa_linear_block *b = w->block;
    const bool by_streams = columns_adjoin(w->plan);
    const ptrdiff_t least = by_streams ? LANES : LINEAR_SUMS;
    ptrdiff_t col = b->col_begin;
    load_few_rows(w);
    while (b->col_end - col >= least && !stop.stop(stop.context)) {
        const ptrdiff_t left = b->col_end - col, some = left < w->width ? left : w->width;
        const ptrdiff_t n = by_streams ? some / LANES * LANES : some, ld = round_up(n, LANES);
        multiply_few_rows(w, col, n, ld);
        store_columns(w, col, n, NR, ld);
        col += n;
    }
    return col;
}

#endif
