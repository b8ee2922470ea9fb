/* attention.c -- sa_forward: from a checked problem to blocks of rows on threads.
 *
 * One item is one block of rows of one key head (with all its query heads), or for head means a
 * range of queries of all heads. With few blocks, many keys and several threads an item is a chunk
 * of a block's keys, and a second job merges the chunks. All items of a call share one `call`.
 */
#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "dispatch.h"
#include "heads.h"
#include "plan.h"
#include "pool.h"
#include "scratch.h"
#include "status.h"

typedef struct {
    const sa_sizes *sizes;
    const sa_kernels *kernels;
    sa_plan plan;
    sa_schedule schedule;
    sa_heads heads;
    char *states; /* [items, n_chunks, state_stride] */
    ptrdiff_t state_stride;
    ptrdiff_t mean_queries; /* queries of an item of head means */
} call;

static const sa_stop stop = {sa_job_stopped, NULL};

static void begin_call(call *c, const sa_problem *p, const sa_sizes *z, const sa_outputs *outputs)
{
    c->sizes = z;
    c->kernels = sa_get_kernels(NULL, z->dtype == SA_F64 ? SA_F64 : SA_F32);
    c->plan = sa_plan_numerics(p, z);
    sa_view_heads(p, z, outputs, &c->heads);
}

/* Block `item` of the call; head is where its view is put. */
static sa_block block_at(const call *c, ptrdiff_t item, sa_head *head)
{
    const sa_schedule *s = &c->schedule;
    const ptrdiff_t rows = c->plan.n_q * c->plan.group;
    const sa_row_range range = sa_block_rows(s, rows, item % s->blocks_per_head);
    sa_view_head(&c->heads, item / s->blocks_per_head, head);
    return (sa_block){&c->plan, head, range.begin, range.end};
}

static void run_block(void *context, ptrdiff_t item, void *scratch)
{
    const call *c = context;
    sa_head head;
    const sa_block block = block_at(c, item, &head);
    c->kernels->forward(&block, scratch, stop);
}

static void run_chunk(void *context, ptrdiff_t item, void *scratch)
{
    const call *c = context;
    const ptrdiff_t n_chunks = c->schedule.n_chunks;
    sa_head head;
    const sa_block block = block_at(c, item / n_chunks, &head);
    c->kernels->partial(&block, item % n_chunks, c->states + item * c->state_stride, scratch, stop);
}

static void run_combine(void *context, ptrdiff_t item, void *scratch)
{
    const call *c = context;
    const ptrdiff_t n_chunks = c->schedule.n_chunks;
    sa_head head;
    const sa_block block = block_at(c, item, &head);
    c->kernels->combine(&block, c->states + item * n_chunks * c->state_stride, n_chunks,
                        c->state_stride, scratch, stop);
}

static ptrdiff_t mean_items_per_batch(const call *c)
{
    return (c->plan.n_q + c->mean_queries - 1) / c->mean_queries;
}

/* Views of all heads of the batch entry lie behind the kernel's own workspace. */
static size_t mean_bytes(const call *c, size_t *kernel_bytes)
{
    *kernel_bytes = c->kernels->mean_workspace_bytes(&c->plan, c->mean_queries);
    *kernel_bytes = (*kernel_bytes + 63) / 64 * 64;
    return *kernel_bytes + (size_t)c->sizes->n_kv_heads * sizeof(sa_head);
}

static void run_mean(void *context, ptrdiff_t item, void *scratch)
{
    const call *c = context;
    const ptrdiff_t n_kv_heads = c->sizes->n_kv_heads, per_batch = mean_items_per_batch(c);
    const ptrdiff_t b = item / per_batch, begin = item % per_batch * c->mean_queries;
    const ptrdiff_t end =
        begin + c->mean_queries < c->plan.n_q ? begin + c->mean_queries : c->plan.n_q;
    size_t kernel_bytes;
    mean_bytes(c, &kernel_bytes);
    sa_head *heads = (sa_head *)(void *)((char *)scratch + kernel_bytes);
    for (ptrdiff_t kv = 0; kv < n_kv_heads; kv++) {
        sa_view_head(&c->heads, b * n_kv_heads + kv, &heads[kv]);
    }
    const sa_matrix mean = sa_matrix_at(&c->heads.weights, c->sizes, b, 0);
    c->kernels->forward_mean(&c->plan, heads, n_kv_heads, begin, end, &mean, scratch, stop);
}

/* Runs one job with `bytes` of scratch for each thread. */
static sa_status run_job(call *c, void (*run)(void *, ptrdiff_t, void *), ptrdiff_t n_items,
                         size_t bytes, const sa_control *control, sa_error *error)
{
    const sa_scratch_job job = {run, c, n_items, bytes};
    return sa_run_with_scratch(&job, c->schedule.n_threads, control, error);
}

/* Returns the bytes of scratch of an item of head means. */
static size_t plan_mean(call *c)
{
    size_t kernel_bytes;
    const ptrdiff_t rows = c->schedule.block_rows;
    c->mean_queries = c->plan.group < rows ? rows / c->plan.group : 1;
    return mean_bytes(c, &kernel_bytes);
}

static sa_status forward_mean(call *c, const sa_control *control, sa_error *error)
{
    const size_t bytes = plan_mean(c);
    return run_job(c, run_mean, c->sizes->n_batch * mean_items_per_batch(c), bytes, control, error);
}

static sa_status forward_chunks(call *c, ptrdiff_t n_blocks, size_t bytes,
                                const sa_control *control, sa_error *error)
{
    const ptrdiff_t n_items = n_blocks * c->schedule.n_chunks;
    c->state_stride = (ptrdiff_t)c->kernels->state_bytes(&c->plan, c->schedule.block_rows);
    sa_arena *states = sa_arena_take((size_t)n_items * (size_t)c->state_stride);
    if (!states) { /* the same without a state per chunk */
        return run_job(c, run_block, n_blocks, bytes, control, error);
    }
    c->states = states->memory;
    sa_status status = run_job(c, run_chunk, n_items, bytes, control, error);
    if (status == SA_OK) {
        status = run_job(c, run_combine, n_blocks, bytes, control, error);
    }
    sa_arena_give(states);
    return status;
}

/* Weights from which on they would fill the caches rather than wait in them for the reader. */
static const double MIN_STREAMED = 8e6;

/* Where a block's keys are spread over threads, none of them has P of whole rows. */
static void plan_schedule(call *c, const sa_problem *p)
{
    const sa_sizes *z = c->sizes;
    const bool mean = sa_wants_mean(p, z);
    const int n_threads = p->num_threads > 0 ? p->num_threads : sa_get_num_threads();
    c->plan.keeps_p = p->weights != SA_WEIGHTS_NONE;
    c->plan.streams =
        (double)z->n_batch * (double)z->n_heads * (double)z->n_q * (double)z->n_k >= MIN_STREAMED;
    c->schedule =
        sa_plan_schedule(&c->plan, z->n_batch * z->n_kv_heads, mean ? z->n_kv_heads : 1, n_threads);
    c->plan.keeps_p = c->plan.keeps_p && (mean || c->schedule.n_chunks == 1);
}

static sa_status forward(call *c, const sa_problem *p, const sa_control *control, sa_error *error)
{
    plan_schedule(c, p);
    if (sa_wants_mean(p, c->sizes)) {
        return forward_mean(c, control, error);
    }
    const ptrdiff_t n_blocks =
        c->sizes->n_batch * c->sizes->n_kv_heads * c->schedule.blocks_per_head;
    const size_t bytes = c->kernels->workspace_bytes(&c->plan, c->schedule.block_rows);
    return c->schedule.n_chunks > 1 ? forward_chunks(c, n_blocks, bytes, control, error)
                                    : run_job(c, run_block, n_blocks, bytes, control, error);
}

/* Whether no result that is wanted has an element: of such a call the batch may be of any length. */
static bool is_empty(const sa_problem *p, const sa_sizes *z)
{
    const bool writes_rows = z->d_v > 0 || p->lse || (p->weights != SA_WEIGHTS_NONE && z->n_k > 0);
    return z->n_batch == 0 || z->n_heads == 0 || z->n_q == 0 || !writes_rows;
}

size_t sa_scratch_bytes(const sa_problem *p, const sa_sizes *z, int *n_threads)
{
    call c = {.sizes = z};
    *n_threads = 1;
    if (is_empty(p, z)) {
        return 0;
    }
    c.kernels = sa_get_kernels(NULL, z->dtype == SA_F64 ? SA_F64 : SA_F32);
    c.plan = sa_plan_numerics(p, z);
    plan_schedule(&c, p);
    *n_threads = c.schedule.n_threads;
    if (sa_wants_mean(p, z)) {
        return plan_mean(&c) * (size_t)*n_threads;
    }
    const size_t bytes = c.kernels->workspace_bytes(&c.plan, c.schedule.block_rows);
    const ptrdiff_t n_blocks = z->n_batch * z->n_kv_heads * c.schedule.blocks_per_head;
    const size_t states = c.schedule.n_chunks > 1
                              ? (size_t)(n_blocks * c.schedule.n_chunks) *
                                    c.kernels->state_bytes(&c.plan, c.schedule.block_rows)
                              : 0;
    return bytes * (size_t)*n_threads + states;
}

sa_status sa_forward(const sa_problem *p, const sa_sizes *z, const sa_outputs *outputs,
                     const sa_control *control, sa_error *error)
{
    call c;
    error->status = SA_OK;
    error->text[0] = 0;
    if (is_empty(p, z)) {
        return SA_OK;
    }
    sa_guard guard;
    sa_guard_begin(&guard, control);
    begin_call(&c, p, z, outputs);
    error->status = forward(&c, p, &guard.guarded, error);
    sa_guard_end(&guard);
    return error->status;
}
