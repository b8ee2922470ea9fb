/* tensors.h -- random arrays as a caller may lay them out, and their elements one at a time. */
#ifndef SA_TEST_TENSORS_H
#define SA_TEST_TENSORS_H

#include "../../csrc/include/selfattn.h"
#include "choices.h"

/* A tensor in a block of its own, which has not a byte more than its elements and the gaps between
 * them need. The gaps hold 0xFF: NaN in every float type, true in a mask. */
typedef struct {
    sa_tensor tensor;
    char *block;
    size_t n_bytes;
    size_t n_elements; /* in memory, an axis of stride 0 counted once */
} array;

typedef enum { FILL_NORMAL, FILL_LARGE, FILL_EQUAL, FILL_SPARSE, FILL_WILD, N_FILLS } fill;

/* What an array may look like: an axis may repeat one element (stride 0), and elements may lie at
 * odd addresses. Outputs may do neither. A plain one is C-contiguous. */
typedef struct {
    bool repeats, is_unaligned, is_plain;
} freedom;

/* Axes in any order in memory, forwards or backwards, with gaps or without. */
void array_new(array *a, choices *c, sa_dtype dtype, int n_dims, const ptrdiff_t *shape,
               freedom may);
void array_free(array *a);

void array_fill(array *a, choices *c, fill kind);
/* Bools true but for about one in `rareness`. */
void array_fill_mask(array *a, choices *c, uint64_t rareness);
/* -inf into about one element in `rareness`. */
void array_hide(array *a, choices *c, uint64_t rareness);
void array_fill_integers(array *a, choices *c, int64_t low, int64_t high);

/* The block, so that what was written beside the elements can be found: whether two blocks of one
 * shape and layout agree, and whether the bytes that belong to no element are still 0xFF. */
bool array_gaps_are_untouched(const array *a);

/* Moves the tensor by so many elements within its block: it then runs over an end. */
void array_shift(array *a, ptrdiff_t elements);

size_t dtype_bytes(sa_dtype dtype);

/* Element `index`, whose axes are joined to the tensor's from the last one as NumPy broadcasts;
 * absent tensors read as `absent`. */
double tensor_get(const sa_tensor *t, int n_dims, const ptrdiff_t *index, double absent);

#endif
