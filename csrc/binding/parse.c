/* parse.c -- arguments of a call: which is which, and what the plain ones say.
 *
 * The keyword names are interned once; a call then finds its arguments by comparing pointers, as
 * CPython does for its own functions. The sentences about wrong calls are CPython's.
 */
#include "binding.h"

#include <limits.h>

int sa_intern_names(const sa_signature *signature)
{
    for (int i = 0; i < signature->n_names; i++) {
        if (signature->interned[i] == NULL) {
            signature->interned[i] = PyUnicode_InternFromString(signature->names[i]);
            if (signature->interned[i] == NULL) {
                return -1;
            }
        }
    }
    return 0;
}

/* Names written in a call are interned, those of a ** dictionary need not be. Returns n_names if
 * there is no such parameter. */
static int find_name(const sa_signature *signature, PyObject *name)
{
    for (int i = 0; i < signature->n_names; i++) {
        if (name == signature->interned[i]) {
            return i;
        }
    }
    for (int i = 0; i < signature->n_names; i++) {
        if (PyUnicode_Compare(name, signature->interned[i]) == 0) {
            return i;
        }
    }
    return signature->n_names;
}

static int raise_too_many(const sa_signature *signature, Py_ssize_t n_args)
{
    if (signature->n_required == signature->n_positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional argument but %zd were given",
                     signature->function, signature->n_positional, n_args);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes from %d to %d positional arguments but %zd were given",
                     signature->function, signature->n_required, signature->n_positional, n_args);
    }
    return -1;
}

/* "missing 2 required positional arguments: 'key' and 'value'" */
static int raise_missing(const sa_signature *signature, PyObject *const *values)
{
    int n_missing = 0;
    for (int i = 0; i < signature->n_required; i++) {
        n_missing += values[i] == NULL;
    }
    char list[256] = "";
    size_t used = 0;
    for (int i = 0, n_listed = 0; i < signature->n_required; i++) {
        if (values[i] != NULL) {
            continue;
        }
        n_listed++;
        const char *separator = n_listed == 1          ? ""
                                : n_listed < n_missing ? ", "
                                : n_missing == 2       ? " and "
                                                       : ", and ";
        used += (size_t)PyOS_snprintf(list + used, sizeof list - used, "%s'%s'", separator,
                                      signature->names[i]);
    }
    PyErr_Format(PyExc_TypeError, "%s() missing %d required positional argument%s: %s",
                 signature->function, n_missing, n_missing == 1 ? "" : "s", list);
    return -1;
}

int sa_parse_arguments(const sa_signature *signature, PyObject *const *args, Py_ssize_t n_args,
                       PyObject *kwnames, PyObject **values)
{
    if (n_args > signature->n_positional) {
        return raise_too_many(signature, n_args);
    }
    for (int i = 0; i < signature->n_names; i++) {
        values[i] = i < n_args ? args[i] : NULL;
    }
    const Py_ssize_t n_keywords = kwnames == NULL ? 0 : PyTuple_Size(kwnames);
    for (Py_ssize_t k = 0; k < n_keywords; k++) {
        PyObject *name = PyTuple_GetItem(kwnames, k);
        const int i = find_name(signature, name);
        if (i == signature->n_names) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                         signature->function, name);
            return -1;
        }
        if (values[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                         signature->function, name);
            return -1;
        }
        values[i] = args[n_args + k];
    }
    for (int i = 0; i < signature->n_required; i++) {
        if (values[i] == NULL) {
            return raise_missing(signature, values);
        }
    }
    return 0;
}

static bool is_bool(PyObject *object)
{
    return PyBool_Check(object) || PyArray_IsScalar(object, Bool);
}

int sa_raise_kind(PyObject *object, const char *name, const char *expected)
{
    PyObject *type_name = PyType_GetName(Py_TYPE(object));
    if (type_name != NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be %s, not %U", name, expected, type_name);
        Py_DECREF(type_name);
    }
    return -1;
}

int sa_parse_flag(PyObject *object, const char *name, bool *flag)
{
    if (!is_bool(object)) {
        return sa_raise_kind(object, name, "True or False");
    }
    const int truth = PyObject_IsTrue(object);
    *flag = truth == 1;
    return truth < 0 ? -1 : 0;
}

int sa_parse_integer(PyObject *object, const char *name, const char *expected, int64_t *number,
                     int *overflow)
{
    PyObject *integer = is_bool(object) ? NULL : PyNumber_Index(object);
    if (integer == NULL) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) {
            return -1;
        }
        PyErr_Clear();
        return sa_raise_kind(object, name, expected);
    }
    *number = PyLong_AsLongLongAndOverflow(integer, overflow);
    Py_DECREF(integer);
    return 0;
}

/* float() would also take a bool, which is a slip, the text of a string, and a complex scalar,
 * whose imaginary part it drops with a warning. */
static bool is_no_real(PyObject *object)
{
    if (PyArray_Check(object)) {
        PyArrayObject *array = (PyArrayObject *)object;
        return PyArray_NDIM(array) != 0 || !(PyArray_ISINTEGER(array) || PyArray_ISFLOAT(array));
    }
    return is_bool(object) || PyComplex_Check(object) ||
           PyArray_IsScalar(object, ComplexFloating) || PyArray_IsScalar(object, Flexible) ||
           PyArray_IsScalar(object, Datetime) || PyArray_IsScalar(object, Timedelta);
}

int sa_parse_real(PyObject *object, const char *name, double *number)
{
    if (is_no_real(object)) {
        return sa_raise_kind(object, name, "a real number");
    }
    *number = PyFloat_AsDouble(object);
    if (*number != -1.0 || !PyErr_Occurred()) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s must be finite, and the number does not fit a float64",
                     name);
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        sa_raise_kind(object, name, "a real number");
    }
    return -1;
}

int sa_parse_causal(PyObject *object, sa_causal *causal)
{
    static const char *const expected = "False, True, \"upper_left\" or \"lower_right\"";
    if (!PyUnicode_Check(object)) {
        bool flag = false;
        if (!is_bool(object)) {
            return sa_raise_kind(object, "causal", expected);
        }
        const int status = sa_parse_flag(object, "causal", &flag);
        *causal = flag ? SA_CAUSAL_TRUE : SA_CAUSAL_NONE;
        return status;
    }
    if (PyUnicode_CompareWithASCIIString(object, "upper_left") == 0) {
        *causal = SA_CAUSAL_UPPER_LEFT;
    } else if (PyUnicode_CompareWithASCIIString(object, "lower_right") == 0) {
        *causal = SA_CAUSAL_LOWER_RIGHT;
    } else {
        PyErr_Format(PyExc_ValueError, "causal must be %s, not %R", expected, object);
        return -1;
    }
    return 0;
}

int sa_parse_weights(PyObject *object, sa_weights *weights)
{
    static const char *const expected = "True, False or \"mean\"";
    if (PyUnicode_Check(object)) {
        *weights = SA_WEIGHTS_MEAN;
        if (PyUnicode_CompareWithASCIIString(object, "mean") != 0) {
            PyErr_Format(PyExc_ValueError, "return_weights must be %s, not %R", expected, object);
            return -1;
        }
        return 0;
    }
    bool flag = false;
    if (!is_bool(object)) {
        return sa_raise_kind(object, "return_weights", expected);
    }
    const int status = sa_parse_flag(object, "return_weights", &flag);
    *weights = flag ? SA_WEIGHTS_PER_HEAD : SA_WEIGHTS_NONE;
    return status;
}

/* One side of the window. A width beyond int64 hides no key that could exist: open. */
static int parse_side(PyObject *object, PyObject *window, int64_t *side)
{
    *side = SA_WINDOW_OPEN;
    if (object == Py_None) {
        return 0;
    }
    int overflow = 0;
    int64_t width = 0;
    if (sa_parse_integer(object, "window", "an int or (left, right) of int or None", &width,
                         &overflow) < 0) {
        return -1;
    }
    if (overflow < 0 || (overflow == 0 && width < 0)) {
        PyErr_Format(PyExc_ValueError, "window must not be negative, not %R; None is an open side",
                     window);
        return -1;
    }
    if (overflow == 0) {
        *side = width;
    }
    return 0;
}

int sa_parse_window(PyObject *object, int64_t *left, int64_t *right)
{
    if (!PyTuple_Check(object) && !PyList_Check(object)) {
        const int status = parse_side(object, object, left);
        *right = *left;
        return status;
    }
    const Py_ssize_t n_sides = PySequence_Size(object);
    if (n_sides != 2) {
        if (n_sides >= 0) {
            PyErr_Format(PyExc_ValueError,
                         "window must be an int or (left, right), not %zd numbers", n_sides);
        }
        return -1;
    }
    int64_t *const sides[] = {left, right};
    int status = 0;
    for (Py_ssize_t i = 0; i < 2 && status == 0; i++) {
        PyObject *side = PySequence_GetItem(object, i);
        status = side == NULL ? -1 : parse_side(side, object, sides[i]);
        Py_XDECREF(side);
    }
    return status;
}

int sa_parse_num_threads(PyObject *object, const char *name, int *num_threads)
{
    int overflow = 0;
    int64_t number = 0;
    if (sa_parse_integer(object, name, "an int", &number, &overflow) < 0) {
        return -1;
    }
    if (overflow < 0 || (overflow == 0 && number < 1)) {
        PyErr_Format(PyExc_ValueError, "%s must be at least 1, not %R", name, object);
        return -1;
    }
    *num_threads = overflow > 0 || number > INT_MAX ? INT_MAX : (int)number;
    return 0;
}
