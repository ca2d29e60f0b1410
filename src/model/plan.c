/* Placing of regions by lifetime: those that never live together share addresses; see model.h. */
#include <stdlib.h>

#include "model/model.h"

enum { ALIGNMENT = 64 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int by_size(const void *a, const void *b)
{
    const dn_region_info *x = *(dn_region_info *const *)a, *y = *(dn_region_info *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1;
}

/* The lowest offset at which `region` meets none of the placed ones that live when it does. */
static size_t lowest_gap(const dn_region_info *region, dn_region_info *const *placed, int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const dn_region_info *other = placed[i];
        if (other->last < region->first || other->first > region->last)
            continue;
        if (offset + aligned(region->bytes) <= other->offset)
            break;
        if (other->offset + aligned(other->bytes) > offset)
            offset = other->offset + aligned(other->bytes);
    }
    return offset;
}

/* Puts a region among `count` placed ones, which are sorted by offset. */
static void insert_placed(dn_region_info *region, dn_region_info **placed, int count)
{
    for (; count > 0 && placed[count - 1]->offset > region->offset; count--)
        placed[count] = placed[count - 1];
    placed[count] = region;
}

dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes)
{
    dn_region_info **order = malloc(2 * (size_t)count * sizeof *order);
    if (order == NULL)
        return dn_fail(DN_ENOMEM, "memory plan: no memory for %d regions", count);
    dn_region_info **placed = order + count;
    *arena_bytes = 0;
    for (int i = 0; i < count; i++)
        order[i] = &regions[i];
    qsort(order + fixed, (size_t)(count - fixed), sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        if (i >= fixed)
            order[i]->offset = lowest_gap(order[i], placed, i);
        insert_placed(order[i], placed, i);
        if (order[i]->offset + aligned(order[i]->bytes) > *arena_bytes)
            *arena_bytes = order[i]->offset + aligned(order[i]->bytes);
    }
    free(order);
    return DN_OK;
}
