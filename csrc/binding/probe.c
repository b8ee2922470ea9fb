/* probe.c -- single parts of a unit as Python functions, for tests and for the measured FMA peak.
 *
 * Arrays are float32 or float64; the first one's type chooses the unit's table. Inputs are taken
 * as C-contiguous copies where they are not already, outputs are new.
 */
#include "binding.h"

#include <string.h>

#include "../core/dispatch.h"
#include "../kernels/kernels.h"

static const sa_kernels *find_kernels(const char *unit, int type_num)
{
    if (type_num != NPY_FLOAT && type_num != NPY_DOUBLE) {
        PyErr_SetString(PyExc_TypeError, "a probe takes float32 or float64");
        return NULL;
    }
    const sa_kernels *kernels = sa_get_kernels(unit, type_num == NPY_FLOAT ? SA_F32 : SA_F64);
    if (kernels == NULL) {
        PyErr_Format(PyExc_ValueError, "unit %s cannot run here: expected one of units()", unit);
    }
    return kernels;
}

/* As an aligned, native, C-contiguous array of its own type, a new reference. */
static PyArrayObject *take_dense(PyObject *object, int n_dims)
{
    return (PyArrayObject *)PyArray_FromAny(object, NULL, n_dims, n_dims,
                                            NPY_ARRAY_CARRAY_RO | NPY_ARRAY_NOTSWAPPED, NULL);
}

static PyObject *probe_gemm(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *a_object, *b_object;
    if (!PyArg_ParseTuple(args, "sOO:_probe_gemm", &unit, &a_object, &b_object)) {
        return NULL;
    }
    PyObject *c = NULL;
    PyArrayObject *a = take_dense(a_object, 2);
    PyArrayObject *b = a == NULL ? NULL : take_dense(b_object, 2);
    const sa_kernels *kernels = b == NULL ? NULL : find_kernels(unit, PyArray_TYPE(a));
    if (kernels == NULL) {
        goto done;
    }
    npy_intp shape[] = {PyArray_DIM(a, 0), PyArray_DIM(b, 1)};
    const npy_intp depth = PyArray_DIM(a, 1);
    if (PyArray_TYPE(b) != PyArray_TYPE(a) || PyArray_DIM(b, 0) != depth ||
        shape[1] % kernels->lanes != 0) {
        PyErr_Format(PyExc_ValueError,
                     "expected a (m, k) and b (k, n) of one type, n a multiple of %d",
                     kernels->lanes);
        goto done;
    }
    c = PyArray_SimpleNew(2, shape, PyArray_TYPE(a));
    if (c != NULL) {
        kernels->probe_gemm(shape[0], shape[1], depth, PyArray_DATA(a), PyArray_DATA(b),
                            PyArray_DATA((PyArrayObject *)c));
    }
done:
    Py_XDECREF(a);
    Py_XDECREF(b);
    return c;
}

/* x in whole vectors: zeros fill the last one. */
static PyArrayObject *new_padded(PyArrayObject *x, int lanes)
{
    npy_intp n = (PyArray_SIZE(x) + lanes - 1) / lanes * lanes;
    PyArrayObject *padded = (PyArrayObject *)PyArray_ZEROS(1, &n, PyArray_TYPE(x), 0);
    if (padded != NULL) {
        memcpy(PyArray_DATA(padded), PyArray_DATA(x), (size_t)PyArray_NBYTES(x));
    }
    return padded;
}

/* An element-wise probe: exp2, which has a second argument m, or tanh, which has none. */
static PyObject *probe_elements(const char *unit, PyObject *object, const double *m)
{
    PyObject *result = NULL;
    PyArrayObject *x = take_dense(object, 1);
    const sa_kernels *kernels = x == NULL ? NULL : find_kernels(unit, PyArray_TYPE(x));
    PyArrayObject *in = kernels == NULL ? NULL : new_padded(x, kernels->lanes);
    PyArrayObject *out = in == NULL ? NULL : new_padded(x, kernels->lanes);
    if (out != NULL) {
        const npy_intp n = PyArray_SIZE(in);
        if (m != NULL) {
            kernels->probe_exp2(n, PyArray_DATA(in), *m, PyArray_DATA(out));
        } else {
            kernels->probe_tanh(n, PyArray_DATA(in), PyArray_DATA(out));
        }
        result = PySequence_GetSlice((PyObject *)out, 0, PyArray_SIZE(x));
    }
    Py_XDECREF(out);
    Py_XDECREF(in);
    Py_XDECREF(x);
    return result;
}

static PyObject *probe_exp2(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *t;
    double m;
    if (!PyArg_ParseTuple(args, "sOd:_probe_exp2", &unit, &t, &m)) {
        return NULL;
    }
    return probe_elements(unit, t, &m);
}

static PyObject *probe_tanh(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *x;
    if (!PyArg_ParseTuple(args, "sO:_probe_tanh", &unit, &x)) {
        return NULL;
    }
    return probe_elements(unit, x, NULL);
}

static PyObject *probe_transpose(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *object, *y = NULL;
    if (!PyArg_ParseTuple(args, "sO:_probe_transpose", &unit, &object)) {
        return NULL;
    }
    PyArrayObject *x = take_dense(object, 2);
    const sa_kernels *kernels = x == NULL ? NULL : find_kernels(unit, PyArray_TYPE(x));
    if (kernels == NULL) {
        goto done;
    }
    if (PyArray_DIM(x, 0) != kernels->lanes || PyArray_DIM(x, 1) != kernels->lanes) {
        PyErr_Format(PyExc_ValueError, "expected x (%d, %d)", kernels->lanes, kernels->lanes);
        goto done;
    }
    y = PyArray_SimpleNew(2, PyArray_DIMS(x), PyArray_TYPE(x));
    if (y != NULL) {
        kernels->probe_transpose(PyArray_DATA(x), PyArray_DATA((PyArrayObject *)y));
    }
done:
    Py_XDECREF(x);
    return y;
}

static const sa_kernels *take_kernels(const char *unit, PyObject *dtype)
{
    PyArray_Descr *descr = NULL;
    if (!PyArray_DescrConverter(dtype, &descr)) {
        return NULL;
    }
    const int type_num = descr->type_num;
    Py_DECREF(descr);
    return find_kernels(unit, type_num);
}

static PyObject *probe_shape(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *dtype;
    if (!PyArg_ParseTuple(args, "sO:_probe_shape", &unit, &dtype)) {
        return NULL;
    }
    const sa_kernels *kernels = take_kernels(unit, dtype);
    if (kernels == NULL) {
        return NULL;
    }
    return Py_BuildValue("{s:i,s:i,s:i}", "lanes", kernels->lanes, "tile_rows", kernels->tile_rows,
                         "tile_vectors", kernels->tile_vectors);
}

static PyObject *probe_fma_peak(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *unit;
    PyObject *dtype;
    long long repeats;
    if (!PyArg_ParseTuple(args, "sOL:_probe_fma_peak", &unit, &dtype, &repeats)) {
        return NULL;
    }
    const sa_kernels *kernels = take_kernels(unit, dtype);
    if (kernels == NULL) {
        return NULL;
    }
    PyThreadState *state = PyEval_SaveThread();
    const double flops = kernels->probe_fma_peak(repeats);
    PyEval_RestoreThread(state);
    return PyFloat_FromDouble(flops);
}

PyMethodDef sa_probe_methods[] = {
    {"_probe_gemm", probe_gemm, METH_VARARGS,
     "_probe_gemm($module, unit, a, b, /)\n--\n\na @ b by the unit's register tile."},
    {"_probe_exp2", probe_exp2, METH_VARARGS,
     "_probe_exp2($module, unit, t, m, /)\n--\n\n2**(t - m) by the unit, m an integer."},
    {"_probe_tanh", probe_tanh, METH_VARARGS,
     "_probe_tanh($module, unit, x, /)\n--\n\ntanh(x) by the unit."},
    {"_probe_transpose", probe_transpose, METH_VARARGS,
     "_probe_transpose($module, unit, x, /)\n--\n\nx.T of one square of vectors by the unit."},
    {"_probe_shape", probe_shape, METH_VARARGS,
     "_probe_shape($module, unit, dtype, /)\n--\n\nThe unit's lanes and register tile."},
    {"_probe_fma_peak", probe_fma_peak, METH_VARARGS,
     "_probe_fma_peak($module, unit, dtype, repeats, /)\n--\n\n"
     "Run independent multiply-adds and return how many FLOPs that was; the caller times it."},
    {NULL, NULL, 0, NULL},
};
