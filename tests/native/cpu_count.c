/* cpu_count.c -- sa_count_cpus of a system whose cgroup files lie under the folder argv[1]; see
 * tests/test_cpus.py. */
#define _GNU_SOURCE
#include <stdio.h>

static const char *root;

static FILE *open_under_root(const char *path, const char *mode)
{
    char name[8192];
    snprintf(name, sizeof name, "%s%s", root, path);
    return fopen(name, mode);
}

#define fopen open_under_root
#include "../../csrc/core/cpu.c"

int main(int argc, char *argv[])
{
    root = argc > 1 ? argv[1] : "";
    printf("%d\n", sa_count_cpus());
    return 0;
}
