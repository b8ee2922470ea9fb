/* poll_once.c -- a job that is stopped while a worker is still in its item for some time: the
 * caller's poll, once it has said stop, is not asked again. Prints how often it was asked, and the
 * job's status; see tests/test_threads.py. */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "../../csrc/core/pool.h"

static int stop(void *count)
{
    ++*(int *)count;
    return 1;
}

/* The worker is busy for long after the caller has asked, whatever poll says; a poll is due every
 * 50 ms. */
static void run(void *unused, ptrdiff_t item, int thread)
{
    (void)item;
    usleep(thread == 0 ? 100000 : 600000);
    sa_job_stopped(unused);
}

int main(void)
{
    int n_polls = 0;
    const sa_job job = {run, NULL, 2};
    const sa_control control = {stop, &n_polls};
    sa_pool_begin();
    const sa_status status = sa_pool_run(&job, 2, &control);
    printf("%d %d\n", n_polls, status == SA_INTERRUPTED);
    return 0;
}
