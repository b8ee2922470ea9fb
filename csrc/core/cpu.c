/* cpu.c -- CPUID, CPU counts and the floating-point control word.
 *
 * An instruction set counts only if CPUID has it *and* XCR0 says that the system saves its
 * registers (Intel SDM vol. 1, 13.2 and 14.3). Quotas: the least over our cgroup and its parents,
 * cpu.max of version 2 or cpu.cfs_quota_us / cpu.cfs_period_us of version 1.
 */
#define _GNU_SOURCE
#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned long long read_xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long long)high << 32 | low;
}

bool sa_cpu_can_run(const char *isa)
{
    unsigned a, b, c, d, b7, c7, d7;
    if (strcmp(isa, "scalar") == 0) {
        return true;
    }
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const unsigned first = fma | osxsave | avx | f16c;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & first) != first ||
        !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) {
        return false;
    }
    const unsigned avx2 = 1u << 5,
                   avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
    const unsigned long long ymm = 0x6, zmm = 0xE6, xcr0 = read_xcr0();
    const bool has_avx2 = (b7 & avx2) && (xcr0 & ymm) == ymm;
    if (strcmp(isa, "avx2") == 0) {
        return has_avx2;
    }
#ifdef SA_EMULATED_AVX512 /* a test build: that unit is made of AVX2 instructions */
    return strcmp(isa, "avx512") == 0 && has_avx2;
#endif
    return strcmp(isa, "avx512") == 0 && has_avx2 && (b7 & avx512) == avx512 && (xcr0 & zmm) == zmm;
}

unsigned long sa_fp_begin(void)
{
    const unsigned saved = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(0x9FC0);
    return saved;
}

void sa_fp_end(unsigned long word) { __builtin_ia32_ldmxcsr((unsigned)word); }

#elif defined(__aarch64__)

bool sa_cpu_can_run(const char *isa) { return strcmp(isa, "scalar") == 0; }

unsigned long sa_fp_begin(void)
{
    unsigned long saved;
    const unsigned long flush = 1ul << 24;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(flush));
    return saved;
}

void sa_fp_end(unsigned long word) { __asm__ volatile("msr fpcr, %0" : : "r"(word)); }

#else

bool sa_cpu_can_run(const char *isa) { return strcmp(isa, "scalar") == 0; }
unsigned long sa_fp_begin(void) { return 0; }
void sa_fp_end(unsigned long word) { (void)word; }

#endif

#ifdef __linux__
/* ceil(quota / period) from a file that holds one or both numbers, 0 if there is no limit. */
static int read_quota(const char *folder, const char *file, const char *period_file)
{
    char path[4200];
    long long quota = -1, period = 100000;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "re");
    if (!f) {
        return 0;
    }
    const int found = fscanf(f, "%lld %lld", &quota, &period);
    fclose(f);
    if (period_file && found == 1) {
        snprintf(path, sizeof path, "%s/%s", folder, period_file);
        f = fopen(path, "re");
        if (f) {
            if (fscanf(f, "%lld", &period) != 1) {
                quota = -1;
            }
            fclose(f);
        }
    }
    return found < 1 || quota <= 0 || period <= 0 ? 0 : (int)((quota + period - 1) / period);
}

static int least(int a, int b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/* The least quota of a cgroup and its parents: path is cut at its last slash until it is empty. */
static int least_quota(const char *mount, char *path, bool version_2)
{
    char folder[4160];
    int quota = 0;
    for (;;) {
        snprintf(folder, sizeof folder, "%s%s", mount, path);
        quota =
            least(quota, version_2 ? read_quota(folder, "cpu.max", NULL)
                                   : read_quota(folder, "cpu.cfs_quota_us", "cpu.cfs_period_us"));
        char *slash = strrchr(path, '/');
        if (!slash) {
            return quota;
        }
        *slash = 0;
    }
}

static int cgroup_quota(void)
{
    char line[4096];
    int quota = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : 0;
        if (!path) {
            continue;
        }
        *path++ = 0;
        controllers++;
        if (*controllers == 0) {
            quota = least(quota, least_quota("/sys/fs/cgroup", path, true));
        } else if (strstr(controllers, "cpu") && !strstr(controllers, "cpuset")) {
            quota = least(quota, least_quota("/sys/fs/cgroup/cpu", path, false));
        }
    }
    if (f) {
        fclose(f);
    }
    return quota;
}
#endif

int sa_count_cpus(void)
{
    int count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        count = CPU_COUNT(&set);
    }
    const int quota = cgroup_quota();
    count = quota > 0 && quota < count ? quota : count;
#endif
    return count > 0 ? count : 1;
}
