/* calls.c -- selfattn.attention: parse, view, allocate, compute, raise, return.
 *
 * All code of the caller's classes (__index__, __array__, __dlpack__) runs in the first step; only
 * then is a pointer taken into any array. Signal handlers run while the core computes, and NumPy
 * does not let them resize an array that the call holds a reference to.
 */
#include "calls.h"

static const char *const argument_names[N_ARGS] = {
    "query",        "key",         "value",        "mask",           "bias",
    "causal",       "window",      "query_offset", "scale",          "softcap",
    "alibi_slopes", "sinks",       "key_lengths",  "return_weights", "return_lse",
    "out",          "num_threads",
};

static PyObject *interned_names[N_ARGS];

const sa_signature sa_attention_signature = {
    .function = "attention",
    .n_required = 3,
    .n_positional = 4,
    .n_names = N_ARGS,
    .names = argument_names,
    .interned = interned_names,
};

int sa_raise(sa_status status, const sa_error *error)
{
    switch (status) {
    case SA_TYPE_ERROR:
        PyErr_SetString(PyExc_TypeError, error->text);
        break;
    case SA_VALUE_ERROR:
        PyErr_SetString(PyExc_ValueError, error->text);
        break;
    case SA_NO_MEMORY:
        PyErr_SetString(PyExc_MemoryError, error->text);
        break;
    case SA_INTERRUPTED:
    case SA_OK:
        break;
    }
    return -1;
}

/* The argument, or NULL if it is not there or says None. */
static PyObject *optional(const sa_call *call, int arg)
{
    PyObject *object = call->args[arg];
    return object == Py_None ? NULL : object;
}

static int take_numbers(sa_call *call)
{
    sa_problem *problem = &call->problem;
    PyObject *window = optional(call, ARG_WINDOW);
    PyObject *scale = optional(call, ARG_SCALE);
    PyObject *softcap = optional(call, ARG_SOFTCAP);
    problem->has_window = window != NULL;
    if (window != NULL &&
        sa_parse_window(window, &problem->window_left, &problem->window_right) < 0) {
        return -1;
    }
    problem->has_scale = scale != NULL;
    if (scale != NULL && sa_parse_real(scale, "scale", &problem->scale) < 0) {
        return -1;
    }
    problem->has_softcap = softcap != NULL;
    if (softcap != NULL && sa_parse_real(softcap, "softcap", &problem->softcap) < 0) {
        return -1;
    }
    return 0;
}

static int take_choices(sa_call *call)
{
    sa_problem *problem = &call->problem;
    PyObject *const *args = call->args;
    PyObject *num_threads = optional(call, ARG_NUM_THREADS);
    problem->causal = SA_CAUSAL_NONE;
    problem->weights = SA_WEIGHTS_NONE;
    problem->lse = false;
    problem->num_threads = 0;
    if (args[ARG_CAUSAL] != NULL && sa_parse_causal(args[ARG_CAUSAL], &problem->causal) < 0) {
        return -1;
    }
    if (args[ARG_RETURN_WEIGHTS] != NULL &&
        sa_parse_weights(args[ARG_RETURN_WEIGHTS], &problem->weights) < 0) {
        return -1;
    }
    if (args[ARG_RETURN_LSE] != NULL &&
        sa_parse_flag(args[ARG_RETURN_LSE], "return_lse", &problem->lse) < 0) {
        return -1;
    }
    return num_threads == NULL
               ? 0
               : sa_parse_num_threads(num_threads, "num_threads", &problem->num_threads);
}

static int take_matrix(PyObject *object, const char *name, sa_input *input)
{
    input->array = sa_take_array(object, name);
    return input->array == NULL ? -1 : 0;
}

static const struct {
    int (*take)(PyObject *object, const char *name, sa_input *input);
    int arg;
} intake[N_INPUTS] = {
    [IN_QUERY] = {take_matrix, ARG_QUERY},
    [IN_KEY] = {take_matrix, ARG_KEY},
    [IN_VALUE] = {take_matrix, ARG_VALUE},
    [IN_MASK] = {take_matrix, ARG_MASK},
    [IN_BIAS] = {take_matrix, ARG_BIAS},
    [IN_QUERY_OFFSET] = {sa_take_integers, ARG_QUERY_OFFSET},
    [IN_ALIBI_SLOPES] = {sa_take_per_head, ARG_ALIBI_SLOPES},
    [IN_SINKS] = {sa_take_per_head, ARG_SINKS},
    [IN_KEY_LENGTHS] = {sa_take_integers, ARG_KEY_LENGTHS},
};

static int take_inputs(sa_call *call)
{
    sa_problem *problem = &call->problem;
    const sa_tensor **const slots[N_INPUTS] = {
        [IN_QUERY] = &problem->query,
        [IN_KEY] = &problem->key,
        [IN_VALUE] = &problem->value,
        [IN_MASK] = &problem->mask,
        [IN_BIAS] = &problem->bias,
        [IN_QUERY_OFFSET] = &problem->query_offset,
        [IN_ALIBI_SLOPES] = &problem->alibi_slopes,
        [IN_SINKS] = &problem->sinks,
        [IN_KEY_LENGTHS] = &problem->key_lengths,
    };
    for (int i = 0; i < N_INPUTS; i++) {
        const int arg = intake[i].arg;
        PyObject *object = i <= IN_VALUE ? call->args[arg] : optional(call, arg);
        *slots[i] = object == NULL ? NULL : &call->inputs[i].tensor;
        if (object != NULL && intake[i].take(object, argument_names[arg], &call->inputs[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int view_inputs(sa_call *call)
{
    sa_input *inputs = call->inputs;
    if (sa_view_operands(inputs) < 0) {
        return -1;
    }
    if (inputs[IN_MASK].array != NULL && sa_view_score_term(&inputs[IN_MASK], "mask", true) < 0) {
        return -1;
    }
    if (inputs[IN_BIAS].array != NULL && sa_view_score_term(&inputs[IN_BIAS], "bias", false) < 0) {
        return -1;
    }
    return 0;
}

int sa_poll_signals(void *context)
{
    PyThreadState **state = context;
    PyEval_RestoreThread(*state);
    const int raised = PyErr_CheckSignals();
    *state = PyEval_SaveThread();
    return raised;
}

int sa_compute(sa_step *step, const void *call, double work)
{
    sa_error error;
    error.text[0] = '\0';
    if (work < SA_GIL_WORK) {
        const sa_status status = step(call, NULL, &error);
        return status == SA_OK ? 0 : sa_raise(status, &error);
    }
    PyThreadState *state = PyEval_SaveThread();
    const sa_control control = {sa_poll_signals, &state};
    const sa_status status = step(call, &control, &error);
    PyEval_RestoreThread(state);
    if (PyErr_Occurred()) {
        return -1; /* a handler raised; the core may have been done before it could stop */
    }
    return status == SA_OK ? 0 : sa_raise(status, &error);
}

static sa_status forward(const void *context, const sa_control *control, sa_error *error)
{
    const sa_call *call = context;
    return sa_forward(&call->problem, &call->sizes, &call->wanted, control, error);
}

static int check(sa_call *call)
{
    sa_error error;
    error.text[0] = '\0';
    const sa_status status = sa_check_attention(&call->problem, &call->sizes, &error);
    return status == SA_OK ? 0 : sa_raise(status, &error);
}

int sa_prepare_call(sa_call *call, PyObject *const *args, Py_ssize_t n_args, PyObject *kwnames)
{
    for (int i = 0; i < N_INPUTS; i++) {
        call->inputs[i].array = NULL;
    }
    const bool failed =
        sa_parse_arguments(&sa_attention_signature, args, n_args, kwnames, call->args) < 0 ||
        take_numbers(call) < 0 || take_choices(call) < 0 || take_inputs(call) < 0 ||
        view_inputs(call) < 0 || check(call) < 0;
    return failed ? -1 : 0;
}

void sa_release_inputs(sa_call *call)
{
    for (int i = 0; i < N_INPUTS; i++) {
        Py_XDECREF(call->inputs[i].array);
    }
}

PyObject *sa_call_attention(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n_args,
                            PyObject *kwnames)
{
    sa_call call;
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        call.outputs[i].given = call.outputs[i].filled = NULL;
    }
    PyObject *result = NULL;
    if (sa_prepare_call(&call, args, n_args, kwnames) == 0 &&
        sa_open_outputs(call.outputs, optional(&call, ARG_OUT), &call.problem, &call.sizes,
                        call.inputs, N_INPUTS, &call.wanted) == 0 &&
        sa_compute(forward, &call, call.sizes.work) == 0) {
        result = sa_close_outputs(call.outputs);
    }
    sa_release_outputs(call.outputs);
    sa_release_inputs(&call);
    return result;
}

PyObject *sa_check_attention_call(PyObject *Py_UNUSED(module), PyObject *const *args,
                                  Py_ssize_t n_args, PyObject *kwnames)
{
    sa_call call;
    PyObject *result = NULL;
    if (sa_prepare_call(&call, args, n_args, kwnames) == 0) {
        int n_threads;
        const size_t bytes = sa_scratch_bytes(&call.problem, &call.sizes, &n_threads);
        result = Py_BuildValue("ni", (Py_ssize_t)bytes, n_threads);
    }
    sa_release_inputs(&call);
    return result;
}
