/* entry.h -- what a unit's function table points to: whole blocks of rows, or parts of them.
 *
 * forward does a block alone. partial and combine do the same in two steps, when there are fewer
 * blocks than threads and many keys: one state per chunk of keys, then the states in order.
 */
#ifndef SA_ENTRY_H
#define SA_ENTRY_H

static size_t workspace_bytes(const sa_plan *plan, ptrdiff_t max_rows)
{
    block_work w;
    return carve_block(&w, plan, max_rows, NULL);
}

static void forward(const sa_block *block, void *workspace, sa_stop stop)
{
    block_work w;
    begin_block(&w, block, workspace, stop);
    forward_block(&w);
    if (block->plan->keeps_p) {
        write_kept_weights(&w);
    }
}

static size_t state_bytes(const sa_plan *plan, ptrdiff_t max_rows)
{
    carver c = {NULL, 0};
    carve_state(&c, max_rows, round_up(plan->d_v, LANES));
    return c.used;
}

static void partial(const sa_block *block, ptrdiff_t chunk, void *state, void *workspace,
                    sa_stop stop)
{
    block_work w;
    carver c = {state, 0};
    begin_block(&w, block, workspace, stop);
    pack_queries(&w);
    const row_state st = carve_state(&c, w.n_rows, w.ldo);
    clear_state(&st, w.n_rows, w.ldo);
    take_chunk(&w, &st, chunk, NULL);
}

static void combine(const sa_block *block, const void *states, ptrdiff_t n_chunks,
                    ptrdiff_t state_stride, void *workspace, sa_stop stop)
{
    block_work w;
    begin_block(&w, block, workspace, stop);
    clear_state(&w.total, w.n_rows, w.ldo);
    for (ptrdiff_t i = 0; i < n_chunks; i++) {
        carver c = {(char *)(uintptr_t)states + i * state_stride, 0};
        const row_state part = carve_state(&c, w.n_rows, w.ldo);
        merge_states(&w.total, &part, 0, w.n_rows, w.ldo);
    }
    pack_queries(&w);
    if (finish_rows(&w, &w.total) > 0) {
        take_overflowed_rows(&w);
    }
    if (block->head->weights.data) {
        write_weights(&w);
    }
}

#endif
