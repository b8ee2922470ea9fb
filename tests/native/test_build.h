/* test_build.h -- what a test build adds to the core: refused requests and bugs on purpose. */
#ifndef SA_TEST_BUILD_H
#define SA_TEST_BUILD_H

#include <stdbool.h>

/* From now on refuse request `first` to the system (0: the next one), or with `all_after` also
 * every later one; first < 0: none. Counting starts anew. */
void sa_test_refuse(long first, bool all_after);
/* Requests made since then. */
long sa_test_count_requests(void);
/* Blocks of memory taken from the system and not given back. */
long sa_test_count_blocks(void);

/* Names of the bugs that sa_test_plant knows, ended by NULL. */
extern const char *const sa_test_bugs[];
/* Commit one, so that a checker can show that it would see it; false for an unknown name. */
bool sa_test_plant(const char *bug);

#endif
