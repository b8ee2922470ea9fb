/* kernels.h -- what the core and the units know of each other: one function table, plain structs.
 *
 * A unit (one instruction set, one compute type) exports one sa_kernels. The core fills an
 * sa_plan and one sa_head per batch entry and key head, and asks for blocks of rows. Kernels never
 * allocate, never fail and never see Python, threads or the core.
 *
 * Legend: n_q queries, n_k keys, d and d_v head sizes, group = n_heads / n_kv_heads query heads
 * share one key head. A *row* is one query of one head of the group: row r is query r / group of
 * head r % group, so that neighbouring rows stand at neighbouring positions and share K and V.
 */
#ifndef SA_KERNELS_H
#define SA_KERNELS_H

#include "../include/selfattn.h"

/* Keys per chunk, and the most per tile (a chunk is whole tiles). Both decide rounding (a chunk's
 * sums start from zero and are merged in the order of the chunks), so that they are a matter of
 * numerics and not of scheduling. */
enum { SA_CHUNK_KEYS = 512, SA_MAX_TILE_KEYS = SA_CHUNK_KEYS };

/* Rows whose scores stand in scratch at a time (a multiple of every TILE_ROWS); rows of a block come
 * in steps of SA_BLOCK_ROWS. */
enum { SA_SCORE_ROWS = 24, SA_BLOCK_ROWS = 96, SA_MAX_BLOCK_ROWS = 1536 };

/* A matrix as the caller laid it out. */
typedef struct {
    char *data;
    ptrdiff_t row_stride, col_stride; /* bytes */
    sa_dtype dtype;
} sa_matrix;

/* A mask or bias of one head group: element (g, i, j) lies at data + g * head_stride + .... */
typedef struct {
    const char *data;                              /* NULL: absent */
    ptrdiff_t head_stride, row_stride, col_stride; /* bytes */
    sa_dtype dtype;
} sa_score_term;

/* Everything that is the same for all heads of a call. Decides rounding; holds no schedule. */
typedef struct {
    ptrdiff_t n_q, n_k, d, d_v, group;
    double scale, scale_low; /* their sum is meant; low only where the default was rounded */
    double softcap;          /* 0: off */
    bool causal;
    bool has_window;
    int64_t window_left, window_right; /* SA_WINDOW_OPEN or >= 0 */
    ptrdiff_t tile_keys;               /* keys of a tile: 128, 256 or 512 */
    bool packed_keys;   /* scores through packed K panels; else by dot products along d */
    bool fetches_ahead; /* while a tile is worked on, the next is asked for */
    bool keeps_p;       /* forward keeps P of whole rows in its workspace, to make weights of it */
    bool streams;       /* weights are so many that they go past the caches */
} sa_plan;

/* One key head of one batch entry with the query heads that read it. */
typedef struct {
    sa_matrix query; /* head 0 of the group; head g at + g * query_head_stride */
    sa_matrix key, value;
    sa_matrix out, weights; /* weights.data NULL: not wanted */
    char *lse;              /* NULL: not wanted; float, or double in a float64 unit */
    ptrdiff_t query_head_stride, out_head_stride, weights_head_stride;
    ptrdiff_t lse_row_stride, lse_head_stride;
    sa_score_term mask, bias;
    const char *slopes, *sinks; /* double, NULL: absent */
    ptrdiff_t slopes_stride, sinks_stride;
    int64_t query_offset; /* position of query 0 among the keys */
    ptrdiff_t n_keys;     /* keys from there on are padding and never read */
} sa_head;

/* Rows [row_begin, row_end) of a head, at most SA_MAX_BLOCK_ROWS. */
typedef struct {
    const sa_plan *plan;
    const sa_head *head;
    ptrdiff_t row_begin, row_end;
} sa_block;

/* What attention_stats wants to know of the rows of a head, see sa_statistics in selfattn.h; any
 * array may be NULL. Numbers are of the unit's compute type. Query i of head g of the group stands
 * at g * n_q + i of an array, row r of the head at r of row_m and row_inverse. */
typedef struct {
    void *entropy, *max, *distance; /* [group, n_q] */
    int64_t *argmax;
    ptrdiff_t top_k;
    void *top_weights, *top_rest; /* [group, n_q, top_k] and [group, n_q] */
    int64_t *top_indices;
    ptrdiff_t n_sets;
    const sa_key_set *sets; /* [n_sets] */
    void *set_weights;      /* [group, n_q, n_sets] */
    ptrdiff_t batch;        /* the head's batch entry, for the sets */
    void *row_m;            /* [n_q * group] final maximum ... */
    double *row_inverse; /* ... and 1 / denominator, 0 where a row saw nothing: for the columns */
} sa_row_stats;

/* Sums over the queries of a head for one tile of keys. Column j of head g of the group stands at
 * g * n_k + j; what is NULL or has no columns is not wanted. */
typedef struct {
    const sa_plan *plan;
    const sa_head *head;
    const void *row_m;
    const double *row_inverse;
    ptrdiff_t key;                          /* first key of the tile */
    ptrdiff_t block_rows;                   /* decides the order of summation */
    void *received;                         /* [group, n_k] */
    ptrdiff_t received_begin, received_end; /* the queries that count */
    sa_matrix factors;                      /* [n_q, n_columns] of head 0, in the compute type */
    ptrdiff_t factors_head_stride, n_columns;
    void *weighted; /* [group, n_k, ld_weighted] */
    ptrdiff_t ld_weighted;
} sa_columns;

/* An overview of the weights, some rows of its blocks: blocks [begin, end) of span_q queries, each cut
 * into blocks of span_k keys. */
typedef struct {
    const sa_plan *plan;
    const sa_head *head;
    const void *row_m;
    const double *row_inverse;
    ptrdiff_t block_rows; /* rows at a time; decides the order of summation */
    ptrdiff_t side, span_q, span_k, begin, end;
    void *max, *mean; /* [group, side, side] */
} sa_overview;

/* Asked now and then inside a block; true = give up, the outputs no longer matter. */
typedef struct {
    bool (*stop)(void *context);
    void *context;
} sa_stop;

/* Y [m, n_out] = X [m, n_in] W [n_in, n_out] + b [n_out]: all that blocks of rows share. */
typedef struct {
    ptrdiff_t n_in, n_out;
    sa_matrix weight; /* [n_in, n_out] */
    const char *bias; /* [n_out], NULL: none */
    ptrdiff_t bias_stride;
    sa_dtype bias_dtype, x_dtype, y_dtype;
    ptrdiff_t x_stride, y_stride; /* bytes from column to column */
} sa_linear_plan;

/* Some rows and the columns [col_begin, col_end) of Y; col_begin is a multiple of
 * tile_vectors * lanes. */
typedef struct {
    const sa_linear_plan *plan;
    const char *const *x; /* [rows] where each row of X begins */
    char *const *y;       /* [rows] */
    ptrdiff_t rows, col_begin, col_end;
} sa_linear_block;

/* The state of a block's rows after some chunks: plain storage in compute type, laid out by the
 * unit: [rows, d_v padded] sums, [rows] denominators, [rows] maxima. */
typedef struct sa_kernels {
    const char *isa;
    sa_dtype compute;            /* SA_F32 or SA_F64 */
    int lanes;                   /* elements per vector */
    int tile_rows, tile_vectors; /* the register tile: rows x (vectors * lanes) */

    /* Bytes of scratch that each of the functions below needs for blocks of up to max_rows. */
    size_t (*workspace_bytes)(const sa_plan *plan, ptrdiff_t max_rows);

    /* Whole rows: out, lse and per-head weights as far as they are wanted. */
    void (*forward)(const sa_block *block, void *workspace, sa_stop stop);

    /* The same in parts. state_bytes: size of one block's state for one chunk. partial computes
     * the state of one chunk of keys; combine merges n_chunks states, in order, and finishes the
     * rows just as forward does. Bits are equal to forward's. */
    size_t (*state_bytes)(const sa_plan *plan, ptrdiff_t max_rows);
    void (*partial)(const sa_block *block, ptrdiff_t chunk, void *state, void *workspace,
                    sa_stop stop);
    void (*combine)(const sa_block *block, const void *states, ptrdiff_t n_chunks,
                    ptrdiff_t state_stride, void *workspace, sa_stop stop);

    /* Head-mean weights of queries [query_begin, query_end) of one batch entry: heads points at
     * its n_kv_heads heads, whose out and lse are written as forward does. */
    size_t (*mean_workspace_bytes)(const sa_plan *plan, ptrdiff_t n_queries);
    void (*forward_mean)(const sa_plan *plan, const sa_head *heads, ptrdiff_t n_kv_heads,
                         ptrdiff_t query_begin, ptrdiff_t query_end, const sa_matrix *mean,
                         void *workspace, sa_stop stop);

    /* forward, and statistics of the rows. */
    size_t (*stats_bytes)(const sa_plan *plan, ptrdiff_t max_rows, ptrdiff_t n_sets);
    void (*stats)(const sa_block *block, const sa_row_stats *stats, void *workspace, sa_stop stop);

    /* Statistics of a tile of keys, from the maxima and denominators that stats has left. */
    size_t (*columns_bytes)(const sa_columns *columns);
    void (*columns)(const sa_columns *columns, void *workspace, sa_stop stop);

    /* Some rows of blocks of an overview, likewise. */
    size_t (*overview_bytes)(const sa_overview *overview);
    void (*overview)(const sa_overview *overview, void *workspace, sa_stop stop);

    /* A block of a projection. Bits of a row depend on that row of X, W and b only. */
    size_t (*linear_bytes)(const sa_linear_plan *plan, ptrdiff_t max_rows);
    void (*linear)(const sa_linear_block *block, void *workspace, sa_stop stop);

    /* Parts alone, for tests and for the measured FMA peak. */
    void (*probe_gemm)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b,
                       void *c); /* C = A B, contiguous, n % lanes == 0 */
    void (*probe_exp2)(ptrdiff_t n, const void *t, double m, void *p); /* 2^(t - m), m integer */
    void (*probe_tanh)(ptrdiff_t n, const void *x, void *y);
    void (*probe_transpose)(const void *x, void *y); /* [lanes, lanes] */
    double (*probe_fma_peak)(int64_t repeats);       /* returns the FLOPs it executed */
} sa_kernels;

#endif
