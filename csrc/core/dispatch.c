/* dispatch.c -- which unit computes: the best one that build, CPU and SELFATTN_MAX_ISA allow. */
#include "dispatch.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "pool.h"
#include "status.h"

#define SA_UNIT(name) extern const sa_kernels sa_kernels_##name##_f32, sa_kernels_##name##_f64;
#include "units.def"
#undef SA_UNIT

typedef struct {
    const char *isa;
    const sa_kernels *f32, *f64;
} unit;

static const unit units[] = {
#define SA_UNIT(name) {#name, &sa_kernels_##name##_f32, &sa_kernels_##name##_f64},
#include "units.def"
#undef SA_UNIT
};

enum { N_UNITS = sizeof units / sizeof units[0] };

/* Names that SELFATTN_MAX_ISA knows, in rising order; some may not be in this build. */
static const char *const known_isas[] = {"scalar", "avx2", "avx512", "amx"};
enum { N_KNOWN = sizeof known_isas / sizeof known_isas[0] };

static bool usable[N_UNITS];
static _Atomic(const unit *) in_use = &units[N_UNITS - 1];

static int rank_of(const char *isa)
{
    for (int i = 0; i < N_KNOWN; i++) {
        if (strcmp(isa, known_isas[i]) == 0) {
            return i;
        }
    }
    return -1;
}

sa_status sa_init(const char *max_isa, sa_error *error)
{
    const char *cap = max_isa ? max_isa : getenv("SELFATTN_MAX_ISA");
    const int most = cap && *cap ? rank_of(cap) : N_KNOWN;
    if (most < 0) {
        return sa_fail(error, SA_VALUE_ERROR,
                       "SELFATTN_MAX_ISA is '%.40s': expected one of scalar, avx2, avx512, amx",
                       cap);
    }
    sa_pool_begin();
    for (int i = N_UNITS - 1; i >= 0; i--) {
        usable[i] = rank_of(units[i].isa) <= most && sa_cpu_can_run(units[i].isa);
        if (usable[i]) {
            atomic_store(&in_use, &units[i]);
        }
    }
    return SA_OK;
}

int sa_get_units(const char *names[], int capacity)
{
    int count = 0;
    for (int pass = 0; pass < 2; pass++) { /* the one in use first */
        for (int i = 0; i < N_UNITS && count < capacity; i++) {
            if (usable[i] && (&units[i] == atomic_load(&in_use)) == (pass == 0)) {
                names[count++] = units[i].isa;
            }
        }
    }
    return count;
}

int sa_get_built_units(const char *names[], int capacity)
{
    int count = 0;
    for (; count < N_UNITS && count < capacity; count++) {
        names[count] = units[count].isa;
    }
    return count;
}

sa_status sa_use_unit(const char *isa, sa_error *error)
{
    for (int i = 0; i < N_UNITS; i++) {
        if (usable[i] && strcmp(units[i].isa, isa) == 0) {
            atomic_store(&in_use, &units[i]);
            return SA_OK;
        }
    }
    const char *names[N_UNITS];
    const int count = sa_get_units(names, N_UNITS);
    char list[80] = "";
    for (int i = 0; i < count; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, i ? ", %s" : "%s", names[i]);
    }
    return sa_fail(error, SA_VALUE_ERROR, "unit is '%.40s': expected one of %s", isa, list);
}

const sa_kernels *sa_get_kernels(const char *isa, sa_dtype compute)
{
    const unit *found = isa ? NULL : atomic_load(&in_use);
    for (int i = 0; isa && i < N_UNITS; i++) {
        if (usable[i] && strcmp(units[i].isa, isa) == 0) {
            found = &units[i];
        }
    }
    return !found ? NULL : compute == SA_F64 ? found->f64 : found->f32;
}
