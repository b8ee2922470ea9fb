/* views.c -- see views.h. */
#include "views.h"

#include <string.h>

int sa_score_shape(const sa_sizes *z, ptrdiff_t shape[SA_MAX_DIMS])
{
    int n = 0;
    for (; n < z->n_batch_dims; n++) {
        shape[n] = z->batch_shape[n];
    }
    if (!z->is_2d) {
        shape[n++] = z->n_heads;
    }
    shape[n++] = z->n_q;
    shape[n++] = z->n_k;
    return n;
}

int sa_output_shape(const sa_problem *p, const sa_sizes *z, int which, ptrdiff_t shape[SA_MAX_DIMS])
{
    const int n = sa_score_shape(z, shape);
    if (which == 0) {
        shape[n - 1] = z->d_v;
        return n;
    }
    if (which == 2) {
        return n - 1;
    }
    if (sa_wants_mean(p, z)) {
        shape[n - 3] = z->n_q;
        shape[n - 2] = z->n_k;
        return n - 1;
    }
    return n;
}

sa_dtype sa_output_dtype(const sa_sizes *z, int which)
{
    return which < 2 || z->dtype == SA_F64 ? z->dtype : SA_F32;
}

/* Stride of the axis that stands i-th from the end, 0 where it is missing or broadcast. */
static ptrdiff_t stride_from_end(const sa_tensor *t, int i)
{
    return i > t->n_dims || t->shape[t->n_dims - i] == 1 ? 0 : t->strides[t->n_dims - i];
}

void sa_view(const sa_tensor *t, const sa_sizes *z, int axes, sa_access *access)
{
    access->data = t ? t->data : NULL;
    access->col_stride = access->row_stride = access->head_stride = 0;
    if (!t) {
        return;
    }
    int i = 1;
    access->dtype = t->dtype;
    if (axes & SA_AXIS_COL) {
        access->col_stride = stride_from_end(t, i++);
    }
    if (axes & SA_AXIS_ROW) {
        access->row_stride = stride_from_end(t, i++);
    }
    if ((axes & SA_AXIS_HEAD) && !z->is_2d) {
        access->head_stride = stride_from_end(t, i++);
    }
    for (int axis = z->n_batch_dims - 1; axis >= 0; axis--) {
        access->batch_strides[axis] = stride_from_end(t, i++);
    }
}

ptrdiff_t sa_batch_offset(const sa_access *access, const sa_sizes *z, ptrdiff_t b)
{
    ptrdiff_t offset = 0;
    for (int i = z->n_batch_dims - 1; i >= 0 && b > 0; i--) {
        offset += b % z->batch_shape[i] * access->batch_strides[i];
        b /= z->batch_shape[i];
    }
    return offset;
}

int64_t sa_read_i64(const sa_access *access, const sa_sizes *z, ptrdiff_t b)
{
    int64_t x;
    memcpy(&x, access->data + sa_batch_offset(access, z, b), sizeof x);
    return x;
}
