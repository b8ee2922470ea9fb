/* linear.c -- sa_project: Y = X W + b, from checked arrays to blocks of rows on threads.
 *
 * The axes of X and Y but the last are rows, whatever their strides; an item of work is a block of
 * rows times a range of columns. Neither choice changes a bit of the result.
 */
#include <string.h>

#include "dispatch.h"
#include "pool.h"
#include "scratch.h"
#include "status.h"

/* A block's rows of X should stay in the second-level cache while W passes by; each block packs W
 * once more, so it has some rows all the same. */
enum { BLOCK_BYTES = 768 << 10, LEAST_ROWS = 96, MOST_ROWS = 768 };

/* Columns of an item: enough panels to be worth loading the rows for. */
enum { LEAST_PANELS = 4 };

/* Multiply-adds below which a second thread costs more than it brings: about 20 us of work. */
static const double MIN_WORK_PER_THREAD = 4e5;

/* Fewer rows take no less time: to read a number of W costs as much as so many multiply-adds. */
static const ptrdiff_t READING_ROWS = 4;

/* Axes of the rows of X and Y; those that both step through evenly are one. */
typedef struct {
    int n_dims;
    ptrdiff_t shape[SA_MAX_DIMS], x_strides[SA_MAX_DIMS], y_strides[SA_MAX_DIMS];
} row_axes;

typedef struct {
    const sa_kernels *kernels;
    sa_linear_plan plan;
    row_axes axes;
    char *x, *y;
    ptrdiff_t n_rows, block_rows, block_cols;
    ptrdiff_t col_blocks;
    size_t pointer_bytes; /* of the rows of a block, before the kernel's scratch */
} call;

static const sa_stop stop = {sa_job_stopped, NULL};

static ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t last_size(const sa_tensor *t) { return t->shape[t->n_dims - 1]; }
static ptrdiff_t last_stride(const sa_tensor *t) { return t->strides[t->n_dims - 1]; }

static row_axes find_row_axes(const sa_tensor *x, const sa_tensor *y)
{
    row_axes a = {0};
    for (int i = 0; i < x->n_dims - 1; i++) {
        const int last = a.n_dims - 1;
        const ptrdiff_t size = x->shape[i];
        if (size == 1) {
            continue;
        }
        if (last >= 0 && a.x_strides[last] == x->strides[i] * size &&
            a.y_strides[last] == y->strides[i] * size) {
            a.shape[last] *= size;
            a.x_strides[last] = x->strides[i];
            a.y_strides[last] = y->strides[i];
            continue;
        }
        a.shape[a.n_dims] = size;
        a.x_strides[a.n_dims] = x->strides[i];
        a.y_strides[a.n_dims++] = y->strides[i];
    }
    return a;
}

/* Where rows [first, first + n) begin. */
static void find_rows(const call *c, ptrdiff_t first, ptrdiff_t n, const char **x, char **y)
{
    const row_axes *a = &c->axes;
    for (ptrdiff_t i = 0; i < n; i++) {
        ptrdiff_t row = first + i, x_at = 0, y_at = 0;
        for (int axis = a->n_dims - 1; axis > 0; axis--) {
            x_at += row % a->shape[axis] * a->x_strides[axis];
            y_at += row % a->shape[axis] * a->y_strides[axis];
            row /= a->shape[axis];
        }
        x[i] = c->x + x_at + (a->n_dims ? row * a->x_strides[0] : 0);
        y[i] = c->y + y_at + (a->n_dims ? row * a->y_strides[0] : 0);
    }
}

static void run_block(void *context, ptrdiff_t item, void *scratch)
{
    const call *c = context;
    const ptrdiff_t row = item / c->col_blocks * c->block_rows;
    const ptrdiff_t col = item % c->col_blocks * c->block_cols;
    const char **x = scratch;
    char **y = (char **)(void *)(x + c->block_rows);
    const sa_linear_block block = {
        .plan = &c->plan,
        .x = x,
        .y = y,
        .rows = least(c->block_rows, c->n_rows - row),
        .col_begin = col,
        .col_end = least(col + c->block_cols, c->plan.n_out),
    };
    find_rows(c, row, block.rows, x, y);
    c->kernels->linear(&block, (char *)scratch + c->pointer_bytes, stop);
}

static void begin_call(call *c, const sa_projection *p)
{
    const sa_tensor *x = p->x, *w = p->weight, *y = p->y;
    c->kernels = sa_get_kernels(NULL, y->dtype == SA_F64 ? SA_F64 : SA_F32);
    c->plan = (sa_linear_plan){
        .n_in = w->shape[0],
        .n_out = w->shape[1],
        .weight = {w->data, w->strides[0], w->strides[1], w->dtype},
        .bias = p->bias ? p->bias->data : NULL,
        .bias_stride = p->bias ? p->bias->strides[0] : 0,
        .bias_dtype = p->bias ? p->bias->dtype : SA_F32,
        .x_dtype = x->dtype,
        .y_dtype = y->dtype,
        .x_stride = last_stride(x),
        .y_stride = last_stride(y),
    };
    c->axes = find_row_axes(x, y);
    c->x = x->data;
    c->y = y->data;
    c->n_rows = 1;
    for (int i = 0; i < x->n_dims - 1; i++) {
        c->n_rows *= x->shape[i];
    }
}

/* Returns how many threads the call is worth. */
static int choose_blocks(call *c, double work, int n_threads)
{
    const sa_kernels *k = c->kernels;
    const ptrdiff_t panel = (ptrdiff_t)k->tile_vectors * k->lanes, n_in = c->plan.n_in;
    const ptrdiff_t row_bytes = (k->compute == SA_F64 ? 8 : 4) * (n_in ? n_in : 1);
    ptrdiff_t most = BLOCK_BYTES / row_bytes;
    most = most < LEAST_ROWS ? LEAST_ROWS : least(most, MOST_ROWS);
    const ptrdiff_t row_blocks = divide_up(c->n_rows, most);
    const ptrdiff_t even = divide_up(c->n_rows, row_blocks);
    c->block_rows = least(divide_up(even, k->tile_rows) * k->tile_rows, c->n_rows);
    if (work / MIN_WORK_PER_THREAD < n_threads) {
        n_threads = (int)(work / MIN_WORK_PER_THREAD);
    }
    n_threads = n_threads > 1 ? n_threads : 1;
    const ptrdiff_t panels = divide_up(c->plan.n_out, panel);
    const ptrdiff_t wanted = n_threads > 1 ? divide_up(4 * (ptrdiff_t)n_threads, row_blocks) : 1;
    const ptrdiff_t ranges = least(wanted, divide_up(panels, LEAST_PANELS));
    c->block_cols = divide_up(panels, ranges) * panel;
    c->col_blocks = divide_up(c->plan.n_out, c->block_cols);
    return n_threads;
}

static bool is_float(sa_dtype t) { return t != SA_BOOL && t != SA_I64; }

static sa_status check_types(const sa_projection *p, sa_error *error)
{
    const sa_tensor *const tensors[] = {p->x, p->weight, p->bias, p->y};
    static const char *const names[] = {"x", "weight", "bias", "y"};
    for (int i = 0; i < 4; i++) {
        if (tensors[i] && !is_float(tensors[i]->dtype)) {
            return sa_fail(error, SA_TYPE_ERROR, "%s has dtype %s: expected a float type", names[i],
                           sa_dtype_name(tensors[i]->dtype));
        }
    }
    if (p->y->dtype != SA_F64 && (p->x->dtype == SA_F64 || p->weight->dtype == SA_F64)) {
        return sa_fail(error, SA_TYPE_ERROR,
                       "y has dtype %s: expected float64, as x or weight has it",
                       sa_dtype_name(p->y->dtype));
    }
    return SA_OK;
}

static sa_status check_shapes(const sa_projection *p, sa_error *error)
{
    const sa_tensor *x = p->x, *w = p->weight, *y = p->y;
    char text[SA_SHAPE_TEXT], other[SA_SHAPE_TEXT];
    if (x->n_dims < 1 || w->n_dims != 2 || last_size(x) != w->shape[0]) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "x has shape %s and weight %s: expected (..., n_in) and (n_in, n_out)",
                       sa_format_shape(text, x->shape, x->n_dims),
                       sa_format_shape(other, w->shape, w->n_dims));
    }
    if (p->bias && (p->bias->n_dims != 1 || p->bias->shape[0] != w->shape[1])) {
        return sa_fail(error, SA_VALUE_ERROR, "bias has shape %s: expected (%td,)",
                       sa_format_shape(text, p->bias->shape, p->bias->n_dims), w->shape[1]);
    }
    const size_t rows = (size_t)(x->n_dims - 1) * sizeof x->shape[0];
    if (y->n_dims != x->n_dims || memcmp(y->shape, x->shape, rows) != 0 ||
        last_size(y) != w->shape[1]) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "y has shape %s: expected the axes of x, which has %s, and %td",
                       sa_format_shape(text, y->shape, y->n_dims),
                       sa_format_shape(other, x->shape, x->n_dims), w->shape[1]);
    }
    return SA_OK;
}

/* Sizes that the kernels multiply must not overflow, repeated rows of X included. */
static sa_status check_sizes(const sa_projection *p, double *work, sa_error *error)
{
    const ptrdiff_t limit = PTRDIFF_MAX / 8192;
    ptrdiff_t rows = 1;
    bool fits = p->weight->shape[0] <= limit / MOST_ROWS && p->weight->shape[1] <= limit;
    for (int i = 0; i < p->x->n_dims - 1; i++) {
        if (p->x->shape[i] == 0) {
            *work = 0;
            return SA_OK;
        }
        fits = fits && !__builtin_mul_overflow(rows, p->x->shape[i], &rows) && rows <= limit;
    }
    *work = (double)rows * (double)p->weight->shape[0] * (double)p->weight->shape[1];
    return fits ? SA_OK : sa_fail(error, SA_NO_MEMORY, "x or weight is too long for memory");
}

sa_status sa_check_projection(const sa_projection *p, double *work, sa_error *error)
{
    error->status = SA_OK;
    error->text[0] = 0;
    SA_TRY(check_types(p, error));
    SA_TRY(check_shapes(p, error));
    return check_sizes(p, work, error);
}

sa_status sa_project(const sa_projection *p, const sa_control *control, sa_error *error)
{
    call c;
    error->status = SA_OK;
    error->text[0] = 0;
    begin_call(&c, p);
    if (c.n_rows == 0 || c.plan.n_out == 0) {
        return SA_OK;
    }
    sa_guard guard;
    sa_guard_begin(&guard, control);
    const double rows = (double)(c.n_rows > READING_ROWS ? c.n_rows : READING_ROWS);
    const double work = rows * (double)c.plan.n_in * (double)c.plan.n_out;
    const int n_threads =
        choose_blocks(&c, work, p->num_threads > 0 ? p->num_threads : sa_get_num_threads());
    c.pointer_bytes = ((size_t)c.block_rows * 2 * sizeof(char *) + 63) / 64 * 64;
    const sa_scratch_job job = {
        .run = run_block,
        .context = &c,
        .n_items = divide_up(c.n_rows, c.block_rows) * c.col_blocks,
        .scratch_bytes = c.pointer_bytes + c.kernels->linear_bytes(&c.plan, c.block_rows),
    };
    error->status = sa_run_with_scratch(&job, n_threads, &guard.guarded, error);
    sa_guard_end(&guard);
    return error->status;
}
