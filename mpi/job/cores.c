/* Sets of cores; see cores.h. */
#include "job/cores.h"

/* Some virtual machines tell of processors only, which are then the cores. */
static int core_depth(hwloc_topology_t topology)
{
    return hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE);
}

dn_cores dn_cores_of(hwloc_topology_t topology, hwloc_const_bitmap_t processors)
{
    const int depth = core_depth(topology);
    const hwloc_const_bitmap_t granted = hwloc_topology_get_allowed_cpuset(topology);
    dn_cores cores;
    CPU_ZERO(&cores);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        const hwloc_obj_t core = hwloc_get_obj_by_depth(topology, depth, (unsigned)i);
        if (core != NULL && hwloc_bitmap_intersects(core->cpuset, processors) &&
            hwloc_bitmap_intersects(core->cpuset, granted))
            CPU_SET(i, &cores);
    }
    return cores;
}

void dn_cores_processors(hwloc_topology_t topology, const dn_cores *cores, int n,
                         hwloc_bitmap_t processors)
{
    const int depth = core_depth(topology);
    hwloc_bitmap_zero(processors);
    for (int i = 0, found = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, cores))
            continue;
        if (n < 0 || found == n)
            hwloc_bitmap_or(processors, processors,
                            hwloc_get_obj_by_depth(topology, depth, (unsigned)i)->cpuset);
        found++;
    }
}

/* The first memory of those with the same cores. */
static int is_first_memory(hwloc_topology_t topology, hwloc_obj_t node)
{
    for (unsigned i = 0; i < node->logical_index; i++) {
        const hwloc_obj_t other = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
        if (hwloc_bitmap_isequal(other->cpuset, node->cpuset))
            return 0;
    }
    return 1;
}

int dn_cores_numa_nodes(hwloc_topology_t topology, const dn_cores *cores)
{
    const int all = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    int count = 0;
    for (int i = 0; i < all; i++) {
        const hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, (unsigned)i);
        dn_cores near = dn_cores_of(topology, node->cpuset);
        CPU_AND(&near, &near, cores);
        count += CPU_COUNT(&near) > 0 && is_first_memory(topology, node);
    }
    return count;
}

int dn_cores_sharers(const dn_cores *allowed, int ranks, int rank)
{
    int sharers = 0;
    for (int r = 0; r < ranks; r++) {
        dn_cores both;
        CPU_AND(&both, &allowed[r], &allowed[rank]);
        sharers += CPU_COUNT(&both) > 0;
    }
    return sharers;
}

int dn_cores_divide(const dn_cores *allowed, int ranks, int rank, dn_cores *share)
{
    const int count = CPU_COUNT(&allowed[rank]);
    int parts = 0, part = 0;
    for (int r = 0; r < ranks; r++) {
        const int same = CPU_EQUAL(&allowed[r], &allowed[rank]);
        parts += same;
        part += same && r < rank;
    }
    *share = allowed[rank];
    if (count < parts || parts < dn_cores_sharers(allowed, ranks, rank))
        return 0;
    CPU_ZERO(share);
    const int first = part * count / parts, last = (part + 1) * count / parts;
    for (int i = 0, n = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed[rank])) {
            if (n >= first && n < last)
                CPU_SET(i, share);
            n++;
        }
    return 1;
}
