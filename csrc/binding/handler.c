/* handler.c -- new arrays for results, the large ones in memory that the core keeps for the next.
 *
 * NumPy asks a handler for the data of an array, and the array keeps it (NEP 49). Ours stands in
 * while a large array is made, unless the user has chosen another than NumPy's own.
 */
#include "binding.h"

#include <string.h>

static void *result_malloc(void *Py_UNUSED(context), size_t bytes) { return sa_result_take(bytes); }

static void *result_calloc(void *Py_UNUSED(context), size_t n, size_t size)
{
    const size_t bytes = n * size;
    void *memory = size != 0 && bytes / size != n ? NULL : sa_result_take(bytes);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

static void *result_realloc(void *Py_UNUSED(context), void *memory, size_t bytes)
{
    return sa_result_resize(memory, bytes);
}

static void result_free(void *Py_UNUSED(context), void *memory, size_t Py_UNUSED(bytes))
{
    sa_result_give(memory);
}

static PyDataMem_Handler handler = {
    "selfattn", 1, {NULL, result_malloc, result_calloc, result_realloc, result_free}};
static PyObject *handler_capsule;

int sa_begin_results(void)
{
    if (handler_capsule == NULL) {
        handler_capsule = PyCapsule_New(&handler, "mem_handler", NULL);
    }
    return handler_capsule == NULL ? -1 : 0;
}

static PyObject *new_array(sa_dtype dtype, int n_dims, const ptrdiff_t *shape)
{
    PyArray_Descr *descr = sa_new_descr(dtype);
    return descr == NULL
               ? NULL
               : PyArray_NewFromDescr(&PyArray_Type, descr, n_dims, shape, NULL, NULL, 0, NULL);
}

/* Where Python has no memory to put NumPy's handler back, ours stays, which serves arrays of all
 * sizes, until the next large array. */
static PyObject *new_large_array(sa_dtype dtype, int n_dims, const ptrdiff_t *shape)
{
    PyObject *found = PyDataMem_GetHandler();
    if (found == NULL) {
        return NULL;
    }
    const bool is_own = found != PyDataMem_DefaultHandler && found != handler_capsule;
    Py_DECREF(found);
    if (is_own) {
        return new_array(dtype, n_dims, shape);
    }
    PyObject *replaced = PyDataMem_SetHandler(handler_capsule);
    if (replaced == NULL) {
        return NULL;
    }
    Py_DECREF(replaced);
    PyObject *array = new_array(dtype, n_dims, shape), *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    replaced = PyDataMem_SetHandler(PyDataMem_DefaultHandler);
    Py_XDECREF(replaced);
    PyErr_Restore(type, value, traceback);
    return array;
}

PyArrayObject *sa_new_result(sa_dtype dtype, int n_dims, const ptrdiff_t *shape)
{
    double bytes = (double)sa_itemsize(dtype);
    for (int i = 0; i < n_dims; i++) {
        bytes *= (double)shape[i];
    }
    return (PyArrayObject *)(bytes < (double)SA_LARGE_RESULT
                                 ? new_array(dtype, n_dims, shape)
                                 : new_large_array(dtype, n_dims, shape));
}
