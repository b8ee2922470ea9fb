/* seam.h -- the one place where the core asks the system for memory and threads, so that tests can
 * make any of these requests fail. Internal to the core. */
#ifndef SA_SEAM_H
#define SA_SEAM_H

#include <pthread.h>
#include <stddef.h>

/* 64-byte aligned, rounded up to whole 64 bytes; NULL on failure. */
void *sa_alloc(size_t bytes);
void sa_free(void *memory);

/* pthread_create: 0, or an error number. */
int sa_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                     void *argument);

#endif
