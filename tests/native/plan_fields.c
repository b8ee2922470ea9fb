/* plan_fields.c -- what csrc/core/plan.c decides, for tests/test_plan.py: a line of sizes in, a line
 * of decisions out, each block's rows last. */
#include <stdio.h>

#include "../../csrc/core/plan.h"

int main(void)
{
    sa_sizes z = {0};
    sa_problem p = {0};
    int f64, causal, scaled, keeps_p, planes, together, threads;
    while (scanf("%td %td %td %td %td %td %d %d %d %lf %d %d %d %d", &z.n_q, &z.n_k, &z.d, &z.d_v,
                 &z.n_heads, &z.n_kv_heads, &f64, &causal, &scaled, &p.scale, &keeps_p, &planes,
                 &together, &threads) == 14) {
        z.dtype = f64 ? SA_F64 : SA_F32;
        p.causal = causal ? SA_CAUSAL_LOWER_RIGHT : SA_CAUSAL_NONE;
        p.has_scale = scaled;
        sa_plan plan = sa_plan_numerics(&p, &z);
        plan.keeps_p = keeps_p;
        const sa_schedule s = sa_plan_schedule(&plan, planes, together, threads);
        printf("%td %a %a %td %d %d %d %td %td %td %d", plan.group, plan.scale, plan.scale_low,
               plan.tile_keys, plan.packed_keys, plan.fetches_ahead, s.n_threads, s.block_rows,
               s.blocks_per_head, s.n_chunks, s.last_first);
        for (ptrdiff_t block = 0; block < s.blocks_per_head; block++) {
            const sa_row_range range = sa_block_rows(&s, plan.n_q * plan.group, block);
            printf(" %td %td", range.begin, range.end);
        }
        puts("");
    }
    return 0;
}
