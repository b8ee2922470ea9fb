/* views.h -- shapes of scores and outputs, and arrays seen through the batch axes of a call.
 * Internal to the core. */
#ifndef SA_VIEWS_H
#define SA_VIEWS_H

#include "../include/selfattn.h"

/* An array whose leading axes are the batch axes of the call, broadcast ones with stride 0, and
 * whose last axes are head, row and column, as far as it has them. */
typedef struct {
    char *data; /* NULL: absent */
    sa_dtype dtype;
    ptrdiff_t batch_strides[SA_MAX_DIMS]; /* [n_batch_dims] */
    ptrdiff_t head_stride, row_stride, col_stride;
} sa_access;

/* Shape (batch..., n_heads, n_q, n_k), without heads for 2-D inputs; returns its length. */
int sa_score_shape(const sa_sizes *sizes, ptrdiff_t shape[SA_MAX_DIMS]);

/* Whether weights are a mean over heads; without a head axis it is the weights themselves. */
static inline bool sa_wants_mean(const sa_problem *problem, const sa_sizes *sizes)
{
    return problem->weights == SA_WEIGHTS_MEAN && !sizes->is_2d;
}

/* Which axes follow the batch axes, in this order. Calls of 2-D inputs have no head axis. */
enum { SA_AXIS_HEAD = 1, SA_AXIS_ROW = 2, SA_AXIS_COL = 4, SA_AXES_ALL = 7 };

/* t NULL: absent. An axis that is missing or has size 1 gets stride 0. */
void sa_view(const sa_tensor *t, const sa_sizes *sizes, int axes, sa_access *access);

/* Byte offset of batch entry b. */
ptrdiff_t sa_batch_offset(const sa_access *access, const sa_sizes *sizes, ptrdiff_t b);
int64_t sa_read_i64(const sa_access *access, const sa_sizes *sizes, ptrdiff_t b);

#endif
