/* Placement of regions by lifetime: regions with disjoint lifetimes may share addresses; see
 * model.h. */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

static int by_size(const void *a, const void *b)
{
    const dn_region_info *x = *(dn_region_info *const *)a, *y = *(dn_region_info *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1;
}

/* ---- occupied bytes over time ----
 *
 * A segment tree over time: node n has the children 2n and 2n + 1, and each leaf is one time. A
 * lifetime is decomposed into the few largest nodes inside it. It overlaps another lifetime if a
 * node of one equals, or is an ancestor or descendant of, a node of the other.
 */

typedef struct range {
    size_t begin, end;
} range;

/* Occupied ranges of bytes, in ascending order; adjacent ones are merged. */
typedef struct range_list {
    range *ranges;
    int count, room;
} range_list;

typedef struct occupancy {
    int times;              /* a power of two */
    range_list *all, *some; /* (2 times) ranges occupied at all, or at some, of a node's times */
} occupancy;

enum { MOST_NODES = 2 * 32 }; /* most nodes of a lifetime: two per level */

/* The largest nodes inside the region's lifetime; returns their number. */
static int nodes_inside(int times, const dn_region_info *region, int nodes[MOST_NODES])
{
    int count = 0, from = times + region->first, to = times + region->last + 1;
    for (; from < to; from /= 2, to /= 2) {
        if (from % 2 == 1)
            nodes[count++] = from++;
        if (to % 2 == 1)
            nodes[count++] = --to;
    }
    return count;
}

/* The leaves of its first and last time and all their ancestors, which include all ancestors of the
 * nodes inside. */
static int nodes_above(int times, const dn_region_info *region, int nodes[MOST_NODES])
{
    int count = 0, from = times + region->first, to = times + region->last;
    for (; from > 0; from /= 2, to /= 2) {
        nodes[count++] = from;
        if (to != from)
            nodes[count++] = to;
    }
    return count;
}

/* Index of the first range that ends after `offset`. */
static int first_behind(const range_list *list, size_t offset)
{
    int low = 0, high = list->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (list->ranges[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static dn_status add_range(range_list *list, range r)
{
    const int first = first_behind(list, r.begin > 0 ? r.begin - 1 : 0);
    int end = first;
    for (; end < list->count && list->ranges[end].begin <= r.end; end++) {
        r.begin = list->ranges[end].begin < r.begin ? list->ranges[end].begin : r.begin;
        r.end = list->ranges[end].end > r.end ? list->ranges[end].end : r.end;
    }
    if (list->count == list->room) {
        range *more = realloc(list->ranges, (2 * (size_t)list->room + 1) * sizeof *more);
        if (more == NULL)
            return DN_ENOMEM;
        list->ranges = more;
        list->room = 2 * list->room + 1;
    }
    memmove(list->ranges + first + 1, list->ranges + end, (size_t)(list->count - end) * sizeof r);
    list->ranges[first] = r;
    list->count += first + 1 - end;
    return DN_OK;
}

static dn_status occupy(occupancy *o, const dn_region_info *region)
{
    const range r = {region->offset, region->offset + dn_whole_lines(region->bytes)};
    int inside[MOST_NODES], above[MOST_NODES];
    const int insides = nodes_inside(o->times, region, inside);
    const int aboves = nodes_above(o->times, region, above);
    for (int i = 0; i < insides && r.begin < r.end; i++) {
        DN_TRY(add_range(&o->all[inside[i]], r));
        DN_TRY(add_range(&o->some[inside[i]], r));
    }
    for (int i = 0; i < aboves && r.begin < r.end; i++)
        DN_TRY(add_range(&o->some[above[i]], r));
    return DN_OK;
}

/* The lowest offset at which the region overlaps nothing that is occupied during its lifetime. */
static size_t lowest_gap(const occupancy *o, const dn_region_info *region)
{
    const range_list *lists[2 * MOST_NODES];
    int nodes[MOST_NODES], count = 0;
    for (int i = nodes_inside(o->times, region, nodes); i > 0; i--)
        lists[count++] = &o->some[nodes[i - 1]];
    for (int i = nodes_above(o->times, region, nodes); i > 0; i--)
        lists[count++] = &o->all[nodes[i - 1]];
    size_t offset = 0;
    for (int i = 0, clear = 0; clear < count;) { /* consecutive lists without an overlap */
        const range_list *list = lists[i];
        const int next = first_behind(list, offset);
        if (next < list->count &&
            list->ranges[next].begin < offset + dn_whole_lines(region->bytes)) {
            offset = list->ranges[next].end;
            clear = 0;
        } else {
            i = (i + 1) % count;
            clear++;
        }
    }
    return offset;
}

/* ---- placing ---- */

static dn_status place_regions(occupancy *o, dn_region_info *const *order, int fixed, int count,
                               size_t *arena_bytes)
{
    *arena_bytes = 0;
    for (int i = 0; i < count; i++) {
        if (i >= fixed)
            order[i]->offset = lowest_gap(o, order[i]);
        DN_TRY(occupy(o, order[i]));
        if (order[i]->offset + dn_whole_lines(order[i]->bytes) > *arena_bytes)
            *arena_bytes = order[i]->offset + dn_whole_lines(order[i]->bytes);
    }
    return DN_OK;
}

dn_status dn_memory_place(dn_region_info *regions, int fixed, int count, size_t *arena_bytes)
{
    occupancy o = {.times = 1};
    for (int i = 0; i < count; i++)
        while (regions[i].last >= o.times)
            o.times *= 2;
    const size_t nodes = 2 * (size_t)o.times;
    dn_region_info **order = malloc((size_t)count * sizeof *order);
    range_list *lists = calloc(2 * nodes, sizeof *lists);
    dn_status status = DN_ENOMEM;
    if (order != NULL && lists != NULL) {
        for (int i = 0; i < count; i++)
            order[i] = &regions[i];
        qsort(order + fixed, (size_t)(count - fixed), sizeof *order, by_size);
        o.all = lists;
        o.some = lists + nodes;
        status = place_regions(&o, order, fixed, count, arena_bytes);
    }
    for (size_t i = 0; lists != NULL && i < 2 * nodes; i++)
        free(lists[i].ranges);
    free(lists);
    free(order);
    DN_CHECK(status == DN_OK, status, "memory plan: found no memory for %d regions", count);
    return DN_OK;
}
