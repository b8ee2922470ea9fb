/* plan.h -- two pure functions: what decides rounding, and who computes what. Internal. */
#ifndef SA_PLAN_H
#define SA_PLAN_H

#include "../kernels/kernels.h"

/* All that a row's bits may depend on besides its data and the unit: these sizes and options.
 * keeps_p is left false, as it changes no bit. */
sa_plan sa_plan_numerics(const sa_problem *problem, const sa_sizes *sizes);

typedef struct {
    int n_threads;
    ptrdiff_t block_rows; /* rows of a block, but for a head's last */
    ptrdiff_t blocks_per_head;
    ptrdiff_t n_chunks; /* > 1: each block's chunks of keys are items of their own */
    bool last_first;    /* causal: later rows cost more and go first */
} sa_schedule;

/* n_heads: key heads of all batch entries, of which heads_per_item are one thread's for a block of
 * rows. No choice here changes a bit of the result. */
sa_schedule sa_plan_schedule(const sa_plan *plan, ptrdiff_t n_heads, ptrdiff_t heads_per_item,
                             int n_threads);

/* The rows [begin, end) of block `index` of a head of n_rows rows, in the order of the schedule. */
typedef struct {
    ptrdiff_t begin, end;
} sa_row_range;

sa_row_range sa_block_rows(const sa_schedule *schedule, ptrdiff_t n_rows, ptrdiff_t index);

#endif
