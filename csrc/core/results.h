/* results.h -- what else becomes of the memory of large results; selfattn.h has how to take it. */
#ifndef SA_RESULTS_H
#define SA_RESULTS_H

#include <stdbool.h>
#include <stddef.h>

/* sa_alloc, if need be with what is kept for later results freed first. */
void *sa_claim(size_t bytes);
/* Frees all that is kept for later; false if that was nothing. */
bool sa_results_free_all(void);
/* Around a fork, so that the lists are whole in parent and child. */
void sa_results_before_fork(void);
void sa_results_after_fork(void);

#endif
