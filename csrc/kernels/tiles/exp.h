/* exp.h -- 2^(s c - m), a few vectors at a time.
 *
 *   s c = n + f, n a whole number of eighths, |f| <= 1/16;   2^(s c - m) = 2^f * 2^(n - m)
 *
 * (in double n is whole and |f| <= 1/2). m, the running maximum of a row, is an *integer* power of
 * two's exponent. Then n - m is exact, no rounding happens between the score and the exponential, and
 * sums over old tiles are rescaled by exact powers of two. 2^(n - m) is one of eight roots of two
 * with the whole part added to its exponent (Tang, "Table-driven implementation of the exponential
 * function in IEEE floating-point arithmetic", 1989). 2^f = 1 + f Q(f), Q the Taylor series in ln 2
 * with its last coefficients moved (but not the first) for the least maximal relative error of 2^f,
 * 2.6e-8 and 2^-63. A longer Q gives 2^f - 1 without cancellation for tanh (tanh.h).
 *
 * Where all results are known to be normal numbers, nothing is compared.
 */
#ifndef SA_EXP_H
#define SA_EXP_H

#define LOG2E 1.44269504088896340735992468100189214

/* Q, from the lowest power up; in double one is good for both. */
#if SA_UNIT_IS_F64
static const double exp2_terms[] = {
    0.69314718055994530797,     0.2402265069591007114,     0.055504108664821733751,
    0.009618129107628561243,    0.0013333558146381738154,  0.00015403530393171834663,
    0.000015252733864845099229, 1.321548700340765072e-6,   1.0178047531180677829e-7,
    7.0548148367630282563e-9,   4.4572393137403012724e-10, 2.5855238444590038444e-11,
};
#define EXP2M1_TERMS exp2_terms
#else
static const float exp2_terms[] = {0.69314718055994530942f, 0.24025748670101166f,
                                   0.055504747213373881f};
static const float exp2m1_terms[] = {0.69314718055994530942f, 0.24022651308521511537f,
                                     0.055508635161219101184f, 0.0096166900024841905914f};
#define EXP2M1_TERMS exp2m1_terms

/* 2^(j/8), less the j that v_raise adds to these bits; and what rounding took, relative to it */
static const float exp2_roots[] = {1.0f,           0x1.f72b84p-1f, 0x1.f06fep-1f,  0x1.ebfdaep-1f,
                                   0x1.ea09e6p-1f, 0x1.eace54p-1f, 0x1.ee89fap-1f, 0x1.f5818ep-1f};
static const float exp2_rests[] = {0.0f,
                                   -1.19921572e-08f,
                                   3.19341798e-08f,
                                   -3.09907217e-08f,
                                   1.71142710e-08f,
                                   5.23333422e-09f,
                                   -1.47196057e-08f,
                                   -6.12825986e-09f};
#endif

#if !EXP2_BITS /* 1 is all of the table */
static const real exp2_roots[] = {1}, exp2_rests[] = {0};
typedef vec table;
static SA_INLINE table v_table(const real *t) { return v_set1(t[0]); }
static SA_INLINE vec v_pick(table t, vec k)
{
    (void)k;
    return t;
}
#endif
#define LN2_LOW \
    ((real)(SA_UNIT_IS_F64 ? 2.3190468138462996e-17 : -1.9046543e-9)) /* ln 2 - term 0 */
enum {
    EXP2_DEGREE = sizeof exp2_terms / sizeof exp2_terms[0] - 1,
    EXP2M1_DEGREE = sizeof EXP2M1_TERMS / sizeof EXP2M1_TERMS[0] - 1
};

/* Beyond this, s c - m is not rounded as said, and m is subtracted first. */
#define MAX_ORIGIN ((1 << 21) >> EXP2_BITS)

/* EXP_CHAINS vectors go side by side, as one alone waits for its own latency. Their sums are added up
 * over steps, counted from the start of the tile, before they are widened. */
enum { EXP_TURN = EXP_CHAINS * LANES, STEP_VECTORS = 8, EXP_STEP = STEP_VECTORS * LANES };
_Static_assert(EXP_STEP % EXP_TURN == 0, "a step is whole turns");

/* What 2^(s c - m) takes beside s: loaded once for many vectors */
typedef struct {
    bool normal; /* known to the compiler */
    vec factor, factor_low, terms[EXP2_DEGREE + 1];
    table roots;
} exp_constants;

static SA_INLINE exp_constants load_exp_constants(real c, real c_low, const bool normal)
{
    exp_constants e = {.normal = normal,
                       .factor = v_set1(c),
                       .factor_low = v_set1(c_low),
                       .roots = v_table(exp2_roots)};
    SA_UNROLL
    for (int i = 0; i <= EXP2_DEGREE; i++) {
        e.terms[i] = v_pinned(v_set1(exp2_terms[i]));
    }
    return e;
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

/* p[i] = the series of Q, of that degree, at f[i] from the term `lowest` on, divided by f^lowest, for
 * n vectors */
static SA_INLINE void exp2_series(const int n, const int lowest, const int degree, const vec *terms,
                                  const vec *f, vec *p)
{
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        p[i] = v_fma(f[i], terms[degree], terms[degree - 1]);
    }
    SA_UNROLL
    for (int term = degree - 2; term >= lowest; term--) {
        SA_UNROLL
        for (int i = 0; i < n; i++) {
            p[i] = v_fma(p[i], f[i], terms[term]);
        }
    }
}

/* The n * LANES numbers from s on become 2^(s c + low - m), origin = v_origin(m); low only if
 * has_low, else s times what rounding took from c. 0 below the smallest normal number and for s =
 * -inf, and NaN stays NaN, unless e->normal. Needs s c < m + 1 and |m| < MAX_ORIGIN. Returns the sum
 * of the n vectors. */
static SA_INLINE vec exp2_shifted(const int n, real *s, const real *low, const bool has_low,
                                  const exp_constants *e, vec origin)
{
    vec k[EXP_CHAINS], f[EXP_CHAINS], p[EXP_CHAINS];
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        const vec x = v_load(s + i * LANES);
        f[i] = v_split(x, e->factor, origin, &k[i]);
        if (has_low) {
            f[i] = v_add(f[i], v_load(low + i * LANES));
        } else {
            f[i] = v_fma(x, e->factor_low, f[i]);
        }
    }
    exp2_series(n, 0, EXP2_DEGREE, e->terms, f, p);
    SA_UNROLL
    for (int i = 0; i < n; i++) {
        const vec power = v_raise(v_pick(e->roots, k[i]), k[i]);
        p[i] = v_grow(power, f[i], p[i]);
        p[i] = e->normal ? p[i] : v_if_normal(p[i], k[i]);
        v_store(s + i * LANES, p[i]);
    }
    return sum_vectors(n, p);
}

#endif
