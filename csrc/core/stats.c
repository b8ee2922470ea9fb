/* stats.c -- sa_compute_statistics: rows in one job, then columns and an overview in others.
 *
 * An item of the first job is a block of rows, which leaves each row's final maximum and
 * 1 / denominator; one of the second is a tile of keys of one key head, which walks over all rows;
 * one of the overview's is some rows of blocks, which walk over all keys. So no sum is shared by two
 * items, and no bit depends on the number of threads.
 */
#include <stdatomic.h>
#include <string.h>

#include "arena.h"
#include "dispatch.h"
#include "heads.h"
#include "plan.h"
#include "pool.h"
#include "scratch.h"
#include "status.h"

/* Columns of `columns` that one pass takes: their sums stand in each thread's scratch. */
enum { MAX_COLUMNS = 16 };

typedef struct {
    const sa_sizes *sizes;
    const sa_statistics *wanted;
    const sa_kernels *kernels;
    sa_plan plan;
    sa_schedule schedule;
    sa_heads heads;
    sa_access columns;
    char *row_m; /* [planes, rows] */
    double *row_inverse;
    ptrdiff_t block_rows; /* of the second job */
    ptrdiff_t tiles;      /* of keys */
    ptrdiff_t first_column, n_columns;
    bool received;             /* in this pass */
    ptrdiff_t block_lines;     /* rows of blocks of an overview that make an item */
    const sa_control *control; /* the caller's */
    int jobs, jobs_done;
    ptrdiff_t n_items; /* of this job */
    atomic_ptrdiff_t items_done;
} call;

static const sa_stop stop = {sa_job_stopped, NULL};

static ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static size_t real_size(const call *c) { return c->sizes->dtype == SA_F64 ? 8 : 4; }

static void *at(void *array, ptrdiff_t index, size_t size)
{
    return array ? (char *)array + index * (ptrdiff_t)size : NULL;
}

static ptrdiff_t rows_per_plane(const call *c) { return c->plan.n_q * c->plan.group; }
static ptrdiff_t n_planes(const call *c) { return c->sizes->n_batch * c->sizes->n_kv_heads; }

static void run_rows(void *context, ptrdiff_t item, void *scratch)
{
    call *c = context;
    const sa_statistics *s = c->wanted;
    const sa_schedule *schedule = &c->schedule;
    const ptrdiff_t plane = item / schedule->blocks_per_head, rows = rows_per_plane(c);
    const ptrdiff_t first = plane * rows;
    const sa_row_range range = sa_block_rows(schedule, rows, item % schedule->blocks_per_head);
    const size_t size = real_size(c);
    const sa_row_stats stats = {
        .entropy = at(s->entropy, first, size),
        .max = at(s->max, first, size),
        .distance = at(s->distance, first, size),
        .argmax = at(s->argmax, first, sizeof(int64_t)),
        .top_k = s->top_k,
        .top_weights = at(s->top_weights, first * s->top_k, size),
        .top_rest = at(s->top_rest, first, size),
        .top_indices = at(s->top_indices, first * s->top_k, sizeof(int64_t)),
        .n_sets = s->n_sets,
        .sets = s->sets,
        .set_weights = at(s->set_weights, first * s->n_sets, size),
        .batch = plane / c->sizes->n_kv_heads,
        .row_m = at(c->row_m, first, size),
        .row_inverse = at(c->row_inverse, first, sizeof(double)),
    };
    sa_head head;
    sa_view_head(&c->heads, plane, &head);
    const sa_block block = {&c->plan, &head, range.begin, range.end};
    c->kernels->stats(&block, &stats, scratch, stop);
    atomic_fetch_add_explicit(&c->items_done, 1, memory_order_relaxed);
}

static sa_columns columns_at(const call *c, ptrdiff_t plane)
{
    const sa_statistics *s = c->wanted;
    const sa_sizes *z = c->sizes;
    const ptrdiff_t first = plane * rows_per_plane(c), keys = plane * c->plan.group * z->n_k;
    const size_t size = real_size(c);
    sa_columns columns = {
        .plan = &c->plan,
        .row_m = at(c->row_m, first, size),
        .row_inverse = at(c->row_inverse, first, sizeof(double)),
        .block_rows = c->block_rows,
        .received = c->received ? at(s->received, keys, size) : NULL,
        .received_begin = s->received_begin,
        .received_end = s->received_end,
        .n_columns = c->n_columns,
    };
    if (c->n_columns > 0) {
        const ptrdiff_t head = plane % z->n_kv_heads * c->plan.group;
        columns.factors = sa_matrix_at(&c->columns, z, plane / z->n_kv_heads, head);
        columns.factors.data += c->first_column * c->columns.col_stride;
        columns.factors_head_stride = c->columns.head_stride;
        columns.ld_weighted = s->n_columns;
        columns.weighted = at(s->weighted, keys * s->n_columns + c->first_column, size);
    }
    return columns;
}

static void run_columns(void *context, ptrdiff_t item, void *scratch)
{
    call *c = context;
    const ptrdiff_t plane = item / c->tiles;
    sa_columns columns = columns_at(c, plane);
    sa_head head;
    sa_view_head(&c->heads, plane, &head);
    columns.head = &head;
    columns.key = item % c->tiles * c->plan.tile_keys;
    c->kernels->columns(&columns, scratch, stop);
    atomic_fetch_add_explicit(&c->items_done, 1, memory_order_relaxed);
}

/* Of a plane, from row `begin` of blocks on. */
static sa_overview overview_at(const call *c, ptrdiff_t plane, ptrdiff_t begin)
{
    const sa_statistics *s = c->wanted;
    const ptrdiff_t side = s->overview_side, end = begin + c->block_lines;
    const ptrdiff_t first = plane * rows_per_plane(c), cells = plane * c->plan.group * side * side;
    const size_t size = real_size(c);
    const ptrdiff_t span_q = divide_up(c->plan.n_q, side), span_k = divide_up(c->plan.n_k, side);
    return (sa_overview){
        .plan = &c->plan,
        .row_m = at(c->row_m, first, size),
        .row_inverse = at(c->row_inverse, first, sizeof(double)),
        .block_rows = c->block_rows,
        .side = side,
        .span_q = span_q,
        .span_k = span_k > 0 ? span_k : 1,
        .begin = begin,
        .end = least(end, divide_up(c->plan.n_q, span_q)),
        .max = at(s->overview_max, cells, size),
        .mean = at(s->overview_mean, cells, size),
    };
}

static void run_overview(void *context, ptrdiff_t item, void *scratch)
{
    call *c = context;
    const ptrdiff_t items = c->n_items / n_planes(c), plane = item / items;
    sa_overview overview = overview_at(c, plane, item % items * c->block_lines);
    sa_head head;
    sa_view_head(&c->heads, plane, &head);
    overview.head = &head;
    c->kernels->overview(&overview, scratch, stop);
    atomic_fetch_add_explicit(&c->items_done, 1, memory_order_relaxed);
}

/* The caller's poll and progress, in the calling thread. */
static int poll(void *context)
{
    call *c = context;
    const sa_control *control = c->control;
    if (control && control->poll && control->poll(control->context) != 0) {
        return 1;
    }
    if (!c->wanted->progress) {
        return 0;
    }
    const double done = (double)atomic_load_explicit(&c->items_done, memory_order_relaxed);
    const double part = done / (double)c->n_items;
    return c->wanted->progress(c->wanted->progress_context, (c->jobs_done + part) / c->jobs);
}

static sa_status run_job(call *c, void (*run)(void *, ptrdiff_t, void *), ptrdiff_t n_items,
                         size_t bytes, const sa_control *control, sa_error *error)
{
    const sa_scratch_job job = {run, c, n_items, bytes};
    c->n_items = n_items;
    atomic_store(&c->items_done, 0);
    const sa_status status =
        n_items > 0 ? sa_run_with_scratch(&job, c->schedule.n_threads, control, error) : SA_OK;
    c->jobs_done++;
    return status;
}

static sa_status sum_columns(call *c, const sa_control *control, sa_error *error)
{
    const sa_statistics *s = c->wanted;
    c->tiles = divide_up(c->plan.n_k, c->plan.tile_keys);
    c->first_column = 0;
    c->received = s->received != NULL;
    do {
        c->n_columns = least(s->n_columns - c->first_column, MAX_COLUMNS);
        const sa_columns columns = columns_at(c, 0);
        SA_TRY(run_job(c, run_columns, n_planes(c) * c->tiles, c->kernels->columns_bytes(&columns),
                       control, error));
        c->received = false;
        c->first_column += c->n_columns;
    } while (c->first_column < s->n_columns);
    return SA_OK;
}

static sa_status take_rows(call *c, const sa_control *control, sa_error *error)
{
    return run_job(c, run_rows, n_planes(c) * c->schedule.blocks_per_head,
                   c->kernels->stats_bytes(&c->plan, c->schedule.block_rows, c->wanted->n_sets),
                   control, error);
}

static sa_status make_overview(call *c, const sa_control *control, sa_error *error)
{
    const ptrdiff_t span = divide_up(c->plan.n_q, c->wanted->overview_side);
    const ptrdiff_t lines = c->block_rows / (span * c->plan.group);
    c->block_lines = lines > 1 ? lines : 1;
    const ptrdiff_t items = divide_up(divide_up(c->plan.n_q, span), c->block_lines);
    const sa_overview overview = overview_at(c, 0, 0);
    return run_job(c, run_overview, n_planes(c) * items, c->kernels->overview_bytes(&overview),
                   control, error);
}

static bool has_columns(const sa_statistics *s) { return s->received || s->n_columns > 0; }

/* What needs the final maxima and denominators of the rows. */
static sa_status take_weights(call *c, const sa_control *control, sa_error *error)
{
    /* the order of the sums must not depend on the number of threads */
    c->block_rows = sa_plan_schedule(&c->plan, n_planes(c), 1, 1).block_rows;
    if (has_columns(c->wanted)) {
        SA_TRY(sum_columns(c, control, error));
    }
    return c->wanted->overview_side > 0 ? make_overview(c, control, error) : SA_OK;
}

static sa_status compute(call *c, const sa_control *control, sa_error *error)
{
    const sa_statistics *s = c->wanted;
    if (!has_columns(s) && s->overview_side == 0) {
        return take_rows(c, control, error);
    }
    const size_t rows = (size_t)n_planes(c) * (size_t)rows_per_plane(c);
    sa_arena *arena = sa_arena_take(rows * 2 * sizeof(double));
    if (!arena) {
        return sa_fail(error, SA_NO_MEMORY, "no memory for the maxima of %zu rows", rows);
    }
    c->row_inverse = arena->memory;
    c->row_m = (char *)(c->row_inverse + rows);
    sa_status status = take_rows(c, control, error);
    if (status == SA_OK) {
        status = take_weights(c, control, error);
    }
    sa_arena_give(arena);
    return status;
}

sa_status sa_compute_statistics(const sa_problem *p, const sa_sizes *z, const sa_outputs *outputs,
                                const sa_statistics *statistics, const sa_control *control,
                                sa_error *error)
{
    error->status = SA_OK;
    error->text[0] = 0;
    if (z->n_batch == 0 || z->n_heads == 0 || z->n_q == 0) {
        return SA_OK;
    }
    call c = {.sizes = z, .wanted = statistics, .control = control, .jobs = 1};
    if (has_columns(statistics)) {
        const ptrdiff_t passes = divide_up(statistics->n_columns, MAX_COLUMNS);
        c.jobs += (int)(passes > 1 ? passes : 1);
    }
    c.jobs += statistics->overview_side > 0;
    const sa_control polls = {poll, &c};
    sa_guard guard;
    sa_guard_begin(&guard, &polls);
    c.kernels = sa_get_kernels(NULL, z->dtype == SA_F64 ? SA_F64 : SA_F32);
    c.plan = sa_plan_numerics(p, z);
    sa_view_heads(p, z, outputs, &c.heads);
    sa_view(statistics->columns, z, SA_AXES_ALL, &c.columns);
    c.schedule = sa_plan_schedule(&c.plan, n_planes(&c), 1,
                                  p->num_threads > 0 ? p->num_threads : sa_get_num_threads());
    error->status = compute(&c, &guard.guarded, error);
    sa_guard_end(&guard);
    return error->status;
}
