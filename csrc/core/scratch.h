/* scratch.h -- a job whose threads each have scratch memory. Internal to the core. */
#ifndef SA_SCRATCH_H
#define SA_SCRATCH_H

#include "../include/selfattn.h"

/* run is called for each item once, by any thread; scratch is that thread's own. */
typedef struct {
    void (*run)(void *context, ptrdiff_t item, void *scratch);
    void *context;
    ptrdiff_t n_items;
    size_t scratch_bytes;
} sa_scratch_job;

/* Runs all items on up to n_threads threads, fewer where there is no memory for more. */
sa_status sa_run_with_scratch(const sa_scratch_job *job, int n_threads, const sa_control *control,
                              sa_error *error);

/* The floating-point word of a caller while the core computes: between begin and end it is the
 * kernels' own, and the caller's poll runs with the caller's. */
typedef struct {
    const sa_control *control; /* the caller's */
    unsigned long word;
    sa_control guarded; /* for the core */
} sa_guard;

void sa_guard_begin(sa_guard *guard, const sa_control *control);
void sa_guard_end(const sa_guard *guard);

#endif
