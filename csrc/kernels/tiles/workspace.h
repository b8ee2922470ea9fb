/* workspace.h -- the scratch memory of one block of rows, carved from one allocation.
 *
 * Every array starts on a cache line of its own, and consecutive arrays are pushed apart by one
 * more line each, so that no two of them lie a multiple of 4096 bytes apart.
 */
#ifndef SA_WORKSPACE_H
#define SA_WORKSPACE_H

/* Rows of scores lie this far apart: not a power of two, which would put the elements that a column
 * of the register tile reads into the same few sets of the first-level cache. */
enum { SCORE_LD = SA_MAX_TILE_KEYS + 16 };

/* A sum in double, and what rounding took from it */
typedef struct {
    double sum, rest;
} long_sum;

/* Partial softmax of rows over some keys: o = sum 2^(t - m) v, l = sum 2^(t - m), m an
 * integer above all t seen less 1 (t: score in units of log2), -inf before the first. */
typedef struct {
    real *o;     /* [rows, ldo] */
    real *e;     /* [rows, ldo] what rounding took from o as chunks were merged; only in a total */
    long_sum *l; /* [rows] */
    real *m;     /* [rows] */
} row_state;

/* Of some rows: the keys that any of them sees, [first, last), and that all see. */
typedef struct {
    ptrdiff_t first, last, all_first, all_last;
} interval;

typedef struct {
    const sa_plan *plan;
    const sa_head *head;
    sa_stop stop;
    ptrdiff_t row_begin, n_rows;
    ptrdiff_t ldq, ldo; /* d and d_v rounded up to LANES */
    real *q;            /* see queries.h */
    real *reach;        /* [rows / TILE_ROWS] see logit_bound; NULL: nobody asks */
    row_state total, chunk;
    bool has_terms;               /* see find_terms in scores.h */
    real scale, factor;           /* |scale| log2(e), and what t still lacks of it */
    real scale_low, factor_low;   /* what rounding took from them */
    real cap_slope, cap, cap_low; /* see find_softcap in scores.h */
    real headroom;           /* see forward_block: 0, or by how much m stands above the maximum */
    ptrdiff_t *first, *last; /* [rows] keys that causal, window and lengths let a row see */
    interval *seen;          /* [rows / TILE_ROWS] the same for the rows of a group */
    ptrdiff_t first_key, last_key; /* over all rows */
    ptrdiff_t fetch_end;           /* keys before this are asked for ahead; see fetch_ahead */
    real *s;                       /* [SA_SCORE_ROWS, SCORE_LD] scores, then 2^(t - m) */
    real *low;                     /* [TILE_ROWS, SCORE_LD] what rounding took from t */
    real *term, *term_low;         /* [tile_keys] a row of mask, bias or ALiBi */
    real *k;                       /* panels or padded rows of a K tile */
    real *v;                       /* strips or rows of a V tile */
    real *v_seen;                  /* the same with one row's hidden keys replaced by 0 */
    real *sums, *pairs;            /* of stretches; see gemm_simd.h */
    real *part;                    /* [2, TILE_ROWS, ldo] see gather_few */
    bool *touched;                 /* [rows / TILE_ROWS] whether o of the state holds anything */
    bool *overflowed;              /* [rows] see take_overflowed_rows in forward.h */
    long_sum *again_l;             /* [rows] the state of those rows, without o */
    real *again_m;
    real *kept;               /* [rows, kept_ld] P of all tiles, for weights; see keep.h */
    ptrdiff_t kept_ld;        /* n_k rounded up to LANES */
    real *tile_m;             /* [rows, tiles] maximum with which P was kept, NaN: not kept */
    bool keeping;             /* P of each tile goes into kept */
    struct stats_work *stats; /* NULL: no statistics; see stats_rows.h */
    real *alpha;              /* [SA_SCORE_ROWS] factor from the old maximum to the new */
} block_work;

typedef struct {
    char *base; /* NULL: only measure */
    size_t used;
} carver;

static void *carve(carver *c, size_t bytes)
{
    void *p = c->base ? c->base + c->used : NULL;
    c->used += (bytes + 63) / 64 * 64 + 64;
    return p;
}

static row_state carve_state(carver *c, ptrdiff_t rows, ptrdiff_t ldo)
{
    row_state st = {0};
    st.o = carve(c, (size_t)(rows * ldo) * sizeof(real));
    st.l = carve(c, (size_t)rows * sizeof(long_sum));
    st.m = carve(c, (size_t)rows * sizeof(real));
    return st;
}

/* Lays the arrays of a block of up to `rows` rows out from base; returns the bytes they take. */
static size_t carve_block(block_work *w, const sa_plan *plan, ptrdiff_t rows, void *base)
{
    carver c = {base, 0};
    w->plan = plan;
    w->ldq = round_up(plan->d, LANES);
    w->ldo = round_up(plan->d_v, LANES);
    w->q = carve(&c, (size_t)(round_up(rows, TILE_ROWS) * w->ldq + LANES) * sizeof(real));
    w->reach = carve(&c, (size_t)((rows + TILE_ROWS - 1) / TILE_ROWS) * sizeof(real));
    w->total = carve_state(&c, rows, w->ldo);
    w->total.e = carve(&c, (size_t)(rows * w->ldo) * sizeof(real));
    w->chunk = carve_state(&c, rows, w->ldo);
    w->first = carve(&c, (size_t)rows * sizeof(ptrdiff_t));
    w->last = carve(&c, (size_t)rows * sizeof(ptrdiff_t));
    w->seen = carve(&c, (size_t)((rows + TILE_ROWS - 1) / TILE_ROWS) * sizeof(interval));
    w->touched = carve(&c, (size_t)((rows + TILE_ROWS - 1) / TILE_ROWS) * sizeof(bool));
    w->overflowed = carve(&c, (size_t)rows * sizeof(bool));
    w->again_l = carve(&c, (size_t)rows * sizeof(long_sum));
    w->again_m = carve(&c, (size_t)rows * sizeof(real));
    const ptrdiff_t score_rows = rows < SA_SCORE_ROWS ? rows : SA_SCORE_ROWS;
    w->s = carve(&c, (size_t)(score_rows * SCORE_LD) * sizeof(real));
    w->low = carve(&c, TILE_ROWS * SCORE_LD * sizeof(real));
    w->term = carve(&c, SCORE_LD * sizeof(real));
    w->term_low = carve(&c, SCORE_LD * sizeof(real));
    const ptrdiff_t most_keys = plan->n_k < plan->tile_keys ? plan->n_k : plan->tile_keys;
    const ptrdiff_t tile_keys = round_up(most_keys, NR);
    w->k = carve(&c, (size_t)(tile_keys * w->ldq) * sizeof(real));
    const size_t values = (size_t)(tile_keys * round_up(plan->d_v, NR)) * sizeof(real);
    w->v = carve(&c, values);
    w->v_seen = carve(&c, values);
    const int levels = levels_of(plan->d / SCORE_PART + 1);
    w->sums = carve(&c, TILE_SUMS * sizeof(real));
    w->pairs = carve(&c, (size_t)(levels * TILE_SUMS) * sizeof(real));
    w->part = carve(&c, (size_t)(2 * TILE_ROWS * w->ldo) * sizeof(real));
    w->alpha = carve(&c, (size_t)score_rows * sizeof(real));
    const ptrdiff_t tiles = plan->keeps_p ? (plan->n_k + plan->tile_keys - 1) / plan->tile_keys : 0;
    w->kept_ld = plan->keeps_p ? round_up(plan->n_k, LANES) : 0;
    w->tile_m = carve(&c, (size_t)(rows * tiles) * sizeof(real));
    w->kept = carve(&c, (size_t)(rows * w->kept_ld) * sizeof(real));
    return c.used;
}

static void clear_sums(const row_state *st, ptrdiff_t rows)
{
    memset(st->l, 0, (size_t)rows * sizeof(long_sum));
    for (ptrdiff_t r = 0; r < rows; r++) {
        st->m[r] = -(real)INFINITY;
    }
}

static void clear_state(const row_state *st, ptrdiff_t rows, ptrdiff_t ldo)
{
    memset(st->o, 0, (size_t)(rows * ldo) * sizeof(real));
    if (st->e) {
        memset(st->e, 0, (size_t)(rows * ldo) * sizeof(real));
    }
    clear_sums(st, rows);
}

#endif
