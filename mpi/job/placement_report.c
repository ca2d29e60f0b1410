/* The table of places and the warnings; see placement.h. */
#include "job/placement.h"

#include <string.h>

static int is_equal(const dn_place *a, const dn_place *b)
{
    return strcmp(a->host, b->host) == 0 && a->numa_nodes == b->numa_nodes &&
           a->cores == b->cores && a->sharers == b->sharers && a->threads == b->threads &&
           a->pinned == b->pinned && a->virtual_ranks == b->virtual_ranks;
}

void dn_place_print(FILE *file, const dn_place *places, int ranks)
{
    fprintf(file, "%-11s %-16s %10s %6s %8s %7s %14s\n", "rank", "host", "NUMA nodes", "cores",
            "threads", "pinned", "virtual ranks");
    for (int first = 0, next; first < ranks; first = next) {
        const dn_place *p = &places[first];
        for (next = first + 1; next < ranks && is_equal(p, &places[next]);)
            next++;
        char range[32];
        if (next - first == 1)
            snprintf(range, sizeof range, "%d", first);
        else
            snprintf(range, sizeof range, "%d-%d", first, next - 1);
        fprintf(file, "%-11s %-16s %10d %6d %8d %7s %14d\n", range, p->host, p->numa_nodes,
                p->cores, p->threads, p->pinned ? "yes" : "no", p->virtual_ranks);
    }
}

static int at_least_1(int n)
{
    return n > 1 ? n : 1;
}

/* text(size) = what could be wrong with a rank's place; returns 1 where it is. */
static int describe(const dn_place *p, dn_place_warning warning, char *text, size_t size)
{
    if (warning == DN_WARN_THREADS) {
        snprintf(text, size, "%d threads on %d cores", p->threads, p->cores);
        return p->threads > p->cores;
    }
    if (warning == DN_WARN_SHARED) {
        snprintf(text, size, "%d ranks share %d of the node's %d cores", p->sharers, p->cores,
                 p->node_cores);
        return p->sharers > 1;
    }
    snprintf(text, size, "its %d cores lie on %d NUMA nodes", p->cores, p->numa_nodes);
    return p->numa_nodes > 1;
}

/* Launch options for `ranks` on each `unit` of `cores` cores. Slurm counts processors. */
static void cure(const dn_place *p, int ranks, int units, char *text, size_t size)
{
    const int cores = at_least_1(p->node_cores / units / ranks);
    const int processors = at_least_1(p->node_processors / at_least_1(p->node_cores));
    snprintf(text, size,
             "mpirun --map-by ppr:%d:%s:PE=%d --bind-to core, or srun --ntasks-per-node=%d "
             "--cpus-per-task=%d --cpu-bind=cores",
             ranks, units > 1 ? "numa" : "node", cores, ranks * units, cores * processors);
}

/* Fewer threads, or more cores where the node has them. */
static void cure_threads(const dn_place *p, char *text, size_t size)
{
    const int fitting = p->node_cores / p->threads; /* ranks on the node */
    char launch[224] = "";
    if (fitting > 0)
        cure(p, fitting < p->node_ranks ? fitting : p->node_ranks, 1, launch, sizeof launch);
    snprintf(text, size, "--threads %d%s%s", at_least_1(p->cores / p->sharers),
             fitting > 0 ? ", or with more cores a rank " : "", launch);
}

int dn_place_warn(const dn_place *places, int ranks, dn_place_warning warning, char *text,
                  size_t size)
{
    char what[128], more[48] = "", how[256];
    int first = -1, others = -1;
    for (int r = ranks - 1; r >= 0; r--)
        if (describe(&places[r], warning, what, sizeof what)) {
            first = r;
            others++;
        }
    if (first < 0)
        return 0;
    const dn_place *p = &places[first];
    describe(p, warning, what, sizeof what);
    if (others > 0)
        snprintf(more, sizeof more, " (and %d more)", others);
    if (warning == DN_WARN_THREADS)
        cure_threads(p, how, sizeof how);
    else if (warning == DN_WARN_SHARED)
        cure(p, p->node_ranks < p->node_cores ? p->node_ranks : at_least_1(p->node_cores), 1, how,
             sizeof how);
    else
        cure(p, at_least_1(p->node_ranks / p->node_numa_nodes), p->node_numa_nodes, how,
             sizeof how);
    snprintf(text, size, "rank %d on %s%s: %s; use %s", first, p->host, more, what, how);
    return 1;
}
