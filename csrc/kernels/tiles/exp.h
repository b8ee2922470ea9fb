/* exp.h -- 2^(s c - m) and tanh, a vector at a time.
 *
 *   s c = n + f, |f| <= 1/2;   2^(s c - m) = 2^f * 2^(n - m)
 *
 * m, the running maximum of a row, is an *integer* power of two's exponent. Then n - m is exact, no
 * rounding happens between the score and the exponential, and sums over old tiles are rescaled by
 * exact powers of two. 2^f = 1 + f Q(f), Q the Taylor series in ln 2 with its last coefficients
 * moved for the least maximal error on [-1/2, 1/2] (relative error of the approximation below
 * 2^-28 and 2^-63); the same Q gives 2^f - 1 without cancellation for tanh.
 */
#ifndef SA_EXP_H
#define SA_EXP_H

#define LOG2E 1.44269504088896340735992468100189214
#define LN2 0.693147180559945309417232121458176568
#define LN2_LONG 0.693147180559945309417232121458176568L

/* Q, from the lowest power up */
#if SA_UNIT_IS_F64
static const double exp2_terms[] = {
    0.69314718055994530797,     0.2402265069591007114,     0.055504108664821733751,
    0.009618129107628561243,    0.0013333558146381738154,  0.00015403530393171834663,
    0.000015252733864845099229, 1.321548700340765072e-6,   1.0178047531180677829e-7,
    7.0548148367630282563e-9,   4.4572393137403012724e-10, 2.5855238444590038444e-11,
};
#else
static const float exp2_terms[] = {
    0.6931472149680278995f,    0.2402265278288773743f,    0.055503105510137971734f,
    0.0096176929729930623181f, 0.0013406643902351759246f, 0.00015594678161326619324f,
};
#endif
enum { EXP2_DEGREE = sizeof exp2_terms / sizeof exp2_terms[0] - 1 };

/* Rows of scores are worked on in whole steps, counted from the start of the tile. */
enum { EXP_STEP = EXP_CHAINS * LANES };

/* p[i] = (2^f[i] - 1) / f[i]. n chains side by side: one alone waits for its own latency. */
static SA_INLINE void exp2_quotients(const int n, const vec *f, vec *p)
{
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_fma(f[i], v_set1(exp2_terms[EXP2_DEGREE]), v_set1(exp2_terms[EXP2_DEGREE - 1]));
    }
    SA_UNROLL
    for (int term = EXP2_DEGREE - 2; term >= 0; term--) {
        SA_UNROLL
        for (int i = 0; i < n; i++) {
            p[i] = v_fma(p[i], f[i], v_set1(exp2_terms[term]));
        }
    }
}

/* The EXP_STEP numbers from s on become 2^(s c + low - m), origin = v_origin(m); low only if has_low.
 * 0 below the smallest normal number and for s = -inf; NaN stays NaN. Needs s c < m + 1 and
 * |m| < 2^21. Adds the results to sum, each chain of vectors for itself. */
static SA_INLINE void exp2_shifted(real *s, const real *low, const bool has_low, vec c, vec origin,
                                   vec sum[EXP_CHAINS])
{
    vec k[EXP_CHAINS], f[EXP_CHAINS], p[EXP_CHAINS];
    SA_UNROLL
    for (int i = 0; i < EXP_CHAINS; i++) {
        f[i] = v_split(v_load(s + i * LANES), c, origin, &k[i]);
        if (has_low) {
            f[i] = v_add(f[i], v_load(low + i * LANES));
        }
    }
    exp2_quotients(EXP_CHAINS, f, p);
    SA_UNROLL
    for (int i = 0; i < EXP_CHAINS; i++) {
        p[i] = v_scale(v_fma(f[i], p[i], v_set1(1)), k[i]);
        v_store(s + i * LANES, p[i]);
        sum[i] = v_add(sum[i], p[i]);
    }
}

/* sign(x) (1 - e) / (1 + e), e = exp(-2|x|), from e - 1 = 2^n (2^f - 1) + (2^n - 1).
 * The argument is x = s c / (2 log2 e), so that a caller folds all factors into c. */
static SA_INLINE vec tanh_scaled(vec s, vec c)
{
    const vec one = v_set1(1), origin = v_origin(0);
    /* beyond 2^-64 tanh is 1; v_max keeps a NaN in its second operand */
    const vec y = v_max(v_set1(-64), v_sub(v_zero(), v_abs(v_mul(s, c))));
    vec k;
    const vec f = v_split(y, one, origin, &k);
    const vec power = v_scale(one, k);
    vec q;
    exp2_quotients(1, &f, &q);
    const vec e_1 = v_fma(power, v_mul(f, q), v_sub(power, one));
    return v_copysign(v_div(e_1, v_add(e_1, v_set1(2))), v_mul(s, c));
}

#endif
