/* status.h -- filling an sa_error. Internal to the core. */
#ifndef SA_STATUS_H
#define SA_STATUS_H

#include "../include/selfattn.h"

/* Leaves on the first failure; the one early return of the core's checks. */
#define SA_TRY(call)                            \
    do {                                        \
        const sa_status sa_try_status = (call); \
        if (sa_try_status != SA_OK) {           \
            return sa_try_status;               \
        }                                       \
    } while (0)

/* Writes the sentence, returns status. */
sa_status sa_fail(sa_error *error, sa_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "(2, 3)" and "(5,)" into text, cut short with ", ..." if it does not fit; returns text. */
enum { SA_SHAPE_TEXT = 96 };
const char *sa_format_shape(char text[SA_SHAPE_TEXT], const ptrdiff_t *shape, int n_dims);

const char *sa_dtype_name(sa_dtype dtype);

#endif
