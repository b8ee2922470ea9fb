/* statistics.c -- _selfattn._attention_stats: attention with statistics of its weights.
 *
 * The request says what is wanted; the rest are attention's arguments. All arrays are new. Names,
 * shapes and types of the request are Python's to check (selfattn/_stats.py).
 */
#include "calls.h"

enum {
    ENTROPY,
    MAX,
    DISTANCE,
    ARGMAX,
    TOP_WEIGHTS,
    TOP_INDICES,
    TOP_REST,
    RECEIVED,
    WEIGHTED,
    SET_WEIGHTS,
    OVERVIEW_MAX,
    OVERVIEW_MEAN,
    N_STATS
};

/* What stands behind the heads. */
enum { PER_QUERY, PER_QUERY_TOP, PER_QUERY_SET, PER_KEY, PER_KEY_COLUMN, PER_BLOCK };

static const struct {
    const char *name;
    int axes;
    bool is_index;
} statistics[N_STATS] = {
    [ENTROPY] = {"entropy", PER_QUERY, false},
    [MAX] = {"max", PER_QUERY, false},
    [DISTANCE] = {"distance", PER_QUERY, false},
    [ARGMAX] = {"argmax", PER_QUERY, true},
    [TOP_WEIGHTS] = {"top_weights", PER_QUERY_TOP, false},
    [TOP_INDICES] = {"top_indices", PER_QUERY_TOP, true},
    [TOP_REST] = {"top_rest", PER_QUERY, false},
    [RECEIVED] = {"received", PER_KEY, false},
    [WEIGHTED] = {"weighted", PER_KEY_COLUMN, false},
    [SET_WEIGHTS] = {"set_weights", PER_QUERY_SET, false},
    [OVERVIEW_MAX] = {"overview_max", PER_BLOCK, false},
    [OVERVIEW_MEAN] = {"overview_mean", PER_BLOCK, false},
};

typedef struct {
    sa_call call;
    PyObject *names;    /* borrowed: a container of the names of what is wanted */
    PyObject *columns;  /* borrowed: an ndarray or None */
    PyObject *sets;     /* borrowed: int64 [n_sets, 3], or None */
    PyObject *chains;   /* borrowed: int64 [sets of a token, 2, n_batch, n_k], or None */
    PyObject *progress; /* borrowed: a callable or None */
    sa_tensor columns_tensor;
    PyArrayObject *arrays[N_STATS];
    sa_statistics wanted;
    sa_key_set *key_sets; /* [n_sets] */
    PyThreadState *state;
} stats_call;

static int parse_request(stats_call *s, PyObject *request)
{
    Py_ssize_t top_k, begin, end, side;
    if (!PyTuple_Check(request)) {
        return sa_raise_kind(request, "request", "a tuple");
    }
    if (!PyArg_ParseTuple(request, "OnnnOnOOO", &s->names, &top_k, &begin, &end, &s->columns, &side,
                          &s->sets, &s->chains, &s->progress)) {
        return -1;
    }
    s->wanted.top_k = top_k;
    s->wanted.received_begin = begin;
    s->wanted.received_end = end;
    s->wanted.overview_side = side;
    return 0;
}

/* [batch..., n_heads, n_q, n_columns] in lse's type, as it lies. */
static int take_columns(stats_call *s)
{
    if (s->columns == Py_None) {
        return 0;
    }
    PyArrayObject *array = (PyArrayObject *)s->columns;
    const sa_sizes *z = &s->call.sizes;
    const sa_dtype dtype = sa_output_dtype(z, SA_LSE);
    ptrdiff_t shape[SA_MAX_DIMS];
    const int n_dims = sa_output_shape(&s->call.problem, z, SA_LSE, shape);
    if (!PyArray_Check(s->columns) || sa_classify_dtype(PyArray_DESCR(array)) != (int)dtype ||
        !PyArray_ISBEHAVED_RO(array) || PyArray_NDIM(array) != n_dims + 1 ||
        !PyArray_CompareLists(PyArray_DIMS(array), shape, n_dims)) {
        PyErr_SetString(PyExc_ValueError, "columns do not fit the call");
        return -1;
    }
    sa_fill_tensor(&s->columns_tensor, array, dtype);
    s->wanted.columns = &s->columns_tensor;
    s->wanted.n_columns = PyArray_DIM(array, n_dims);
    return 0;
}

static bool is_int64_array(PyObject *object, int n_dims)
{
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_Check(object) && PyArray_TYPE(array) == NPY_INT64 &&
           PyArray_IS_C_CONTIGUOUS(array) && PyArray_ISBEHAVED_RO(array) &&
           PyArray_NDIM(array) == n_dims;
}

/* Rows of `sets` are kind, first, last. The chains of tokens come in the order of the sets that need
 * one, each as the first keys and the next keys. */
static int take_sets(stats_call *s)
{
    if (s->sets == Py_None) {
        return 0;
    }
    const sa_sizes *z = &s->call.sizes;
    const npy_intp length = z->n_batch * z->n_k;
    const bool has_chains = s->chains != Py_None;
    if (!is_int64_array(s->sets, 2) || PyArray_DIM((PyArrayObject *)s->sets, 1) != 3 ||
        (has_chains &&
         (!is_int64_array(s->chains, 4) || PyArray_DIM((PyArrayObject *)s->chains, 1) != 2 ||
          PyArray_DIM((PyArrayObject *)s->chains, 2) != z->n_batch ||
          PyArray_DIM((PyArrayObject *)s->chains, 3) != z->n_k))) {
        PyErr_SetString(PyExc_ValueError, "sets do not fit the call");
        return -1;
    }
    const npy_intp n = PyArray_DIM((PyArrayObject *)s->sets, 0);
    npy_intp n_chains = has_chains ? PyArray_DIM((PyArrayObject *)s->chains, 0) : 0;
    const int64_t *rows = PyArray_DATA((PyArrayObject *)s->sets);
    const int64_t *chain = has_chains ? PyArray_DATA((PyArrayObject *)s->chains) : NULL;
    s->key_sets = PyMem_Calloc((size_t)(n ? n : 1), sizeof *s->key_sets);
    if (s->key_sets == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (npy_intp i = 0; i < n; i++) {
        sa_key_set *set = &s->key_sets[i];
        *set = (sa_key_set){(sa_key_set_kind)rows[3 * i], rows[3 * i + 1], rows[3 * i + 2], 0, 0};
        if (set->kind == SA_KEYS_OF_TOKEN && n_chains-- > 0) {
            set->first_same = chain;
            set->next_same = chain + length;
            chain += 2 * length;
        } else if (set->kind == SA_KEYS_OF_TOKEN) {
            PyErr_SetString(PyExc_ValueError, "a set of a token has no chain");
            return -1;
        }
    }
    s->wanted.sets = s->key_sets;
    s->wanted.n_sets = n;
    return 0;
}

static PyArrayObject *new_array(const stats_call *s, int which)
{
    const sa_sizes *z = &s->call.sizes;
    npy_intp shape[SA_MAX_DIMS + 1];
    int n = sa_output_shape(&s->call.problem, z, SA_LSE, shape);
    switch (statistics[which].axes) {
    case PER_QUERY_TOP:
        shape[n++] = s->wanted.top_k;
        break;
    case PER_QUERY_SET:
        shape[n++] = s->wanted.n_sets;
        break;
    case PER_BLOCK:
        shape[n++] = s->wanted.overview_side;
        shape[n - 2] = s->wanted.overview_side;
        break;
    case PER_KEY_COLUMN:
        shape[n++] = s->wanted.n_columns;
        shape[n - 2] = z->n_k;
        break;
    case PER_KEY:
        shape[n - 1] = z->n_k;
        break;
    default:
        break;
    }
    PyArray_Descr *descr = statistics[which].is_index ? PyArray_DescrFromType(NPY_INT64)
                                                      : sa_new_descr(sa_output_dtype(z, SA_LSE));
    /* zeros: a key that no query could see gets no sum, a block without weights no mean */
    return descr == NULL ? NULL : (PyArrayObject *)PyArray_Zeros(n, shape, descr, 0);
}

static int open_arrays(stats_call *s)
{
    void *memory[N_STATS] = {NULL};
    for (int i = 0; i < N_STATS; i++) {
        PyObject *name = PyUnicode_FromString(statistics[i].name);
        const int is_wanted = name == NULL ? -1 : PySequence_Contains(s->names, name);
        Py_XDECREF(name);
        if (is_wanted < 0) {
            return -1;
        }
        if (is_wanted) {
            s->arrays[i] = new_array(s, i);
            if (s->arrays[i] == NULL) {
                return -1;
            }
            memory[i] = PyArray_DATA(s->arrays[i]);
        }
    }
    if (memory[TOP_WEIGHTS] == NULL || memory[TOP_INDICES] == NULL) {
        s->wanted.top_k = 0;
    }
    s->wanted.entropy = memory[ENTROPY];
    s->wanted.max = memory[MAX];
    s->wanted.distance = memory[DISTANCE];
    s->wanted.argmax = memory[ARGMAX];
    s->wanted.top_weights = memory[TOP_WEIGHTS];
    s->wanted.top_indices = memory[TOP_INDICES];
    s->wanted.top_rest = memory[TOP_REST];
    s->wanted.received = memory[RECEIVED];
    s->wanted.weighted = memory[WEIGHTED];
    s->wanted.set_weights = memory[SET_WEIGHTS];
    s->wanted.overview_max = memory[OVERVIEW_MAX];
    s->wanted.overview_mean = memory[OVERVIEW_MEAN];
    if (memory[SET_WEIGHTS] == NULL) {
        s->wanted.n_sets = 0;
    }
    if (memory[OVERVIEW_MAX] == NULL || memory[OVERVIEW_MEAN] == NULL) {
        s->wanted.overview_side = 0;
    }
    return 0;
}

static int report_progress(void *context, double fraction)
{
    stats_call *s = context;
    PyEval_RestoreThread(s->state);
    PyObject *answer = PyObject_CallFunction(s->progress, "d", fraction);
    const int failed = answer == NULL;
    Py_XDECREF(answer);
    s->state = PyEval_SaveThread();
    return failed;
}

static int compute(stats_call *s)
{
    sa_call *call = &s->call;
    sa_error error;
    error.text[0] = '\0';
    if (s->progress != Py_None) {
        s->wanted.progress = report_progress;
        s->wanted.progress_context = s;
    }
    s->state = PyEval_SaveThread();
    const sa_control control = {sa_poll_signals, &s->state};
    const sa_status status = sa_compute_statistics(&call->problem, &call->sizes, &call->wanted,
                                                   &s->wanted, &control, &error);
    PyEval_RestoreThread(s->state);
    if (PyErr_Occurred()) {
        return -1; /* a handler raised; the core may have been done before it could stop */
    }
    return status == SA_OK ? 0 : sa_raise(status, &error);
}

static PyObject *new_result(const stats_call *s)
{
    PyObject *outputs = sa_close_outputs(s->call.outputs);
    PyObject *result = outputs == NULL ? NULL : PyDict_New();
    static const char *const output_names[] = {"output", "lse"};
    for (Py_ssize_t i = 0; result != NULL && i < 2; i++) {
        if (PyDict_SetItemString(result, output_names[i], PyTuple_GetItem(outputs, i)) < 0) {
            Py_CLEAR(result);
        }
    }
    for (int i = 0; result != NULL && i < N_STATS; i++) {
        if (s->arrays[i] != NULL &&
            PyDict_SetItemString(result, statistics[i].name, (PyObject *)s->arrays[i]) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_XDECREF(outputs);
    return result;
}

PyObject *sa_call_attention_stats(PyObject *Py_UNUSED(module), PyObject *const *args,
                                  Py_ssize_t n_args, PyObject *kwnames)
{
    if (n_args < 1) {
        PyErr_SetString(PyExc_TypeError, "_attention_stats() needs a request");
        return NULL;
    }
    stats_call s = {.names = NULL};
    sa_call *call = &s.call;
    PyObject *result = NULL;
    if (parse_request(&s, args[0]) < 0) {
        return NULL;
    }
    if (sa_prepare_call(call, args + 1, n_args - 1, kwnames) == 0) {
        call->problem.lse = true;
        call->problem.weights = SA_WEIGHTS_NONE;
        if (take_columns(&s) == 0 && take_sets(&s) == 0 &&
            sa_open_outputs(call->outputs, NULL, &call->problem, &call->sizes, call->inputs,
                            N_INPUTS, &call->wanted) == 0 &&
            open_arrays(&s) == 0 && compute(&s) == 0) {
            result = new_result(&s);
        }
    }
    for (int i = 0; i < N_STATS; i++) {
        Py_XDECREF(s.arrays[i]);
    }
    PyMem_Free(s.key_sets);
    sa_release_outputs(call->outputs);
    sa_release_inputs(call);
    return result;
}
