/* overlap.c -- whether two strided arrays, or two elements of one, share memory.
 *
 * Elements a and b of e bytes meet iff |address(a) - address(b)| < e, and an address is a sum of
 * index * stride. So the question is whether integers x_k exist with
 *
 *     low <= sum_k stride_k * x_k <= high,   0 <= x_k <= limit_k,   stride_k > 0,
 *
 * a bounded linear Diophantine problem. It is answered by a search that fixes the largest stride
 * first: for each term only the x_k that the smaller ones can still complement are tried, which is
 * one or two for any layout made by slicing and transposing. (NP-hard in general: after max_steps
 * the answer is "yes, they may".)
 */
#include "binding.h"

#include <string.h>

typedef struct {
    ptrdiff_t stride, limit;
} term;

/* A sum over at most the axes of two arrays. */
typedef struct {
    int n_terms;
    term terms[2 * SA_MAX_DIMS];
    long steps; /* left to try */
} bounded_sum;

static const long max_steps = 100000;

static ptrdiff_t magnitude(ptrdiff_t x) { return x < 0 ? -x : x; }

/* Insert in falling order of stride; equal strides are one term, their indices add. */
static void add_term(bounded_sum *sum, ptrdiff_t stride, ptrdiff_t limit)
{
    if (stride == 0 || limit == 0) {
        return;
    }
    int i = 0;
    while (i < sum->n_terms && sum->terms[i].stride > stride) {
        i++;
    }
    if (i < sum->n_terms && sum->terms[i].stride == stride) {
        sum->terms[i].limit += limit;
        return;
    }
    memmove(&sum->terms[i + 1], &sum->terms[i], (size_t)(sum->n_terms - i) * sizeof(term));
    sum->terms[i] = (term){stride, limit};
    sum->n_terms++;
}

/* Whether terms [k, n_terms) can reach [low, high]; reach is the largest sum they have, 0 if there
 * are none. */
static bool can_reach(bounded_sum *sum, int k, ptrdiff_t reach, ptrdiff_t low, ptrdiff_t high)
{
    if (high < 0 || low > reach) {
        return false;
    }
    if (low <= 0) {
        return true;
    }
    const term t = sum->terms[k];
    const ptrdiff_t rest = reach - t.stride * t.limit;
    const ptrdiff_t least = low - rest;
    ptrdiff_t x = least <= 0 ? 0 : (least + t.stride - 1) / t.stride;
    for (; x <= t.limit && x * t.stride <= high; x++) {
        if (sum->steps-- <= 0 ||
            can_reach(sum, k + 1, rest, low - x * t.stride, high - x * t.stride)) {
            return true;
        }
    }
    return false;
}

static bool has_solution(bounded_sum *sum, ptrdiff_t low, ptrdiff_t high)
{
    ptrdiff_t reach = 0;
    for (int k = 0; k < sum->n_terms; k++) {
        reach += sum->terms[k].stride * sum->terms[k].limit;
    }
    sum->steps = max_steps;
    return can_reach(sum, 0, reach, low, high);
}

static bool is_empty(const sa_tensor *tensor)
{
    for (int i = 0; i < tensor->n_dims; i++) {
        if (tensor->shape[i] == 0) {
            return true;
        }
    }
    return false;
}

/* The addresses of the first and of the last element. */
static void find_range(const sa_tensor *tensor, intptr_t *first, intptr_t *last)
{
    *first = *last = (intptr_t)tensor->data;
    for (int i = 0; i < tensor->n_dims; i++) {
        const ptrdiff_t extent = (tensor->shape[i] - 1) * tensor->strides[i];
        *(extent < 0 ? first : last) += extent;
    }
}

bool sa_ranges_meet(const sa_tensor *a, const sa_tensor *b)
{
    if (is_empty(a) || is_empty(b)) {
        return false;
    }
    intptr_t a_first, a_last, b_first, b_last;
    find_range(a, &a_first, &a_last);
    find_range(b, &b_first, &b_last);
    return a_first < b_last + sa_itemsize(b->dtype) && b_first < a_last + sa_itemsize(a->dtype);
}

/* With b's indices counted from its last element, a - b = (a_first - b_last) + a sum as above. */
bool sa_tensors_overlap(const sa_tensor *a, const sa_tensor *b)
{
    if (!sa_ranges_meet(a, b)) {
        return false;
    }
    intptr_t a_first, a_last, b_first, b_last;
    find_range(a, &a_first, &a_last);
    find_range(b, &b_first, &b_last);
    bounded_sum sum = {.n_terms = 0};
    for (int i = 0; i < a->n_dims; i++) {
        add_term(&sum, magnitude(a->strides[i]), a->shape[i] - 1);
    }
    for (int i = 0; i < b->n_dims; i++) {
        add_term(&sum, magnitude(b->strides[i]), b->shape[i] - 1);
    }
    const ptrdiff_t offset = b_last - a_first;
    return has_solution(&sum, offset - sa_itemsize(a->dtype) + 1,
                        offset + sa_itemsize(b->dtype) - 1);
}

/* Two elements differ first in some axis: there by at least 1, say upwards, in the later axes by
 * anything. Counting the latter from their lowest value makes it a sum as above. */
bool sa_overlaps_itself(const sa_tensor *tensor)
{
    if (is_empty(tensor)) {
        return false;
    }
    const ptrdiff_t itemsize = sa_itemsize(tensor->dtype);
    for (int first = 0; first < tensor->n_dims; first++) {
        const ptrdiff_t stride = magnitude(tensor->strides[first]);
        const ptrdiff_t limit = tensor->shape[first] - 1;
        if (limit == 0) {
            continue;
        }
        if (stride < itemsize) {
            return true;
        }
        bounded_sum sum = {.n_terms = 0};
        add_term(&sum, stride, limit - 1);
        ptrdiff_t lowest = stride;
        for (int i = first + 1; i < tensor->n_dims; i++) {
            const ptrdiff_t later_limit = tensor->shape[i] - 1;
            add_term(&sum, magnitude(tensor->strides[i]), 2 * later_limit);
            lowest -= magnitude(tensor->strides[i]) * later_limit;
        }
        if (has_solution(&sum, -itemsize + 1 - lowest, itemsize - 1 - lowest)) {
            return true;
        }
    }
    return false;
}
