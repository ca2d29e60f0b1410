/* Collects the places of all ranks, and prints the table and the warnings; see placement.h. */
#include "job/placement.h"

#include <stdlib.h>
#include <string.h>

#include "dn/tree.h"

enum { RANGE_BYTES = 24 };

/* "first-last", or one number. */
static const char *range(char text[RANGE_BYTES], int first, int last)
{
    snprintf(text, RANGE_BYTES, first < last ? "%d-%d" : "%d", first, last);
    return text;
}

/* 1 if the places differ in nothing but virtual ranks. */
static int are_alike(const dn_place *a, const dn_place *b)
{
    dn_place other = *b;
    other.virtual_ranks = a->virtual_ranks;
    return memcmp(a, &other, sizeof *a) == 0;
}

void dn_place_print(FILE *file, const dn_place *places, int ranks)
{
    char numbers[RANGE_BYTES], virtual_ranks[RANGE_BYTES];
    fprintf(file, "%-11s %-16s %10s %6s %8s %7s %14s\n", "rank", "host", "NUMA nodes", "cores",
            "threads", "pinned", "virtual ranks");
    for (int first = 0, next; first < ranks; first = next) {
        const dn_place *p = &places[first];
        int least = p->virtual_ranks, most = least;
        for (next = first + 1; next < ranks && are_alike(p, &places[next]); next++) {
            const int own = places[next].virtual_ranks;
            least = own < least ? own : least;
            most = own > most ? own : most;
        }
        fprintf(file, "%-11s %-16s %10d %6d %8d %7s %14s\n", range(numbers, first, next - 1),
                p->host, p->numa_nodes, p->cores, p->threads, p->pinned ? "yes" : "no",
                range(virtual_ranks, least, most));
        if (p->quota > 0 && (first == 0 || strcmp(p->host, p[-1].host) != 0))
            fprintf(file, "            a CPU quota grants %d ranks of %s %.2f processors\n",
                    p->quota_ranks, p->host, p->quota / 100.0);
    }
}

typedef enum flaw { CROWDED, SHARED, SPREAD, IDLE, THROTTLED } flaw;

static int has_flaw(const dn_place *p, flaw what)
{
    switch (what) {
    case CROWDED:
        return p->threads > p->cores;
    case SHARED:
        return p->sharers > 1;
    case SPREAD:
        return p->numa_nodes > 1;
    case IDLE:
        return p->node_idle > 0;
    default:
        return p->quota > 0 && 100 * (p->quota_ranks * p->threads - 1) >= p->quota;
    }
}

/* Begins a warning and returns the first place with that flaw; NULL if no place has it. */
static const dn_place *begin_warning(FILE *file, const dn_place *places, int ranks, flaw what)
{
    int first = -1, count = 0;
    for (int r = ranks - 1; r >= 0; r--) {
        if (has_flaw(&places[r], what)) {
            first = r;
            count++;
        }
    }
    if (count == 0)
        return NULL;
    fprintf(file, "warning: rank %d on %s", first, places[first].host);
    if (count > 1)
        fprintf(file, " (and %d more)", count - 1);
    return &places[first];
}

static int within_1_and(int most, int n)
{
    return n < 1 ? 1 : n < most ? n : most;
}

/* Ends a warning with launch options for `wanted` ranks (at most the present number) on each of
 * `units` equal parts of the node. Slurm counts processors. */
static void print_launch(FILE *file, const dn_place *p, int wanted, int units)
{
    const int ranks = within_1_and(p->node_ranks, wanted);
    const int cores = within_1_and(p->node_cores, p->node_cores / units / ranks);
    const int processors = p->node_processors / p->node_cores;
    fprintf(file,
            "mpirun --map-by ppr:%d:%s:PE=%d --bind-to core, or srun --ntasks-per-node=%d "
            "--cpus-per-task=%d --cpu-bind=cores\n",
            ranks, units > 1 ? "numa" : "node", cores, ranks * units, cores * processors);
}

void dn_place_warn(FILE *file, const dn_place *places, int ranks)
{
    const dn_place *p;
    if ((p = begin_warning(file, places, ranks, CROWDED)) != NULL) {
        const int fitting = p->node_cores / p->threads; /* ranks on the node */
        fprintf(file, ": %d threads on %d cores; use --threads %d%s", p->threads, p->cores,
                within_1_and(p->cores, p->cores / p->sharers),
                fitting > 0 ? ", or with more cores a rank " : "\n");
        if (fitting > 0)
            print_launch(file, p, fitting, 1);
    }
    if ((p = begin_warning(file, places, ranks, SHARED)) != NULL) {
        fprintf(file, ": %d ranks share %d of the node's %d cores; use ", p->sharers, p->cores,
                p->node_cores);
        print_launch(file, p, p->node_cores, 1);
    }
    if ((p = begin_warning(file, places, ranks, SPREAD)) != NULL) {
        fprintf(file, ": its %d cores lie on %d NUMA nodes; use ", p->cores, p->numa_nodes);
        print_launch(file, p, p->node_ranks / p->node_numa_nodes, p->node_numa_nodes);
    }
    if ((p = begin_warning(file, places, ranks, IDLE)) != NULL) {
        fprintf(file, ": %d of the node's %d cores stay idle, no rank is bound to them; use ",
                p->node_idle, p->node_cores);
        print_launch(file, p, p->node_ranks, 1);
    }
    if ((p = begin_warning(file, places, ranks, THROTTLED)) != NULL)
        fprintf(file,
                ": a CPU quota of %.2f processors holds back %d x %d threads; raise it (cgroup "
                "cpu.max, docker --cpus), or use fewer\n",
                p->quota / 100.0, p->quota_ranks, p->threads);
}

dn_status dn_place_report(const dn_comm *comm, int virtual_ranks, int table)
{
    dn_place own = *comm->place, *all = NULL;
    own.virtual_ranks = dn_share_begin(virtual_ranks, comm->size, comm->rank + 1) -
                        dn_share_begin(virtual_ranks, comm->size, comm->rank);
    dn_status status = DN_OK;
    if (comm->rank == 0 && (all = malloc((size_t)comm->size * sizeof *all)) == NULL)
        status = dn_fail(DN_ENOMEM, "out of memory for a table of %d ranks", comm->size);
    DN_TRY(dn_comm_agree(comm, status));
    DN_COLLECTIVE(
        comm, MPI_Gather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, 0, comm->world));
    if (all == NULL)
        return DN_OK;
    if (table)
        dn_place_print(stdout, all, comm->size);
    dn_place_warn(stderr, all, comm->size);
    free(all);
    return DN_OK;
}
