/* heads.h -- the arrays of a checked call, cut into the views that kernels work on. Internal. */
#ifndef SA_HEADS_H
#define SA_HEADS_H

#include "../kernels/kernels.h"
#include "views.h"

typedef struct {
    const sa_sizes *sizes;
    ptrdiff_t group; /* query heads of a key head */
    sa_causal causal;
    bool mean; /* weights have no head axis */
    sa_access query, key, value, mask, bias, query_offset, key_lengths, out, weights, lse;
    const sa_tensor *slopes, *sinks;
} sa_heads;

void sa_view_heads(const sa_problem *problem, const sa_sizes *sizes, const sa_outputs *outputs,
                   sa_heads *heads);

/* Key head `plane % n_kv_heads` of batch entry `plane / n_kv_heads`. */
void sa_view_head(const sa_heads *heads, ptrdiff_t plane, sa_head *head);

/* One head of one batch entry of an array with all axes. */
sa_matrix sa_matrix_at(const sa_access *access, const sa_sizes *sizes, ptrdiff_t b, ptrdiff_t head);

#endif
