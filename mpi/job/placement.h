/*
 * Where the ranks of a job run: the cores of each, its threads, and whether they are pinned.
 *
 * Memory is first touched where it is used: the arena's pages are untouched when a net is made,
 * and the rank's own threads write them first. So all of a rank's memory is on its NUMA node
 * when its threads are, and warnings tell where they are not.
 */
#ifndef DN_PLACEMENT_H
#define DN_PLACEMENT_H

#include <stdio.h>

#include "job/comm.h"

/* Of threads to cores. */
typedef enum dn_pin { DN_PIN_AUTO, DN_PIN_OFF } dn_pin;

/* One rank's place, and its node as far as a cure needs it. Without padding: ranks compare and send
 * it as bytes. */
typedef struct dn_place {
    char host[DN_HOST_BYTES];
    int cores, numa_nodes; /* its own, or those it shares */
    int sharers;           /* ranks that run on these cores, itself included */
    int threads;
    int pinned; /* 1: each thread to a core, or all to the rank's cores; by us or by OpenMP */
    int virtual_ranks;
    int node_ranks, node_cores, node_numa_nodes, node_processors;
    int node_idle;          /* cores that the launcher bound no rank to */
    int quota, quota_ranks; /* hundredths of a processor, 0: no quota; ranks that it holds for */
} dn_place;

/*
 * Before all else: where ranks times threads (`threads`, else OMP_NUM_THREADS, else the default)
 * outnumber the node's processors or the CPU quota, as far as mpirun or srun tell, waiting ranks
 * and threads are to yield instead of spinning. Where mpirun bound this rank by its default alone,
 * it may use all cores again. OpenMP reads both before main, so the program then starts itself once
 * more (execv). Not collective.
 */
void dn_place_restart(char **argv, int threads);

/*
 * Finds this rank's place and sets the number of OpenMP threads: `threads`, else OMP_NUM_THREADS,
 * else one a core, as far as a CPU quota goes. Ranks of a node that may all use the same cores
 * divide them. Threads as many as the cores are pinned to one each, fewer to all of the rank's
 * cores together; not where `pin` is off, OMP_PLACES or OMP_PROC_BIND bind them, they outnumber the
 * cores, or ranks share cores. Threads made later may use all of the rank's cores. Collective.
 */
dn_status dn_place_create(dn_place *place, const dn_comm *comm, int threads, dn_pin pin);

/* Rank 0 prints the table of all ranks where `table` is set, and warns, with the cure.
 * `virtual_ranks` are the job's. DN_ENOMEM. Collective. */
dn_status dn_place_report(const dn_comm *comm, int virtual_ranks, int table);

/* The table of places(ranks); equal ones that follow each other share a row. Not collective. */
void dn_place_print(FILE *file, const dn_place *places, int ranks);

/* A line for each thing that is wrong with places(ranks): threads outnumber cores, ranks share
 * cores, a rank spans NUMA nodes, cores stay idle, a CPU quota is below the threads. It names the
 * first rank concerned, the number of others, and the cure. Not collective. */
void dn_place_warn(FILE *file, const dn_place *places, int ranks);

#endif
