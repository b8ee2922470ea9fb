/* test_methods.c -- functions that a test build (SELFATTN_BUILD in setup.py) adds to the module.
 *
 * _refuse and _refuse_data make the N-th request for memory or a thread fail: the core's own, and
 * those of NumPy for the data of arrays (NEP 49). _plant commits a bug that a checker must see.
 */
#include "../../csrc/binding/binding.h"

#include <stdlib.h>

#include "../../csrc/core/arena.h"
#include "../../csrc/core/results.h"
#include "test_build.h"

static void free_kept(void)
{
    sa_arena_free_all();
    sa_results_free_all();
}

static PyObject *refuse(PyObject *Py_UNUSED(module), PyObject *args)
{
    long first;
    int all_after;
    if (!PyArg_ParseTuple(args, "lp:_refuse", &first, &all_after)) {
        return NULL;
    }
    const long n_requests = sa_test_count_requests();
    free_kept(); /* what a call kept would serve the next without a request */
    sa_test_refuse(first, all_after);
    return PyLong_FromLong(n_requests);
}

static PyObject *count_blocks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    free_kept();
    return PyLong_FromLong(sa_test_count_blocks());
}

/* NumPy asks under the GIL. */
static struct {
    long first, requests;
    bool all_after;
} data = {-1, 0, false};

static bool refuses_data(void)
{
    const long n = data.requests++;
    return data.first >= 0 && (n == data.first || (n > data.first && data.all_after));
}

static void *data_malloc(void *Py_UNUSED(context), size_t size)
{
    return refuses_data() ? NULL : malloc(size ? size : 1);
}

static void *data_calloc(void *Py_UNUSED(context), size_t n, size_t size)
{
    return refuses_data() ? NULL : calloc(n ? n : 1, size ? size : 1);
}

static void *data_realloc(void *Py_UNUSED(context), void *memory, size_t size)
{
    return refuses_data() ? NULL : realloc(memory, size ? size : 1);
}

static void data_free(void *Py_UNUSED(context), void *memory, size_t Py_UNUSED(size))
{
    free(memory);
}

static PyDataMem_Handler handler = {
    "selfattn_tests", 1, {NULL, data_malloc, data_calloc, data_realloc, data_free}};

/* The first call installs the handler, for arrays made from then on in this context. */
static PyObject *refuse_data(PyObject *Py_UNUSED(module), PyObject *args)
{
    static PyObject *capsule;
    long first;
    int all_after;
    if (!PyArg_ParseTuple(args, "lp:_refuse_data", &first, &all_after)) {
        return NULL;
    }
    if (capsule == NULL) {
        capsule = PyCapsule_New(&handler, "mem_handler", NULL);
        PyObject *before = capsule == NULL ? NULL : PyDataMem_SetHandler(capsule);
        if (before == NULL) {
            return NULL;
        }
        Py_DECREF(before);
    }
    const long n_requests = data.requests;
    data.first = first;
    data.all_after = all_after;
    data.requests = 0;
    return PyLong_FromLong(n_requests);
}

static PyObject *plant(PyObject *Py_UNUSED(module), PyObject *name)
{
    const char *bug = PyUnicode_AsUTF8AndSize(name, NULL);
    if (bug == NULL) {
        return NULL;
    }
    if (!sa_test_plant(bug)) {
        PyErr_Format(PyExc_ValueError, "no bug is called %R", name);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

PyMethodDef sa_test_methods[] = {
    {"_refuse", refuse, METH_VARARGS,
     "_refuse($module, first, all_after, /)\n--\n\n"
     "Fail the core's request number first (-1: none); return how many there were."},
    {"_refuse_data", refuse_data, METH_VARARGS,
     "_refuse_data($module, first, all_after, /)\n--\n\nThe same for NumPy's array data."},
    {"_count_blocks", count_blocks, METH_NOARGS,
     "_count_blocks($module, /)\n--\n\nBlocks of the core in use, scratch given back first."},
    {"_plant", plant, METH_O, "_plant($module, bug, /)\n--\n\nCommit a bug."},
    {NULL, NULL, 0, NULL},
};
