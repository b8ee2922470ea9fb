/* simd_scalar.h -- what the two scalar vocabularies share: everything that does not depend on the
 * number of lanes. Included by them once real, vec, lane_bits and the EXP_ constants are there. */
#ifndef SA_SIMD_SCALAR_H
#define SA_SIMD_SCALAR_H

static SA_INLINE vec v_zero(void) { return (vec){0}; }
static SA_INLINE vec v_set1(real x) { return x - (vec){0}; }
static SA_INLINE vec v_add(vec a, vec b) { return a + b; }
static SA_INLINE vec v_sub(vec a, vec b) { return a - b; }
static SA_INLINE vec v_mul(vec a, vec b) { return a * b; }
static SA_INLINE vec v_div(vec a, vec b) { return a / b; }
static SA_INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }

static SA_INLINE vec v_load_bytes(const void *p)
{
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}

static SA_INLINE vec v_load(const real *p) { return v_load_bytes(p); }
static SA_INLINE vec v_fetch(const void *p) { return v_load_bytes(p); }
static SA_INLINE vec v_pinned(vec a) { return a; }

static SA_INLINE void v_store(real *p, vec a) { memcpy(p, &a, sizeof a); }
static SA_INLINE void v_stream(real *p, vec a) { v_store(p, a); }
static SA_INLINE void v_end_streams(void) {}
static SA_INLINE void v_store_column(real *p, vec a) { v_store(p, a); }

/* b where `where` is all ones, else a */
static SA_INLINE vec v_select(vec a, vec b, lane_bits where)
{
    return (vec)((~where & (lane_bits)a) | (where & (lane_bits)b));
}

static SA_INLINE vec v_max(vec a, vec b) { return v_select(b, a, (lane_bits)(a > b)); }

static SA_INLINE vec v_abs(vec a) { return (vec)((lane_bits)a & ~((lane_bits){0} + SIGN_BIT)); }

static SA_INLINE vec v_copysign(vec magnitude, vec sign)
{
    const lane_bits bit = (lane_bits){0} + SIGN_BIT;
    return (vec)((~bit & (lane_bits)magnitude) | (bit & (lane_bits)sign));
}

static SA_INLINE real v_reduce_max(vec a)
{
    real m = a[0];
    for (int i = 1; i < LANES; i++) {
        m = a[i] > m ? a[i] : m;
    }
    return m;
}

static SA_INLINE vec v_origin(real m) { return v_set1(m); }

/* Without a fused multiply-add the product is rounded once and used twice. */
static SA_INLINE vec v_split(vec s, vec c, vec origin, vec *k)
{
    const vec t = s * c, whole = t + EXP_MAGIC;
    *k = whole - origin;
    return t - (whole - EXP_MAGIC);
}

static SA_INLINE vec v_raise(vec p, vec k)
{
    return (vec)((lane_words)p + ((lane_words)k << EXP_SHIFT)); /* wraps, to be cleared later */
}

static SA_INLINE vec v_grow(vec p, vec f, vec q) { return p * (1 + f * q); }

static SA_INLINE vec v_if_normal(vec p, vec k)
{
    const lane_bits tiny = (lane_bits)(k < v_set1(EXP_LEAST));
    return (vec)((lane_bits)p & ~tiny);
}

static SA_INLINE vec v_keep(vec t, const uint8_t *seen)
{
    lane_bits bytes = {0};
    for (int i = 0; i < LANES; i++) {
        bytes[i] = seen[i];
    }
    return v_select(t, v_set1(-(real)INFINITY), (lane_bits)(bytes == 0));
}

static SA_INLINE bool v_is_zero(vec a)
{
    bool all = true;
    for (int i = 0; i < LANES; i++) {
        all &= a[i] == 0;
    }
    return all;
}

static SA_INLINE vec v_finite_or_zero(vec a)
{
    return (vec)((lane_bits)a & (lane_bits)(v_abs(a) < v_set1((real)INFINITY)));
}

/* a * b - p without a fused multiply-add: Dekker's product of halves split by Veltkamp. A power of two
 * goes from one factor to the other first, so that the halves of a stay in range. */
static SA_INLINE vec v_product_error(vec a, vec b, vec p)
{
    const vec one = v_set1(1), size = v_abs(a);
    const lane_bits tiny = (lane_bits)(size < v_set1(1 / ROOT_RANGE));
    const lane_bits huge = (lane_bits)(size > v_set1(ROOT_RANGE));
    const vec up = v_set1(ROOT_RANGE), down = v_set1(1 / ROOT_RANGE);
    a *= v_select(v_select(one, up, tiny), down, huge);
    b *= v_select(v_select(one, down, tiny), up, huge);
    const vec a_big = a * SPLITTER, b_big = b * SPLITTER;
    const vec a_high = a_big - (a_big - a), b_high = b_big - (b_big - b);
    const vec a_low = a - a_high, b_low = b - b_high;
    return a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low);
}

#endif
