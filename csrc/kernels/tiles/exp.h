/* exp.h -- 2^(s c - m), a few vectors at a time.
 *
 *   s c = n + f, |f| <= 1/2;   2^(s c - m) = 2^f * 2^(n - m)
 *
 * m, the running maximum of a row, is an *integer* power of two's exponent. Then n - m is exact, no
 * rounding happens between the score and the exponential, and sums over old tiles are rescaled by
 * exact powers of two. 2^f = 1 + f Q(f), Q the Taylor series in ln 2 with its last coefficients
 * moved (but not the first) for the least maximal error on [-1/2, 1/2] (relative error below
 * 2^-28 and 2^-63); the same Q gives 2^f - 1 without cancellation for tanh (tanh.h).
 *
 * Where all results are known to be normal numbers the exponent is added to the bits of 2^f / 2,
 * with the same result: nothing is too small, and no multiplication is waited for.
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

/* EXP_CHAINS vectors go side by side, as one alone waits for its own latency. Their sums are added up
 * over steps, counted from the start of the tile, before they are widened. */
enum { EXP_TURN = EXP_CHAINS * LANES, STEP_VECTORS = 8, EXP_STEP = STEP_VECTORS * LANES };
_Static_assert(EXP_STEP % EXP_TURN == 0, "a step is whole turns");

/* What 2^(s c - m) takes beside s: loaded once for many vectors */
typedef struct {
    bool normal; /* known to the compiler */
    vec factor, one, terms[EXP2_DEGREE + 1];
} exp_constants;

static SA_INLINE exp_constants load_exp_constants(real c, const bool normal)
{
    const real one = normal ? (real)0.5 : 1; /* halving is exact */
    exp_constants e = {.normal = normal, .factor = v_set1(c), .one = v_pinned(v_set1(one))};
    SA_UNROLL
    for (int i = 0; i <= EXP2_DEGREE; i++) {
        e.terms[i] = v_pinned(v_set1(exp2_terms[i] * one));
    }
    return e;
}

/* What lies halfway between two integers is rounded to the same one: MIN_EXPONENT is even. The bias,
 * odd, would round it to the other; hence 2^f / 2. */
static SA_INLINE vec exp_origin(const exp_constants *e, real m)
{
    return v_origin(e->normal ? m - MIN_EXPONENT : m);
}

/* a[0] + ... + a[n - 1], neighbours first; n a power of two */
static SA_INLINE vec sum_vectors(const int n, vec *a)
{
    SA_UNROLL
    for (int step = 1; step < n; step *= 2) {
        SA_UNROLL
        for (int i = 0; i < n; i += 2 * step) {
            a[i] = v_add(a[i], a[i + step]);
        }
    }
    return a[0];
}

/* p[i] = the series of Q at f[i] from the term `lowest` on, divided by f^lowest, for n vectors */
static SA_INLINE void exp2_series(const int n, const int lowest, const vec *terms, const vec *f,
                                  vec *p)
{
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_fma(f[i], terms[EXP2_DEGREE], terms[EXP2_DEGREE - 1]);
    }
    SA_UNROLL
    for (int term = EXP2_DEGREE - 2; term >= lowest; term--) {
        SA_UNROLL
        for (int i = 0; i < n; i++) {
            p[i] = v_fma(p[i], f[i], terms[term]);
        }
    }
}

/* The n * LANES numbers from s on become 2^(s c + low - m), origin = exp_origin(e, m); low only if
 * has_low. 0 below the smallest normal number and for s = -inf, and NaN stays NaN, unless e->normal.
 * Needs s c < m + 1 and |m| < 2^21. Returns the sum of the n vectors. */
static SA_INLINE vec exp2_shifted(const int n, real *s, const real *low, const bool has_low,
                                  const exp_constants *e, vec origin)
{
    vec k[EXP_CHAINS], f[EXP_CHAINS], p[EXP_CHAINS];
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        f[i] = v_split(v_load(s + i * LANES), e->factor, origin, &k[i]);
        if (has_low) {
            f[i] = v_add(f[i], v_load(low + i * LANES));
        }
    }
    exp2_series(n, 0, e->terms, f, p);
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_fma(f[i], p[i], e->one);
    }
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = e->normal ? v_raise(p[i], k[i]) : v_scale(p[i], k[i]);
        v_store(s + i * LANES, p[i]);
    }
    return sum_vectors(n, p);
}

#endif
