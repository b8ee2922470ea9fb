/* results.c -- memory of large results, kept for the next one and lent to the system meanwhile.
 *
 * malloc gives blocks of 32 MiB and more back to the system when they are freed, and the next one
 * is made of pages that the system has to clear first: for n x n weights that takes a fifth of the
 * time of the attention itself. Here the newest blocks stay with the process, their pages marked
 * as free to take (MADV_FREE): whoever wants memory gets them, else the next result is written
 * into them as they are.
 */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "../include/selfattn.h"
#include "results.h"
#include "seam.h"

static const size_t KEEP_BYTES = (size_t)1 << 30; /* of all that is kept */

typedef struct result {
    struct result *next;
    char *memory;
    size_t bytes;
    bool is_shared; /* a process forked since has these pages, too */
} result;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static result *taken, *kept; /* the newest first */

static void result_free(result *r)
{
    sa_free(r->memory);
    sa_free(r);
}

static void free_list(result *list)
{
    while (list) {
        result *next = list->next;
        result_free(list);
        list = next;
    }
}

void *sa_claim(size_t bytes)
{
    void *memory = sa_alloc(bytes);
    return memory || !sa_results_free_all() ? memory : sa_alloc(bytes);
}

static result *result_new(size_t bytes)
{
    result *r = sa_claim(sizeof *r);
    if (!r) {
        return NULL;
    }
    r->bytes =
        bytes < SA_LARGE_RESULT ? bytes : (bytes + SA_HUGE_PAGE - 1) / SA_HUGE_PAGE * SA_HUGE_PAGE;
    r->memory = sa_claim(bytes);
    if (!r->memory) {
        sa_free(r);
        return NULL;
    }
    return r;
}

static void push(result **list, result *r)
{
    r->next = *list;
    *list = r;
}

/* Takes the smallest kept block that holds so many bytes without wasting half of it, or NULL. */
static result *take_kept(size_t bytes)
{
    result **best = NULL;
    pthread_mutex_lock(&lock);
    for (result **link = &kept; *link; link = &(*link)->next) {
        const size_t size = (*link)->bytes;
        if (size >= bytes && size / 2 <= bytes && (!best || size < (*best)->bytes)) {
            best = link;
        }
    }
    result *r = best ? *best : NULL;
    if (r) {
        *best = r->next;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

void *sa_result_take(size_t bytes)
{
    result *r = take_kept(bytes);
    r = r ? r : result_new(bytes);
    if (!r) {
        return NULL;
    }
    r->is_shared = false;
    pthread_mutex_lock(&lock);
    push(&taken, r);
    pthread_mutex_unlock(&lock);
    return r->memory;
}

/* Takes from the kept blocks what is older than the newest KEEP_BYTES of them. */
static result *cut_oldest(void)
{
    size_t bytes = 0;
    result **link = &kept;
    while (*link && (*link)->bytes <= KEEP_BYTES - bytes) {
        bytes += (*link)->bytes;
        link = &(*link)->next;
    }
    result *oldest = *link;
    *link = NULL;
    return oldest;
}

/* The block at that address, NULL if there is none. */
static result *stop_using(const void *memory)
{
    pthread_mutex_lock(&lock);
    result **link = &taken;
    while (*link && (*link)->memory != memory) {
        link = &(*link)->next;
    }
    result *r = *link;
    if (r) {
        *link = r->next;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

/* The system passes over pages that another process has, too: they would be kept and not lent. */
static void keep(result *r)
{
    const bool may_keep = r->bytes >= SA_LARGE_RESULT && r->bytes <= KEEP_BYTES && !r->is_shared;
    if (!may_keep || !sa_lend(r->memory, r->bytes)) {
        result_free(r);
        return;
    }
    pthread_mutex_lock(&lock);
    push(&kept, r);
    result *oldest = cut_oldest();
    pthread_mutex_unlock(&lock);
    free_list(oldest);
}

void sa_result_give(void *memory)
{
    result *r = stop_using(memory);
    if (r) {
        keep(r);
    }
}

void *sa_result_resize(void *memory, size_t bytes)
{
    void *resized = sa_result_take(bytes);
    result *r = resized ? stop_using(memory) : NULL;
    if (r) {
        memcpy(resized, r->memory, r->bytes < bytes ? r->bytes : bytes);
        keep(r);
    }
    return resized;
}

bool sa_results_free_all(void)
{
    pthread_mutex_lock(&lock);
    result *all = kept;
    kept = NULL;
    pthread_mutex_unlock(&lock);
    free_list(all);
    return all != NULL;
}

void sa_results_before_fork(void) { pthread_mutex_lock(&lock); }

void sa_results_after_fork(void)
{
    for (result *r = taken; r; r = r->next) {
        r->is_shared = true;
    }
    pthread_mutex_unlock(&lock);
}
