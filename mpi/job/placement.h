/*
 * Placement of a job's ranks: their cores and threads, and whether these are pinned.
 *
 * Memory is allocated by first touch: creating a net leaves the arena's pages untouched, and the
 * rank's threads write them first. So a rank's memory is on the NUMA node of its threads, and
 * warnings are printed if these span several nodes.
 */
#ifndef DN_PLACEMENT_H
#define DN_PLACEMENT_H

#include <stdio.h>

#include "job/comm.h"

/* Pinning of threads to cores. */
typedef enum dn_pin { DN_PIN_AUTO, DN_PIN_OFF } dn_pin;

/* The place of one rank, and what warnings need of its node. Without padding, as ranks compare and
 * send it as bytes. */
typedef struct dn_place {
    dn_host host;
    int cores, numa_nodes; /* its own, or shared ones */
    int sharers;           /* ranks that run on these cores, itself included */
    int threads;
    int pinned; /* 1: each thread to a core, or all to the rank's cores, by dn_place_create or by
                   OpenMP */
    int virtual_ranks;
    int node_ranks, node_cores, node_numa_nodes, node_processors;
    int node_idle;          /* cores that the launcher bound no rank to */
    int quota, quota_ranks; /* hundredths of a processor, 0: no quota; the ranks that share it */
} dn_place;

/*
 * Call it before the first OpenMP region and before dn_comm_init. Makes idle threads spin for less
 * than a millisecond; makes waiting ranks and threads yield at once if ranks times threads
 * (`threads`, else OMP_NUM_THREADS, else the default) exceed the node's processors or the CPU
 * quota, as far as mpirun or srun tell. The user's OMP_WAIT_POLICY and GOMP_SPINCOUNT have
 * precedence. If mpirun bound this rank only by its default, lifts that binding. OpenMP reads all
 * this before main, so the program then re-executes itself (execv). Not collective.
 */
void dn_place_restart(char **argv, int threads);

/*
 * Finds this rank's place and sets the number of OpenMP threads: `threads`, else OMP_NUM_THREADS,
 * else one per core, limited by a CPU quota; at most OMP_THREAD_LIMIT. Ranks of a node that may use
 * the same cores divide them. If there are as many threads as cores each is pinned to one; fewer
 * threads are all pinned to the set of the rank's cores. Nothing is pinned if `pin` is off, if
 * OMP_PLACES or OMP_PROC_BIND bind threads, if threads outnumber cores, or if ranks share cores.
 * Threads created later may use all of the rank's cores. DN_ENOMEM, DN_EIO,
 * DN_EINVAL. Collective.
 */
dn_status dn_place_create(dn_place *place, const dn_comm *comm, int threads, dn_pin pin);

/* Rank 0 prints the table of all ranks if `table` is set, and the warnings. `virtual_ranks` are the
 * job's. DN_ENOMEM. Collective. */
dn_status dn_place_report(const dn_comm *comm, int virtual_ranks, int table);

/* Prints the table of places(ranks); consecutive ones that differ in nothing but virtual ranks
 * share a row. Not collective. */
void dn_place_print(FILE *file, const dn_place *places, int ranks);

/* Prints a warning for each problem of places(ranks): threads outnumber cores, ranks share cores, a
 * rank spans NUMA nodes, cores are idle, a CPU quota is below the threads. It names the first rank
 * concerned, the number of others, and the remedy. Not collective. */
void dn_place_warn(FILE *file, const dn_place *places, int ranks);

#endif
