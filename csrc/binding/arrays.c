/* arrays.c -- arrays to tensors: in their own memory and strides wherever the core can read them
 * there, else by one copy of each number that is stored (never of a broadcast repetition).
 */
#include "binding.h"

#include <fenv.h>
#include <string.h>

void sa_fill_tensor(sa_tensor *tensor, PyArrayObject *array, sa_dtype dtype)
{
    const int n_dims = PyArray_NDIM(array);
    tensor->data = PyArray_DATA(array);
    tensor->dtype = dtype;
    tensor->n_dims = n_dims;
    for (int i = 0; i < n_dims; i++) {
        tensor->shape[i] = PyArray_DIM(array, i);
        tensor->strides[i] = PyArray_STRIDE(array, i);
    }
}

/* numpy.errstate(all="ignore"), entered. */
static PyObject *enter_errstate(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *errstate = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "errstate");
    PyObject *args = PyTuple_New(0);
    PyObject *keywords = Py_BuildValue("{s:s}", "all", "ignore");
    PyObject *state = NULL;
    if (errstate != NULL && args != NULL && keywords != NULL) {
        state = PyObject_Call(errstate, args, keywords);
    }
    PyObject *entered = state == NULL ? NULL : PyObject_CallMethod(state, "__enter__", NULL);
    if (entered == NULL) {
        Py_CLEAR(state);
    }
    Py_XDECREF(entered);
    Py_XDECREF(keywords);
    Py_XDECREF(args);
    Py_XDECREF(errstate);
    Py_XDECREF(numpy);
    return state;
}

/* Consumes state and array; NULL if either was, or if leaving fails. */
static PyArrayObject *leave_errstate(PyObject *state, PyArrayObject *array)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *left = PyObject_CallMethod(state, "__exit__", "OOO", Py_None, Py_None, Py_None);
    if (left == NULL) {
        Py_CLEAR(array);
    }
    if (type != NULL) {
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(left);
    Py_DECREF(state);
    return array;
}

/* A C-contiguous native copy. NumPy warns of a signalling NaN, raises flags, and rounds, flushes and
 * traps as the thread is set to; a call promises to do none of it. The whole environment is put
 * aside, as fegetround sees x87's mode only and not MXCSR's. */
static PyArrayObject *new_copy(PyArrayObject *array, sa_dtype dtype)
{
    PyArray_Descr *descr = sa_new_descr(dtype);
    PyObject *state = descr == NULL ? NULL : enter_errstate();
    if (state == NULL) {
        Py_XDECREF(descr);
        return NULL;
    }
    fenv_t environment;
    fegetenv(&environment);
    fesetenv(FE_DFL_ENV);
    PyObject *copy = PyArray_FromArray(
        array, descr, NPY_ARRAY_CARRAY | NPY_ARRAY_ENSURECOPY | NPY_ARRAY_FORCECAST);
    fesetenv(&environment);
    return leave_errstate(state, (PyArrayObject *)copy);
}

/* The numbers that are stored: every axis that only repeats them (stride 0) has length 1. */
static PyArrayObject *new_unbroadcast(PyArrayObject *array)
{
    const int n_dims = PyArray_NDIM(array);
    npy_intp shape[NPY_MAXDIMS];
    for (int i = 0; i < n_dims; i++) {
        const bool repeats = PyArray_STRIDE(array, i) == 0 && PyArray_DIM(array, i) > 1;
        shape[i] = repeats ? 1 : PyArray_DIM(array, i);
    }
    PyArray_Descr *descr = PyArray_DESCR(array);
    Py_INCREF(descr);
    PyObject *view = PyArray_NewFromDescr(&PyArray_Type, descr, n_dims, shape,
                                          PyArray_STRIDES(array), PyArray_DATA(array), 0, NULL);
    if (view == NULL) {
        return NULL;
    }
    Py_INCREF(array);
    if (PyArray_SetBaseObject((PyArrayObject *)view, (PyObject *)array) < 0) {
        Py_CLEAR(view);
    }
    return (PyArrayObject *)view;
}

/* Replace the input's array by a copy in dtype and describe it, repeated axes and all. */
static int convert_input(sa_input *input, sa_dtype dtype)
{
    PyArrayObject *array = input->array;
    PyArrayObject *stored = new_unbroadcast(array);
    PyArrayObject *copy = stored == NULL ? NULL : new_copy(stored, dtype);
    Py_XDECREF(stored);
    if (copy == NULL) {
        return -1;
    }
    sa_fill_tensor(&input->tensor, copy, dtype);
    for (int i = 0; i < PyArray_NDIM(array); i++) {
        if (PyArray_DIM(array, i) != PyArray_DIM(copy, i)) {
            input->tensor.shape[i] = PyArray_DIM(array, i);
            input->tensor.strides[i] = 0;
        }
    }
    input->array = copy;
    Py_DECREF(array);
    return 0;
}

/* Promotion is NumPy's; the core's types are what may come out. */
static int promote_operands(const sa_input *inputs, sa_dtype *dtype)
{
    PyArrayObject *arrays[] = {inputs[0].array, inputs[1].array, inputs[2].array};
    PyArray_Descr *const q = PyArray_DESCR(arrays[0]);
    PyArray_Descr *const k = PyArray_DESCR(arrays[1]);
    PyArray_Descr *const v = PyArray_DESCR(arrays[2]);
    int found = -1;
    if (q->type_num == k->type_num && q->type_num == v->type_num) {
        found = PyTypeNum_ISINTEGER(q->type_num) ? (int)SA_F64 : sa_classify_dtype(q);
    } else {
        PyArray_Descr *common = PyArray_ResultType(3, arrays, 0, NULL);
        if (common == NULL) {
            if (PyErr_ExceptionMatches(PyExc_TypeError)) {
                PyErr_Clear();
                PyErr_Format(PyExc_TypeError,
                             "query is %S, key %S and value %S, which have no common type: convert "
                             "with astype",
                             q, k, v);
            }
            return -1;
        }
        found = PyTypeNum_ISINTEGER(common->type_num) ? (int)SA_F64 : sa_classify_dtype(common);
        Py_DECREF(common);
    }
    if (found < 0) {
        PyErr_Format(PyExc_TypeError,
                     "query is %S, key %S and value %S: expected real floats of at most 64 bits, "
                     "convert with astype",
                     q, k, v);
        return -1;
    }
    *dtype = found == SA_BOOL ? SA_F64 : (sa_dtype)found;
    return 0;
}

int sa_view_operands(sa_input *inputs)
{
    sa_dtype dtype = SA_F64;
    if (promote_operands(inputs, &dtype) < 0) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        PyArrayObject *array = inputs[i].array;
        if (sa_classify_dtype(PyArray_DESCR(array)) == (int)dtype && PyArray_ISBEHAVED_RO(array)) {
            sa_fill_tensor(&inputs[i].tensor, array, dtype);
        } else if (convert_input(&inputs[i], dtype) < 0) {
            return -1;
        }
    }
    return 0;
}

int sa_view_score_term(sa_input *input, const char *name, bool allow_bool)
{
    PyArray_Descr *descr = PyArray_DESCR(input->array);
    const int dtype = sa_classify_dtype(descr);
    if (dtype < 0 || (dtype == SA_BOOL && !allow_bool)) {
        if (allow_bool && PyTypeNum_ISINTEGER(descr->type_num)) {
            PyErr_Format(PyExc_TypeError,
                         "%s is %S: use %s.astype(bool) (True = may look) or a float to add", name,
                         descr, name);
        } else {
            PyErr_Format(PyExc_TypeError,
                         "%s is %S: expected %s of at most 64 bits, convert with astype", name,
                         descr, allow_bool ? "bool or a float" : "a float");
        }
        return -1;
    }
    if (PyArray_ISBYTESWAPPED(input->array)) {
        return convert_input(input, (sa_dtype)dtype);
    }
    sa_fill_tensor(&input->tensor, input->array, (sa_dtype)dtype);
    return 0;
}

int sa_take_per_head(PyObject *object, const char *name, sa_input *input)
{
    input->array = sa_take_array(object, name);
    if (input->array == NULL) {
        return -1;
    }
    PyArray_Descr *descr = PyArray_DESCR(input->array);
    const int dtype = sa_classify_dtype(descr);
    if (!PyTypeNum_ISINTEGER(descr->type_num) && (dtype < 0 || dtype == SA_BOOL)) {
        PyErr_Format(PyExc_TypeError,
                     "%s is %S: expected floats of at most 64 bits, convert with astype", name,
                     descr);
        return -1;
    }
    return convert_input(input, SA_F64);
}

static int raise_beyond_int64(const char *name)
{
    PyErr_Format(PyExc_ValueError, "%s does not fit into 64 bits", name);
    return -1;
}

/* A scalar without an array: the tensor of a decode step costs no allocation. */
static int take_integer(PyObject *object, const char *name, sa_input *input)
{
    int overflow = 0;
    if (sa_parse_integer(object, name, "an int", &input->scalar, &overflow) < 0) {
        return -1;
    }
    input->tensor.data = &input->scalar;
    input->tensor.dtype = SA_I64;
    input->tensor.n_dims = 0;
    return overflow == 0 ? 0 : raise_beyond_int64(name);
}

int sa_take_integers(PyObject *object, const char *name, sa_input *input)
{
    if ((PyLong_Check(object) && !PyBool_Check(object)) || PyArray_IsScalar(object, Integer)) {
        return take_integer(object, name, input);
    }
    input->array = sa_take_array(object, name);
    if (input->array == NULL) {
        return -1;
    }
    PyArray_Descr *descr = PyArray_DESCR(input->array);
    const int type_num = descr->type_num;
    if (!PyTypeNum_ISINTEGER(type_num)) {
        PyErr_Format(PyExc_TypeError, "%s is %S: expected integers, convert with astype", name,
                     descr);
        return -1;
    }
    const bool may_wrap = PyTypeNum_ISUNSIGNED(type_num) && PyDataType_ELSIZE(descr) == 8;
    if (convert_input(input, SA_I64) < 0) {
        return -1;
    }
    const int64_t *numbers = PyArray_DATA(input->array);
    for (npy_intp i = 0; may_wrap && i < PyArray_SIZE(input->array); i++) {
        if (numbers[i] < 0) {
            return raise_beyond_int64(name);
        }
    }
    return 0;
}
