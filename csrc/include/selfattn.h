/* selfattn.h -- the C interface of the attention core.
 *
 *   out[h, i] = sum_j softmax_j(score(h, i, j)) * value[h / group, j]
 *
 * A caller fills an sa_problem with views of its arrays, calls sa_check_attention (which holds
 * every rule about arguments and derives the sizes), allocates the outputs it wants, calls
 * sa_check_outputs and then sa_forward. Nothing is computed or written before both checks passed.
 * The header is for C programs that build the sources; the extension module does not export it.
 *
 * Units of measure: strides are in bytes and may be zero or negative; sizes are in elements.
 * No function prints, aborts or touches Python. Every function is thread-safe.
 */
#ifndef SELFATTN_H
#define SELFATTN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SA_VERSION "0.1.0"
#define SA_MAX_DIMS 64

typedef enum {
    SA_OK = 0,
    SA_TYPE_ERROR,  /* the kind of an argument is wrong */
    SA_VALUE_ERROR, /* its shape or value is wrong */
    SA_NO_MEMORY,   /* an allocation failed, or a size does not fit in memory */
    SA_INTERRUPTED, /* sa_control.poll asked to stop */
} sa_status;

/* What went wrong, in one sentence that names the argument. Empty for SA_OK. */
typedef struct {
    sa_status status;
    char text[512];
} sa_error;

typedef enum { SA_BOOL, SA_F16, SA_BF16, SA_F32, SA_F64, SA_I64 } sa_dtype;

/* A view of an array, native byte order; it owns nothing. The elements of query, key, value and
 * the outputs are aligned to their size, those of every other tensor need not be. */
typedef struct {
    void *data;
    sa_dtype dtype;
    int n_dims;
    ptrdiff_t shape[SA_MAX_DIMS];
    ptrdiff_t strides[SA_MAX_DIMS]; /* bytes */
} sa_tensor;

typedef enum {
    SA_CAUSAL_NONE,
    SA_CAUSAL_TRUE,        /* key j is seen iff j <= i + query_offset; n_q != n_k needs an offset */
    SA_CAUSAL_UPPER_LEFT,  /* the same, the alignment named: query_offset is 0 if not given */
    SA_CAUSAL_LOWER_RIGHT, /* the same with query_offset = key_length - n_q */
} sa_causal;

typedef enum { SA_WEIGHTS_NONE, SA_WEIGHTS_PER_HEAD, SA_WEIGHTS_MEAN } sa_weights;

#define SA_WINDOW_OPEN ((int64_t)-1)

/* The arguments of one call. A NULL tensor is an absent one. */
typedef struct {
    const sa_tensor *query;        /* [..., n_heads, n_q, d] */
    const sa_tensor *key;          /* [..., n_kv_heads, n_k, d], query's dtype */
    const sa_tensor *value;        /* [..., n_kv_heads, n_k, d_v], query's dtype */
    const sa_tensor *mask;         /* bool (true = may look) or float (added) */
    const sa_tensor *bias;         /* float, added */
    const sa_tensor *query_offset; /* SA_I64, broadcasts to the batch shape */
    const sa_tensor *key_lengths;  /* SA_I64, broadcasts to the batch shape */
    const sa_tensor *alibi_slopes; /* SA_F64 [n_heads] */
    const sa_tensor *sinks;        /* SA_F64 [n_heads] */
    sa_causal causal;
    bool has_window;
    int64_t window_left;  /* keys before a query's position, or SA_WINDOW_OPEN */
    int64_t window_right; /* keys after it, or SA_WINDOW_OPEN */
    bool has_scale;
    double scale; /* 1 / sqrt(d) unless has_scale */
    bool has_softcap;
    double softcap;
    sa_weights weights; /* which weights are asked for */
    bool lse;           /* whether the log-sum-exp is asked for */
    int num_threads;    /* this call only; 0 = sa_get_num_threads() */
} sa_problem;

/* What sa_check_attention derives. For 2-D inputs n_heads is 1 and is_2d is set: the outputs then
 * have no head axis. */
typedef struct {
    bool is_2d;
    int n_batch_dims;
    ptrdiff_t batch_shape[SA_MAX_DIMS];
    ptrdiff_t n_batch; /* product of batch_shape */
    ptrdiff_t n_heads, n_kv_heads, n_q, n_k, d, d_v;
    sa_dtype dtype; /* of query, key, value, out and weights; lse is SA_F64 or SA_F32 */
    double work;    /* multiply-adds of the call, for the caller's choice about the GIL */
} sa_sizes;

/* Outputs: exact shape, sizes.dtype, aligned, any strides, no two elements at one address. */
typedef struct {
    const sa_tensor *out;     /* [batch..., n_heads, n_q, d_v] */
    const sa_tensor *weights; /* [batch..., n_heads, n_q, n_k], or without heads for the mean */
    const sa_tensor *lse;     /* [batch..., n_heads, n_q] */
} sa_outputs;

/* poll, if given, is called from the calling thread about every 50 ms; a non-zero answer ends the
 * call with SA_INTERRUPTED and leaves the outputs unspecified. */
typedef struct {
    int (*poll)(void *context);
    void *context;
} sa_control;

/* Check every argument, in the order in which they stand, and derive the sizes. */
sa_status sa_check_attention(const sa_problem *problem, sa_sizes *sizes, sa_error *error);

/* Shape of an output: which is 0 for out, 1 for weights, 2 for lse. Fills shape, returns n_dims. */
int sa_output_shape(const sa_problem *problem, const sa_sizes *sizes, int which,
                    ptrdiff_t shape[SA_MAX_DIMS]);
sa_dtype sa_output_dtype(const sa_sizes *sizes, int which);

/* Check that each wanted output is there with the shape and dtype it must have. */
sa_status sa_check_outputs(const sa_problem *problem, const sa_sizes *sizes,
                           const sa_outputs *outputs, sa_error *error);

/* Compute. Both checks must have passed. Any memory of its own is freed or kept for the next call. */
sa_status sa_forward(const sa_problem *problem, const sa_sizes *sizes, const sa_outputs *outputs,
                     const sa_control *control, sa_error *error);

/* Bytes of scratch memory that sa_forward would take, and how many threads it would use at most. */
size_t sa_scratch_bytes(const sa_problem *problem, const sa_sizes *sizes, int *n_threads);

/* Memory for a result of SA_LARGE_RESULT bytes or more, which malloc would give back to the system
 * each time: up to 1 GiB of what was given back here stays with the process, for the system to take
 * when it needs memory. 64-byte aligned, not cleared; NULL without memory. */
#define SA_LARGE_RESULT ((size_t)32 << 20)
void *sa_result_take(size_t bytes);
/* realloc: memory may be NULL. */
void *sa_result_resize(void *memory, size_t bytes);
/* memory may be NULL. */
void sa_result_give(void *memory);

/* Some keys of each query, of which the weights are added up: key first ... last, or the same counted
 * from the query's position; or, with T the token at the query's position p, all keys j + first
 * where j < p has token T (first is 0 or 1). */
typedef enum { SA_KEYS_AT, SA_KEYS_NEAR, SA_KEYS_OF_TOKEN } sa_key_set_kind;

typedef struct {
    sa_key_set_kind kind;
    int64_t first, last;
    const int64_t *first_same; /* [n_batch, n_k] SA_KEYS_OF_TOKEN: the first key of j's token */
    const int64_t *next_same;  /* [n_batch, n_k] the next one after j, n_k after the last */
} sa_key_set;

/* Statistics of the weights of attention, in passes over tiles: never n_q x n_k numbers at a time.
 * Arrays are C-contiguous, in front the batch axes and heads as in lse; numbers have lse's type. A
 * NULL array is not wanted. What `sa_forward` returns for the same problem goes into `sa_outputs`
 * (weights must not be asked for). docs of selfattn.attention_stats say what each one means. */
typedef struct {
    void *entropy, *max, *distance; /* [..., n_q] */
    int64_t *argmax;                /* [..., n_q] */
    ptrdiff_t top_k;
    void *top_weights, *top_rest; /* [..., n_q, top_k] and [..., n_q] */
    int64_t *top_indices;         /* [..., n_q, top_k] */
    void *received;               /* [..., n_k] sums over the queries received_begin ... end - 1 */
    ptrdiff_t received_begin, received_end;
    const sa_tensor *columns; /* lse's type, [..., n_q, n_columns]; broadcasts as query does */
    ptrdiff_t n_columns;
    void *weighted; /* [..., n_k, n_columns] */
    ptrdiff_t n_sets;
    const sa_key_set *sets; /* [n_sets] */
    void *set_weights;      /* [..., n_q, n_sets] */
    /* The largest and the mean weight of blocks of ceil(n_q / side) x ceil(n_k / side) weights; where
     * there are fewer than side x side of them, what is left stays as it is. */
    ptrdiff_t overview_side;
    void *overview_max, *overview_mean; /* [..., side, side] */
    /* If given, called where sa_control.poll is and with the same meaning of its answer; fraction of
     * the work that is done, from 0 to 1. */
    int (*progress)(void *context, double fraction);
    void *progress_context;
} sa_statistics;

/* sa_check_attention and sa_check_outputs must have passed. Memory of its own: a few MiB a thread,
 * and 16 bytes for each row if there are column sums or an overview. */
sa_status sa_compute_statistics(const sa_problem *problem, const sa_sizes *sizes,
                                const sa_outputs *outputs, const sa_statistics *statistics,
                                const sa_control *control, sa_error *error);

/* A projection: y = x weight + bias, each in its own float type; y is SA_F64 if x or weight is.
 * Computed in double if y is SA_F64, else in float. */
typedef struct {
    const sa_tensor *x;      /* [..., n_in] */
    const sa_tensor *weight; /* [n_in, n_out] */
    const sa_tensor *bias;   /* [n_out], NULL: none */
    const sa_tensor *y;      /* [..., n_out]; no two elements at one address, none of them read */
    int num_threads;         /* this call only; 0 = sa_get_num_threads() */
} sa_projection;

/* Check shapes and types; *work becomes the multiply-adds of the call. */
sa_status sa_check_projection(const sa_projection *projection, double *work, sa_error *error);
/* Compute. The check must have passed. */
sa_status sa_project(const sa_projection *projection, const sa_control *control, sa_error *error);

/* Choose the instruction sets; once, before anything else. max_isa caps the choice (NULL: none);
 * an unknown name is SA_VALUE_ERROR with a text that lists the known ones. */
sa_status sa_init(const char *max_isa, sa_error *error);

/* Instruction sets this build and CPU can run, best first; the first is in use. Returns how many. */
int sa_get_units(const char *names[], int capacity);
/* The same for those compiled into this build, whatever the CPU. */
int sa_get_built_units(const char *names[], int capacity);
/* Use one of sa_get_units() from now on, for tests and benchmarks; SA_VALUE_ERROR if not there. */
sa_status sa_use_unit(const char *isa, sa_error *error);

/* How many threads a call may use: sa_set_num_threads, else SELFATTN_NUM_THREADS, else the first
 * number of OMP_NUM_THREADS, else the CPUs this process may use (affinity and cgroup quota). */
int sa_get_num_threads(void);
/* n >= 1; 0 goes back to the default. */
void sa_set_num_threads(int n);
/* Where sa_get_num_threads()'s number comes from, in words; a static string. */
const char *sa_get_num_threads_source(void);
/* An environment variable that was ignored because it holds no positive number, or NULL. */
const char *sa_get_bad_threads_variable(void);

#endif
