/* attention_problem.h -- a random call of attention, and what it must return. */
#ifndef SA_TEST_ATTENTION_PROBLEM_H
#define SA_TEST_ATTENTION_PROBLEM_H

#include "tensors.h"

enum {
    A_QUERY,
    A_KEY,
    A_VALUE,
    A_MASK,
    A_BIAS,
    A_QUERY_OFFSET,
    A_KEY_LENGTHS,
    A_SLOPES,
    A_SINKS,
    A_OUT,
    A_WEIGHTS,
    A_LSE,
    N_ARRAYS
};

typedef struct {
    sa_problem problem;
    sa_sizes sizes;
    sa_outputs outputs;
    array arrays[N_ARRAYS]; /* block NULL: absent */
    bool is_wild;           /* NaN, infinities and numbers at the ends of the range */
} attention_problem;

/* Sizes that the caller wants rather than random ones; -1: random. */
typedef struct {
    ptrdiff_t n_q, n_k, d, d_v;
    int dtype;
} wish;

extern const wish no_wish;

/* Fills everything but the outputs. The arguments may be wrong now and then: sa_check_attention
 * says so, and the problem is then only to be freed. */
void attention_make(attention_problem *a, choices *c, wish wanted);
/* After the check: allocates the outputs. */
void attention_make_outputs(attention_problem *a, choices *c);
void attention_free(attention_problem *a);

/* Outputs full of 0xFF again. */
void attention_clear_outputs(attention_problem *a);

/* The formula in long double against what the outputs hold, in units of the bound that the
 * interface promises; writes a sentence about the worst element. 0 if all agree exactly, infinity
 * if a NaN or an infinity is where none may be, or missing where one must be. */
double attention_judge(const attention_problem *a, char text[256]);

#endif
