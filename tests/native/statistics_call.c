/* statistics_call.c -- one random call of the statistics on every unit: right, repeatable, in bounds,
 * and out and lse with the bits of sa_forward. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "statistics_problem.h"

enum { AXIS_TOP_K = 4, N_INPUTS = 9 }; /* then n_columns and the side of the overview */

verdict statistics_run(choices *c, const demand *d, char text[512]);

/* Arrays in the order of their names in calls.c; weights are not among them. */
static array *nth_array(statistics_problem *s, int n)
{
    static const int named[] = {A_QUERY,       A_KEY,    A_VALUE, A_MASK, A_BIAS, A_QUERY_OFFSET,
                                A_KEY_LENGTHS, A_SLOPES, A_SINKS, A_OUT,  A_LSE};
    enum { N_NAMED = sizeof named / sizeof named[0] };
    return n < N_NAMED ? &s->attention.arrays[named[n]] : &s->arrays[n - N_NAMED];
}

static void make_columns(statistics_problem *s, choices *c, sa_dtype dtype)
{
    const sa_sizes *z = &s->attention.sizes;
    ptrdiff_t shape[SA_MAX_DIMS];
    int n = sa_output_shape(&s->attention.problem, z, 2, shape);
    shape[n++] = s->wanted.n_columns;
    array_new(&s->arrays[S_COLUMNS], c, dtype, n, shape, (freedom){.repeats = true});
    array_fill(&s->arrays[S_COLUMNS], c, FILL_NORMAL);
    s->wanted.columns = &s->arrays[S_COLUMNS].tensor;
}

/* Tokens of few kinds, each key with the first of its kind and the next one. */
static void make_chains(statistics_problem *s, choices *c)
{
    const ptrdiff_t n_k = s->attention.sizes.n_k, shape[] = {s->attention.sizes.n_batch, n_k};
    for (int which = S_FIRST_SAME; which <= S_NEXT_SAME; which++) {
        array_new(&s->arrays[which], c, SA_I64, 2, shape, (freedom){.is_plain = true});
    }
    int64_t *first = s->arrays[S_FIRST_SAME].tensor.data;
    int64_t *next = s->arrays[S_NEXT_SAME].tensor.data;
    for (ptrdiff_t b = 0; b < shape[0]; b++, first += n_k, next += n_k) {
        ptrdiff_t last[4] = {-1, -1, -1, -1};
        for (ptrdiff_t j = 0; j < n_k; j++) {
            const uint64_t token = choose_bits(c) % 4;
            const ptrdiff_t before = last[token];
            first[j] = before < 0 ? j : first[before];
            next[j] = n_k;
            if (before >= 0) {
                next[before] = j;
            }
            last[token] = j;
        }
    }
}

static void make_sets(statistics_problem *s, choices *c)
{
    s->wanted.n_sets = (ptrdiff_t)choose(c, 4);
    s->wanted.sets = s->sets;
    for (ptrdiff_t i = 0; i < s->wanted.n_sets; i++) {
        sa_key_set *set = &s->sets[i];
        set->kind = (sa_key_set_kind)choose(c, 3);
        set->first = set->kind == SA_KEYS_NEAR ? -(int64_t)choose(c, 9) : 0;
        set->last = set->kind == SA_KEYS_NEAR ? set->first + (int64_t)choose(c, 12) : 0;
        if (set->kind == SA_KEYS_OF_TOKEN) {
            if (!s->arrays[S_FIRST_SAME].block) {
                make_chains(s, c);
            }
            set->first = (int64_t)choose(c, 2);
            set->first_same = s->arrays[S_FIRST_SAME].tensor.data;
            set->next_same = s->arrays[S_NEXT_SAME].tensor.data;
        }
    }
}

/* Two square arrays, each plane after the other. */
static void make_overview(statistics_problem *s, choices *c, sa_dtype real)
{
    const sa_sizes *z = &s->attention.sizes;
    const ptrdiff_t side = s->wanted.overview_side;
    const ptrdiff_t shape[] = {z->n_batch * z->n_heads, side, side};
    for (int which = S_OVERVIEW_MAX; side > 0 && which <= S_OVERVIEW_MEAN; which++) {
        array_new(&s->arrays[which], c, real, 3, shape, (freedom){.is_plain = true});
    }
    s->wanted.overview_max = s->arrays[S_OVERVIEW_MAX].tensor.data;
    s->wanted.overview_mean = s->arrays[S_OVERVIEW_MEAN].tensor.data;
}

/* An array behind the axes of lse: what stands for its queries, and one axis more unless 0. */
static void *make(statistics_problem *s, choices *c, int which, sa_dtype dtype, ptrdiff_t rows,
                  ptrdiff_t more)
{
    ptrdiff_t shape[SA_MAX_DIMS];
    int n = sa_output_shape(&s->attention.problem, &s->attention.sizes, 2, shape);
    shape[n - 1] = rows;
    if (more >= 0) {
        shape[n++] = more;
    }
    array_new(&s->arrays[which], c, dtype, n, shape, (freedom){.is_plain = true});
    return s->arrays[which].tensor.data;
}

static void make_statistics(statistics_problem *s, choices *c, const demand *d)
{
    const sa_sizes *z = &s->attention.sizes;
    const sa_dtype real = sa_output_dtype(z, 2);
    sa_statistics *wanted = &s->wanted;
    const ptrdiff_t n_q = z->n_q;
    wanted->top_k = (ptrdiff_t)choose(c, chance(c, 4) ? 40 : 4);
    wanted->n_columns = (ptrdiff_t)choose(c, chance(c, 4) ? 40 : 3);
    wanted->overview_side = chance(c, 2) ? (ptrdiff_t)choose(c, 12) : 0;
    ptrdiff_t *const sizes[] = {&wanted->top_k, &wanted->n_columns, &wanted->overview_side};
    if (d->axis >= AXIS_TOP_K) {
        *sizes[d->axis - AXIS_TOP_K] = d->size;
    }
    wanted->entropy = chance(c, 3) ? NULL : make(s, c, S_ENTROPY, real, n_q, -1);
    wanted->distance = chance(c, 3) ? NULL : make(s, c, S_DISTANCE, real, n_q, -1);
    if (!chance(c, 3)) {
        wanted->max = make(s, c, S_MAX, real, n_q, -1);
        wanted->argmax = make(s, c, S_ARGMAX, SA_I64, n_q, -1);
    }
    if (wanted->top_k > 0) {
        wanted->top_weights = make(s, c, S_TOP_WEIGHTS, real, n_q, wanted->top_k);
        wanted->top_indices = make(s, c, S_TOP_INDICES, SA_I64, n_q, wanted->top_k);
        wanted->top_rest = make(s, c, S_TOP_REST, real, n_q, -1);
    }
    if (!chance(c, 3)) {
        wanted->received = make(s, c, S_RECEIVED, real, z->n_k, -1);
        wanted->received_begin = chance(c, 2) ? 0 : (ptrdiff_t)choose(c, (uint64_t)n_q + 1);
        const uint64_t left = (uint64_t)(n_q - wanted->received_begin);
        wanted->received_end = n_q - (chance(c, 2) ? 0 : (ptrdiff_t)choose(c, left + 1));
    }
    if (wanted->n_columns > 0) {
        make_columns(s, c, real);
        wanted->weighted = make(s, c, S_WEIGHTED, real, z->n_k, wanted->n_columns);
    }
    make_sets(s, c);
    if (wanted->n_sets > 0) {
        wanted->set_weights = make(s, c, S_SET_WEIGHTS, real, n_q, wanted->n_sets);
    }
    make_overview(s, c, real);
}

/* As Python hands them over: a key that no query could see gets no sum. */
static void clear(statistics_problem *s)
{
    attention_clear_outputs(&s->attention);
    for (int i = S_ENTROPY; i < N_STATISTICS; i++) {
        if (s->arrays[i].block) {
            memset(s->arrays[i].block, 0, s->arrays[i].n_bytes);
        }
    }
}

static sa_status compute(statistics_problem *s, int num_threads)
{
    attention_problem *a = &s->attention;
    sa_error error;
    clear(s);
    a->problem.num_threads = num_threads;
    return sa_compute_statistics(&a->problem, &a->sizes, &a->outputs, &s->wanted, NULL, &error);
}

/* All bytes of the results, a new block. */
static char *copy_results(statistics_problem *s, size_t *n_bytes)
{
    const array *all[N_STATISTICS + 2] = {&s->attention.arrays[A_OUT], &s->attention.arrays[A_LSE]};
    int n_all = 2;
    for (int i = S_ENTROPY; i < N_STATISTICS; i++) {
        all[n_all++] = &s->arrays[i];
    }
    size_t n = 0;
    for (int i = 0; i < n_all; i++) {
        n += all[i]->block ? all[i]->n_bytes : 0;
    }
    char *copy = malloc(n + 1);
    *n_bytes = n;
    for (int i = n_all - 1; copy && i >= 0; i--) {
        if (all[i]->block) {
            n -= all[i]->n_bytes;
            memcpy(copy + n, all[i]->block, all[i]->n_bytes);
        }
    }
    return copy;
}

static verdict say(char text[512], const char *what)
{
    snprintf(text, 512, "unit %s: %.400s", unit_now, what);
    return CALL_WRONG;
}

/* sa_forward of the same problem, weights and all: out and lse are equal, the rest follows. */
static verdict compare_with_weights(statistics_problem *s, choices *c, bool judges, char text[512])
{
    attention_problem *a = &s->attention;
    const array *out = &a->arrays[A_OUT], *lse = &a->arrays[A_LSE];
    ptrdiff_t shape[SA_MAX_DIMS];
    sa_error error;
    char *before = malloc(out->n_bytes + lse->n_bytes + 1);
    if (!before) {
        return CALL_RIGHT;
    }
    memcpy(before, out->block, out->n_bytes);
    memcpy(before + out->n_bytes, lse->block, lse->n_bytes);
    a->problem.weights = SA_WEIGHTS_PER_HEAD;
    const int n = sa_output_shape(&a->problem, &a->sizes, 1, shape);
    array_new(&a->arrays[A_WEIGHTS], c, a->sizes.dtype, n, shape, (freedom){.is_plain = true});
    a->outputs.weights = &a->arrays[A_WEIGHTS].tensor;
    attention_clear_outputs(a);
    verdict result = CALL_RIGHT;
    if (sa_forward(&a->problem, &a->sizes, &a->outputs, NULL, &error) != SA_OK) {
        result = CALL_REFUSED;
    } else if (memcmp(before, out->block, out->n_bytes) != 0 ||
               memcmp(before + out->n_bytes, lse->block, lse->n_bytes) != 0) {
        result = say(text, "out or lse has other bits than sa_forward's");
    } else if (judges) {
        const char *wrong = statistics_judge(s);
        result = wrong ? say(text, wrong) : CALL_RIGHT;
    }
    array_free(&a->arrays[A_WEIGHTS]);
    a->problem.weights = SA_WEIGHTS_NONE;
    a->outputs.weights = NULL;
    free(before);
    return result;
}

static verdict run_unit(statistics_problem *s, choices *c, const demand *d, char text[512])
{
    const int num_threads = s->attention.problem.num_threads;
    const bool is_half = s->attention.sizes.dtype < SA_F32;
    const bool judges = d->judges && !is_half && !s->attention.is_wild;
    size_t n_bytes;
    if (compute(s, num_threads) != SA_OK) {
        return d->may_fail ? CALL_REFUSED : say(text, "the call failed");
    }
    if (!array_gaps_are_untouched(&s->attention.arrays[A_OUT])) {
        return say(text, "bytes beside out's elements were written");
    }
    char *expected = copy_results(s, &n_bytes);
    verdict result = CALL_RIGHT;
    if (expected && compute(s, num_threads % 3 + 1) == SA_OK) {
        char *again = copy_results(s, &n_bytes);
        if (again && memcmp(expected, again, n_bytes) != 0) {
            result = say(text, "other bits with other threads");
        } else {
            result = compare_with_weights(s, c, judges, text);
        }
        free(again);
    }
    s->attention.problem.num_threads = num_threads;
    free(expected);
    return result;
}

static verdict run_units(statistics_problem *s, choices *c, const demand *d, char text[512])
{
    const char *units[8];
    sa_error error;
    verdict result = CALL_RIGHT;
    const int n_units = sa_get_units(units, 8);
    for (int i = 0; i < n_units && result == CALL_RIGHT; i++) {
        if (!d->unit || strcmp(d->unit, units[i]) == 0) {
            unit_now = units[i];
            sa_use_unit(units[i], &error);
            result = run_unit(s, c, d, text);
        }
    }
    return result;
}

/* The arrays of the statistics are addressed by themselves, not by a tensor. */
static void shift(statistics_problem *s, int planted, long step)
{
    array *t = nth_array(s, planted);
    sa_statistics *w = &s->wanted;
    if (!t->block) {
        return;
    }
    /* nobody asks for the key after the last one: it takes two steps to reach beyond the end */
    array_shift(t, t == &s->arrays[S_NEXT_SAME] ? 2 * step : step);
    for (int i = 0; i < w->n_sets; i++) {
        s->sets[i].first_same = s->arrays[S_FIRST_SAME].tensor.data;
        s->sets[i].next_same = s->arrays[S_NEXT_SAME].tensor.data;
    }
    void **const moved[] = {
        [S_ENTROPY] = &w->entropy,           [S_MAX] = &w->max,
        [S_DISTANCE] = &w->distance,         [S_TOP_WEIGHTS] = &w->top_weights,
        [S_TOP_REST] = &w->top_rest,         [S_RECEIVED] = &w->received,
        [S_WEIGHTED] = &w->weighted,         [S_SET_WEIGHTS] = &w->set_weights,
        [S_OVERVIEW_MAX] = &w->overview_max, [S_OVERVIEW_MEAN] = &w->overview_mean};
    if (t == &s->arrays[S_ARGMAX]) {
        w->argmax = t->tensor.data;
    } else if (t == &s->arrays[S_TOP_INDICES]) {
        w->top_indices = t->tensor.data;
    } else if (t >= &s->arrays[S_ENTROPY] && t <= &s->arrays[S_OVERVIEW_MEAN]) {
        *moved[t - s->arrays] = t->tensor.data;
    }
}

verdict statistics_run(choices *c, const demand *d, char text[512])
{
    statistics_problem s;
    attention_problem *a = &s.attention;
    sa_error error;
    wish w = no_wish;
    ptrdiff_t *const axes[] = {&w.n_q, &w.n_k, &w.d, &w.d_v};
    static const int dtypes[] = {SA_F32, SA_F64, SA_F16, SA_BF16};
    memset(&s, 0, sizeof s);
    if (d->axis >= 0 && d->axis < AXIS_TOP_K) {
        *axes[d->axis] = d->size;
    }
    w.dtype = d->dtype < 0 ? -1 : dtypes[d->dtype];
    attention_make(a, c, w);
    a->problem.weights = SA_WEIGHTS_NONE;
    a->problem.lse = true;
    verdict result = CALL_REFUSED;
    const bool is_input_planted = d->planted_array >= 0 && d->planted_array < N_INPUTS;
    if (is_input_planted) {
        shift(&s, d->planted_array, d->planted_step);
    }
    if (sa_check_attention(&a->problem, &a->sizes, &error) == SA_OK) {
        attention_make_outputs(a, c);
        make_statistics(&s, c, d);
        if (d->planted_array >= 0 && !is_input_planted) {
            shift(&s, d->planted_array, d->planted_step);
        }
        result = sa_check_outputs(&a->problem, &a->sizes, &a->outputs, &error) == SA_OK
                     ? run_units(&s, c, d, text)
                     : say(text, error.text);
    } else if (error.text[0] == 0) {
        result = say(text, "refused without a word");
    }
    attention_free(a);
    for (int i = 0; i < N_STATISTICS; i++) {
        if (s.arrays[i].block) {
            array_free(&s.arrays[i]);
        }
    }
    return result;
}
