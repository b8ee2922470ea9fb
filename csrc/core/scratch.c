/* scratch.c -- see scratch.h. */
#include "scratch.h"

#include "arena.h"
#include "cpu.h"
#include "pool.h"
#include "results.h"
#include "seam.h"
#include "status.h"

typedef struct {
    const sa_scratch_job *job;
    sa_arena **arenas; /* [n_threads] */
} job_with_arenas;

static void run_item(void *context, ptrdiff_t item, int thread)
{
    const job_with_arenas *j = context;
    j->job->run(j->job->context, item, j->arenas[thread]->memory);
}

sa_status sa_run_with_scratch(const sa_scratch_job *job, int n_threads, const sa_control *control,
                              sa_error *error)
{
    enum { ON_STACK = 64 };
    sa_arena *few[ON_STACK];
    const int most = job->n_items < n_threads ? (int)job->n_items : n_threads;
    sa_arena **arenas = most <= ON_STACK ? few : sa_claim((size_t)most * sizeof few[0]);
    int n_arenas = 0;
    while (arenas && n_arenas < most && (arenas[n_arenas] = sa_arena_take(job->scratch_bytes))) {
        n_arenas++;
    }
    sa_status status;
    if (n_arenas > 0) { /* fewer threads than wanted change no bit */
        job_with_arenas with = {job, arenas};
        const sa_job plain = {run_item, &with, job->n_items};
        status = sa_pool_run(&plain, n_arenas, control);
    } else {
        status =
            sa_fail(error, SA_NO_MEMORY, "no memory for %zu bytes of scratch", job->scratch_bytes);
    }
    for (int i = 0; i < n_arenas; i++) {
        sa_arena_give(arenas[i]);
    }
    if (arenas != few) {
        sa_free(arenas);
    }
    return status;
}

static int poll_caller(void *context)
{
    const sa_guard *guard = context;
    sa_fp_end(guard->word);
    const int answer = guard->control->poll(guard->control->context);
    sa_fp_begin();
    return answer;
}

void sa_guard_begin(sa_guard *guard, const sa_control *control)
{
    guard->control = control;
    guard->word = sa_fp_begin();
    guard->guarded = (sa_control){control && control->poll ? poll_caller : NULL, guard};
}

void sa_guard_end(const sa_guard *guard) { sa_fp_end(guard->word); }
