/* seam.h -- the one place where the core asks the system for memory and threads, so that tests can
 * make any of these requests fail. Internal to the core. */
#ifndef SA_SEAM_H
#define SA_SEAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { SA_HUGE_PAGE = 1 << 21 };

/* 64-byte aligned, rounded up to whole 64 bytes, from 1 MiB on both to whole
 * SA_HUGE_PAGEs; NULL on failure. */
void *sa_alloc(size_t bytes);
void sa_free(void *memory);
/* Lets the system have the pages of sa_alloc's memory when it needs them: what they hold is lost
 * then, until they are written again. False if the system knows no such thing, or would not have
 * more to give. */
bool sa_lend(void *memory, size_t bytes);

/* pthread_create: 0, or an error number. */
int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument);

#endif
