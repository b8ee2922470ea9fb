/* binding.h -- what the files of the Python module share.
 *
 * A call goes parse -> view -> allocate -> compute without the GIL -> raise -> return. Data goes
 * the same way: Python objects become arrays (arrays.c), arrays become sa_tensors, the core
 * computes into NumPy-owned memory. Nothing here does arithmetic on the numbers of an array.
 *
 * Functions that can fail return 0, or -1 with a Python exception set, unless they say otherwise.
 */
#ifndef SA_BINDING_H
#define SA_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL sa_numpy_api
#ifndef SA_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "../include/selfattn.h"

/* ---- parse.c: Python objects to plain C values ---- */

/* The parameters of a function, as in its Python signature. */
typedef struct {
    const char *function;
    int n_required;   /* of the positional ones */
    int n_positional; /* the rest are keyword-only */
    int n_names;
    const char *const *names; /* [n_names] */
    PyObject **interned;      /* [n_names], filled by sa_intern_names */
} sa_signature;

int sa_intern_names(const sa_signature *signature);

/* Sort the arguments of a vectorcall into values [n_names]: borrowed, NULL where not given. */
int sa_parse_arguments(const sa_signature *signature, PyObject *const *args, Py_ssize_t n_args,
                       PyObject *kwnames, PyObject **values);

/* TypeError: "<name> must be <expected>, not <type>". Returns -1. */
int sa_raise_kind(PyObject *object, const char *name, const char *expected);

/* These take an object that is not NULL; name is the argument's, for the exception. */
int sa_parse_flag(PyObject *object, const char *name, bool *flag);
int sa_parse_real(PyObject *object, const char *name, double *number);
int sa_parse_causal(PyObject *object, sa_causal *causal);
int sa_parse_weights(PyObject *object, sa_weights *weights);
int sa_parse_window(PyObject *object, int64_t *left, int64_t *right);
int sa_parse_num_threads(PyObject *object, const char *name, int *num_threads);

/* Any integer but a bool; expected completes "must be ...". overflow is -1 or 1 if it does not fit
 * on that side, else 0. */
int sa_parse_integer(PyObject *object, const char *name, const char *expected, int64_t *number,
                     int *overflow);

/* ---- dtypes.c: NumPy's types and the core's ---- */

/* The core's name for a bool or float dtype of either byte order, or -1 if it has none. */
int sa_classify_dtype(PyArray_Descr *descr);

/* NumPy's native dtype, a new reference; SA_BF16 only after sa_classify_dtype has met it. */
PyArray_Descr *sa_new_descr(sa_dtype dtype);

ptrdiff_t sa_itemsize(sa_dtype dtype);

/* ---- intake.c: Python objects to arrays ---- */

/* A base-class ndarray of any dtype, a new reference. May run code of the object's class, so no
 * pointer into another array may be held meanwhile. */
PyArrayObject *sa_take_array(PyObject *object, const char *name);

/* Whether an ndarray is a MaskedArray: 0 or 1, or -1 with an exception. */
int sa_is_masked(PyObject *object);

/* ---- arrays.c: arrays to tensors ---- */

/* One array argument. Owns array, which keeps the tensor's memory alive. array is NULL where the
 * argument is absent, and where the tensor is that of scalar. */
typedef struct {
    PyArrayObject *array;
    int64_t scalar;
    sa_tensor tensor;
} sa_input;

/* Integers, one per batch entry, or float64 numbers, one per head, as copies: nobody can change
 * them between the checks and their use. */
int sa_take_integers(PyObject *object, const char *name, sa_input *input);
int sa_take_per_head(PyObject *object, const char *name, sa_input *input);

/* Make inputs [3], which are query, key and value, tensors of one type: their promotion, or
 * float64 for integers. An array that is not of that type, native and aligned becomes a copy. */
int sa_view_operands(sa_input *inputs);

/* A mask or bias in its own type, whatever its alignment. */
int sa_view_score_term(sa_input *input, const char *name, bool allow_bool);

/* Describe an array as it lies in memory. */
void sa_fill_tensor(sa_tensor *tensor, PyArrayObject *array, sa_dtype dtype);

/* ---- handler.c: new arrays for results ---- */

/* Once, before the first array. */
int sa_begin_results(void);
/* C-contiguous, not cleared. */
PyArrayObject *sa_new_result(sa_dtype dtype, int n_dims, const ptrdiff_t *shape);

/* ---- outputs.c: the arrays that receive the results ---- */

/* One result. given is the caller's array or NULL; filled is what the core writes: given, a new
 * array, or a temporary. Owns both. */
typedef struct {
    PyArrayObject *given;
    PyArrayObject *filled;
    sa_tensor tensor;
} sa_output;

enum { SA_OUT, SA_WEIGHTS, SA_LSE, SA_N_OUTPUTS };

/* Check out= (NULL or None: allocate all), then allocate what is missing. inputs [n_inputs] are
 * what the core will read; wanted receives the tensors for sa_forward. Outputs must be zeroed. */
int sa_open_outputs(sa_output *outputs, PyObject *out, const sa_problem *problem,
                    const sa_sizes *sizes, const sa_input *inputs, int n_inputs,
                    sa_outputs *wanted);

/* Copy temporaries to where they belong; the one array or a tuple, a new reference. */
PyObject *sa_close_outputs(const sa_output *outputs);

void sa_release_outputs(sa_output *outputs);

/* METH_O: a tuple of SA_N_OUTPUTS arrays or None. Raises unless each is writeable and no two of
 * their elements share memory. */
PyObject *sa_check_output_memory(PyObject *module, PyObject *entries);

/* ---- overlap.c: whether arrays share memory ---- */

/* From first to last byte, gaps included. */
bool sa_ranges_meet(const sa_tensor *a, const sa_tensor *b);
/* Element by element. */
bool sa_tensors_overlap(const sa_tensor *a, const sa_tensor *b);
bool sa_overlaps_itself(const sa_tensor *tensor);

/* ---- calls.c, statistics.c, projection.c, plain_layer.c, probe.c: the functions of the module ---- */

/* Raise what the core reported; with SA_INTERRUPTED the exception is set already. Returns -1. */
int sa_raise(sa_status status, const sa_error *error);

/* Run the core on a checked call of so many multiply-adds, without the GIL if that pays, signals
 * heard meanwhile. */
typedef sa_status sa_step(const void *call, const sa_control *control, sa_error *error);
int sa_compute(sa_step *step, const void *call, double work);

/* Runs in the calling thread: Python's signal handlers, Ctrl-C among them. context: the thread state
 * that PyEval_SaveThread gave. */
int sa_poll_signals(void *context);

extern const sa_signature sa_attention_signature;
PyObject *sa_call_attention(PyObject *module, PyObject *const *args, Py_ssize_t n_args,
                            PyObject *kwnames);
/* The same without results: the checks of all arguments but out, and what the call would take. */
PyObject *sa_check_attention_call(PyObject *module, PyObject *const *args, Py_ssize_t n_args,
                                  PyObject *kwnames);
/* A request, then attention's arguments; a dict of arrays. */
PyObject *sa_call_attention_stats(PyObject *module, PyObject *const *args, Py_ssize_t n_args,
                                  PyObject *kwnames);
PyObject *sa_call_linear(PyObject *module, PyObject *const *args, Py_ssize_t n_args);
PyObject *sa_call_layer(PyObject *module, PyObject *const *args, Py_ssize_t n_args);

extern PyMethodDef sa_probe_methods[];

/* Of a test build only (SELFATTN_BUILD in setup.py): tests/native/test_methods.c. */
extern PyMethodDef sa_test_methods[];

#endif
