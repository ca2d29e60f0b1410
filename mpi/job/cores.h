/*
 * Sets of a node's cores, and how ranks that may use the same cores divide them. Does not use MPI;
 * not collective.
 */
#ifndef DN_CORES_H
#define DN_CORES_H

#include <sched.h>

#include <hwloc.h>

/* A set of cores as plain data: bit i is the core with hwloc's logical index i. Cores of a NUMA
 * node have consecutive indices, and so have those that share a cache. */
typedef cpu_set_t dn_cores;

/* The cores with a processor in `processors`, without those that the operating system (a cgroup)
 * denies to this process and those beyond the first CPU_SETSIZE. */
dn_cores dn_cores_of(hwloc_topology_t topology, hwloc_const_bitmap_t processors);

/* The processors of the set's n-th core, or of all its cores if n < 0. The caller frees it; NULL if
 * out of memory. */
hwloc_bitmap_t dn_cores_processors(hwloc_topology_t topology, const dn_cores *cores, int n);

/* The number of NUMA nodes of the cores; several memories of the same cores count once. */
int dn_cores_numa_nodes(hwloc_topology_t topology, const dn_cores *cores);

/* The number of ranks, itself included, that may use a core of allowed[rank]. */
int dn_cores_sharers(const dn_cores *allowed, int ranks, int rank);

/*
 * *share = the rank's part of allowed[rank]. Ranks with the same set cut it into intervals of
 * consecutive cores whose lengths differ by at most one; if NUMA nodes are equal and the numbers
 * divide, an interval is a number of whole nodes or an equal part of one. If there are too few
 * cores, or a rank with another set may use some of them, *share = allowed[rank]. Returns the
 * number of ranks that run on the share, itself included.
 */
int dn_cores_divide(const dn_cores *allowed, int ranks, int rank, dn_cores *share);

#endif
