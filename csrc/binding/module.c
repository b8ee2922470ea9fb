/* module.c -- the extension module selfattn._selfattn: its functions, its start, its exports. */
#define SA_IMPORTS_NUMPY
#include "binding.h"

#include "docs.h"

#define EXPORTED __attribute__((visibility("default")))

#if defined(__clang__)
#define COMPILER "Clang " __clang_version__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* setup.py says what it built with. */
#ifndef SA_BUILD_FLAGS
#define SA_BUILD_FLAGS "unknown"
#endif
#ifndef SA_BUILD_NUMPY
#define SA_BUILD_NUMPY "unknown"
#endif

/* For threadpoolctl, which finds them in the shared library. */
EXPORTED int selfattn_get_num_threads(void);
EXPORTED void selfattn_set_num_threads(int n);
EXPORTED const char *selfattn_get_version(void);

int selfattn_get_num_threads(void) { return sa_get_num_threads(); }

void selfattn_set_num_threads(int n)
{
    if (n >= 1) {
        sa_set_num_threads(n);
    }
}

const char *selfattn_get_version(void) { return SA_VERSION; }

enum { MAX_UNITS = 16 };

static PyObject *new_name_tuple(int (*get_names)(const char *names[], int capacity))
{
    const char *names[MAX_UNITS];
    const int n_names = get_names(names, MAX_UNITS);
    PyObject *tuple = PyTuple_New(n_names);
    for (int i = 0; tuple != NULL && i < n_names; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (name == NULL) {
            Py_CLEAR(tuple);
        } else {
            PyTuple_SetItem(tuple, i, name);
        }
    }
    return tuple;
}

static PyObject *units(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return new_name_tuple(sa_get_units);
}

static PyObject *built_units(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return new_name_tuple(sa_get_built_units);
}

static PyObject *use_unit(PyObject *Py_UNUSED(module), PyObject *name)
{
    const char *isa = PyUnicode_AsUTF8AndSize(name, NULL);
    if (isa == NULL) {
        return NULL;
    }
    sa_error error;
    error.text[0] = '\0';
    const sa_status status = sa_use_unit(isa, &error);
    if (status != SA_OK) {
        sa_raise(status, &error);
        return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyObject *get_num_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(sa_get_num_threads());
}

static const char *const set_num_threads_names[] = {"n"};
static PyObject *set_num_threads_interned[1];
static const sa_signature set_num_threads_signature = {
    .function = "set_num_threads",
    .n_required = 1,
    .n_positional = 1,
    .n_names = 1,
    .names = set_num_threads_names,
    .interned = set_num_threads_interned,
};

static PyObject *set_num_threads(PyObject *Py_UNUSED(module), PyObject *const *args,
                                 Py_ssize_t n_args, PyObject *kwnames)
{
    PyObject *value;
    int n = 0;
    if (sa_parse_arguments(&set_num_threads_signature, args, n_args, kwnames, &value) < 0 ||
        sa_parse_num_threads(value, "n", &n) < 0) {
        return NULL;
    }
    sa_set_num_threads(n);
    return Py_NewRef(Py_None);
}

static PyObject *config(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    const char *in_use[1] = {NULL};
    sa_get_units(in_use, 1);
    return Py_BuildValue(
        "{s:s,s:s,s:s,s:s,s:N,s:N,s:z,s:i,s:s,s:z}", "version", SA_VERSION, "compiler", COMPILER,
        "c_flags", SA_BUILD_FLAGS, "numpy_build", SA_BUILD_NUMPY, "units_built",
        new_name_tuple(sa_get_built_units), "units_available", new_name_tuple(sa_get_units),
        "unit_in_use", in_use[0], "num_threads", sa_get_num_threads(), "num_threads_source",
        sa_get_num_threads_source(), "bad_threads_variable", sa_get_bad_threads_variable());
}

/* A function that takes keywords has another C type than the table's slot; CPython casts back. */
#define WITH_KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
    {"attention", WITH_KEYWORDS(sa_call_attention), METH_FASTCALL | METH_KEYWORDS, attention_doc},
    {"units", units, METH_NOARGS, units_doc},
    {"set_num_threads", WITH_KEYWORDS(set_num_threads), METH_FASTCALL | METH_KEYWORDS,
     set_num_threads_doc},
    {"get_num_threads", get_num_threads, METH_NOARGS, get_num_threads_doc},
    {"_check_attention", WITH_KEYWORDS(sa_check_attention_call), METH_FASTCALL | METH_KEYWORDS,
     check_attention_doc},
    {"_attention_stats", WITH_KEYWORDS(sa_call_attention_stats), METH_FASTCALL | METH_KEYWORDS,
     attention_stats_doc},
    {"_check_output_memory", sa_check_output_memory, METH_O, check_output_memory_doc},
    {"_linear", (PyCFunction)(void (*)(void))sa_call_linear, METH_FASTCALL, linear_doc},
    {"_attend_layer", (PyCFunction)(void (*)(void))sa_call_layer, METH_FASTCALL, attend_layer_doc},
    {"_built_units", built_units, METH_NOARGS, built_units_doc},
    {"_use_unit", use_unit, METH_O, use_unit_doc},
    {"_config", config, METH_NOARGS, config_doc},
    {NULL, NULL, 0, NULL},
};

/* The core reads SELFATTN_MAX_ISA itself. */
static int start_core(void)
{
    sa_error error;
    error.text[0] = '\0';
    const sa_status status = sa_init(NULL, &error);
    if (status == SA_OK) {
        return 0;
    }
    PyErr_SetString(PyExc_ImportError, error.text);
    return -1;
}

static int execute_module(PyObject *module)
{
    if (PyArray_ImportNumPyAPI() < 0 || start_core() < 0 || sa_begin_results() < 0 ||
        sa_intern_names(&sa_attention_signature) < 0 ||
        sa_intern_names(&set_num_threads_signature) < 0 ||
        PyModule_AddFunctions(module, sa_probe_methods) < 0) {
        return -1;
    }
#ifdef SA_TEST_BUILD
    if (PyModule_AddFunctions(module, sa_test_methods) < 0) {
        return -1;
    }
#endif
    return PyModule_AddStringConstant(module, "__version__", SA_VERSION);
}

/* NumPy lives in the main interpreter only. The few variables of this process (interned names, the
 * unit in use, the thread pool) are set once or guarded, so the GIL is not needed for them. */
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_selfattn",
    .m_doc = "The C core of selfattn; use the functions of the package selfattn.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__selfattn(void) { return PyModuleDef_Init(&definition); }
