/* memory.h -- memory whose ends are watched.
 *
 * Between two inaccessible pages a block lies flush against the upper or the lower one: one byte
 * too far is a fault whatever instruction reads it, where a compiler's sanitizer knows no masked,
 * gathered or hand-written access. On the heap a block has exactly its size, for ASan and valgrind.
 */
#ifndef SA_TEST_MEMORY_H
#define SA_TEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { AT_UPPER_PAGE, AT_LOWER_PAGE, ON_HEAP } placement;

/* Where the blocks taken from now on lie. */
void memory_place(placement where);

/* n bytes, all 0xFF. Ends the program if there are none. */
void *memory_take(size_t n);
void memory_give(void *block);

/* Whether an address is in a page that watches a block; `at` is its distance from the block's first
 * byte and n the block's size. */
bool memory_explain(const void *address, ptrdiff_t *at, size_t *n);

/* From now on each block of the core's scratch memory is moved by so many bytes (a multiple of 64),
 * so that its owner runs over an end: the planted bug of the scratch memory. */
void memory_shift_scratch(ptrdiff_t bytes);

#endif
