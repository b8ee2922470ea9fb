/* projection.c -- _selfattn._linear: one projection, for the layer in Python.
 *
 * Shapes, types and memory are checked as for a public function; what an argument is called and how
 * a caller gets out of an error is the layer's to say.
 */
#include "binding.h"

enum { IN_X, IN_WEIGHT, IN_BIAS, N_INPUTS };

typedef struct {
    sa_input inputs[N_INPUTS];
    PyArrayObject *y; /* borrowed */
    sa_tensor y_tensor;
    sa_projection projection;
} linear_call;

static int take_y(linear_call *call, PyObject *object)
{
    if (!PyArray_Check(object)) {
        return sa_raise_kind(object, "y", "an ndarray");
    }
    call->y = (PyArrayObject *)object;
    const int dtype = sa_classify_dtype(PyArray_DESCR(call->y));
    if (dtype < 0 || !PyArray_ISBEHAVED(call->y)) {
        PyErr_SetString(PyExc_TypeError, "y must be a native, aligned, writeable float array");
        return -1;
    }
    sa_fill_tensor(&call->y_tensor, call->y, (sa_dtype)dtype);
    call->projection.y = &call->y_tensor;
    return 0;
}

static int take_inputs(linear_call *call, PyObject *const *args)
{
    static const char *const names[N_INPUTS] = {"x", "weight", "bias"};
    const sa_tensor **const slots[N_INPUTS] = {
        &call->projection.x,
        &call->projection.weight,
        &call->projection.bias,
    };
    for (int i = 0; i < N_INPUTS; i++) {
        *slots[i] = NULL;
        if (i == IN_BIAS && args[i] == Py_None) {
            continue;
        }
        sa_input *input = &call->inputs[i];
        input->array = sa_take_array(args[i], names[i]);
        if (input->array == NULL || sa_view_score_term(input, names[i], false) < 0) {
            return -1;
        }
        *slots[i] = &input->tensor;
    }
    return 0;
}

static int check(const linear_call *call, double *work)
{
    sa_error error;
    const sa_status status = sa_check_projection(&call->projection, work, &error);
    if (status != SA_OK) {
        return sa_raise(status, &error);
    }
    bool overlaps = sa_overlaps_itself(&call->y_tensor);
    for (int i = 0; i < N_INPUTS; i++) {
        overlaps = overlaps || (call->inputs[i].array != NULL &&
                                sa_ranges_meet(&call->y_tensor, &call->inputs[i].tensor));
    }
    if (overlaps) {
        PyErr_SetString(PyExc_ValueError,
                        "y overlaps itself or an input: expected separate arrays");
        return -1;
    }
    return 0;
}

static sa_status project(const void *context, const sa_control *control, sa_error *error)
{
    const linear_call *call = context;
    return sa_project(&call->projection, control, error);
}

PyObject *sa_call_linear(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n_args)
{
    enum { ARG_Y = N_INPUTS, ARG_NUM_THREADS, N_ARGS };
    if (n_args != N_ARGS) {
        PyErr_Format(PyExc_TypeError, "_linear() takes %d arguments (%zd given)", N_ARGS, n_args);
        return NULL;
    }
    linear_call call = {.y = NULL};
    double work = 0;
    PyObject *result = NULL;
    if ((args[ARG_NUM_THREADS] != Py_None &&
         sa_parse_num_threads(args[ARG_NUM_THREADS], "num_threads", &call.projection.num_threads) <
             0) ||
        take_inputs(&call, args) < 0 || take_y(&call, args[ARG_Y]) < 0 || check(&call, &work) < 0 ||
        sa_compute(project, &call, work) < 0) {
        goto done;
    }
    result = Py_NewRef(args[ARG_Y]);
done:
    for (int i = 0; i < N_INPUTS; i++) {
        Py_XDECREF(call.inputs[i].array);
    }
    return result;
}
