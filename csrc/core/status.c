/* status.c -- error sentences, shapes and dtypes in words. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

sa_status sa_fail(sa_error *error, sa_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

const char *sa_format_shape(char text[SA_SHAPE_TEXT], const ptrdiff_t *shape, int n_dims)
{
    enum { LONGEST_NUMBER = 24 };
    size_t used = 0;
    text[used++] = '(';
    for (int i = 0; i < n_dims; i++) {
        if (used + 2 * LONGEST_NUMBER > SA_SHAPE_TEXT) {
            used += (size_t)snprintf(text + used, SA_SHAPE_TEXT - used, ", ...");
            break;
        }
        used += (size_t)snprintf(text + used, SA_SHAPE_TEXT - used, i ? ", %td" : "%td", shape[i]);
    }
    snprintf(text + used, SA_SHAPE_TEXT - used, n_dims == 1 ? ",)" : ")");
    return text;
}

const char *sa_dtype_name(sa_dtype dtype)
{
    static const char *const names[] = {"bool",    "float16", "bfloat16",
                                        "float32", "float64", "int64"};
    return names[dtype];
}
