/* check.c -- every rule about the arguments of attention, in the order in which they stand.
 *
 * Each rule gives one sentence: the argument, what it is, what was expected and the way out.
 * Nothing here reads the elements of an array, but for the few numbers of key_lengths,
 * alibi_slopes and sinks.
 */
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "cpu.h"
#include "status.h"
#include "views.h"

/* a * b, or SA_NO_MEMORY if an array of that many bytes cannot exist */
static sa_status multiply(ptrdiff_t *a, ptrdiff_t b, const char *name, sa_error *error)
{
    if (__builtin_mul_overflow(*a, b, a)) {
        return sa_fail(error, SA_NO_MEMORY, "%s would need more memory than an address can reach",
                       name);
    }
    return SA_OK;
}

static sa_status check_dims(const sa_problem *p, sa_error *error)
{
    const sa_tensor *const tensors[] = {p->query, p->key, p->value};
    static const char *const names[] = {"query", "key", "value"};
    static const char *const shapes[] = {"(..., heads, n_q, d)", "(..., heads, n_k, d)",
                                         "(..., heads, n_k, d_v)"};
    char text[SA_SHAPE_TEXT];
    for (int i = 0; i < 3; i++) {
        const sa_tensor *t = tensors[i];
        if (t->n_dims < 2) {
            return sa_fail(error, SA_VALUE_ERROR,
                           "%s has shape %s: expected at least 2 dimensions, %s, or one head "
                           "without the heads axis",
                           names[i], sa_format_shape(text, t->shape, t->n_dims), shapes[i]);
        }
        if ((t->n_dims == 2) != (p->query->n_dims == 2)) {
            char other[SA_SHAPE_TEXT];
            return sa_fail(
                error, SA_VALUE_ERROR,
                "%s has shape %s and query %s: query, key and value must all be 2-D (one "
                "head) or all have a heads axis, third from the end; add one with x[None]",
                names[i], sa_format_shape(text, t->shape, t->n_dims),
                sa_format_shape(other, p->query->shape, p->query->n_dims));
        }
    }
    return SA_OK;
}

static ptrdiff_t from_end(const sa_tensor *t, int i) { return t->shape[t->n_dims - i]; }

static sa_status check_sizes(const sa_problem *p, sa_sizes *z, sa_error *error)
{
    z->is_2d = p->query->n_dims == 2;
    z->n_heads = z->is_2d ? 1 : from_end(p->query, 3);
    z->n_kv_heads = z->is_2d ? 1 : from_end(p->key, 3);
    z->n_q = from_end(p->query, 2);
    z->n_k = from_end(p->key, 2);
    z->d = from_end(p->query, 1);
    z->d_v = from_end(p->value, 1);
    z->dtype = p->query->dtype;
    if (from_end(p->key, 1) != z->d) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "key has head size %td and query %td: the last axes must be equal",
                       from_end(p->key, 1), z->d);
    }
    if (from_end(p->value, 2) != z->n_k) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "value has %td rows and key %td: there must be one value per key",
                       from_end(p->value, 2), z->n_k);
    }
    if (!z->is_2d && from_end(p->value, 3) != z->n_kv_heads) {
        return sa_fail(error, SA_VALUE_ERROR, "value has %td heads and key %td: they must be equal",
                       from_end(p->value, 3), z->n_kv_heads);
    }
    if (z->n_kv_heads == 0 ? z->n_heads > 0 : z->n_heads % z->n_kv_heads != 0) {
        return sa_fail(
            error, SA_VALUE_ERROR,
            "key has %td heads and query %td: query heads must be a multiple of key heads",
            z->n_kv_heads, z->n_heads);
    }
    return SA_OK;
}

/* The batch shape of one more array, joined to the one so far as NumPy broadcasts. */
static sa_status join_batch(sa_sizes *z, const sa_tensor *t, const char *name, sa_error *error)
{
    const int n = t->n_dims > 3 ? t->n_dims - 3 : 0;
    char text[SA_SHAPE_TEXT], other[SA_SHAPE_TEXT];
    if (n > z->n_batch_dims) {
        memmove(z->batch_shape + (n - z->n_batch_dims), z->batch_shape,
                (size_t)z->n_batch_dims * sizeof z->batch_shape[0]);
        for (int i = 0; i < n - z->n_batch_dims; i++) {
            z->batch_shape[i] = 1;
        }
        z->n_batch_dims = n;
    }
    for (int i = 0; i < n; i++) {
        ptrdiff_t *size = &z->batch_shape[z->n_batch_dims - n + i];
        if (*size == 1) {
            *size = t->shape[i];
        } else if (t->shape[i] != 1 && t->shape[i] != *size) {
            return sa_fail(
                error, SA_VALUE_ERROR,
                "%s has batch axes %s and the arrays before it %s: the axes before heads "
                "must broadcast together",
                name, sa_format_shape(text, t->shape, n),
                sa_format_shape(other, z->batch_shape, z->n_batch_dims));
        }
    }
    return SA_OK;
}

static sa_status check_batch(const sa_problem *p, sa_sizes *z, sa_error *error)
{
    z->n_batch_dims = 0;
    SA_TRY(join_batch(z, p->query, "query", error));
    SA_TRY(join_batch(z, p->key, "key", error));
    SA_TRY(join_batch(z, p->value, "value", error));
    z->n_batch = 1;
    for (int i = 0; i < z->n_batch_dims; i++) {
        SA_TRY(multiply(&z->n_batch, z->batch_shape[i], "out", error));
    }
    return SA_OK;
}

/* Every array that the call may form must have a size that fits. */
static sa_status check_memory(const sa_problem *p, const sa_sizes *z, sa_error *error)
{
    /* sizes times rows of a block, bytes of a number and a few arrays must fit too */
    const ptrdiff_t limit = PTRDIFF_MAX / 65536;
    if (z->d > limit || z->d_v > limit || z->n_q > limit || z->n_k > limit) {
        return sa_fail(error, SA_NO_MEMORY, "query, key or value is too long for memory");
    }
    if (sa_wants_mean(p, z)) { /* all heads are passed over, which no result's shape holds */
        ptrdiff_t bytes = z->n_q * (ptrdiff_t)sizeof(sa_head);
        SA_TRY(multiply(&bytes, z->n_batch, "query", error));
        SA_TRY(multiply(&bytes, z->n_heads, "query", error));
    }
    static const char *const names[] = {"out", "weights", "lse"};
    for (int which = 0; which < 3; which++) {
        ptrdiff_t shape[SA_MAX_DIMS], bytes = 8;
        if ((which == 1 && p->weights == SA_WEIGHTS_NONE) || (which == 2 && !p->lse)) {
            continue;
        }
        const int n_dims = sa_output_shape(p, z, which, shape);
        for (int i = 0; i < n_dims; i++) {
            if (shape[i] == 0) {
                bytes = 0;
                break;
            }
        }
        for (int i = 0; i < n_dims && bytes; i++) {
            SA_TRY(multiply(&bytes, shape[i], names[which], error));
        }
    }
    return SA_OK;
}

static sa_status check_score_term(const sa_tensor *t, const char *name, const sa_sizes *z,
                                  bool may_be_bool, sa_error *error)
{
    char text[SA_SHAPE_TEXT], expected[SA_SHAPE_TEXT];
    if (t->dtype == SA_I64 || (t->dtype == SA_BOOL && !may_be_bool)) {
        return sa_fail(error, SA_TYPE_ERROR, "%s has dtype %s: expected a float type", name,
                       sa_dtype_name(t->dtype));
    }
    ptrdiff_t full[SA_MAX_DIMS];
    const int n_dims = sa_score_shape(z, full);
    bool fits = t->n_dims <= n_dims;
    for (int i = 1; fits && i <= t->n_dims; i++) {
        fits = from_end(t, i) == 1 || from_end(t, i) == full[n_dims - i];
    }
    if (fits) {
        return SA_OK;
    }
    sa_format_shape(text, t->shape, t->n_dims);
    sa_format_shape(expected, full, n_dims);
    if (t->n_dims == 2 && n_dims == 4 && t->shape[0] == full[0] && t->shape[1] == z->n_k) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "%s has shape %s, which does not broadcast to %s: for one row of keys per "
                       "batch entry pass %s[:, None, None, :]",
                       name, text, expected, name);
    }
    return sa_fail(error, SA_VALUE_ERROR,
                   "%s has shape %s: expected one that broadcasts to (..., heads, n_q, n_k) = %s "
                   "without enlarging it",
                   name, text, expected);
}

static sa_status check_batch_integers(const sa_tensor *t, const char *name, const sa_sizes *z,
                                      sa_error *error)
{
    char text[SA_SHAPE_TEXT], expected[SA_SHAPE_TEXT];
    bool fits = t->n_dims <= z->n_batch_dims;
    for (int i = 1; fits && i <= t->n_dims; i++) {
        fits = from_end(t, i) == 1 || from_end(t, i) == z->batch_shape[z->n_batch_dims - i];
    }
    if (!fits) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "%s has shape %s: expected an integer, or integers that broadcast to the "
                       "batch shape %s",
                       name, sa_format_shape(text, t->shape, t->n_dims),
                       sa_format_shape(expected, z->batch_shape, z->n_batch_dims));
    }
    return SA_OK;
}

/* Each number that is stored counts once: an axis that only repeats them may be of any length. */
static sa_status check_key_lengths(const sa_problem *p, const sa_sizes *z, sa_error *error)
{
    if (!p->key_lengths) {
        return SA_OK;
    }
    SA_TRY(check_batch_integers(p->key_lengths, "key_lengths", z, error));
    sa_access access;
    sa_sizes stored = *z;
    sa_view(p->key_lengths, z, 0, &access);
    stored.n_batch = z->n_batch > 0;
    for (int i = 0; i < z->n_batch_dims; i++) {
        stored.batch_shape[i] = access.batch_strides[i] == 0 ? 1 : z->batch_shape[i];
        stored.n_batch *= stored.batch_shape[i];
    }
    for (ptrdiff_t b = 0; b < stored.n_batch; b++) {
        const int64_t length = sa_read_i64(&access, &stored, b);
        if (length < 0 || length > z->n_k) {
            return sa_fail(error, SA_VALUE_ERROR,
                           "key_lengths has %lld: expected 0 to %td, the number of keys",
                           (long long)length, z->n_k);
        }
    }
    return SA_OK;
}

static sa_status check_positions(const sa_problem *p, const sa_sizes *z, sa_error *error)
{
    if (p->query_offset) {
        if (p->causal == SA_CAUSAL_LOWER_RIGHT) {
            return sa_fail(error, SA_VALUE_ERROR,
                           "query_offset is given beside causal=\"lower_right\", which sets it to "
                           "n_k - n_q itself: pass one of the two");
        }
        SA_TRY(check_batch_integers(p->query_offset, "query_offset", z, error));
    }
    const int64_t sides[] = {p->window_left, p->window_right};
    for (int i = 0; p->has_window && i < 2; i++) {
        if (sides[i] < 0 && sides[i] != SA_WINDOW_OPEN) {
            return sa_fail(
                error, SA_VALUE_ERROR,
                "window has %lld: expected a number of keys >= 0, or None for an open side",
                (long long)sides[i]);
        }
    }
    const bool named = p->causal == SA_CAUSAL_UPPER_LEFT || p->causal == SA_CAUSAL_LOWER_RIGHT;
    const char *who = p->causal == SA_CAUSAL_TRUE ? "causal=True"
                      : p->has_window             ? "window"
                      : p->alibi_slopes           ? "alibi_slopes"
                                                  : NULL;
    if (who && !named && !p->query_offset && z->n_q != z->n_k) {
        return sa_fail(
            error, SA_VALUE_ERROR,
            "%s needs to know where the queries stand, as n_q = %td and n_k = %td differ: "
            "pass causal=\"upper_left\" (query 0 at key 0), causal=\"lower_right\" (the last "
            "query at the last key), or query_offset",
            who, z->n_q, z->n_k);
    }
    return SA_OK;
}

static sa_status check_per_head(const sa_tensor *t, const char *name, const sa_sizes *z,
                                bool may_be_absent, sa_error *error)
{
    char text[SA_SHAPE_TEXT];
    if (!t) {
        return SA_OK;
    }
    if (t->n_dims != 1 || t->shape[0] != z->n_heads) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "%s has shape %s: expected (%td,), one number per query head", name,
                       sa_format_shape(text, t->shape, t->n_dims), z->n_heads);
    }
    const ptrdiff_t n_stored = t->strides[0] != 0 ? z->n_heads : z->n_heads > 0;
    for (ptrdiff_t h = 0; h < n_stored; h++) {
        double x;
        memcpy(&x, (const char *)t->data + h * t->strides[0], sizeof x);
        if (!isfinite(x) && !(may_be_absent && x == -(double)INFINITY)) {
            return sa_fail(error, SA_VALUE_ERROR,
                           "%s has %g for head %td: expected a finite number%s", name, x, h,
                           may_be_absent ? ", or -inf for no sink" : "");
        }
    }
    return SA_OK;
}

static sa_status check_numbers(const sa_problem *p, const sa_sizes *z, sa_error *error)
{
    if (p->has_scale && !isfinite(p->scale)) {
        return sa_fail(error, SA_VALUE_ERROR, "scale is %g: expected a finite number", p->scale);
    }
    if (p->has_softcap && !(isfinite(p->softcap) && p->softcap > 0)) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "softcap is %g: expected a finite number > 0, or None for no cap",
                       p->softcap);
    }
    SA_TRY(check_per_head(p->alibi_slopes, "alibi_slopes", z, false, error));
    SA_TRY(check_per_head(p->sinks, "sinks", z, true, error));
    if (p->weights == SA_WEIGHTS_MEAN && z->n_heads == 0) {
        return sa_fail(
            error, SA_VALUE_ERROR,
            "return_weights is \"mean\" and query has 0 heads: there is no mean over none");
    }
    return SA_OK;
}

static sa_status check_all(const sa_problem *p, sa_sizes *z, sa_error *error)
{
    SA_TRY(check_dims(p, error));
    SA_TRY(check_sizes(p, z, error));
    SA_TRY(check_batch(p, z, error));
    SA_TRY(check_memory(p, z, error));
    if (p->mask) {
        SA_TRY(check_score_term(p->mask, "mask", z, true, error));
    }
    if (p->bias) {
        SA_TRY(check_score_term(p->bias, "bias", z, false, error));
    }
    SA_TRY(check_positions(p, z, error));
    SA_TRY(check_numbers(p, z, error));
    SA_TRY(check_key_lengths(p, z, error));
    z->work = (double)z->n_batch * (double)z->n_heads * (double)z->n_q *
              ((double)z->n_k * (double)(z->d + z->d_v + 16) + (double)z->d_v);
    return SA_OK;
}

sa_status sa_check_attention(const sa_problem *p, sa_sizes *z, sa_error *error)
{
    const unsigned long word = sa_fp_begin(); /* the caller's flags and rounding stay untouched */
    error->status = SA_OK;
    error->text[0] = 0;
    const sa_status status = check_all(p, z, error);
    sa_fp_end(word);
    return status;
}

sa_status sa_check_outputs(const sa_problem *p, const sa_sizes *z, const sa_outputs *outputs,
                           sa_error *error)
{
    static const char *const names[] = {"out", "out for weights", "out for lse"};
    const sa_tensor *const tensors[] = {outputs->out, outputs->weights, outputs->lse};
    const bool wanted[] = {true, p->weights != SA_WEIGHTS_NONE, p->lse};
    char text[SA_SHAPE_TEXT], expected[SA_SHAPE_TEXT];
    for (int which = 0; which < 3; which++) {
        const sa_tensor *t = tensors[which];
        ptrdiff_t shape[SA_MAX_DIMS];
        if (!wanted[which]) {
            continue;
        }
        const int n_dims = sa_output_shape(p, z, which, shape);
        const sa_dtype dtype = sa_output_dtype(z, which);
        if (t->n_dims != n_dims || memcmp(t->shape, shape, (size_t)n_dims * sizeof shape[0]) != 0) {
            return sa_fail(error, SA_VALUE_ERROR, "%s has shape %s: expected %s", names[which],
                           sa_format_shape(text, t->shape, t->n_dims),
                           sa_format_shape(expected, shape, n_dims));
        }
        if (t->dtype != dtype) {
            return sa_fail(error, SA_TYPE_ERROR, "%s has dtype %s: expected %s", names[which],
                           sa_dtype_name(t->dtype), sa_dtype_name(dtype));
        }
    }
    return SA_OK;
}
