/* memory.c -- see memory.h. Mapped areas are kept and used again, smallest fit first. */
#define _GNU_SOURCE
#include "memory.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, MAX_AREAS = 256 };

typedef struct {
    char *first;     /* the lower inaccessible page */
    size_t n_inside; /* bytes between the two */
    char *block;     /* NULL: free */
    size_t n;
} area;

static area areas[MAX_AREAS];
static int n_areas;
static placement where;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void memory_place(placement place) { where = place; }

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static area *new_area(size_t n_inside)
{
    if (n_areas == MAX_AREAS) {
        fail("more blocks than MAX_AREAS");
    }
    char *first =
        mmap(NULL, n_inside + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (first == MAP_FAILED || mprotect(first, PAGE, PROT_NONE) != 0 ||
        mprotect(first + PAGE + n_inside, PAGE, PROT_NONE) != 0) {
        fail("mmap");
    }
    areas[n_areas] = (area){first, n_inside, NULL, 0};
    return &areas[n_areas++];
}

static area *find_area(size_t n)
{
    area *best = NULL;
    for (int i = 0; i < n_areas; i++) {
        area *a = &areas[i];
        if (!a->block && a->n_inside >= n && (!best || a->n_inside < best->n_inside)) {
            best = a;
        }
    }
    return best ? best : new_area((n + PAGE) / PAGE * PAGE);
}

void *memory_take(size_t n)
{
    char *block;
    pthread_mutex_lock(&lock);
    if (where == ON_HEAP) {
        block = malloc(n ? n : 1);
        if (!block) {
            fail("malloc");
        }
    } else {
        area *a = find_area(n);
        block = a->first + PAGE + (where == AT_UPPER_PAGE ? a->n_inside - n : 0);
        a->block = block;
        a->n = n;
    }
    pthread_mutex_unlock(&lock);
    memset(block, 0xFF, n);
    return block;
}

void memory_give(void *block)
{
    pthread_mutex_lock(&lock);
    bool found = false;
    for (int i = 0; i < n_areas && !found; i++) {
        found = block && areas[i].block == block;
        if (found) {
            areas[i].block = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    if (!found) {
        free(block);
    }
}

bool memory_explain(const void *address, ptrdiff_t *at, size_t *n)
{
    for (int i = 0; i < n_areas; i++) {
        const char *p = address;
        const area *a = &areas[i];
        if (a->block && p >= a->first && p < a->first + a->n_inside + 2 * PAGE) {
            *at = p - a->block;
            *n = a->n;
            return true;
        }
    }
    return false;
}
