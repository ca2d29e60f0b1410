/* Sets of cores; see cores.h. */
#include "job/cores.h"

/* Some virtual machines report processors only, which then count as cores. */
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
    hwloc_obj_t core = NULL;
    while ((core = hwloc_get_next_obj_covering_cpuset_by_depth(topology, processors, depth, core)))
        if (hwloc_bitmap_intersects(core->cpuset, granted))
            CPU_SET(core->logical_index, &cores);
    return cores;
}

hwloc_bitmap_t dn_cores_processors(hwloc_topology_t topology, const dn_cores *cores, int n)
{
    hwloc_bitmap_t processors = hwloc_bitmap_alloc();
    hwloc_obj_t core = NULL;
    int position = 0;
    while (processors && (core = hwloc_get_next_obj_by_depth(topology, core_depth(topology), core)))
        if (CPU_ISSET(core->logical_index, cores) && (position++ == n || n < 0))
            hwloc_bitmap_or(processors, processors, core->cpuset);
    return processors;
}

int dn_cores_numa_nodes(hwloc_topology_t topology, const dn_cores *cores)
{
    hwloc_obj_t core = NULL, last = NULL;
    int count = 0;
    while ((core = hwloc_get_next_obj_by_depth(topology, core_depth(topology), core))) {
        if (!CPU_ISSET(core->logical_index, cores))
            continue;
        hwloc_obj_t near = core; /* the smallest part of the machine that has memory */
        while (near->memory_arity == 0)
            near = near->parent;
        count += near != last;
        last = near;
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
    const int count = CPU_COUNT(&allowed[rank]), sharers = dn_cores_sharers(allowed, ranks, rank);
    int parts = 0, part = 0, n = 0;
    for (int r = 0; r < ranks; r++) {
        const int same = CPU_EQUAL(&allowed[r], &allowed[rank]);
        parts += same;
        part += same && r < rank;
    }
    *share = allowed[rank];
    if (count < parts || parts < sharers)
        return sharers;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, share)) {
            if (n < part * count / parts || n >= (part + 1) * count / parts)
                CPU_CLR(i, share);
            n++;
        }
    return 1;
}
