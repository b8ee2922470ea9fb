/* attention_problem.c -- see attention_problem.h: sizes around every width that a kernel knows. */
#include "attention_problem.h"

#include <string.h>

#include "memory.h"

const wish no_wish = {-1, -1, -1, -1, -1};

static ptrdiff_t choose_size(choices *c, ptrdiff_t wanted, bool may_be_long)
{
    static const ptrdiff_t edges[] = {31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 130, 160};
    if (wanted >= 0) {
        return wanted;
    }
    const uint64_t kind = choose(c, 8);
    if (kind == 0) {
        return edges[choose(c, sizeof edges / sizeof edges[0])];
    }
    if (kind == 1 && may_be_long) {
        return 480 + (ptrdiff_t)choose(c, 60); /* a second chunk of keys */
    }
    return (ptrdiff_t)choose(c, kind < 5 ? 10 : 41);
}

typedef struct {
    int n_batch;
    ptrdiff_t batch[2];
    ptrdiff_t heads, kv_heads, n_q, n_k, d, d_v;
    bool is_2d;
    sa_dtype dtype;
} layout;

/* Multiply-adds of a head beyond which a problem has only one: the formula in long double is slow. */
enum { LARGE = 40000 };

static layout choose_layout(choices *c, wish w)
{
    static const sa_dtype dtypes[] = {SA_F32, SA_F64, SA_F16, SA_BF16};
    layout l = {.kv_heads = 1, .heads = 1};
    l.dtype = w.dtype >= 0 ? (sa_dtype)w.dtype : dtypes[choose(c, 4)];
    l.n_q = choose_size(c, w.n_q, false);
    l.n_k = choose_size(c, w.n_k, true);
    l.d = choose_size(c, w.d, false);
    l.d_v = choose_size(c, w.d_v, false);
    l.is_2d = chance(c, 4);
    if (l.n_k >= 480 && w.n_k < 0) {
        l.n_q %= 20;
        l.d %= 41;
        l.d_v %= 41;
    }
    if (!l.is_2d && (l.n_q + 1) * (l.n_k + 1) * (l.d + l.d_v + 1) <= LARGE) {
        l.n_batch = (int)choose(c, 3);
        for (int i = 0; i < l.n_batch; i++) {
            l.batch[i] = 1 + (ptrdiff_t)choose(c, 2);
        }
        l.kv_heads = 1 + (ptrdiff_t)choose(c, 2);
        l.heads = l.kv_heads * (1 + (ptrdiff_t)choose(c, 3));
        if (chance(c, 60)) {
            l.heads++; /* wrong unless kv_heads is 1 */
        }
    }
    return l;
}

/* The batch axes (some of length 1, for broadcasting), then heads, then the two last. */
static int join_shape(choices *c, const layout *l, ptrdiff_t heads, ptrdiff_t rows, ptrdiff_t cols,
                      bool may_broadcast, ptrdiff_t shape[SA_MAX_DIMS])
{
    int n = 0;
    for (int i = 0; i < l->n_batch; i++) {
        shape[n++] = may_broadcast && chance(c, 4) ? 1 : l->batch[i];
    }
    if (!l->is_2d) {
        shape[n++] = heads;
    }
    shape[n++] = rows;
    shape[n++] = cols;
    return n;
}

static void make_operands(attention_problem *a, choices *c, const layout *l, fill kind)
{
    const freedom may = {.repeats = true};
    const ptrdiff_t heads[] = {l->heads, l->kv_heads, l->kv_heads};
    const ptrdiff_t rows[] = {l->n_q, l->n_k, l->n_k}, cols[] = {l->d, l->d, l->d_v};
    const sa_tensor **const slots[] = {&a->problem.query, &a->problem.key, &a->problem.value};
    for (int i = 0; i < 3; i++) {
        ptrdiff_t shape[SA_MAX_DIMS];
        const int n = join_shape(c, l, heads[i], rows[i], cols[i], i > 0, shape);
        array_new(&a->arrays[i], c, l->dtype, n, shape, may);
        array_fill(&a->arrays[i], c, kind);
        *slots[i] = &a->arrays[i].tensor;
    }
}

/* A mask or a bias: the scores' shape with any axis 1 and leading axes left out. */
static const sa_tensor *make_score_term(array *t, choices *c, const layout *l, bool may_be_bool)
{
    static const sa_dtype dtypes[] = {SA_F32, SA_F64, SA_F16, SA_BF16};
    ptrdiff_t shape[SA_MAX_DIMS];
    int n = join_shape(c, l, l->heads, l->n_q, l->n_k, true, shape);
    for (int i = 0; i < n; i++) {
        shape[i] = chance(c, 3) ? 1 : shape[i];
    }
    const int missing = chance(c, 2) ? (int)choose(c, (uint64_t)n + 1) : 0;
    n -= missing;
    memmove(shape, shape + missing, (size_t)n * sizeof shape[0]);
    const bool is_bool = may_be_bool && chance(c, 2);
    const sa_dtype dtype = is_bool ? SA_BOOL : dtypes[choose(c, 4)];
    array_new(t, c, dtype, n, shape, (freedom){.repeats = true, .is_unaligned = !is_bool});
    const uint64_t rareness = 1 + choose(c, 8);
    if (is_bool) {
        array_fill_mask(t, c, rareness);
    } else {
        array_fill(t, c, FILL_NORMAL);
        if (may_be_bool && chance(c, 2)) {
            array_hide(t, c, rareness);
        }
    }
    return &t->tensor;
}

/* One integer, or one per batch entry. */
static const sa_tensor *make_integers(array *t, choices *c, const layout *l, ptrdiff_t low,
                                      ptrdiff_t high)
{
    const bool is_scalar = chance(c, 2);
    array_new(t, c, SA_I64, is_scalar ? 0 : l->n_batch, l->batch, (freedom){.repeats = true});
    array_fill_integers(t, c, low, high);
    return &t->tensor;
}

static const sa_tensor *make_per_head(array *t, choices *c, const layout *l, bool may_be_absent)
{
    array_new(t, c, SA_F64, 1, &l->heads, (freedom){.repeats = true});
    array_fill(t, c, FILL_NORMAL);
    if (may_be_absent && chance(c, 3)) {
        array_hide(t, c, 2);
    }
    return &t->tensor;
}

static void make_positions(attention_problem *a, choices *c, const layout *l)
{
    static const sa_causal kinds[] = {SA_CAUSAL_TRUE, SA_CAUSAL_UPPER_LEFT, SA_CAUSAL_LOWER_RIGHT};
    sa_problem *p = &a->problem;
    p->causal = chance(c, 3) ? kinds[choose(c, 3)] : SA_CAUSAL_NONE;
    p->has_window = chance(c, 4);
    p->window_left = chance(c, 3) ? SA_WINDOW_OPEN : (int64_t)choose(c, 150);
    p->window_right = chance(c, 3) ? SA_WINDOW_OPEN : (int64_t)choose(c, 40);
    if (chance(c, 4)) {
        p->alibi_slopes = make_per_head(&a->arrays[A_SLOPES], c, l, false);
    }
    const bool needs_offset = (p->has_window || p->alibi_slopes || p->causal == SA_CAUSAL_TRUE) &&
                              l->n_q != l->n_k && p->causal < SA_CAUSAL_UPPER_LEFT;
    if (needs_offset ? !chance(c, 30) : p->causal != SA_CAUSAL_LOWER_RIGHT && chance(c, 5)) {
        p->query_offset = make_integers(&a->arrays[A_QUERY_OFFSET], c, l, -l->n_q - 2, l->n_k + 2);
    }
    if (chance(c, 4)) {
        p->key_lengths = make_integers(&a->arrays[A_KEY_LENGTHS], c, l, 0, l->n_k);
    }
}

void attention_make(attention_problem *a, choices *c, wish wanted)
{
    static const double scales[] = {1, 0.25, -0.5, 0, 3}, caps[] = {0.5, 3, 30, -1};
    memset(a, 0, sizeof *a);
    sa_problem *p = &a->problem;
    const layout l = choose_layout(c, wanted);
    const fill kind = (fill)choose(c, N_FILLS);
    a->is_wild = kind == FILL_WILD;
    make_operands(a, c, &l, kind);
    if (chance(c, 3)) {
        p->mask = make_score_term(&a->arrays[A_MASK], c, &l, true);
    }
    if (chance(c, 4)) {
        p->bias = make_score_term(&a->arrays[A_BIAS], c, &l, false);
    }
    make_positions(a, c, &l);
    if (chance(c, 4)) {
        p->sinks = make_per_head(&a->arrays[A_SINKS], c, &l, true);
    }
    p->has_scale = chance(c, 3);
    p->scale = scales[choose(c, 5)];
    p->has_softcap = chance(c, 5);
    p->softcap = caps[chance(c, 10) ? 3 : choose(c, 3)];
    p->weights = (sa_weights)choose(c, 3);
    p->lse = chance(c, 2);
    p->num_threads = 1 + (int)choose(c, 3);
}

void attention_make_outputs(attention_problem *a, choices *c)
{
    const bool wanted[] = {true, a->problem.weights != SA_WEIGHTS_NONE, a->problem.lse};
    const sa_tensor **const slots[] = {&a->outputs.out, &a->outputs.weights, &a->outputs.lse};
    for (int i = 0; i < 3; i++) {
        if (wanted[i]) {
            array *t = &a->arrays[A_OUT + i];
            ptrdiff_t shape[SA_MAX_DIMS];
            const int n = sa_output_shape(&a->problem, &a->sizes, i, shape);
            array_new(t, c, sa_output_dtype(&a->sizes, i), n, shape, (freedom){0});
            *slots[i] = &t->tensor;
        }
    }
}

void attention_clear_outputs(attention_problem *a)
{
    for (int i = A_OUT; i < N_ARRAYS; i++) {
        if (a->arrays[i].block) {
            memset(a->arrays[i].block, 0xFF, a->arrays[i].n_bytes);
        }
    }
}

void attention_free(attention_problem *a)
{
    for (int i = 0; i < N_ARRAYS; i++) {
        if (a->arrays[i].block) {
            array_free(&a->arrays[i]);
        }
    }
}
