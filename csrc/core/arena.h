/* arena.h -- the only scratch memory of the core. */
#ifndef SA_ARENA_H
#define SA_ARENA_H

#include <stddef.h>

typedef struct sa_arena {
    struct sa_arena *next;
    void *memory; /* 64-byte aligned */
    size_t bytes;
} sa_arena;

/* At least `bytes` of scratch, kept from an earlier call if there is one; NULL without memory. */
sa_arena *sa_arena_take(size_t bytes);
/* Gives it back for a later call, or to the system if it is large. */
void sa_arena_give(sa_arena *arena);
/* Frees all that is kept. */
void sa_arena_free_all(void);
/* Around a fork, so that the list is whole in parent and child. */
void sa_arena_before_fork(void);
void sa_arena_after_fork(void);

#endif
