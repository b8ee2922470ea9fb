/* projection_call.c -- one random projection y = x weight + bias on every unit: right, repeatable,
 * in bounds. The bound of an element is 32 u (|x| |weight| + |bias|) + tiny (n_in + 1), and half a
 * unit in the last place of a 16-bit y. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "tensors.h"

enum { P_X, P_WEIGHT, P_BIAS, P_Y, N_PROJECTION_ARRAYS };

static const double bounds_allowed = 4;

typedef struct {
    sa_projection projection;
    array arrays[N_PROJECTION_ARRAYS];
    bool is_wild;
} random_projection;

verdict projection_run(choices *c, const demand *d, char text[512]);

static ptrdiff_t choose_length(choices *c) { return (ptrdiff_t)choose(c, chance(c, 4) ? 140 : 40); }

static void make(random_projection *r, choices *c, const demand *d)
{
    static const sa_dtype dtypes[] = {SA_F32, SA_F64, SA_F16, SA_BF16};
    const sa_dtype dtype = dtypes[d->dtype < 0 ? (int)choose(c, 4) : d->dtype];
    const sa_dtype other = chance(c, 3) ? dtypes[choose(c, 4)] : dtype;
    const bool is_wide = dtype == SA_F64 || other == SA_F64;
    const fill kind = (fill)choose(c, N_FILLS);
    ptrdiff_t sizes[] = {choose_length(c), choose_length(c), choose_length(c)};
    if (d->axis >= 0) {
        sizes[d->axis] = d->size;
    }
    const ptrdiff_t rows = sizes[0], n_in = sizes[1], n_out = sizes[2];
    const int n = 1 + (int)choose(c, 3); /* 1 row, rows, 2 x rows */
    const ptrdiff_t x[] = {2, rows, n_in}, y[] = {2, rows, n_out + chance(c, 60)};
    const ptrdiff_t weight[] = {n_in, n_out};
    memset(r, 0, sizeof *r);
    r->is_wild = kind == FILL_WILD;
    array_new(&r->arrays[P_X], c, dtype, n, x + 3 - n, (freedom){.repeats = true});
    array_fill(&r->arrays[P_X], c, kind);
    array_new(&r->arrays[P_WEIGHT], c, other, 2, weight, (freedom){.repeats = true});
    array_fill(&r->arrays[P_WEIGHT], c, kind);
    if (chance(c, 2)) {
        array_new(&r->arrays[P_BIAS], c, dtypes[choose(c, 4)], 1, &n_out,
                  (freedom){.repeats = true});
        array_fill(&r->arrays[P_BIAS], c, FILL_NORMAL);
        r->projection.bias = &r->arrays[P_BIAS].tensor;
    }
    array_new(&r->arrays[P_Y], c, is_wide ? SA_F64 : dtype, n, y + 3 - n, (freedom){0});
    r->projection.x = &r->arrays[P_X].tensor;
    r->projection.weight = &r->arrays[P_WEIGHT].tensor;
    r->projection.y = &r->arrays[P_Y].tensor;
    r->projection.num_threads = 1 + (int)choose(c, 3);
}

static long double half_ulp(long double x, sa_dtype dtype)
{
    int exponent;
    if (dtype == SA_F32 || dtype == SA_F64) {
        return 0;
    }
    frexpl(x, &exponent);
    const int lowest = dtype == SA_F16 ? -14 : -126, digits = dtype == SA_F16 ? 10 : 7;
    return ldexpl(0.5L, (exponent - 1 > lowest ? exponent - 1 : lowest) - digits);
}

/* The worst element in units of its bound. */
static double judge(const random_projection *r)
{
    const sa_projection *p = &r->projection;
    const sa_dtype dtype = p->y->dtype;
    const long double u = dtype == SA_F64 ? 0x1p-53L : 0x1p-24L;
    const long double tiny = dtype == SA_F64 ? 0x1p-1022L : 0x1p-126L;
    const int n = p->x->n_dims;
    const ptrdiff_t rows = n > 1 ? p->x->shape[n - 2] : 1, n_in = p->weight->shape[0];
    long double worst = 0;
    for (ptrdiff_t row = 0; row < (n > 2 ? 2 : 1) * rows; row++) {
        for (ptrdiff_t j = 0; j < p->weight->shape[1]; j++) {
            ptrdiff_t at[] = {row / rows, row % rows, j}, in[] = {row / rows, row % rows, 0};
            ptrdiff_t entry[] = {0, j};
            const long double bias = (long double)tensor_get(p->bias, 1, &j, 0);
            long double sum = bias, size = fabsl(bias);
            for (ptrdiff_t k = 0; k < n_in; k++) {
                in[2] = entry[0] = k;
                const long double product = (long double)tensor_get(p->x, n, in + 3 - n, 0) *
                                            (long double)tensor_get(p->weight, 2, entry, 0);
                sum += product;
                size += fabsl(product);
            }
            const long double got = (long double)tensor_get(p->y, n, at + 3 - n, 0);
            long double bound = 32 * u * size + tiny * (long double)(n_in + 1);
            bound += half_ulp(fabsl(sum) + bound, dtype);
            if (!isfinite(sum)) {
                worst = isfinite(got) ? (long double)INFINITY : worst;
            } else if (got != sum) {
                worst =
                    fmaxl(worst, isfinite(got) ? fabsl(got - sum) / bound : (long double)INFINITY);
            }
        }
    }
    return (double)worst;
}

static verdict say(char text[512], const char *what)
{
    snprintf(text, 512, "unit %s: %s", unit_now, what);
    return CALL_WRONG;
}

static sa_status project(random_projection *r, int num_threads)
{
    sa_error error;
    r->projection.num_threads = num_threads;
    memset(r->arrays[P_Y].block, 0xFF, r->arrays[P_Y].n_bytes);
    return sa_project(&r->projection, NULL, &error);
}

static verdict run_unit(random_projection *r, const demand *d, char text[512])
{
    const array *y = &r->arrays[P_Y];
    const int num_threads = r->projection.num_threads;
    if (project(r, num_threads) != SA_OK) {
        return d->may_fail ? CALL_REFUSED : say(text, "the projection failed");
    }
    if (!array_gaps_are_untouched(y)) {
        return say(text, "bytes beside y's elements were written");
    }
    if (d->judges && judge(r) > bounds_allowed) {
        return say(text, "y is wrong");
    }
    char *expected = malloc(y->n_bytes + 1);
    verdict result = CALL_RIGHT;
    if (expected) {
        memcpy(expected, y->block, y->n_bytes);
        if (project(r, num_threads % 3 + 1) == SA_OK &&
            memcmp(expected, y->block, y->n_bytes) != 0) {
            result = say(text, "y has other bits with other threads");
        }
    }
    r->projection.num_threads = num_threads;
    free(expected);
    return result;
}

verdict projection_run(choices *c, const demand *d, char text[512])
{
    random_projection r;
    sa_error error;
    double work;
    verdict result = CALL_REFUSED;
    make(&r, c, d);
    if (d->planted_array >= 0 && r.arrays[d->planted_array].block) {
        array_shift(&r.arrays[d->planted_array], d->planted_step);
    }
    if (sa_check_projection(&r.projection, &work, &error) == SA_OK) {
        const char *units[8];
        const int n_units = sa_get_units(units, 8);
        result = CALL_RIGHT;
        for (int i = 0; i < n_units && result == CALL_RIGHT; i++) {
            if (!d->unit || strcmp(d->unit, units[i]) == 0) {
                unit_now = units[i];
                sa_use_unit(units[i], &error);
                result = run_unit(&r, d, text);
            }
        }
    } else if (error.text[0] == 0) {
        result = say(text, "refused without a word");
    }
    for (int i = 0; i < N_PROJECTION_ARRAYS; i++) {
        if (r.arrays[i].block) {
            array_free(&r.arrays[i]);
        }
    }
    return result;
}
