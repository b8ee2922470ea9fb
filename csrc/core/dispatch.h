/* dispatch.h -- the choice of a unit. Internal to the core, and to the binding's probes. */
#ifndef SA_DISPATCH_H
#define SA_DISPATCH_H

#include "../kernels/kernels.h"

/* The function table of a unit that this build and CPU can run, else NULL; isa NULL: the unit in
 * use. compute is SA_F32 or SA_F64. */
const sa_kernels *sa_get_kernels(const char *isa, sa_dtype compute);

#endif
