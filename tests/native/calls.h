/* calls.h -- the functions of the core that the harnesses exercise, in one table.
 *
 * A harness knows functions by this table alone. A new function of the core is one file with a run
 * function, like attention_call.c, and a line in calls.c: guard pages, fuzzing, replay, refused
 * requests and thread checks then cover it.
 */
#ifndef SA_TEST_CALLS_H
#define SA_TEST_CALLS_H

#include "choices.h"

typedef enum {
    CALL_REFUSED, /* the checks said no; nothing was computed */
    CALL_RIGHT,
    CALL_WRONG, /* the text says what */
} verdict;

/* What a harness wants of a call beyond its choices. */
typedef struct {
    int axis; /* of the call's sizes, -1: all random */
    long size;
    int dtype;         /* 0 ... 3, or -1 */
    bool judges;       /* compare with the formula, not only runs with each other */
    int planted_array; /* -1, or the array that is moved by planted_step elements */
    long planted_step; /* -1 or 1: over the lower or the upper end */
    bool may_fail;     /* memory is refused: a call may end with SA_NO_MEMORY */
    const char *unit;  /* NULL: all */
} demand;

extern const demand no_demand;

typedef struct {
    const char *name;
    int n_axes;                /* sizes that a demand can set */
    const char *const *arrays; /* names, ended by NULL */
    verdict (*run)(choices *c, const demand *d, char text[512]);
} call;

extern const call calls[];
extern const int n_calls;

/* The unit that runs at this moment, for the report of a crash. */
extern const char *unit_now;

#endif
