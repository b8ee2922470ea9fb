/* statistics_problem.h -- a random call of the statistics, and what its arrays must say. */
#ifndef SA_TEST_STATISTICS_PROBLEM_H
#define SA_TEST_STATISTICS_PROBLEM_H

#include "attention_problem.h"

enum {
    S_COLUMNS,
    S_FIRST_SAME,
    S_NEXT_SAME,
    S_ENTROPY,
    S_MAX,
    S_DISTANCE,
    S_ARGMAX,
    S_TOP_WEIGHTS,
    S_TOP_INDICES,
    S_TOP_REST,
    S_RECEIVED,
    S_WEIGHTED,
    S_SET_WEIGHTS,
    S_OVERVIEW_MAX,
    S_OVERVIEW_MEAN,
    N_STATISTICS
};

typedef struct {
    attention_problem attention; /* which asks for lse and no weights */
    sa_statistics wanted;
    sa_key_set sets[3];
    array arrays[N_STATISTICS]; /* block NULL: absent */
} statistics_problem;

/* What each statistic must be by the weights of sa_forward (same unit; not of 16-bit types, whose
 * weights are rounded). Returns NULL, or says what is wrong. Bounds are wide: an element that is
 * wrong, missing or stands elsewhere is looked for, not a last digit. */
const char *statistics_judge(const statistics_problem *s);

#endif
