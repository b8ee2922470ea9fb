/* statistics_truth.c -- statistics of weights that are all there, one row at a time in long double.
 *
 *   entropy = -sum_j w_j ln w_j      distance = sum_j w_j |i + offset - j|      max, argmax, top k
 *   set = sum of w_j over its keys   overview = largest and mean w of a block
 *   received_j = sum_i w_ij          weighted_jc = sum_i w_ij columns_ic
 *
 * w are the weights of sa_forward, which attention_truth.c judges. The statistics are made of the
 * same exponentials: largest weights agree bit for bit, sums within a few roundings of each term.
 */
#include <math.h>
#include <stdlib.h>

#include "statistics_problem.h"

typedef long double wide;

typedef struct {
    const statistics_problem *s;
    const sa_tensor *weights;
    int n_dims;                   /* of index: batch..., head (absent in 2-D), row, column */
    ptrdiff_t index[SA_MAX_DIMS]; /* of the row that is judged */
    ptrdiff_t batch;
    ptrdiff_t plane; /* of batch and head, as the arrays count them */
    int64_t offset;
    double *w;          /* [n_k] */
    wide *sums, *sizes; /* [n_k, 1 + n_columns] */
    bool is_spoiled;    /* a NaN reached a row of the plane */
    wide slack, tiny;
} walk;

static bool differs(double got, wide right, wide bound)
{
    return !(fabsl((wide)got - right) <= bound);
}

/* Element `n` of a statistic, counted over all its axes. */
static double get(const walk *w, int which, ptrdiff_t n)
{
    const sa_tensor *t = &w->s->arrays[which].tensor;
    sa_tensor flat = {.data = t->data, .dtype = t->dtype, .n_dims = 1, .shape = {2}};
    flat.strides[0] = (ptrdiff_t)dtype_bytes(t->dtype);
    return tensor_get(&flat, 1, &n, 0);
}

static bool has(const walk *w, int which) { return w->s->arrays[which].block != NULL; }

/* Each kept weight stands at its key, and they are the largest, in order. */
static const char *judge_top(walk *w, ptrdiff_t row)
{
    const ptrdiff_t n_k = w->s->attention.sizes.n_k, k = w->s->wanted.top_k;
    wide rest = 0;
    for (ptrdiff_t j = 0; j < n_k; j++) {
        rest += (wide)w->w[j];
    }
    for (ptrdiff_t n = 0; n < k; n++) {
        ptrdiff_t best = -1;
        for (ptrdiff_t j = 0; j < n_k; j++) {
            best = w->w[j] > 0 && (best < 0 || w->w[j] > w->w[best]) ? j : best;
        }
        const double right = best < 0 ? 0 : w->w[best];
        const ptrdiff_t at = (ptrdiff_t)get(w, S_TOP_INDICES, row * k + n);
        if (get(w, S_TOP_WEIGHTS, row * k + n) != right) {
            return "a kept weight is not the next largest";
        }
        if (best >= 0) {
            if (at < 0 || at >= n_k || w->w[at] != right) {
                return "a kept weight is of another key";
            }
            w->w[at] = -w->w[at]; /* taken */
            rest -= (wide)right;
        }
    }
    for (ptrdiff_t j = 0; j < n_k; j++) {
        w->w[j] = fabs(w->w[j]);
    }
    return differs(get(w, S_TOP_REST, row), rest, w->slack + w->tiny * (wide)n_k)
               ? "top_rest is not what is left"
               : NULL;
}

static bool is_in_set(const walk *w, const sa_key_set *set, ptrdiff_t i, ptrdiff_t j)
{
    const ptrdiff_t n_k = w->s->attention.sizes.n_k;
    const int64_t position = i + w->offset, same = j - set->first;
    if (set->kind == SA_KEYS_OF_TOKEN) {
        const int64_t *token = set->first_same + w->batch * n_k;
        return position < n_k && same >= 0 && same < position && token[same] == token[position];
    }
    const int64_t at = set->kind == SA_KEYS_AT ? j : j - position;
    return at >= set->first && at <= set->last;
}

static bool sets_are_right(const walk *w, ptrdiff_t i)
{
    const sa_sizes *z = &w->s->attention.sizes;
    const ptrdiff_t n = w->s->wanted.n_sets, row = w->plane * z->n_q + i;
    bool is_right = true;
    for (ptrdiff_t k = 0; k < n; k++) {
        wide sum = 0;
        for (ptrdiff_t j = 0; j < z->n_k; j++) {
            sum += is_in_set(w, &w->s->sets[k], i, j) ? (wide)w->w[j] : 0;
        }
        is_right &= !differs(get(w, S_SET_WEIGHTS, row * n + k), sum,
                             w->slack * sum + 2 * w->tiny * (wide)z->n_k);
    }
    return is_right;
}

static const char *judge_row(walk *w, ptrdiff_t i)
{
    const ptrdiff_t n_k = w->s->attention.sizes.n_k;
    const ptrdiff_t row = w->plane * w->s->attention.sizes.n_q + i;
    double most = 0;
    wide entropy = 0, distance = 0;
    ptrdiff_t first = -1;
    for (ptrdiff_t j = 0; j < n_k; j++) {
        const double x = w->w[j];
        entropy -= x > 0 ? (wide)x * logl((wide)x) : 0;
        distance += (wide)x * fabsl((wide)(i + w->offset - j));
        first = x > most ? j : first;
        most = x > most ? x : most;
    }
    const wide none = w->tiny * (wide)n_k;
    if (has(w, S_MAX) && get(w, S_MAX, row) != most) {
        return "max is not the largest weight";
    }
    const ptrdiff_t at = has(w, S_ARGMAX) ? (ptrdiff_t)get(w, S_ARGMAX, row) : first;
    if (first >= 0 && (at < 0 || at >= n_k || w->w[at] != most)) {
        return "argmax is not the key of the largest weight";
    }
    if (has(w, S_ENTROPY) && differs(get(w, S_ENTROPY, row), entropy,
                                     w->slack * (2 + logl((wide)n_k + 1)) + 2000 * none)) {
        return "entropy is wrong";
    }
    if (has(w, S_DISTANCE) && differs(get(w, S_DISTANCE, row), distance,
                                      w->slack * (1 + distance) + 200 * (wide)n_k * none)) {
        return "distance is wrong";
    }
    if (!sets_are_right(w, i)) {
        return "the weight of a set of keys is wrong";
    }
    return w->s->wanted.top_k > 0 ? judge_top(w, row) : NULL;
}

/* A row's part of the sums of the columns. */
static void add_row(walk *w, ptrdiff_t i)
{
    const sa_statistics *s = &w->s->wanted;
    const ptrdiff_t n_k = w->s->attention.sizes.n_k, n = 1 + s->n_columns;
    const bool is_received = i >= s->received_begin && i < s->received_end;
    for (ptrdiff_t j = 0; j < n_k; j++) {
        w->sums[j * n] += is_received ? (wide)w->w[j] : 0;
        w->sizes[j * n] += is_received ? (wide)w->w[j] : 0;
        for (ptrdiff_t c = 0; c < s->n_columns; c++) {
            w->index[w->n_dims - 1] = c;
            const wide x = (wide)w->w[j] * (wide)tensor_get(s->columns, w->n_dims, w->index, 0);
            w->sums[j * n + 1 + c] += x;
            w->sizes[j * n + 1 + c] += fabsl(x);
        }
    }
}

static const char *judge_columns(walk *w)
{
    const sa_statistics *s = &w->s->wanted;
    const ptrdiff_t n_k = w->s->attention.sizes.n_k, n = 1 + s->n_columns;
    const wide none = 200 * w->tiny * (wide)(w->s->attention.sizes.n_q + 1);
    for (ptrdiff_t j = 0; j < n_k; j++) {
        const ptrdiff_t key = w->plane * n_k + j;
        const wide *sum = w->sums + j * n, *size = w->sizes + j * n;
        if (has(w, S_RECEIVED) &&
            differs(get(w, S_RECEIVED, key), sum[0], w->slack * size[0] + none)) {
            return "received is wrong";
        }
        for (ptrdiff_t c = 0; c < s->n_columns; c++) {
            if (differs(get(w, S_WEIGHTED, key * s->n_columns + c), sum[1 + c],
                        w->slack * size[1 + c] + none)) {
                return "weighted is wrong";
            }
        }
    }
    return NULL;
}

/* Block (a, b) of the overview holds rows from a * high on and keys from b * broad on. */
static bool block_is_right(walk *w, ptrdiff_t a, ptrdiff_t b, ptrdiff_t high, ptrdiff_t broad)
{
    const sa_sizes *z = &w->s->attention.sizes;
    const ptrdiff_t side = w->s->wanted.overview_side, at = (w->plane * side + a) * side + b;
    wide most = 0, sum = 0, n = 0;
    for (ptrdiff_t i = a * high; i < (a + 1) * high && i < z->n_q; i++) {
        for (ptrdiff_t j = b * broad; j < (b + 1) * broad && j < z->n_k; j++) {
            w->index[w->n_dims - 2] = i;
            w->index[w->n_dims - 1] = j;
            const wide x = (wide)tensor_get(w->weights, w->n_dims, w->index, 0);
            most = x > most ? x : most;
            sum += x;
            n++;
        }
    }
    const wide mean = n > 0 ? sum / n : 0, none = 200 * w->tiny;
    return !differs(get(w, S_OVERVIEW_MAX, at), most, w->slack * most + none) &&
           !differs(get(w, S_OVERVIEW_MEAN, at), mean, w->slack * mean + none);
}

static const char *judge_overview(walk *w)
{
    const sa_sizes *z = &w->s->attention.sizes;
    const ptrdiff_t side = w->s->wanted.overview_side;
    for (ptrdiff_t n = 0; n < side * side; n++) {
        const ptrdiff_t high = (z->n_q + side - 1) / side, broad = (z->n_k + side - 1) / side;
        if (!block_is_right(w, n / side, n % side, high, broad > 0 ? broad : 1)) {
            return "a block of the overview is wrong";
        }
    }
    return NULL;
}

static const char *judge_plane(walk *w)
{
    const sa_sizes *z = &w->s->attention.sizes;
    const size_t n_sums = (size_t)(z->n_k * (1 + w->s->wanted.n_columns));
    for (size_t n = 0; n < n_sums; n++) {
        w->sums[n] = w->sizes[n] = 0;
    }
    w->is_spoiled = false;
    for (ptrdiff_t i = 0; i < z->n_q; i++) {
        bool row_is_spoiled = false;
        w->index[w->n_dims - 2] = i;
        for (ptrdiff_t j = 0; j < z->n_k; j++) {
            w->index[w->n_dims - 1] = j;
            w->w[j] = tensor_get(w->weights, w->n_dims, w->index, 0);
            row_is_spoiled |= isnan(w->w[j]);
        }
        w->is_spoiled |= row_is_spoiled;
        const char *wrong = row_is_spoiled ? NULL : judge_row(w, i);
        if (wrong) {
            return wrong;
        }
        add_row(w, i);
    }
    const char *wrong = w->is_spoiled ? NULL : judge_columns(w);
    return w->is_spoiled || wrong ? wrong : judge_overview(w);
}

static int64_t offset_of(const walk *w)
{
    const sa_problem *p = &w->s->attention.problem;
    const sa_sizes *z = &w->s->attention.sizes;
    const double n_k = (double)z->n_k;
    if (p->causal == SA_CAUSAL_LOWER_RIGHT) {
        return (int64_t)tensor_get(p->key_lengths, z->n_batch_dims, w->index, n_k) - z->n_q;
    }
    return (int64_t)tensor_get(p->query_offset, z->n_batch_dims, w->index, 0);
}

/* sum_c |q_c k_c| of any row and key is at most this. */
static double largest_score(const attention_problem *a)
{
    double largest[2] = {0, 0};
    for (int which = 0; which < 2; which++) {
        const array *x = &a->arrays[which == 0 ? A_QUERY : A_KEY];
        ptrdiff_t index[SA_MAX_DIMS] = {0};
        const int n = x->tensor.n_dims;
        for (size_t left = x->n_elements; left > 0; left--) {
            largest[which] = fmax(largest[which], fabs(tensor_get(&x->tensor, n, index, 0)));
            for (int axis = n - 1; axis >= 0; axis--) {
                if (x->tensor.strides[axis] != 0 && ++index[axis] < x->tensor.shape[axis]) {
                    break;
                }
                index[axis] = 0;
            }
        }
    }
    const double d = (double)a->sizes.d, scale = a->problem.scale;
    return (a->problem.has_scale ? fabs(scale) * d : sqrt(d)) * largest[0] * largest[1];
}

static const char *judge_all(walk *w)
{
    const sa_sizes *z = &w->s->attention.sizes;
    const char *wrong = NULL;
    for (ptrdiff_t b = 0; b < z->n_batch && !wrong; b++) {
        ptrdiff_t rest = b;
        for (int i = z->n_batch_dims - 1; i >= 0; i--) {
            w->index[i] = rest % z->batch_shape[i];
            rest /= z->batch_shape[i];
        }
        w->offset = offset_of(w);
        for (ptrdiff_t h = 0; h < z->n_heads && !wrong; h++) {
            if (!z->is_2d) {
                w->index[w->n_dims - 3] = h;
            }
            w->batch = b;
            w->plane = b * z->n_heads + h;
            wrong = judge_plane(w);
        }
    }
    return wrong;
}

const char *statistics_judge(const statistics_problem *s)
{
    const attention_problem *a = &s->attention;
    const sa_sizes *z = &a->sizes;
    const size_t n_k = (size_t)z->n_k, n = n_k * (size_t)(1 + s->wanted.n_columns);
    const bool is_f64 = z->dtype == SA_F64;
    walk w = {.s = s, .weights = a->outputs.weights, .tiny = is_f64 ? 0x1p-1022L : 0x1p-126L};
    w.n_dims = z->n_batch_dims + (z->is_2d ? 2 : 3);
    w.slack = (64 + 16 * (wide)largest_score(a)) * (is_f64 ? 0x1p-53L : 0x1p-24L);
    w.w = calloc(n_k + 1, sizeof(double));
    w.sums = calloc(n + 1, sizeof(wide));
    w.sizes = calloc(n + 1, sizeof(wide));
    const char *wrong = w.w && w.sums && w.sizes ? judge_all(&w) : "no memory for the test";
    free(w.w);
    free(w.sums);
    free(w.sizes);
    return wrong;
}
