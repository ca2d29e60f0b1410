/*
 * The fixed summation tree of include/dn/tree.h: its shape, and the binary counter that adds up a
 * rank's leaves.
 *
 * Every node is [k 2^j, min((k + 1) 2^j, V)). So a held subtree [lo, mid) of size 2^j and the next
 * one [mid, hi) are siblings if and only if lo is a multiple of 2^(j+1) and hi is the end of the
 * parent. The counter holds subtrees that cover the leaves pushed so far, no two of them siblings.
 * A new leaf is first added, in its own array, to all siblings that it completes. The sum is then
 * copied to the slot of the leftmost one, or to a new slot, unless the leaf is the rank's last.
 */
#include "dn/tree.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "dn/bf16.h"
#include "dn/line.h"

enum { GRAIN = 1 << 15 };

struct dn_tree {
    int virtual_ranks, first, end;
    size_t count, rounded;
    float *leaf;
    int next, held;           /* next leaf to be pushed; subtrees held */
    int lo[DN_TREE_SUBTREES]; /* their first leaves */
    float *memory;            /* their sums, `stride` floats apart */
    size_t stride, bytes;
    int finals;
    dn_subtree final[DN_TREE_SUBTREES]; /* the subtrees after the last leaf */
};

int dn_tree_split(int lo, int hi)
{
    assert(hi - lo >= 2);
    int size = 1;
    while (size < hi - lo - size)
        size *= 2;
    return lo + size;
}

double dn_tree_sum(const double *leaf, int count, int stride)
{
    if (count <= 1)
        return count == 1 ? leaf[0] : 0;
    const int middle = dn_tree_split(0, count);
    return dn_tree_sum(leaf, middle, stride) +
           dn_tree_sum(leaf + (ptrdiff_t)middle * stride, count - middle, stride);
}

int dn_share_begin(int items, int ranks, int rank)
{
    return (int)((int64_t)items * rank / ranks);
}

void dn_tree_add(float *sum, const float *other, size_t count)
{
#pragma omp parallel for simd schedule(static) if (parallel : count > GRAIN)
    for (size_t i = 0; i < count; i++)
        sum[i] = sum[i] + other[i];
}

static void copy(float *to, const float *from, size_t count)
{
#pragma omp parallel for simd schedule(static) if (parallel : count > GRAIN)
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

void dn_tree_round(float *x, size_t count)
{
#pragma omp parallel for schedule(static) if (count > GRAIN)
    for (size_t i = 0; i < count; i++)
        x[i] = dn_round_to_bf16(x[i]);
}

/* Whether the nodes [lo, middle) and [middle, hi) are siblings. */
static int are_siblings(int lo, int middle, int hi, int virtual_ranks)
{
    const int64_t size = middle - lo, end = lo + 2 * size;
    const int is_complete = (size & (size - 1)) == 0 && lo % (2 * size) == 0;
    return is_complete && hi == (end < virtual_ranks ? end : virtual_ranks);
}

/* Number of held subtrees that remain when the next leaf is added to all that it completes. */
static int remaining(const dn_tree *tree)
{
    const int hi = tree->next + 1;
    int held = tree->held, middle = tree->next;
    while (held > 0 && are_siblings(tree->lo[held - 1], middle, hi, tree->virtual_ranks))
        middle = tree->lo[--held];
    return held;
}

/* Holds the subtree that the next leaf completes, as the last one. */
static void hold_next(dn_tree *tree)
{
    const int place = remaining(tree);
    if (place == tree->held)
        tree->lo[place] = tree->next;
    tree->next++;
    tree->held = place + 1;
}

static float *sum_of(const dn_tree *tree, int place)
{
    return tree->memory + (size_t)place * tree->stride;
}

/* Records the subtrees that are left after the last leaf. */
static void keep_finals(dn_tree *tree)
{
    tree->finals = tree->held;
    for (int i = 0; i < tree->finals; i++) {
        const int hi = i + 1 < tree->finals ? tree->lo[i + 1] : tree->end;
        tree->final[i] = (dn_subtree){tree->lo[i], hi, sum_of(tree, i)};
    }
    tree->final[tree->finals - 1].sum = tree->leaf;
}

dn_status dn_tree_create(dn_tree **result, int virtual_ranks, int first, int end, float *leaf,
                         size_t count, size_t rounded)
{
    DN_CHECK(0 <= first && first < end && end <= virtual_ranks, DN_EINVAL,
             "summation tree: leaves [%d, %d) of %d: expected a range that is not empty", first,
             end, virtual_ranks);
    dn_tree *tree = calloc(1, sizeof *tree);
    DN_CHECK(tree != NULL, DN_ENOMEM, "summation tree: out of memory");
    tree->virtual_ranks = virtual_ranks;
    tree->first = tree->next = first;
    tree->end = end;
    tree->leaf = leaf;
    tree->count = count;
    tree->rounded = rounded;

    tree->stride = dn_whole_line_floats(count);
    int slots = 0; /* most slots used before the last leaf */
    for (; tree->next < end; hold_next(tree))
        slots = tree->held > slots ? tree->held : slots;
    tree->bytes = dn_whole_pages(1 + (size_t)slots * tree->stride * sizeof(float)); /* never 0 */
    tree->memory = aligned_alloc(DN_PAGE_BYTES, tree->bytes);
    if (tree->memory == NULL) {
        const size_t bytes = tree->bytes;
        dn_tree_destroy(&tree);
        return dn_fail(DN_ENOMEM, "summation tree: out of memory for %zu bytes", bytes);
    }
    keep_finals(tree);
    dn_tree_reset(tree);
    *result = tree;
    return DN_OK;
}

void dn_tree_destroy(dn_tree **tree)
{
    if (*tree == NULL)
        return;
    free((*tree)->memory);
    free(*tree);
    *tree = NULL;
}

size_t dn_tree_bytes(const dn_tree *tree)
{
    return tree->bytes;
}

void dn_tree_reset(dn_tree *tree)
{
    tree->held = 0;
    tree->next = tree->first;
}

static void round_range(const dn_tree *tree, size_t begin, size_t end)
{
    const size_t rounded = tree->rounded < end ? tree->rounded : end;
    if (begin < rounded)
        dn_tree_round(tree->leaf + begin, rounded - begin);
}

void dn_tree_push(dn_tree *tree, size_t begin, size_t end)
{
    assert(tree->next < tree->end && begin <= end && end <= tree->count);
    const int place = remaining(tree);
    round_range(tree, begin, end);
    for (int i = tree->held; i-- > place;) {
        dn_tree_add(tree->leaf + begin, sum_of(tree, i) + begin, end - begin);
        round_range(tree, begin, end);
    }
    if (tree->next == tree->end - 1)
        return;
    copy(sum_of(tree, place) + begin, tree->leaf + begin, end - begin);
    hold_next(tree);
}

int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees)
{
    *subtrees = tree->final;
    return tree->finals;
}
