/*
 * Limits of cgroups; see include/dn/limits.h. /proc/self/cgroup says which groups this process is
 * in, /proc/self/mountinfo where their files are: in a container the mounted folder may be the
 * group itself. What cannot be read is no limit.
 */
#include "dn/limits.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef double dn_read_limit_fn(const char *folder, int version);

static FILE *open_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < (int)sizeof path ? fopen(path, "re") : NULL;
}

/* The first two numbers of a file, `none` for those that are not there ("max"). */
static void read_numbers(const char *folder, const char *name, double none, double number[2])
{
    FILE *file = open_file(folder, name);
    number[0] = number[1] = none;
    if (file != NULL && fscanf(file, "%lf", &number[0]) != 1)
        (void)!fscanf(file, "%*s");
    if (file != NULL) {
        (void)!fscanf(file, "%lf", &number[1]);
        fclose(file);
    }
}

static double read_number(const char *folder, const char *name, double none)
{
    double number[2];
    read_numbers(folder, name, none, number);
    return number[0];
}

/* The sum of the lines of a file that begin with one of the names. */
static double sum_lines(const char *folder, const char *file_name, const char *const *names)
{
    char line[256], name[64];
    double sum = 0, value;
    FILE *file = open_file(folder, file_name);
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        for (int i = 0; names[i] != NULL; i++)
            if (sscanf(line, "%63s %lf", name, &value) == 2 && strcmp(name, names[i]) == 0)
                sum += value;
    if (file != NULL)
        fclose(file);
    return sum;
}

static double read_processors(const char *folder, int version)
{
    double quota[2]; /* and its period */
    if (version == 2) {
        read_numbers(folder, "cpu.max", INFINITY, quota);
    } else {
        quota[0] = read_number(folder, "cpu.cfs_quota_us", INFINITY);
        quota[1] = read_number(folder, "cpu.cfs_period_us", INFINITY);
    }
    const int is_limit = isfinite(quota[0]) && quota[0] > 0 && isfinite(quota[1]) && quota[1] > 0;
    return is_limit ? quota[0] / quota[1] : INFINITY;
}

/* Pages of files can be taken back. */
static double read_memory(const char *folder, int version)
{
    static const char *const pages[2][4] = {{"total_active_file", "total_inactive_file"},
                                            {"active_file", "inactive_file", "slab_reclaimable"}};
    const double most =
        read_number(folder, version == 2 ? "memory.max" : "memory.limit_in_bytes", INFINITY);
    const double used =
        read_number(folder, version == 2 ? "memory.current" : "memory.usage_in_bytes", 0);
    if (most >= 0x1p60) /* version 1 has no word for none */
        return INFINITY;
    return fmax(0, most - fmax(0, used - sum_lines(folder, "memory.stat", pages[version - 1])));
}

/* 1 where the comma-separated list holds the word. */
static int has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && strchr(",\n", at[length]) != NULL)
            return 1;
    return 0;
}

/* From the group at folder `top` + `below` up to `top`. */
static void climb(const char *top, const char *below, int version, dn_read_limit_fn *read,
                  dn_limit *least)
{
    char folder[PATH_MAX];
    const size_t end = strlen(top);
    if (snprintf(folder, sizeof folder, "%s%s", top, below) >= (int)sizeof folder)
        return;
    for (;;) {
        struct stat info;
        const double amount = read(folder, version);
        if (amount < least->amount && stat(folder, &info) == 0)
            *least = (dn_limit){.amount = amount, .group = info.st_ino};
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + end)
            return;
        *slash = '\0';
    }
}

/* Follows the group `path` of a hierarchy, where it is mounted. */
static void follow(const char *root, const char *controller, const char *path, int version,
                   dn_read_limit_fn *read, dn_limit *least)
{
    static const char *const types[] = {"cgroup", "cgroup2"};
    char *line = NULL;
    size_t size = 0;
    FILE *file = open_file(root, "proc/self/mountinfo");
    while (file != NULL && getline(&line, &size, file) > 0) {
        char inner[PATH_MAX], outer[PATH_MAX], type[32], top[2 * PATH_MAX];
        const char *rest = strstr(line, " - ");
        int options = 0;
        if (rest == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", inner, outer) != 2 ||
            sscanf(rest, " - %31s %*s %n", type, &options) != 1 || options == 0 ||
            strcmp(type, types[version - 1]) != 0 ||
            (version == 1 && !has_word(rest + options, controller)))
            continue;
        /* What is mounted may be a group itself. */
        const size_t inside = strcmp(inner, "/") == 0 ? 0 : strlen(inner);
        const int is_below = strncmp(path, inner, inside) == 0 && strstr(path, "/..") == NULL;
        snprintf(top, sizeof top, "%s%s", root, outer);
        const char *below = is_below ? path + inside : "";
        climb(top, strcmp(below, "/") == 0 ? "" : below, version, read, least);
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

static dn_limit find_limit(const char *root, const char *controller, dn_read_limit_fn *read)
{
    dn_limit least = {.amount = INFINITY};
    char *line = NULL;
    size_t size = 0;
    FILE *file = open_file(root, "proc/self/cgroup");
    while (file != NULL && getline(&line, &size, file) > 0) {
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *controllers++ = *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (*controllers == '\0' || has_word(controllers, controller))
            follow(root, controller, path, *controllers == '\0' ? 2 : 1, read, &least);
    }
    free(line);
    if (file != NULL)
        fclose(file);
    return least;
}

dn_limit dn_limit_processors(const char *root)
{
    return find_limit(root, "cpu", read_processors);
}

dn_limit dn_limit_memory(const char *root)
{
    return find_limit(root, "memory", read_memory);
}

double dn_machine_memory(const char *root)
{
    static const char *const lines[] = {"MemAvailable:", "SwapFree:", NULL};
    const double kib = sum_lines(root, "proc/meminfo", lines);
    return kib > 0 ? kib * 1024 : INFINITY;
}

int dn_limit_threads(double processors, int ranks, int most)
{
    const double each = ranks > 1 ? floor(processors / ranks) : ceil(processors);
    return each >= most ? most : each >= 1 ? (int)each : 1;
}
