/* cpu.h -- what the processor and the operating system offer. Internal to the core. */
#ifndef SA_CPU_H
#define SA_CPU_H

#include <stdbool.h>

/* Whether this CPU has the instructions of a unit and the system saves its registers. */
bool sa_cpu_can_run(const char *isa);

/* CPUs this process may use: affinity and cgroup quota (rounded up); at least 1. */
int sa_count_cpus(void);

/* Floating-point control for kernels: nearest, no traps, subnormals as zero. Returns the caller's
 * word, sticky flags included, for sa_fp_end. */
unsigned long sa_fp_begin(void);
void sa_fp_end(unsigned long word);

#endif
