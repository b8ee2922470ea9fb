/* planted.c -- one bug of each kind that the checkers are there for.
 *
 * A checker that stays silent about its own kind of bug is blind, and its silence about the rest of
 * the program says nothing. Every check begins with one of these.
 */
#include "test_build.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/core/seam.h"

/* Numbers that the compiler cannot see through. */
static volatile int one = 1, largest = INT32_MAX, width = 32;
static volatile int sink;

static void read_past_the_end(void)
{
    char *block = malloc(64);
    if (block) {
        memset(block, 1, 64);
        sink = block[63 + one];
        free(block);
    }
}

static void use_after_free(void)
{
    volatile char *block = calloc(1, 64);
    char *volatile again = (char *)block;
    free(again);
    sink = block[one];
}

static void leak(void)
{
    char *volatile block = malloc(4321);
    sink = block != NULL;
    block = NULL;
}

/* Of the core's own memory, which sa_test_count_blocks counts. */
static void lost_block(void) { sink = sa_alloc(64) != NULL; }

static void overflow(void) { sink = largest + one; }
static void shift(void) { sink = one << width; }

static void unaligned(void)
{
    char bytes[16] = {0};
    sink = *(volatile int *)(void *)(bytes + one);
}

static int shared;

static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < 1000; i++) {
        shared++;
    }
    return NULL;
}

static void race(void)
{
    pthread_t other;
    if (pthread_create(&other, NULL, count, NULL) == 0) {
        count(NULL);
        pthread_join(other, NULL);
    }
    sink = shared;
}

static void uninitialised(void)
{
    char *volatile block = malloc(64);
    if (block) {
        if (block[one] == 7) {
            sink = 1;
        }
        free(block);
    }
}

const char *const sa_test_bugs[] = {
    "read_past_the_end", "use_after_free", "leak",          "lost_block", "overflow", "shift",
    "unaligned",         "race",           "uninitialised", NULL};

bool sa_test_plant(const char *bug)
{
    static void (*const plant[])(void) = {read_past_the_end, use_after_free, leak,
                                          lost_block,        overflow,       shift,
                                          unaligned,         race,           uninitialised};
    for (int i = 0; sa_test_bugs[i]; i++) {
        if (strcmp(bug, sa_test_bugs[i]) == 0) {
            plant[i]();
            return true;
        }
    }
    return false;
}
