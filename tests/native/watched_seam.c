/* watched_seam.c -- in place of csrc/core/seam.c: scratch memory between inaccessible pages. */
#include "../../csrc/core/seam.h"

#include <stdint.h>

#include "memory.h"

enum { ALIGNMENT = 64 };

static ptrdiff_t shift;

void memory_shift_scratch(ptrdiff_t bytes) { shift = bytes; }

void *sa_alloc(size_t bytes)
{
    if (bytes > PTRDIFF_MAX - ALIGNMENT) {
        return NULL;
    }
    char *block = memory_take((bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return bytes > ALIGNMENT ? block + shift : block; /* small ones are the lists' own */
}

void sa_free(void *memory)
{
    if (shift == 0) { /* else nobody knows where the block began */
        memory_give(memory);
    }
}

bool sa_lend(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return false;
}

int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument)
{
    return pthread_create(thread, attributes, run, argument);
}
