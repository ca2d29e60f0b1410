/*
 * Limits and counters of cgroups; see include/dn/limits.h. /proc/self/cgroup lists the groups of
 * this process, /proc/self/mountinfo where their files are: in a container the mounted folder may
 * be the group itself. A limit that cannot be read counts as none.
 */
#include "dn/limits.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A group of this process, or an ancestor of one. */
typedef struct group {
    const char *folder; /* of its files */
    int version;        /* of cgroups: 1 or 2 */
    int above;          /* levels above the process's own */
    int is_top;         /* 1: the top of its hierarchy, as far as it is visible */
} group;

typedef void visit_fn(const group *g, void *found);

static FILE *open_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < (int)sizeof path ? fopen(path, "re") : NULL;
}

/* The first two numbers of a file; `none` for missing ones ("max"). */
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

/* *found, a dn_limit, = the tighter of it and the group's. */
static void keep_least(const group *g, double amount, void *found)
{
    dn_limit *const least = found;
    struct stat info;
    if (amount < least->amount && stat(g->folder, &info) == 0)
        *least = (dn_limit){.amount = amount, .group = info.st_ino};
}

static void visit_processors(const group *g, void *found)
{
    double quota[2]; /* quota and period */
    if (g->version == 2) {
        read_numbers(g->folder, "cpu.max", INFINITY, quota);
    } else {
        quota[0] = read_number(g->folder, "cpu.cfs_quota_us", INFINITY);
        quota[1] = read_number(g->folder, "cpu.cfs_period_us", INFINITY);
    }
    if (isfinite(quota[0]) && quota[0] > 0 && isfinite(quota[1]) && quota[1] > 0)
        keep_least(g, quota[0] / quota[1], found);
}

/* The page cache can be reclaimed. */
static void visit_memory(const group *g, void *found)
{
    static const char *const pages[2][4] = {{"total_active_file", "total_inactive_file"},
                                            {"active_file", "inactive_file", "slab_reclaimable"}};
    const int is_2 = g->version == 2;
    const double most =
        read_number(g->folder, is_2 ? "memory.max" : "memory.limit_in_bytes", INFINITY);
    const double used =
        read_number(g->folder, is_2 ? "memory.current" : "memory.usage_in_bytes", 0);
    const double files = sum_lines(g->folder, "memory.stat", pages[is_2]);
    if (most < 0x1p60) /* version 1 writes a huge number for none */
        keep_least(g, fmax(0, most - fmax(0, used - files)), found);
}

/* In version 1 a group counts its own kills, in version 2 also those of its descendants. The top of
 * a hierarchy represents the machine, unless the process is in it. */
static void visit_kills(const group *g, void *found)
{
    static const char *const lines[] = {"oom_kill", NULL};
    if (g->above == 0 || (g->above == 1 && !g->is_top))
        *(double *)found +=
            sum_lines(g->folder, g->version == 2 ? "memory.events" : "memory.oom_control", lines);
}

/* Whether the comma-separated list contains the word. */
static int has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && strchr(",\n", at[length]) != NULL)
            return 1;
    return 0;
}

/* Visits the group at folder `top` + `below` and its ancestors up to `top`. */
static void climb(const char *top, const char *below, int version, visit_fn *visit, void *found)
{
    char folder[PATH_MAX];
    const size_t end = strlen(top);
    if (snprintf(folder, sizeof folder, "%s%s", top, below) >= (int)sizeof folder)
        return;
    for (int above = 0;; above++) {
        visit(&(group){folder, version, above, strlen(folder) == end}, found);
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + end)
            return;
        *slash = '\0';
    }
}

/* Visits the group `path` of a hierarchy and its ancestors, wherever it is mounted. */
static void follow(const char *root, const char *controller, const char *path, int version,
                   visit_fn *visit, void *found)
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
        /* The mount may be of a group itself. */
        const size_t inside = strcmp(inner, "/") == 0 ? 0 : strlen(inner);
        const int is_below = strncmp(path, inner, inside) == 0 &&
                             strchr("/", path[inside]) != NULL && strstr(path, "/..") == NULL;
        snprintf(top, sizeof top, "%s%s", root, outer);
        const char *below = is_below ? path + inside : "";
        climb(top, strcmp(below, "/") == 0 ? "" : below, version, visit, found);
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

/* Visits the groups of the controller's hierarchies, each from the process's own to the top. */
static void visit_groups(const char *root, const char *controller, visit_fn *visit, void *found)
{
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
            follow(root, controller, path, *controllers == '\0' ? 2 : 1, visit, found);
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

dn_limit dn_limit_processors(const char *root)
{
    dn_limit least = {.amount = INFINITY};
    visit_groups(root, "cpu", visit_processors, &least);
    return least;
}

dn_limit dn_limit_memory(const char *root)
{
    dn_limit least = {.amount = INFINITY};
    visit_groups(root, "memory", visit_memory, &least);
    return least;
}

double dn_limit_kills(const char *root)
{
    double kills = 0;
    visit_groups(root, "memory", visit_kills, &kills);
    return kills;
}

double dn_machine_memory(const char *root)
{
    static const char *const lines[] = {"MemAvailable:", "SwapFree:", NULL};
    const double kib = sum_lines(root, "proc/meminfo", lines);
    return kib > 0 ? kib * 1024 : INFINITY;
}

double dn_memory_left(const char *root)
{
    return fmin(dn_limit_memory(root).amount, dn_machine_memory(root));
}

int dn_limit_threads(double processors, int ranks, int most)
{
    const double each = ranks > 1 ? floor(processors / ranks) : ceil(processors);
    return each >= most ? most : each >= 1 ? (int)each : 1;
}
