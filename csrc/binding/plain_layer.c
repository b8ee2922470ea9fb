/* plain_layer.c -- _selfattn._attend_layer: self-attention of one array in a call without options.
 *
 *   y = x w_in + b_in;  q, k, v = heads of y;  out = joined heads of attention(q, k, v) w_o + b_o
 *
 * The steps that selfattn.MultiHeadAttention takes otherwise, one after another without going back
 * to Python: of ten tokens they are over in less time than it takes to call them.
 */
#include "binding.h"

enum { IN_X, IN_W_IN, IN_B_IN, IN_W_O, IN_B_O, N_INPUTS };
enum { ARG_HEADS = N_INPUTS, ARG_KV_HEADS, ARG_CAUSAL, ARG_NUM_THREADS, N_ARGS };
enum { Y, JOINED, OUT, N_ARRAYS }; /* that the call makes */

typedef struct {
    sa_input inputs[N_INPUTS];
    PyArrayObject *arrays[N_ARRAYS];
    sa_tensor tensors[N_ARRAYS];
    sa_tensor q, k, v, attended; /* heads of y, and of joined */
    ptrdiff_t heads, kv_heads, d;
    sa_projection in, out;
    sa_problem problem;
    sa_sizes sizes;
    sa_outputs outputs;
    double work;
} layer_call;

static int take_inputs(layer_call *call, PyObject *const *args)
{
    static const char *const names[N_INPUTS] = {"x", "w_in", "b_in", "w_o", "b_o"};
    for (int i = 0; i < N_INPUTS; i++) {
        sa_input *input = &call->inputs[i];
        if ((i == IN_B_IN || i == IN_B_O) && args[i] == Py_None) {
            continue;
        }
        input->array = sa_take_array(args[i], names[i]);
        if (input->array == NULL || sa_view_score_term(input, names[i], false) < 0) {
            return -1;
        }
        if (input->tensor.dtype != SA_F64 && input->tensor.dtype != SA_F32) {
            PyErr_Format(PyExc_TypeError, "%s is %S: expected float32 or float64", names[i],
                         PyArray_DESCR(input->array));
            return -1;
        }
        if (input->tensor.dtype != call->inputs[IN_X].tensor.dtype) {
            PyErr_Format(PyExc_TypeError, "%s has another type than x", names[i]);
            return -1;
        }
    }
    return 0;
}

static int take_numbers(layer_call *call, PyObject *const *args)
{
    const sa_tensor *x = &call->inputs[IN_X].tensor;
    const sa_tensor *w_in = &call->inputs[IN_W_IN].tensor, *w_o = &call->inputs[IN_W_O].tensor;
    bool causal = false;
    call->heads = PyLong_AsSsize_t(args[ARG_HEADS]);
    call->kv_heads = PyLong_AsSsize_t(args[ARG_KV_HEADS]);
    if (PyErr_Occurred() || sa_parse_flag(args[ARG_CAUSAL], "causal", &causal) < 0 ||
        (args[ARG_NUM_THREADS] != Py_None &&
         sa_parse_num_threads(args[ARG_NUM_THREADS], "num_threads", &call->in.num_threads) < 0)) {
        return -1;
    }
    call->out.num_threads = call->problem.num_threads = call->in.num_threads;
    call->problem.causal = causal ? SA_CAUSAL_TRUE : SA_CAUSAL_NONE;
    const ptrdiff_t limit = PTRDIFF_MAX / 4;
    if (call->heads < 1 || call->kv_heads < 1 || call->heads > limit || call->kv_heads > limit ||
        x->n_dims < 2 || x->n_dims >= SA_MAX_DIMS || w_in->n_dims != 2 || w_o->n_dims != 2) {
        PyErr_SetString(PyExc_ValueError, "expected x (..., n, d_model), matrices and heads >= 1");
        return -1;
    }
    call->d = w_o->shape[0] / call->heads;
    ptrdiff_t width;
    if (w_o->shape[0] % call->heads != 0 ||
        __builtin_mul_overflow(call->heads + 2 * call->kv_heads, call->d, &width) ||
        w_in->shape[1] != width) {
        PyErr_SetString(PyExc_ValueError, "expected w_in (d_model, (heads + 2 kv_heads) d) and w_o "
                                          "(heads d, d_out)");
        return -1;
    }
    return 0;
}

/* A new array of the rows of x and another last axis. */
static int make_array(layer_call *call, int which, ptrdiff_t width)
{
    sa_tensor *tensor = &call->tensors[which];
    const sa_tensor *x = &call->inputs[IN_X].tensor;
    npy_intp shape[SA_MAX_DIMS];
    for (int i = 0; i < x->n_dims; i++) {
        shape[i] = i < x->n_dims - 1 ? x->shape[i] : width;
    }
    call->arrays[which] = sa_new_result(x->dtype, x->n_dims, shape);
    if (call->arrays[which] == NULL) {
        return -1;
    }
    sa_fill_tensor(tensor, call->arrays[which], x->dtype);
    return 0;
}

/* Heads [first, first + n) of rows [..., n_rows, heads * d] as [..., n, n_rows, d]. */
static void view_heads(const layer_call *call, const sa_tensor *rows, ptrdiff_t first, ptrdiff_t n,
                       sa_tensor *heads)
{
    const int last = rows->n_dims - 1;
    const ptrdiff_t head_stride = call->d * rows->strides[last];
    *heads = *rows;
    heads->n_dims = rows->n_dims + 1;
    heads->data = (char *)rows->data + first * head_stride;
    heads->shape[last - 1] = n;
    heads->strides[last - 1] = head_stride;
    heads->shape[last] = rows->shape[last - 1];
    heads->strides[last] = rows->strides[last - 1];
    heads->shape[last + 1] = call->d;
    heads->strides[last + 1] = rows->strides[last];
}

static int check(layer_call *call)
{
    const sa_input *in = call->inputs;
    sa_error error;
    double work;
    call->in.x = &in[IN_X].tensor;
    call->in.weight = &in[IN_W_IN].tensor;
    call->in.bias = in[IN_B_IN].array ? &in[IN_B_IN].tensor : NULL;
    call->in.y = &call->tensors[Y];
    call->out.x = &call->tensors[JOINED];
    call->out.weight = &in[IN_W_O].tensor;
    call->out.bias = in[IN_B_O].array ? &in[IN_B_O].tensor : NULL;
    call->out.y = &call->tensors[OUT];
    view_heads(call, &call->tensors[Y], 0, call->heads, &call->q);
    view_heads(call, &call->tensors[Y], call->heads, call->kv_heads, &call->k);
    view_heads(call, &call->tensors[Y], call->heads + call->kv_heads, call->kv_heads, &call->v);
    view_heads(call, &call->tensors[JOINED], 0, call->heads, &call->attended);
    call->problem.query = &call->q;
    call->problem.key = &call->k;
    call->problem.value = &call->v;
    call->outputs.out = &call->attended;
    sa_status status = sa_check_projection(&call->in, &call->work, &error);
    if (status == SA_OK) {
        status = sa_check_projection(&call->out, &work, &error);
        call->work += work;
    }
    if (status == SA_OK) {
        status = sa_check_attention(&call->problem, &call->sizes, &error);
        call->work += call->sizes.work;
    }
    if (status == SA_OK) {
        status = sa_check_outputs(&call->problem, &call->sizes, &call->outputs, &error);
    }
    return status == SA_OK ? 0 : sa_raise(status, &error);
}

static sa_status run_steps(const void *context, const sa_control *control, sa_error *error)
{
    const layer_call *call = context;
    sa_status status = sa_project(&call->in, control, error);
    if (status == SA_OK) {
        status = sa_forward(&call->problem, &call->sizes, &call->outputs, control, error);
    }
    return status == SA_OK ? sa_project(&call->out, control, error) : status;
}

PyObject *sa_call_layer(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != N_ARGS) {
        PyErr_Format(PyExc_TypeError, "_attend_layer() takes %d arguments (%zd given)", N_ARGS,
                     n_args);
        return NULL;
    }
    layer_call call;
    for (int i = 0; i < N_INPUTS; i++) {
        call.inputs[i].array = NULL;
    }
    call.arrays[Y] = call.arrays[JOINED] = call.arrays[OUT] = NULL;
    call.in.num_threads = 0;
    call.problem = (sa_problem){.weights = SA_WEIGHTS_NONE};
    call.outputs = (sa_outputs){NULL, NULL, NULL};
    PyObject *result = NULL;
    if (take_inputs(&call, args) == 0 && take_numbers(&call, args) == 0 &&
        make_array(&call, Y, (call.heads + 2 * call.kv_heads) * call.d) == 0 &&
        make_array(&call, JOINED, call.heads * call.d) == 0 &&
        make_array(&call, OUT, call.inputs[IN_W_O].tensor.shape[1]) == 0 && check(&call) == 0 &&
        sa_compute(run_steps, &call, call.work) == 0) {
        result = Py_NewRef((PyObject *)call.arrays[OUT]);
    }
    for (int i = 0; i < N_ARRAYS; i++) {
        Py_XDECREF(call.arrays[i]);
    }
    for (int i = 0; i < N_INPUTS; i++) {
        Py_XDECREF(call.inputs[i].array);
    }
    return result;
}
