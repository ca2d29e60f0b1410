/* Placement of regions by lifetime: regions with disjoint lifetimes may share addresses; see
 * model.h. Takes time quadratic in the regions: 0.1 s for 1,000 layers, 2 s for 8,192. */
#include <stdlib.h>

#include "model/model.h"

/* A placed region. By value, as lowest_gap reads many of them. */
typedef struct block {
    size_t begin, end; /* bytes of the arena */
    int first, last;
} block;

static int by_size(const void *a, const void *b)
{
    const dn_region_info *x = *(dn_region_info *const *)a, *y = *(dn_region_info *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1;
}

/* The lowest offset at which the region overlaps none of the blocks that live during its lifetime.
 * The blocks are in ascending order of `begin`. */
static size_t lowest_gap(const dn_region_info *region, const block *blocks, int count)
{
    const size_t bytes = dn_whole_lines(region->bytes);
    size_t offset = 0;
    for (const block *b = blocks; b < blocks + count && b->begin < offset + bytes; b++)
        if (b->end > offset && b->first <= region->last && region->first <= b->last)
            offset = b->end;
    return offset;
}

static void insert(block *blocks, int count, block new)
{
    int at = count;
    for (; at > 0 && blocks[at - 1].begin > new.begin; at--)
        blocks[at] = blocks[at - 1];
    blocks[at] = new;
}

/* Returns the bytes of the arena. */
static size_t place_in_order(dn_region_info *const *order, int fixed, int count, block *blocks)
{
    size_t arena_bytes = 0;
    for (int i = 0; i < count; i++) {
        dn_region_info *r = order[i];
        if (i >= fixed)
            r->offset = lowest_gap(r, blocks, i);
        const size_t end = r->offset + dn_whole_lines(r->bytes);
        insert(blocks, i, (block){r->offset, end, r->first, r->last});
        arena_bytes = end > arena_bytes ? end : arena_bytes;
    }
    return arena_bytes;
}

dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes)
{
    dn_region_info **order = malloc((size_t)count * sizeof *order);
    block *blocks = malloc((size_t)count * sizeof *blocks);
    const int is_allocated = order != NULL && blocks != NULL;
    if (is_allocated) {
        for (int i = 0; i < count; i++)
            order[i] = &regions[i];
        qsort(order + fixed, (size_t)(count - fixed), sizeof *order, by_size);
        *arena_bytes = place_in_order(order, fixed, count, blocks);
    }
    free(blocks);
    free(order);
    DN_CHECK(is_allocated, DN_ENOMEM, "out of memory for a plan of %d regions", count);
    return DN_OK;
}
