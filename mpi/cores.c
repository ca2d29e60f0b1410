/* Sets of cores; see cores.h. */
#include "cores.h"

#include <string.h>

static int has(const dn_cores *cores, int i)
{
    return (int)(cores->word[i / DN_CORE_WORD] >> (i % DN_CORE_WORD) & 1);
}

static void add(dn_cores *cores, int i)
{
    cores->word[i / DN_CORE_WORD] |= 1ul << (i % DN_CORE_WORD);
}

/* Some virtual machines tell of processors only, which are then the cores. */
static int core_depth(hwloc_topology_t topology)
{
    return hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE);
}

dn_status dn_cores_of(hwloc_topology_t topology, hwloc_const_bitmap_t processors, dn_cores *cores)
{
    const int depth = core_depth(topology);
    const int count = (int)hwloc_get_nbobjs_by_depth(topology, depth);
    const hwloc_const_bitmap_t granted = hwloc_topology_get_allowed_cpuset(topology);
    *cores = (dn_cores){0};
    DN_CHECK(count <= DN_MOST_CORES, DN_EINVAL, "node: found %d cores, expected at most %d", count,
             DN_MOST_CORES);
    for (int i = 0; i < count; i++) {
        const hwloc_obj_t core = hwloc_get_obj_by_depth(topology, depth, (unsigned)i);
        if (hwloc_bitmap_intersects(core->cpuset, processors) &&
            hwloc_bitmap_intersects(core->cpuset, granted))
            add(cores, i);
    }
    return DN_OK;
}

int dn_cores_count(const dn_cores *cores)
{
    int count = 0;
    for (int i = 0; i < DN_MOST_CORES / DN_CORE_WORD; i++)
        count += __builtin_popcountl(cores->word[i]);
    return count;
}

void dn_cores_processors(hwloc_topology_t topology, const dn_cores *cores, int n,
                         hwloc_bitmap_t processors)
{
    const int depth = core_depth(topology);
    hwloc_bitmap_zero(processors);
    for (int i = 0, found = 0; i < DN_MOST_CORES; i++) {
        if (!has(cores, i))
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
        dn_cores near;
        if (dn_cores_of(topology, node->cpuset, &near) != DN_OK || !is_first_memory(topology, node))
            continue;
        const dn_cores both[2] = {*cores, near};
        count += dn_cores_sharers(both, 2, 0) == 2;
    }
    return count;
}

static int overlap(const dn_cores *a, const dn_cores *b)
{
    for (int i = 0; i < DN_MOST_CORES / DN_CORE_WORD; i++)
        if (a->word[i] & b->word[i])
            return 1;
    return 0;
}

int dn_cores_sharers(const dn_cores *allowed, int ranks, int rank)
{
    int sharers = 0;
    for (int r = 0; r < ranks; r++)
        sharers += overlap(&allowed[r], &allowed[rank]);
    return sharers;
}

int dn_cores_divide(const dn_cores *allowed, int ranks, int rank, dn_cores *share)
{
    const int count = dn_cores_count(&allowed[rank]);
    int parts = 0, part = 0;
    for (int r = 0; r < ranks; r++) {
        const int same = memcmp(&allowed[r], &allowed[rank], sizeof *allowed) == 0;
        parts += same;
        part += same && r < rank;
    }
    *share = allowed[rank];
    if (count < parts || parts < dn_cores_sharers(allowed, ranks, rank))
        return 0;
    *share = (dn_cores){0};
    const int first = part * count / parts, last = (part + 1) * count / parts;
    for (int i = 0, n = 0; i < DN_MOST_CORES; i++)
        if (has(&allowed[rank], i)) {
            if (n >= first && n < last)
                add(share, i);
            n++;
        }
    return 1;
}
