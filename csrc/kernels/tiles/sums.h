/* sums.h -- l = sum_j p_j, exact enough that its logarithm keeps the bound of lse.
 *
 * Float units add in double (the vocabulary's `wide`); double units keep what each addition rounds
 * off. Two-sum: Knuth, TAOCP vol. 2, 4.2.2.
 */
#ifndef SA_SUMS_H
#define SA_SUMS_H

static SA_INLINE double long_total(long_sum l) { return l.sum + l.rest; }

/* l = a l + b x, a and b powers of two */
static SA_INLINE void add_long(long_sum *l, double a, double b, long_sum x)
{
    const double p = l->sum * a, q = x.sum * b, sum = p + q, q_part = sum - p;
    const double lost = (p - (sum - q_part)) + (q - q_part);
    l->sum = sum;
    l->rest = l->rest * a + x.rest * b + (lost == lost ? lost : 0); /* NaN if sum is not finite */
}

#if SA_UNIT_IS_F64
typedef struct {
    vec sum, rest;
} wide;

static SA_INLINE wide wide_zero(void) { return (wide){v_zero(), v_zero()}; }

static SA_INLINE wide wide_add(wide a, vec x)
{
    vec lost;
    const vec sum = two_sum(a.sum, x, &lost);
    return (wide){sum, v_add(a.rest, lost)};
}

static SA_INLINE wide wide_add_at(wide a, const real *p) { return wide_add(a, v_load(p)); }

static SA_INLINE long_sum wide_sum(wide a)
{
    real sum[LANES], rest[LANES];
    v_store(sum, a.sum);
    v_store(rest, v_finite_or_zero(a.rest));
    long_sum l = {0, 0};
    for (int i = 0; i < LANES; i++) {
        add_long(&l, 1, 1, (long_sum){sum[i], rest[i]});
    }
    return l;
}
#else
static SA_INLINE long_sum wide_sum(wide a) { return (long_sum){wide_total(a), 0}; }
#endif

#endif
