/* calls.h -- the arguments of attention, from Python objects to a checked sa_problem. */
#ifndef SA_CALLS_H
#define SA_CALLS_H

#include "binding.h"

/* Below as many multiply-adds a call is over before another thread could make use of the GIL. */
#define SA_GIL_WORK 2e5

enum {
    ARG_QUERY,
    ARG_KEY,
    ARG_VALUE,
    ARG_MASK,
    ARG_BIAS,
    ARG_CAUSAL,
    ARG_WINDOW,
    ARG_QUERY_OFFSET,
    ARG_SCALE,
    ARG_SOFTCAP,
    ARG_ALIBI_SLOPES,
    ARG_SINKS,
    ARG_KEY_LENGTHS,
    ARG_RETURN_WEIGHTS,
    ARG_RETURN_LSE,
    ARG_OUT,
    ARG_NUM_THREADS,
    N_ARGS
};

/* The arrays among the arguments, those that the core reads in the caller's memory first. */
enum {
    IN_QUERY,
    IN_KEY,
    IN_VALUE,
    IN_MASK,
    IN_BIAS,
    IN_QUERY_OFFSET,
    IN_ALIBI_SLOPES,
    IN_SINKS,
    IN_KEY_LENGTHS,
    N_INPUTS
};

typedef struct {
    PyObject *args[N_ARGS]; /* borrowed; NULL where not given */
    sa_input inputs[N_INPUTS];
    sa_output outputs[SA_N_OUTPUTS];
    sa_problem problem;
    sa_sizes sizes;
    sa_outputs wanted;
} sa_call;

/* Everything up to the outputs. */
int sa_prepare_call(sa_call *call, PyObject *const *args, Py_ssize_t n_args, PyObject *kwnames);

/* Whether sa_prepare_call succeeded or not. */
void sa_release_inputs(sa_call *call);

#endif
