/* arena.c -- scratch blocks, kept between calls on one list behind one lock.
 *
 * A thread takes a block for the length of a call. A block stays with the process, so that the
 * second call of a kind allocates nothing; more than KEEP_BYTES goes back to the system at once.
 */
#include "arena.h"

#include <pthread.h>

#include "results.h"
#include "seam.h"

static const size_t KEEP_BYTES = (size_t)8 << 20;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sa_arena *kept;

static sa_arena *arena_new(size_t bytes)
{
    sa_arena *arena = sa_claim(sizeof *arena);
    if (!arena) {
        return NULL;
    }
    arena->memory = sa_claim(bytes);
    arena->bytes = bytes;
    if (!arena->memory) {
        sa_free(arena);
        return NULL;
    }
    return arena;
}

static void arena_free(sa_arena *arena)
{
    sa_free(arena->memory);
    sa_free(arena);
}

sa_arena *sa_arena_take(size_t bytes)
{
    pthread_mutex_lock(&lock);
    sa_arena **link = &kept;
    while (*link && (*link)->bytes < bytes) {
        link = &(*link)->next;
    }
    sa_arena *arena = *link;
    if (arena) {
        *link = arena->next;
    } else if (kept) { /* one that is too small makes room for one that is not */
        sa_arena *small = kept;
        kept = small->next;
        arena_free(small);
    }
    pthread_mutex_unlock(&lock);
    return arena ? arena : arena_new(bytes);
}

void sa_arena_give(sa_arena *arena)
{
    if (arena->bytes > KEEP_BYTES) {
        arena_free(arena);
        return;
    }
    pthread_mutex_lock(&lock);
    arena->next = kept;
    kept = arena;
    pthread_mutex_unlock(&lock);
}

void sa_arena_free_all(void)
{
    pthread_mutex_lock(&lock);
    while (kept) {
        sa_arena *arena = kept;
        kept = arena->next;
        arena_free(arena);
    }
    pthread_mutex_unlock(&lock);
}

void sa_arena_before_fork(void) { pthread_mutex_lock(&lock); }
void sa_arena_after_fork(void) { pthread_mutex_unlock(&lock); }
