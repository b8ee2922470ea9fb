/* probe.h -- parts of a unit alone: for tests of each vocabulary word and tile, and for the
 * measured peak of multiply-adds against which a benchmark reads its numbers. */
#ifndef SA_PROBE_H
#define SA_PROBE_H

/* C [m, n] = A [m, k] B [k, n], n a multiple of LANES */
static void probe_gemm(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b, void *c)
{
    const gemm_depth depth = cut_in_parts(k, k, NULL);
    for (ptrdiff_t i = 0; i < m; i += TILE_ROWS) {
        const ptrdiff_t rows = m - i < TILE_ROWS ? m - i : TILE_ROWS;
        gemm_rows(false, rows, n, &depth, (const real *)a + i * k, k, 1, b, n, (real *)c + i * n, n,
                  NULL);
    }
}

/* n a multiple of LANES */
static void probe_exp2(ptrdiff_t n, const void *t, double m, void *p)
{
    const exp_constants e = load_exp_constants(1, 0, false);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        real x[LANES];
        v_store(x, v_load((const real *)t + i));
        exp2_shifted(1, x, x, false, &e, v_origin((real)m));
        v_store((real *)p + i, v_load(x));
    }
}

static void probe_tanh(ptrdiff_t n, const void *x, void *y)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const real *x_i = (const real *)x + i;
        tanh_stages stages;
        vec low;
        begin_tanh(&stages, 1, x_i, (real)(2 * LOG2E));
        const vec high = end_tanh(&stages, 0, &low);
        v_store((real *)y + i, v_copysign(v_add(high, low), v_load(x_i)));
    }
}

static void probe_transpose(const void *x, void *y)
{
    vec rows[LANES];
    for (int i = 0; i < LANES; i++) {
        rows[i] = v_load((const real *)x + i * LANES);
    }
    v_transpose(rows);
    for (int i = 0; i < LANES; i++) {
        v_store((real *)y + i * LANES, rows[i]);
    }
}

/* Independent chains enough to hide the latency of a multiply-add twice over. */
static double probe_fma_peak(int64_t repeats)
{
    enum { CHAINS = MAX_ACCUMULATORS };
    vec acc[CHAINS];
    volatile real start = (real)0.5;
    const vec x = v_set1(start), y = v_set1(start);
    SA_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        acc[i] = v_set1(start);
    }
    for (int64_t n = 0; n < repeats; n++) {
        SA_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            acc[i] = v_fma(acc[i], x, y);
        }
    }
    vec sum = v_zero();
    SA_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        sum = v_add(sum, acc[i]);
    }
    volatile real sink = v_reduce_max(sum);
    (void)sink;
    return 2.0 * (double)(CHAINS * LANES) * (double)repeats;
}

#endif
