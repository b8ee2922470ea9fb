/* refusals.c -- the N-th request to the system fails, once or for ever (csrc/core/seam.c asks). */
#include "test_build.h"

#include <stdatomic.h>

bool sa_test_refuses(void);
void sa_test_counts_blocks(int more);

static atomic_long requests, blocks, first_refused = -1;
static atomic_bool refuses_all_after;

void sa_test_refuse(long first, bool all_after)
{
    atomic_store(&first_refused, first);
    atomic_store(&refuses_all_after, all_after);
    atomic_store(&requests, 0);
}

long sa_test_count_requests(void) { return atomic_load(&requests); }
long sa_test_count_blocks(void) { return atomic_load(&blocks); }

bool sa_test_refuses(void)
{
    const long n = atomic_fetch_add(&requests, 1), first = atomic_load(&first_refused);
    return first >= 0 && (n == first || (n > first && atomic_load(&refuses_all_after)));
}

void sa_test_counts_blocks(int more) { atomic_fetch_add(&blocks, more); }
