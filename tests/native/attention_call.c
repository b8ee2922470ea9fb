/* attention_call.c -- one random call of attention on every unit: right, repeatable, in bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention_problem.h"
#include "calls.h"

/* The interface's bound is held by the tests in Python, with a margin of nothing. A fuzzer looks for
 * wrong results, and would sooner or later find the last rounding of docs/design.md, "Known". */
static const double bounds_allowed = 4;

verdict attention_run(choices *c, const demand *d, char text[512]);

static sa_status forward(attention_problem *a, int num_threads)
{
    sa_error error;
    a->problem.num_threads = num_threads;
    return sa_forward(&a->problem, &a->sizes, &a->outputs, NULL, &error);
}

/* The bytes of out, a new block. */
static char *copy_out(const attention_problem *a)
{
    const array *out = &a->arrays[A_OUT];
    char *copy = malloc(out->n_bytes + 1);
    if (copy) {
        memcpy(copy, out->block, out->n_bytes);
    }
    return copy;
}

static verdict say(char text[512], const char *what)
{
    snprintf(text, 512, "unit %s: %.400s", unit_now, what);
    return CALL_WRONG;
}

/* Other threads, and nothing returned but out: the same bits. */
static verdict repeat(attention_problem *a, const char *expected, char text[512])
{
    const array *out = &a->arrays[A_OUT];
    const int others[] = {a->problem.num_threads % 3 + 1, 1};
    const sa_problem problem = a->problem;
    const sa_outputs outputs = a->outputs;
    verdict result = CALL_RIGHT;
    for (int i = 0; i < 2 && result == CALL_RIGHT; i++) {
        if (i == 1) {
            a->problem.weights = SA_WEIGHTS_NONE;
            a->problem.lse = false;
            a->outputs.weights = a->outputs.lse = NULL;
        }
        attention_clear_outputs(a);
        if (forward(a, others[i]) != SA_OK) {
            result = say(text, "a second call failed");
        } else if (memcmp(out->block, expected, out->n_bytes) != 0) {
            result = say(text, i ? "out has other bits without weights and lse"
                                 : "out has other bits with other threads");
        }
    }
    a->problem = problem;
    a->outputs = outputs;
    return result;
}

static verdict run_unit(attention_problem *a, const demand *d, char text[512])
{
    char sentence[256];
    attention_clear_outputs(a);
    const int num_threads = a->problem.num_threads;
    if (forward(a, num_threads) != SA_OK) {
        return d->may_fail ? CALL_REFUSED : say(text, "the call failed");
    }
    for (int i = A_OUT; i < N_ARRAYS; i++) {
        if (a->arrays[i].block && !array_gaps_are_untouched(&a->arrays[i])) {
            return say(text, "bytes beside an output's elements were written");
        }
    }
    if (d->judges && attention_judge(a, sentence) > bounds_allowed) {
        return say(text, sentence);
    }
    char *expected = copy_out(a);
    const verdict result = expected ? repeat(a, expected, text) : CALL_RIGHT;
    free(expected);
    return result;
}

static verdict run_units(attention_problem *a, const demand *d, char text[512])
{
    const char *units[8];
    sa_error error;
    verdict result = CALL_RIGHT;
    const int n_units = sa_get_units(units, 8);
    for (int i = 0; i < n_units && result == CALL_RIGHT; i++) {
        if (!d->unit || strcmp(d->unit, units[i]) == 0) {
            unit_now = units[i];
            sa_use_unit(units[i], &error);
            result = run_unit(a, d, text);
        }
    }
    return result;
}

verdict attention_run(choices *c, const demand *d, char text[512])
{
    attention_problem a;
    sa_error error;
    wish w = no_wish;
    ptrdiff_t *const axes[] = {&w.n_q, &w.n_k, &w.d, &w.d_v};
    static const int dtypes[] = {SA_F32, SA_F64, SA_F16, SA_BF16};
    if (d->axis >= 0) {
        *axes[d->axis] = d->size;
    }
    w.dtype = d->dtype < 0 ? -1 : dtypes[d->dtype];
    attention_make(&a, c, w);
    verdict result = CALL_REFUSED;
    array *planted = d->planted_array < 0 ? NULL : &a.arrays[d->planted_array];
    if (planted && planted->block) {
        array_shift(planted, d->planted_step);
    }
    if (sa_check_attention(&a.problem, &a.sizes, &error) == SA_OK) {
        attention_make_outputs(&a, c);
        if (planted && d->planted_array >= A_OUT && planted->block) {
            array_shift(planted, d->planted_step);
        }
        result = sa_check_outputs(&a.problem, &a.sizes, &a.outputs, &error) == SA_OK
                     ? run_units(&a, d, text)
                     : say(text, error.text);
    } else if (error.text[0] == 0) {
        result = say(text, "refused without a word");
    }
    attention_free(&a);
    return result;
}
