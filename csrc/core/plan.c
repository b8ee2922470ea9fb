/* plan.c -- see plan.h. */
#include "plan.h"

#include <math.h>

/* Up to this many rows read K by dot products; more pay for packing it. So do fewer where keys are few,
 * as a decoding step's streams through K and V are then over before they flow, and only more where they
 * are many and long, as packing reads them in another order than they lie in memory. */
enum { MAX_DOT_ROWS = 8, FEW_KEYS = 64, MAX_DOT_ROWS_OF_FEW_KEYS = 2 };
enum { MANY_KEYS = 1024, LONG_KEYS = 128, MAX_DOT_ROWS_OF_MANY_KEYS = 16 };
_Static_assert((int)MAX_DOT_ROWS_OF_MANY_KEYS <= (int)SA_SCORE_ROWS,
               "take_groups sees them at once");

/* Many keys to a tile spread what a row costs per tile; K and V of a tile should stay near, the
 * nearer where each key is taken but once. */
enum { LEAST_TILE_KEYS = 128, MAX_TILE_BYTES = 1 << 20, MAX_FEW_TILE_BYTES = 1 << 19 };

/* Up to this many rows of packed keys are done with a tile before the next has come from memory. It is
 * asked for meanwhile, and the second-level cache holds both, and the first one's packed copy. */
enum { MAX_FETCHING_ROWS = 128, MAX_FETCHED_TILE_BYTES = 1 << 18 };

/* What a block keeps while it walks over the keys is met once per tile: the third-level cache will
 * do, and packing is shared by many rows. P of its rows is written and read but once each: it may be
 * larger where few rows would pack all keys again and again, at the price of memory. */
enum {
    MAX_BLOCK_BYTES = 1 << 22,
    MAX_KEPT_BYTES = 1 << 21,
    KEEPING_ROWS = 144,
    MOST_KEPT_BYTES = 1 << 23
};

/* Multiply-adds below which a second thread costs more than it brings: about 20 us of work. */
static const double MIN_WORK_PER_THREAD = 4e5;

/* 1 / sqrt(d) as a sum of two numbers: y (1 - d y^2) / 2 is one step of Newton's from y. */
static void default_scale(ptrdiff_t d, double *scale, double *low)
{
    const double n = d ? (double)d : 1, y = 1 / sqrt(n);
    const double square = y * y, square_low = fma(y, y, -square);
    const double product = n * square, product_low = fma(n, square, -product);
    *scale = y;
    *low = y * ((((1 - product) - product_low) - n * square_low) / 2);
}

static ptrdiff_t choose_tile_keys(const sa_sizes *z, bool packed_keys, bool fetches_ahead)
{
    const ptrdiff_t bytes_per_key = (z->d + z->d_v) * (z->dtype == SA_F64 ? 8 : 4);
    const ptrdiff_t most = fetches_ahead ? MAX_FETCHED_TILE_BYTES
                           : packed_keys ? MAX_TILE_BYTES
                                         : MAX_FEW_TILE_BYTES;
    ptrdiff_t keys = SA_MAX_TILE_KEYS;
    while (keys > LEAST_TILE_KEYS && bytes_per_key > most / keys) {
        keys /= 2;
    }
    return keys;
}

static ptrdiff_t max_dot_rows(const sa_sizes *z)
{
    if (z->n_k <= FEW_KEYS) {
        return MAX_DOT_ROWS_OF_FEW_KEYS;
    }
    return z->n_k >= MANY_KEYS && z->d >= LONG_KEYS ? MAX_DOT_ROWS_OF_MANY_KEYS : MAX_DOT_ROWS;
}

sa_plan sa_plan_numerics(const sa_problem *p, const sa_sizes *z)
{
    const ptrdiff_t group = z->n_kv_heads ? z->n_heads / z->n_kv_heads : 1;
    double scale = p->scale, scale_low = 0;
    if (!p->has_scale) {
        default_scale(z->d, &scale, &scale_low);
    }
    const ptrdiff_t rows = z->n_q * group;
    const bool packed_keys = rows > max_dot_rows(z);
    const bool fetches_ahead = packed_keys && rows <= MAX_FETCHING_ROWS;
    return (sa_plan){
        .n_q = z->n_q,
        .n_k = z->n_k,
        .d = z->d,
        .d_v = z->d_v,
        .group = group,
        .scale = scale,
        .scale_low = scale_low,
        .softcap = p->has_softcap ? p->softcap : 0,
        .causal = p->causal != SA_CAUSAL_NONE,
        .has_window = p->has_window,
        .window_left = p->window_left,
        .window_right = p->window_right,
        .tile_keys = choose_tile_keys(z, packed_keys, fetches_ahead),
        .packed_keys = packed_keys,
        .fetches_ahead = fetches_ahead,
    };
}

static ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Rows of a block: many share one packed tile of K, few leave enough blocks for all threads. Blocks
 * of a head are about equal, as each packs all keys. */
static ptrdiff_t choose_block_rows(const sa_plan *plan, ptrdiff_t n_items, int n_threads)
{
    const ptrdiff_t rows = plan->n_q * plan->group;
    const ptrdiff_t bytes_per_row = 8 * (plan->d + 2 * plan->d_v + 1);
    const ptrdiff_t kept_per_row = plan->keeps_p ? 4 * plan->n_k : 0;
    ptrdiff_t block = SA_MAX_BLOCK_ROWS;
    while (block > SA_BLOCK_ROWS && block * bytes_per_row > MAX_BLOCK_BYTES) {
        block -= SA_BLOCK_ROWS;
    }
    while (block > KEEPING_ROWS && block * kept_per_row > MAX_KEPT_BYTES) {
        block -= SA_SCORE_ROWS;
    }
    while (block > SA_SCORE_ROWS && block * kept_per_row > MOST_KEPT_BYTES) {
        block -= SA_SCORE_ROWS;
    }
    while (n_threads > 1 && block > SA_BLOCK_ROWS &&
           n_items * divide_up(rows, block) < 4 * (ptrdiff_t)n_threads) {
        block = block > 2 * SA_BLOCK_ROWS ? block - SA_BLOCK_ROWS : SA_BLOCK_ROWS;
    }
    const ptrdiff_t equal = rows ? divide_up(rows, divide_up(rows, block)) : 0;
    block = divide_up(equal, SA_SCORE_ROWS) * SA_SCORE_ROWS;
    return block < rows ? block : rows;
}

sa_schedule sa_plan_schedule(const sa_plan *plan, ptrdiff_t n_heads, ptrdiff_t heads_per_item,
                             int n_threads)
{
    const ptrdiff_t rows = plan->n_q * plan->group;
    const double work =
        (double)n_heads * (double)rows * (double)plan->n_k * (double)(plan->d + plan->d_v + 16);
    const double most = work / MIN_WORK_PER_THREAD;
    sa_schedule s = {.n_threads = most < n_threads ? (int)most : n_threads};
    s.n_threads = s.n_threads > 1 ? s.n_threads : 1;
    s.block_rows = choose_block_rows(plan, n_heads / heads_per_item, s.n_threads);
    s.blocks_per_head = s.block_rows ? divide_up(rows, s.block_rows) : 0;
    s.last_first = plan->causal;
    s.n_chunks = 1;
    if (n_heads * s.blocks_per_head < 2 * (ptrdiff_t)s.n_threads && s.n_threads > 1) {
        const ptrdiff_t chunks = divide_up(plan->n_k, SA_CHUNK_KEYS);
        s.n_chunks = chunks > 1 ? chunks : 1;
    }
    return s;
}

sa_row_range sa_block_rows(const sa_schedule *s, ptrdiff_t n_rows, ptrdiff_t index)
{
    const ptrdiff_t place = s->last_first ? s->blocks_per_head - 1 - index : index;
    const ptrdiff_t begin = place * s->block_rows, end = begin + s->block_rows;
    return (sa_row_range){begin, end < n_rows ? end : n_rows};
}
