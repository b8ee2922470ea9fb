/* heads.c -- see heads.h. */
#include "heads.h"

void sa_view_heads(const sa_problem *p, const sa_sizes *z, const sa_outputs *outputs, sa_heads *c)
{
    c->sizes = z;
    c->group = z->n_heads / z->n_kv_heads;
    c->causal = p->causal;
    c->mean = sa_wants_mean(p, z);
    c->slopes = p->alibi_slopes;
    c->sinks = p->sinks;
    sa_view(p->query, z, SA_AXES_ALL, &c->query);
    sa_view(p->key, z, SA_AXES_ALL, &c->key);
    sa_view(p->value, z, SA_AXES_ALL, &c->value);
    sa_view(p->mask, z, SA_AXES_ALL, &c->mask);
    sa_view(p->bias, z, SA_AXES_ALL, &c->bias);
    sa_view(p->query_offset, z, 0, &c->query_offset);
    sa_view(p->key_lengths, z, 0, &c->key_lengths);
    sa_view(outputs->out, z, SA_AXES_ALL, &c->out);
    sa_view(p->lse ? outputs->lse : NULL, z, SA_AXIS_HEAD | SA_AXIS_ROW, &c->lse);
    sa_view(p->weights != SA_WEIGHTS_NONE ? outputs->weights : NULL, z,
            c->mean ? SA_AXIS_ROW | SA_AXIS_COL : SA_AXES_ALL, &c->weights);
}

sa_matrix sa_matrix_at(const sa_access *a, const sa_sizes *z, ptrdiff_t b, ptrdiff_t head)
{
    return (sa_matrix){
        .data = a->data ? a->data + sa_batch_offset(a, z, b) + head * a->head_stride : NULL,
        .row_stride = a->row_stride,
        .col_stride = a->col_stride,
        .dtype = a->dtype,
    };
}

static sa_score_term term_at(const sa_access *a, const sa_sizes *z, ptrdiff_t b, ptrdiff_t head)
{
    const sa_matrix m = sa_matrix_at(a, z, b, head);
    return (sa_score_term){m.data, a->head_stride, m.row_stride, m.col_stride, m.dtype};
}

/* The position of query 0; far beyond any key it makes no difference where. */
static int64_t offset_of(const sa_heads *c, ptrdiff_t b, ptrdiff_t n_keys)
{
    const int64_t far = (int64_t)1 << 62;
    if (c->causal == SA_CAUSAL_LOWER_RIGHT) {
        return (int64_t)n_keys - (int64_t)c->sizes->n_q;
    }
    const int64_t x = c->query_offset.data ? sa_read_i64(&c->query_offset, c->sizes, b) : 0;
    return x < -far ? -far : x > far ? far : x;
}

void sa_view_head(const sa_heads *c, ptrdiff_t plane, sa_head *head)
{
    const sa_sizes *z = c->sizes;
    const ptrdiff_t b = plane / z->n_kv_heads, kv = plane % z->n_kv_heads;
    const ptrdiff_t h = kv * c->group;
    *head = (sa_head){
        .query = sa_matrix_at(&c->query, z, b, h),
        .key = sa_matrix_at(&c->key, z, b, kv),
        .value = sa_matrix_at(&c->value, z, b, kv),
        .out = sa_matrix_at(&c->out, z, b, h),
        .query_head_stride = c->query.head_stride,
        .out_head_stride = c->out.head_stride,
        .mask = term_at(&c->mask, z, b, h),
        .bias = term_at(&c->bias, z, b, h),
        .n_keys = z->n_k,
    };
    if (c->weights.data && !c->mean) {
        head->weights = sa_matrix_at(&c->weights, z, b, h);
        head->weights_head_stride = c->weights.head_stride;
    }
    if (c->lse.data) {
        head->lse = c->lse.data + sa_batch_offset(&c->lse, z, b) + h * c->lse.head_stride;
        head->lse_row_stride = c->lse.row_stride;
        head->lse_head_stride = c->lse.head_stride;
    }
    if (c->slopes) {
        head->slopes_stride = c->slopes->strides[0];
        head->slopes = (const char *)c->slopes->data + h * head->slopes_stride;
    }
    if (c->sinks) {
        head->sinks_stride = c->sinks->strides[0];
        head->sinks = (const char *)c->sinks->data + h * head->sinks_stride;
    }
    if (c->key_lengths.data) {
        head->n_keys = (ptrdiff_t)sa_read_i64(&c->key_lengths, z, b);
    }
    head->query_offset = offset_of(c, b, head->n_keys);
}
