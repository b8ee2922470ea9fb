/* attention_truth.c -- attention by its formula, one row at a time, in long double.
 *
 * Written from the interface's text alone; shares nothing with the core but its structs. The bound
 * of an element is that of docs/numerics.md: with u the unit of rounding of the compute type, tiny
 * its smallest normal number and kappa = |scale| max_j sum_c |q_c k_jc|
 *
 *   out      (8 + 4 kappa) u sum_j p_j |v_j| + tiny (n_k + sum_j |v_j|)
 *   weights  (8 + 4 kappa) u p + tiny
 *   lse      u (2 + |lse| + 4 kappa)
 *
 * and half a unit in the last place of the 16-bit types on top of the first two.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "attention_problem.h"

typedef long double wide;

typedef struct {
    const attention_problem *a;
    int n_dims;                   /* of index */
    ptrdiff_t index[SA_MAX_DIMS]; /* batch..., head (absent in 2-D), row, column */
    ptrdiff_t *row, *col, *head;  /* into index; head NULL in 2-D */
    ptrdiff_t h, group;
    wide scale, u, tiny;
    wide *s, *p;              /* [n_k] scores, weights */
    wide *mean, *mean_factor; /* [n_q, n_k], [n_q]: sums and maxima over heads */
    bool *sees;               /* [n_k] */
    wide kappa, lse;
    bool is_blind, is_spoiled;
    double worst;
    char *text;
} walk;

static wide at(walk *w, const sa_tensor *t, ptrdiff_t row, ptrdiff_t col, double absent)
{
    *w->row = row;
    *w->col = col;
    return (wide)tensor_get(t, w->n_dims, w->index, absent);
}

/* A number of the batch entry. */
static int64_t of_batch(const walk *w, const sa_tensor *t, int64_t absent)
{
    const int n = w->a->sizes.n_batch_dims;
    return t ? (int64_t)tensor_get(t, n, w->index, 0) : absent;
}

static wide of_head(const walk *w, const sa_tensor *t, double absent)
{
    return (wide)tensor_get(t, 1, &w->h, absent);
}

/* Key and value have fewer heads. */
static wide at_key(walk *w, const sa_tensor *t, ptrdiff_t row, ptrdiff_t col)
{
    if (w->head) {
        *w->head = w->h / w->group;
    }
    const wide x = at(w, t, row, col, 0);
    if (w->head) {
        *w->head = w->h;
    }
    return x;
}

static bool is_in_sight(walk *w, ptrdiff_t i, ptrdiff_t j, int64_t *distance)
{
    const sa_problem *p = &w->a->problem;
    const sa_sizes *z = &w->a->sizes;
    const int64_t length = of_batch(w, p->key_lengths, z->n_k);
    const int64_t offset =
        p->causal == SA_CAUSAL_LOWER_RIGHT ? length - z->n_q : of_batch(w, p->query_offset, 0);
    const int64_t position = i + offset;
    *distance = position > j ? position - j : j - position;
    if (j >= length || (p->causal != SA_CAUSAL_NONE && j > position)) {
        return false;
    }
    if (p->has_window && ((p->window_left >= 0 && j < position - p->window_left) ||
                          (p->window_right >= 0 && j > position + p->window_right))) {
        return false;
    }
    const wide mask = at(w, p->mask, i, j, 1);
    return !p->mask || (p->mask->dtype == SA_BOOL ? mask != 0 : mask != -(wide)INFINITY);
}

static void score_row(walk *w, ptrdiff_t i)
{
    const sa_problem *p = &w->a->problem;
    w->kappa = 0;
    for (ptrdiff_t j = 0; j < w->a->sizes.n_k; j++) {
        int64_t distance;
        wide sum = 0, size = 0;
        for (ptrdiff_t c = 0; c < w->a->sizes.d; c++) {
            const wide product = at(w, p->query, i, c, 0) * at_key(w, p->key, j, c);
            sum += product;
            size += fabsl(product);
        }
        w->sees[j] = is_in_sight(w, i, j, &distance);
        wide s = w->scale * sum;
        if (p->has_softcap) {
            s = (wide)p->softcap * tanhl(s / (wide)p->softcap);
        }
        s += at(w, p->bias, i, j, 0);
        if (p->alibi_slopes) {
            s -= of_head(w, p->alibi_slopes, 0) * (wide)distance;
        }
        if (p->mask && p->mask->dtype != SA_BOOL) {
            s += at(w, p->mask, i, j, 0);
        }
        w->s[j] = w->sees[j] ? s : -(wide)INFINITY;
        if (isfinite(w->s[j])) {
            w->kappa = fmaxl(w->kappa, fabsl(w->scale) * size);
        }
    }
}

static void weigh_row(walk *w)
{
    const ptrdiff_t n_k = w->a->sizes.n_k;
    const wide sink = of_head(w, w->a->problem.sinks, -(double)INFINITY);
    wide highest = -(wide)INFINITY, total = 0;
    w->is_spoiled = false;
    for (ptrdiff_t j = 0; j < n_k; j++) {
        w->is_spoiled |= isnan(w->s[j]) || w->s[j] == (wide)INFINITY;
        highest = fmaxl(highest, w->s[j]);
    }
    w->is_blind = !w->is_spoiled && highest == -(wide)INFINITY;
    highest = fmaxl(highest, sink);
    for (ptrdiff_t j = 0; j < n_k; j++) {
        w->p[j] = w->is_blind ? 0 : expl(w->s[j] - highest);
        total += w->p[j];
    }
    total += sink == -(wide)INFINITY ? 0 : expl(sink - highest);
    for (ptrdiff_t j = 0; j < n_k && !w->is_blind; j++) {
        w->p[j] /= total;
    }
    w->lse = total > 0 ? logl(total) + highest : -(wide)INFINITY;
}

static wide half_ulp(wide x, sa_dtype dtype)
{
    int exponent;
    if (dtype != SA_F16 && dtype != SA_BF16) {
        return 0;
    }
    frexpl(x, &exponent);
    const int lowest = dtype == SA_F16 ? -14 : -126, digits = dtype == SA_F16 ? 10 : 7;
    return ldexpl(0.5L, (exponent - 1 > lowest ? exponent - 1 : lowest) - digits);
}

/* One element. must_spoil: it has to be NaN or infinite; may_spoil: it may be anything. */
static void judge(walk *w, const char *what, wide got, wide right, wide bound, bool must_spoil,
                  bool may_spoil)
{
    double error = 0;
    if (must_spoil) {
        error = isfinite(got) ? (double)INFINITY : 0;
    } else if (!may_spoil && got != right) {
        error = isfinite(got) ? (double)(fabsl(got - right) / bound) : (double)INFINITY;
    }
    if (error > w->worst) {
        w->worst = error;
        snprintf(w->text, 256, "%s of head %td at (%td, %td) is %.9Lg, not %.9Lg within %.3Lg",
                 what, w->h, *w->row, *w->col, got, right, bound);
    }
}

static void judge_out(walk *w, ptrdiff_t i)
{
    const sa_sizes *z = &w->a->sizes;
    for (ptrdiff_t c = 0; c < z->d_v; c++) {
        wide right = 0, size = 0, seen = 0;
        bool is_spoiled = false;
        for (ptrdiff_t j = 0; j < z->n_k && !w->is_blind; j++) {
            const wide v = w->sees[j] ? at_key(w, w->a->problem.value, j, c) : 0;
            is_spoiled |= !isfinite(v);
            right += w->p[j] * v;
            size += w->p[j] * fabsl(v);
            seen += fabsl(v);
        }
        wide bound = (8 + 4 * w->kappa) * w->u * size + w->tiny * ((wide)z->n_k + seen);
        bound += half_ulp(fabsl(right) + bound, z->dtype);
        judge(w, "out", at(w, w->a->outputs.out, i, c, 0), right, bound,
              is_spoiled || w->is_spoiled, false);
    }
}

static void judge_weights(walk *w, ptrdiff_t i)
{
    const sa_sizes *z = &w->a->sizes;
    const bool is_mean = w->a->problem.weights == SA_WEIGHTS_MEAN && !z->is_2d;
    const wide factor = (8 + 4 * w->kappa) * w->u;
    for (ptrdiff_t j = 0; j < z->n_k; j++) {
        if (is_mean) {
            w->mean[i * z->n_k + j] += w->is_spoiled ? (wide)NAN : w->p[j] / (wide)z->n_heads;
            continue;
        }
        wide bound = factor * w->p[j] + w->tiny;
        bound += half_ulp(w->p[j] + bound, z->dtype);
        judge(w, "weight", at(w, w->a->outputs.weights, i, j, 0), w->p[j], bound, false,
              w->is_spoiled);
    }
    if (is_mean) {
        w->mean_factor[i] = fmaxl(w->mean_factor[i], factor);
    }
}

/* The mean has no head axis: index is that of the weights with the head left out. */
static void judge_mean(walk *w)
{
    const sa_sizes *z = &w->a->sizes;
    const int n = z->n_batch_dims;
    for (ptrdiff_t i = 0; i < z->n_q; i++) {
        for (ptrdiff_t j = 0; j < z->n_k; j++) {
            ptrdiff_t index[SA_MAX_DIMS];
            for (int k = 0; k < n; k++) {
                index[k] = w->index[k];
            }
            index[n] = *w->row = i;
            index[n + 1] = *w->col = j;
            const wide right = w->mean[i * z->n_k + j];
            wide bound = w->mean_factor[i] * right + 2 * w->tiny;
            bound += half_ulp(right + bound, z->dtype);
            const wide got = (wide)tensor_get(w->a->outputs.weights, n + 2, index, 0);
            judge(w, "mean weight", got, right, bound, false, isnan(right));
            w->mean[i * z->n_k + j] = 0;
        }
        w->mean_factor[i] = 0;
    }
}

static void judge_lse(walk *w, ptrdiff_t i)
{
    const wide bound = w->u * (2 + fabsl(w->lse) + 4 * w->kappa);
    *w->row = i;
    const wide got = (wide)tensor_get(w->a->outputs.lse, w->n_dims - 1, w->index, 0);
    judge(w, "lse", got, w->lse, bound, false, w->is_spoiled);
}

static void judge_batch(walk *w)
{
    const sa_sizes *z = &w->a->sizes;
    for (w->h = 0; w->h < z->n_heads; w->h++) {
        if (w->head) {
            *w->head = w->h;
        }
        for (ptrdiff_t i = 0; i < z->n_q; i++) {
            score_row(w, i);
            weigh_row(w);
            judge_out(w, i);
            if (w->a->outputs.weights) {
                judge_weights(w, i);
            }
            if (w->a->outputs.lse) {
                judge_lse(w, i);
            }
        }
    }
    if (w->a->outputs.weights && w->a->problem.weights == SA_WEIGHTS_MEAN && !z->is_2d) {
        judge_mean(w);
    }
}

double attention_judge(const attention_problem *a, char text[256])
{
    const sa_sizes *z = &a->sizes;
    const size_t n_k = (size_t)z->n_k + 1, n_q = (size_t)z->n_q + 1;
    const bool is_f64 = z->dtype == SA_F64;
    walk w = {.a = a, .text = text};
    w.n_dims = z->n_batch_dims + (z->is_2d ? 2 : 3);
    w.row = &w.index[w.n_dims - 2];
    w.col = &w.index[w.n_dims - 1];
    w.head = z->is_2d ? NULL : &w.index[w.n_dims - 3];
    w.group = z->n_kv_heads ? z->n_heads / z->n_kv_heads : 1;
    w.u = is_f64 ? 0x1p-53L : 0x1p-24L;
    w.tiny = is_f64 ? 0x1p-1022L : 0x1p-126L;
    w.scale = a->problem.has_scale ? (wide)a->problem.scale : 1 / sqrtl((wide)(z->d ? z->d : 1));
    w.s = calloc(n_k, sizeof(wide));
    w.p = calloc(n_k, sizeof(wide));
    w.sees = calloc(n_k, sizeof(bool));
    w.mean = calloc(n_q * n_k, sizeof(wide));
    w.mean_factor = calloc(n_q, sizeof(wide));
    text[0] = 0;
    for (ptrdiff_t b = 0; b < z->n_batch; b++) {
        ptrdiff_t rest = b;
        for (int i = z->n_batch_dims - 1; i >= 0; i--) {
            w.index[i] = rest % z->batch_shape[i];
            rest /= z->batch_shape[i];
        }
        judge_batch(&w);
    }
    free(w.s);
    free(w.p);
    free(w.sees);
    free(w.mean);
    free(w.mean_factor);
    return w.worst;
}
