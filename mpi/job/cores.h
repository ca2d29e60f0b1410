/*
 * Sets of a node's cores, and how ranks that may all use the same ones divide them. Knows nothing
 * of MPI; not collective.
 */
#ifndef DN_CORES_H
#define DN_CORES_H

#include <sched.h>

#include <hwloc.h>

/* A set of the C library's, plain data: i stands for the core of hwloc's logical index i.
 * Neighbouring indices are neighbours in the machine: those of a NUMA node follow each other, and
 * so do those of a cache. */
typedef cpu_set_t dn_cores;

/* The cores with a processor among `processors`; those that the operating system (a cgroup) keeps
 * from this process are left out, and so are those beyond the first CPU_SETSIZE. */
dn_cores dn_cores_of(hwloc_topology_t topology, hwloc_const_bitmap_t processors);

/* The processors of the set's n-th core, or of all its cores where n < 0. The caller frees them;
 * NULL without memory. */
hwloc_bitmap_t dn_cores_processors(hwloc_topology_t topology, const dn_cores *cores, int n);

/* The NUMA nodes that the cores lie on; several memories of the same cores count once. */
int dn_cores_numa_nodes(hwloc_topology_t topology, const dn_cores *cores);

/* The ranks, itself included, that may use a core that allowed[rank] holds. */
int dn_cores_sharers(const dn_cores *allowed, int ranks, int rank);

/*
 * share = the cores that are left to the rank when those with the same set cut it into intervals of
 * neighbours, equal but for one core; on equal NUMA nodes these are whole nodes, or equal parts of
 * one, wherever the numbers divide. Or allowed[rank], where the cores are too few or a rank with
 * another set may use them too. Returns the ranks that run on the share, itself included.
 */
int dn_cores_divide(const dn_cores *allowed, int ranks, int rank, dn_cores *share);

#endif
