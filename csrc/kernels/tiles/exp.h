/* exp.h -- 2^(s c - m), a few vectors at a time.
 *
 *   s c = n + f, |f| <= 1/2;   2^(s c - m) = 2^f * 2^(n - m)
 *
 * m, the running maximum of a row, is an *integer* power of two's exponent. Then n - m is exact, no
 * rounding happens between the score and the exponential, and sums over old tiles are rescaled by
 * exact powers of two. 2^f = 1 + f Q(f), Q the Taylor series in ln 2 with its last coefficients
 * moved (but not the first) for the least maximal error on [-1/2, 1/2] (relative error below
 * 2^-28 and 2^-63); the same Q gives 2^f - 1 without cancellation for tanh (tanh.h).
 */
#ifndef SA_EXP_H
#define SA_EXP_H

#define LOG2E 1.44269504088896340735992468100189214

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
    0.69314718055994530942f,   0.24022647586257825232f,   0.055503595907019825699f,
    0.0096185175586899456653f, 0.0013390958472449406698f, 0.00015324315532225805113f,
};
#endif
#define LN2_LOW \
    ((real)(SA_UNIT_IS_F64 ? 2.3190468138462996e-17 : -1.9046543e-9)) /* ln 2 - term 0 */
enum { EXP2_DEGREE = sizeof exp2_terms / sizeof exp2_terms[0] - 1 };

/* Rows of scores are worked on by steps of twice EXP_CHAINS vectors side by side, counted from the
 * start of the tile. So many steps are summed before their sum is widened. */
_Static_assert(EXP_CHAINS == 4, "exp2_shifted adds four");
enum { EXP_HALF = EXP_CHAINS * LANES, EXP_STEP = 2 * EXP_HALF, SUM_STEPS = 2 };

/* p[i] = the series of Q at f[i] from the term `lowest` on, divided by f^lowest. n chains side by
 * side: one alone waits for its own latency. */
static SA_INLINE void exp2_series(const int n, const int lowest, const vec *f, vec *p)
{
    const vec highest = v_pinned(v_set1(exp2_terms[EXP2_DEGREE]));
    const vec next = v_pinned(v_set1(exp2_terms[EXP2_DEGREE - 1]));
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_fma(f[i], highest, next);
    }
    SA_UNROLL
    for (int term = EXP2_DEGREE - 2; term >= lowest; term--) {
        const vec a = v_pinned(v_set1(exp2_terms[term]));
        SA_UNROLL
        for (int i = 0; i < n; i++) {
            p[i] = v_fma(p[i], f[i], a);
        }
    }
}

/* The n * LANES numbers from s on become 2^(s c + low - m), origin = v_origin(m); low only if
 * has_low. 0 below the smallest normal number and for s = -inf; NaN stays NaN. Needs s c < m + 1
 * and |m| < 2^21. n is 1, 2 or EXP_CHAINS; returns the sum of the n vectors. */
static SA_INLINE vec exp2_shifted(const int n, real *s, const real *low, const bool has_low, vec c,
                                  vec origin)
{
    vec k[EXP_CHAINS], f[EXP_CHAINS], p[EXP_CHAINS];
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        f[i] = v_split(v_load(s + i * LANES), c, origin, &k[i]);
        if (has_low) {
            f[i] = v_add(f[i], v_load(low + i * LANES));
        }
    }
    exp2_series(n, 0, f, p);
    const vec one = v_pinned(v_set1(1));
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_scale(v_fma(f[i], p[i], one), k[i]);
        v_store(s + i * LANES, p[i]);
    }
    if (n == 1) {
        return p[0];
    }
    return n == 2 ? v_add(p[0], p[1]) : v_add(v_add(p[0], p[1]), v_add(p[2], p[3]));
}

#endif
