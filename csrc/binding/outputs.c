/* outputs.c -- out=: the caller's arrays are checked, then what is missing is allocated.
 *
 * A result is written straight into the caller's array unless that is unaligned or meets an input
 * in memory; then into a temporary, copied when the call has succeeded, so that the answer is the
 * one without the overlap (NumPy's rule for ufuncs).
 */
#include "binding.h"

static const char *const labels[SA_N_OUTPUTS] = {"out", "out for weights", "out for lse"};

static int find_wanted(const sa_problem *problem, bool wanted[SA_N_OUTPUTS])
{
    wanted[SA_OUT] = true;
    wanted[SA_WEIGHTS] = problem->weights != SA_WEIGHTS_NONE;
    wanted[SA_LSE] = problem->lse;
    return 1 + wanted[SA_WEIGHTS] + wanted[SA_LSE];
}

static int take_entry(sa_output *output, PyObject *entry, const char *label, const char *expected)
{
    if (entry == Py_None) {
        return 0;
    }
    if (!PyArray_Check(entry)) {
        return sa_raise_kind(entry, label, expected);
    }
    const int is_masked = PyArray_CheckExact(entry) ? 0 : sa_is_masked(entry);
    if (is_masked != 0) {
        return is_masked < 0 ? -1 : sa_raise_kind(entry, label, expected);
    }
    output->given = (PyArrayObject *)Py_NewRef(entry);
    return 0;
}

/* An array for the first result, or a tuple with an entry for each. */
static int take_entries(sa_output *outputs, PyObject *out, const bool wanted[SA_N_OUTPUTS],
                        int n_wanted)
{
    if (!PyTuple_Check(out)) {
        return take_entry(&outputs[SA_OUT], out, "out",
                          "an ndarray or a tuple with one for each result");
    }
    if (PyTuple_Size(out) != n_wanted) {
        PyErr_Format(
            PyExc_ValueError,
            "out has %zd entries and %d %s returned: expected one entry for each of out%s%s "
            "(None = allocate)",
            PyTuple_Size(out), n_wanted, n_wanted == 1 ? "array is" : "arrays are",
            wanted[SA_WEIGHTS] ? ", weights" : "", wanted[SA_LSE] ? ", lse" : "");
        return -1;
    }
    Py_ssize_t next = 0;
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        if (wanted[i] && take_entry(&outputs[i], PyTuple_GetItem(out, next++), labels[i],
                                    "an ndarray or None") < 0) {
            return -1;
        }
    }
    return 0;
}

/* What an array that is still to be allocated will be, for the core's check. */
static void expect_tensor(sa_tensor *tensor, const sa_problem *problem, const sa_sizes *sizes,
                          int which)
{
    tensor->data = NULL;
    tensor->dtype = sa_output_dtype(sizes, which);
    tensor->n_dims = sa_output_shape(problem, sizes, which, tensor->shape);
    for (int i = 0; i < tensor->n_dims; i++) {
        tensor->strides[i] = 0;
    }
}

/* What the core cannot say in its own types: another kind of number, or another byte order. */
static int fill_given(sa_output *output, const sa_sizes *sizes, int which)
{
    PyArray_Descr *descr = PyArray_DESCR(output->given);
    const int dtype = sa_classify_dtype(descr);
    if (dtype < 0 || PyArray_ISBYTESWAPPED(output->given)) {
        PyArray_Descr *expected = sa_new_descr(sa_output_dtype(sizes, which));
        if (expected != NULL) {
            PyErr_Format(PyExc_TypeError, "%s is %S: expected native %S", labels[which], descr,
                         expected);
            Py_DECREF(expected);
        }
        return -1;
    }
    sa_fill_tensor(&output->tensor, output->given, (sa_dtype)dtype);
    return 0;
}

static int check_memory(const sa_output *output, int which)
{
    if (!PyArray_ISWRITEABLE(output->given)) {
        PyErr_Format(PyExc_ValueError, "%s is read-only: expected a writeable array",
                     labels[which]);
        return -1;
    }
    if (!PyArray_IS_C_CONTIGUOUS(output->given) && sa_overlaps_itself(&output->tensor)) {
        PyErr_Format(PyExc_ValueError,
                     "%s overlaps itself: two of its elements share memory, expected an array "
                     "of distinct ones",
                     labels[which]);
        return -1;
    }
    return 0;
}

static int check_given(const sa_output *outputs)
{
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        if (outputs[i].given == NULL) {
            continue;
        }
        if (check_memory(&outputs[i], i) < 0) {
            return -1;
        }
        for (int j = 0; j < i; j++) {
            if (outputs[j].given != NULL &&
                sa_tensors_overlap(&outputs[j].tensor, &outputs[i].tensor)) {
                PyErr_Format(PyExc_ValueError, "%s and %s share memory: expected separate arrays",
                             labels[j], labels[i]);
                return -1;
            }
        }
    }
    return 0;
}

static bool needs_temporary(const sa_output *output, const sa_input *inputs, int n_inputs)
{
    if (!PyArray_ISALIGNED(output->given)) {
        return true;
    }
    for (int i = 0; i < n_inputs; i++) {
        if (inputs[i].array != NULL && sa_ranges_meet(&output->tensor, &inputs[i].tensor)) {
            return true;
        }
    }
    return false;
}

/* A new C-contiguous array of the tensor's shape and type, which then describes it. */
static int allocate(sa_output *output)
{
    sa_tensor *tensor = &output->tensor;
    output->filled = sa_new_result(tensor->dtype, tensor->n_dims, tensor->shape);
    if (output->filled == NULL) {
        return -1;
    }
    sa_fill_tensor(tensor, output->filled, tensor->dtype);
    return 0;
}

int sa_open_outputs(sa_output *outputs, PyObject *out, const sa_problem *problem,
                    const sa_sizes *sizes, const sa_input *inputs, int n_inputs,
                    sa_outputs *wanted_tensors)
{
    bool wanted[SA_N_OUTPUTS];
    const int n_wanted = find_wanted(problem, wanted);
    if (out != NULL && take_entries(outputs, out, wanted, n_wanted) < 0) {
        return -1;
    }
    const sa_tensor **const slots[] = {&wanted_tensors->out, &wanted_tensors->weights,
                                       &wanted_tensors->lse};
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        *slots[i] = wanted[i] ? &outputs[i].tensor : NULL;
        if (wanted[i] && outputs[i].given == NULL) {
            expect_tensor(&outputs[i].tensor, problem, sizes, i);
        } else if (wanted[i] && fill_given(&outputs[i], sizes, i) < 0) {
            return -1;
        }
    }
    sa_error error;
    error.text[0] = '\0';
    const sa_status status = sa_check_outputs(problem, sizes, wanted_tensors, &error);
    if (status != SA_OK) {
        return sa_raise(status, &error);
    }
    if (out != NULL && check_given(outputs) < 0) {
        return -1;
    }
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        if (outputs[i].given != NULL && !needs_temporary(&outputs[i], inputs, n_inputs)) {
            outputs[i].filled = (PyArrayObject *)Py_NewRef(outputs[i].given);
        } else if (wanted[i] && allocate(&outputs[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *sa_close_outputs(const sa_output *outputs)
{
    PyObject *results[SA_N_OUTPUTS];
    Py_ssize_t n_results = 0;
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        const sa_output *output = &outputs[i];
        if (output->filled == NULL) {
            continue;
        }
        if (output->given != NULL && output->given != output->filled &&
            PyArray_CopyInto(output->given, output->filled) < 0) {
            return NULL;
        }
        results[n_results++] = (PyObject *)(output->given != NULL ? output->given : output->filled);
    }
    if (n_results == 1) {
        return Py_NewRef(results[0]);
    }
    PyObject *tuple = PyTuple_New(n_results);
    for (Py_ssize_t i = 0; tuple != NULL && i < n_results; i++) {
        PyTuple_SetItem(tuple, i, Py_NewRef(results[i]));
    }
    return tuple;
}

void sa_release_outputs(sa_output *outputs)
{
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        Py_CLEAR(outputs[i].given);
        Py_CLEAR(outputs[i].filled);
    }
}

/* Only the sizes of elements matter here: any type of a given size stands for all. */
PyObject *sa_check_output_memory(PyObject *Py_UNUSED(module), PyObject *entries)
{
    sa_output outputs[SA_N_OUTPUTS];
    if (!PyTuple_Check(entries) || PyTuple_Size(entries) != SA_N_OUTPUTS) {
        sa_raise_kind(entries, "out", "a tuple of three");
        return NULL;
    }
    for (int i = 0; i < SA_N_OUTPUTS; i++) {
        PyObject *entry = PyTuple_GetItem(entries, i);
        outputs[i].given = PyArray_Check(entry) ? (PyArrayObject *)entry : NULL;
        if (outputs[i].given != NULL) {
            const int dtype = sa_classify_dtype(PyArray_DESCR(outputs[i].given));
            sa_fill_tensor(&outputs[i].tensor, outputs[i].given,
                           dtype < 0 ? SA_F64 : (sa_dtype)dtype);
        }
    }
    return check_given(outputs) < 0 ? NULL : Py_NewRef(Py_None);
}
