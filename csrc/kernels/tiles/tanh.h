/* tanh.h -- tanh(s c / (2 log2 e)), c > 0, as a sum of two numbers: for soft-capping.
 *
 *   tanh |x| = (1 - e) / (1 + e) = N / (2 - N),   N = 1 - e = (1 - 2^n) - 2^n (2^f - 1),
 *   e = 2^-|s c| = 2^(n + f)
 *
 * Near 0 this is s times a constant, and its error counts as the error of a score does; so each step
 * keeps what it rounds (error-free sums and products), and the second number makes up for it. With
 * T = N r, r = 1 / (2 - N) rounded, the remainder N - T (2 - N) = T N - (2 T - N) comes out exactly,
 * as 2 T - N is a difference of numbers within a factor of two (but for a last place where T is near
 * 1, which is little beside the error of a score that large).
 *
 * A vector is a chain of some 25 operations, longer than hardware looks ahead for the next one; so
 * several vectors go through short stages together.
 */
#ifndef SA_TANH_H
#define SA_TANH_H

enum { TANH_VECTORS = 8 };

typedef struct {
    vec f[TANH_VECTORS], f_low[TANH_VECTORS], series[TANH_VECTORS];
    vec minus_power[TANH_VECTORS], rest[TANH_VECTORS];
    vec N[TANH_VECTORS], N_low[TANH_VECTORS];
} tanh_stages;

/* -|s c| = n + f + f_low; -2^n = minus_power (1 + rest), series = (2^f - 1 - f ln 2) / f^2 */
static SA_INLINE void split_argument(tanh_stages *x, int i, vec s, vec c, vec least, table roots,
                                     table rests, const vec *terms)
{
    vec k;
    /* beyond 2^-64 tanh is 1; v_max keeps a NaN in its second operand */
    const vec y = v_max(least, v_sub(v_zero(), v_abs(s))), t = v_mul(y, c);
    x->f_low[i] = v_product_error(y, c, t);
    x->f[i] = v_split(t, v_set1(1), v_origin(0), &k);
    x->minus_power[i] = v_sub(v_zero(), v_raise(v_pick(roots, k), k));
    x->rest[i] = v_pick(rests, k);
    exp2_series(1, 1, EXP2M1_DEGREE, terms, &x->f[i], &x->series[i]);
}

static SA_INLINE void find_numerator(tanh_stages *x, int i)
{
    const vec ln2 = v_set1(EXP2M1_TERMS[0]), f = x->f[i], minus_power = x->minus_power[i];
    const vec tail = v_mul(f, x->series[i]), q = v_add(ln2, tail);
    const vec q_low = v_add(v_sub(tail, v_sub(q, ln2)), v_set1(LN2_LOW));
    const vec product = v_mul(f, q), slope = v_fma(ln2, product, ln2); /* of 2^f */
    const vec product_low =
        v_fma(x->f_low[i], slope, v_fma(f, q_low, v_product_error(f, q, product)));
    const vec power_low = v_fma(x->rest[i], product, x->rest[i]);
    const vec scaled = v_mul(minus_power, product), left = v_add(v_set1(1), minus_power);
    const vec left_low = v_sub(minus_power, v_sub(left, v_set1(1))), N = v_add(left, scaled);
    x->N[i] = N;
    x->N_low[i] = v_fma(minus_power, v_add(product_low, power_low),
                        v_add(left_low, v_sub(scaled, v_sub(N, left))));
}

/* The numerators of n <= TANH_VECTORS vectors from s on */
static SA_INLINE void begin_tanh(tanh_stages *x, const int n, const real *s, real c)
{
    const vec factor = v_set1(c), least = v_set1(-64 / c);
    const table roots = v_table(exp2_roots), rests = v_table(exp2_rests);
    vec terms[EXP2M1_DEGREE + 1];
    SA_UNROLL
    for (int i = 0; i <= EXP2M1_DEGREE; i++) {
        terms[i] = v_set1(EXP2M1_TERMS[i]);
    }
    for (int i = 0; i < n; i++) {
        split_argument(x, i, v_load(s + i * LANES), factor, least, roots, rests, terms);
    }
    for (int i = 0; i < n; i++) {
        find_numerator(x, i);
    }
}

/* tanh |x| of vector i = the result + *low */
static SA_INLINE vec end_tanh(const tanh_stages *x, int i, vec *low)
{
    const vec one = v_set1(1), two = v_set1(2), N = x->N[i];
    const vec r = v_div(one, v_sub(two, N)), tanh = v_mul(N, r);
    const vec left = v_product_error(tanh, N, v_product_error(two, tanh, N));
    *low = v_mul(v_fma(x->N_low[i], v_add(one, tanh), left), r);
    return tanh;
}

#endif
