/* results.h -- what else becomes of the memory of large results; selfattn.h has how to take it. */
#ifndef SA_RESULTS_H
#define SA_RESULTS_H

/* Frees all that is kept for later. */
void sa_results_free_all(void);
/* Around a fork, so that the lists are whole in parent and child. */
void sa_results_before_fork(void);
void sa_results_after_fork(void);

#endif
