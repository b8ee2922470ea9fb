/* pool.h -- one pool of threads for the process. Internal to the core. */
#ifndef SA_POOL_H
#define SA_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "../include/selfattn.h"

/* Work cut into items. run is called for each item once, by any thread; thread is 0 for the
 * caller, up to n_threads - 1 for the others. Nothing about results may depend on it. */
typedef struct {
    void (*run)(void *context, ptrdiff_t item, int thread);
    void *context;
    ptrdiff_t n_items;
} sa_job;

/* Before anything else: from now on a fork finds pool and scratch memory in order, whichever thread
 * forks and whatever the others do. */
void sa_pool_begin(void);

/* Runs all items on the calling thread and up to n_threads - 1 others, fewer if they can't be had
 * or another call has the pool; returns when all are done. Items may end early once
 * sa_job_stopped says so. */
sa_status sa_pool_run(const sa_job *job, int n_threads, const sa_control *control);

/* For kernels, as sa_stop.stop with no context: whether the job of this thread is to end. On the
 * calling thread it asks control.poll when 50 ms have passed. */
bool sa_job_stopped(void *unused);

#endif
