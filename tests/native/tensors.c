/* tensors.c -- see tensors.h. */
#include "tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

size_t dtype_bytes(sa_dtype dtype)
{
    return dtype == SA_BOOL ? 1 : dtype == SA_F16 || dtype == SA_BF16 ? 2 : dtype == SA_F32 ? 4 : 8;
}

/* Exact for every 16-bit number, by the formats' definitions. */
static double half_value(uint16_t h, int exponent_bits)
{
    const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (h & 0x7FFF) >> fraction_bits, top = (1 << exponent_bits) - 1;
    const int fraction = h & ((1 << fraction_bits) - 1);
    double x;
    if (exponent == top) {
        x = fraction ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        x = ldexp(fraction, 1 - bias - fraction_bits);
    } else {
        x = ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
    }
    return h & 0x8000 ? -x : x;
}

/* Towards zero: which number it becomes does not matter to a test. */
static uint16_t half_bits(double x, int exponent_bits)
{
    const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int top = (1 << exponent_bits) - 1;
    const uint16_t sign = (uint16_t)(signbit(x) ? 0x8000 : 0);
    int exponent;
    if (isnan(x)) {
        return 0x7FFF;
    }
    const double fraction = frexp(fabs(x), &exponent);
    if (isinf(x) || exponent - 1 > bias) {
        return (uint16_t)(sign | top << fraction_bits);
    }
    if (x == 0 || exponent - 1 < 1 - bias) {
        return sign;
    }
    const int significand = (int)ldexp(fraction, fraction_bits + 1) - (1 << fraction_bits);
    return (uint16_t)(sign | (exponent - 1 + bias) << fraction_bits | significand);
}

static double read_element(const char *p, sa_dtype dtype)
{
    uint16_t h;
    float f;
    double d;
    int64_t i;
    switch (dtype) {
    case SA_BOOL:
        return *p != 0;
    case SA_F16:
    case SA_BF16:
        memcpy(&h, p, sizeof h);
        return half_value(h, dtype == SA_F16 ? 5 : 8);
    case SA_F32:
        memcpy(&f, p, sizeof f);
        return (double)f;
    case SA_I64:
        memcpy(&i, p, sizeof i);
        return (double)i;
    default:
        memcpy(&d, p, sizeof d);
        return d;
    }
}

static void write_element(char *p, sa_dtype dtype, double x)
{
    const uint16_t h =
        dtype == SA_F16 || dtype == SA_BF16 ? half_bits(x, dtype == SA_F16 ? 5 : 8) : 0;
    const float f = dtype == SA_F32 ? (float)x : 0;
    const int64_t i = dtype == SA_I64 ? (int64_t)x : 0;
    switch (dtype) {
    case SA_BOOL:
        *p = x != 0;
        break;
    case SA_F16:
    case SA_BF16:
        memcpy(p, &h, sizeof h);
        break;
    case SA_F32:
        memcpy(p, &f, sizeof f);
        break;
    case SA_I64:
        memcpy(p, &i, sizeof i);
        break;
    default:
        memcpy(p, &x, sizeof x);
    }
}

/* Strides for axes taken in a random order, the innermost first; 0 for those that repeat. */
static void choose_strides(array *a, choices *c, freedom may)
{
    sa_tensor *t = &a->tensor;
    bool done[SA_MAX_DIMS] = {false};
    const bool plain = may.is_plain || !chance(c, 2);
    ptrdiff_t size = (ptrdiff_t)dtype_bytes(t->dtype);
    a->n_elements = 1;
    for (int n = t->n_dims; n > 0; n--) {
        int axis = t->n_dims;
        for (int skip = plain ? 0 : (int)choose(c, (uint64_t)n); skip >= 0; skip--) {
            do {
                axis = axis ? axis - 1 : t->n_dims - 1;
            } while (done[axis]);
        }
        done[axis] = true;
        const bool repeats = may.repeats && !plain && chance(c, 5);
        const ptrdiff_t step = plain || !chance(c, 4) ? 1 : 2;
        t->strides[axis] = repeats ? 0 : step * size * (!plain && chance(c, 4) ? -1 : 1);
        if (!repeats) {
            a->n_elements *= (size_t)t->shape[axis];
            size *= step * (t->shape[axis] ? t->shape[axis] : 1);
        }
    }
}

void array_new(array *a, choices *c, sa_dtype dtype, int n_dims, const ptrdiff_t *shape,
               freedom may)
{
    sa_tensor *t = &a->tensor;
    *t = (sa_tensor){.dtype = dtype, .n_dims = n_dims};
    memcpy(t->shape, shape, (size_t)n_dims * sizeof shape[0]);
    choose_strides(a, c, may);
    ptrdiff_t before = 0, after = 0;
    for (int i = 0; i < n_dims; i++) {
        const ptrdiff_t reach = shape[i] > 0 ? t->strides[i] * (shape[i] - 1) : 0;
        before -= reach < 0 ? reach : 0;
        after += reach > 0 ? reach : 0;
    }
    const ptrdiff_t odd = may.is_unaligned && chance(c, 4) ? 1 : 0;
    a->n_bytes = a->n_elements ? (size_t)(before + after + odd) + dtype_bytes(dtype) : 0;
    a->block = memory_take(a->n_bytes);
    t->data = a->block + (a->n_elements ? before : 0);
    if (odd && a->n_elements && (uintptr_t)a->block % 2 == 0) {
        t->data = (char *)t->data + odd;
    }
}

void array_free(array *a)
{
    memory_give(a->block);
    a->block = NULL;
}

/* The element that stands at place n when axes that repeat are left out. */
static char *nth_element(const array *a, size_t n)
{
    const sa_tensor *t = &a->tensor;
    char *p = t->data;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        if (t->strides[i] != 0) {
            p += (ptrdiff_t)(n % (size_t)t->shape[i]) * t->strides[i];
            n /= (size_t)t->shape[i];
        }
    }
    return p;
}

static double choose_number(choices *c, fill kind, double equal)
{
    static const double wild[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -0.0};
    const double x = choose_normal(c);
    switch (kind) {
    case FILL_LARGE:
        return 8 * x;
    case FILL_EQUAL:
        return equal;
    case FILL_SPARSE:
        return choose_bits(c) % 5 ? 0 : x;
    case FILL_WILD:
        return choose_bits(c) % 40 ? x : wild[choose_bits(c) % 4];
    default:
        return x;
    }
}

void array_fill(array *a, choices *c, fill kind)
{
    const double equal = choose_normal(c);
    for (size_t n = 0; n < a->n_elements; n++) {
        write_element(nth_element(a, n), a->tensor.dtype, choose_number(c, kind, equal));
    }
}

void array_fill_mask(array *a, choices *c, uint64_t rareness)
{
    for (size_t n = 0; n < a->n_elements; n++) {
        write_element(nth_element(a, n), a->tensor.dtype, choose_bits(c) % rareness ? 1 : 0);
    }
}

void array_hide(array *a, choices *c, uint64_t rareness)
{
    for (size_t n = 0; n < a->n_elements; n++) {
        if (choose_bits(c) % rareness == 0) {
            write_element(nth_element(a, n), a->tensor.dtype, -(double)INFINITY);
        }
    }
}

void array_fill_integers(array *a, choices *c, int64_t low, int64_t high)
{
    for (size_t n = 0; n < a->n_elements; n++) {
        const int64_t x = low + (int64_t)(choose_bits(c) % (uint64_t)(high - low + 1));
        memcpy(nth_element(a, n), &x, sizeof x);
    }
}

bool array_gaps_are_untouched(const array *a)
{
    char *rest = malloc(a->n_bytes ? a->n_bytes : 1);
    bool untouched = rest != NULL;
    if (rest) {
        memcpy(rest, a->block, a->n_bytes);
        for (size_t n = 0; n < a->n_elements; n++) {
            memset(rest + (nth_element(a, n) - a->block), 0xFF, dtype_bytes(a->tensor.dtype));
        }
        for (size_t i = 0; i < a->n_bytes; i++) {
            untouched = untouched && rest[i] == (char)0xFF;
        }
    }
    free(rest);
    return untouched;
}

void array_shift(array *a, ptrdiff_t elements)
{
    a->tensor.data = (char *)a->tensor.data + elements * (ptrdiff_t)dtype_bytes(a->tensor.dtype);
}

double tensor_get(const sa_tensor *t, int n_dims, const ptrdiff_t *index, double absent)
{
    if (!t) {
        return absent;
    }
    const char *p = t->data;
    for (int i = 1; i <= t->n_dims; i++) {
        const int axis = t->n_dims - i;
        p += t->shape[axis] == 1 ? 0 : index[n_dims - i] * t->strides[axis];
    }
    return read_element(p, t->dtype);
}
