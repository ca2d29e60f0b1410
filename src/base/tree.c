/*
 * The fixed summation tree of include/dn/tree.h: its shape, and the binary counter that adds up
 * one rank's leaves.
 *
 * Every node is [k 2^j, min((k + 1) 2^j, V)). So a held subtree [lo, mid) of size 2^j and the next
 * one [mid, hi) are siblings exactly when lo is a multiple of 2^(j+1) and hi is where the parent
 * ends. The counter holds subtrees of ascending ranges, none of which are siblings; a new leaf
 * first joins all the siblings that it completes, then takes a slot of its own if it found none.
 */
#include "dn/tree.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HELD = 64, GRAIN = 1 << 15 };

struct dn_tree {
    int virtual_ranks, first, last;
    int next; /* the leaf that is pushed next */
    size_t count;
    int held;
    dn_subtree subtree[MAX_HELD]; /* [0, held) are in use; all that have a vector are kept */
    float *memory;
};

int dn_tree_split(int lo, int hi)
{
    assert(hi - lo >= 2);
    int size = 1;
    while (size < hi - lo - size)
        size *= 2;
    return lo + size;
}

double dn_tree_sum(const double *leaf, int count)
{
    if (count <= 1)
        return count == 1 ? leaf[0] : 0;
    const int middle = dn_tree_split(0, count);
    return dn_tree_sum(leaf, middle) + dn_tree_sum(leaf + middle, count - middle);
}

int dn_tree_first(int virtual_ranks, int ranks, int rank)
{
    return (int)((int64_t)virtual_ranks * rank / ranks);
}

void dn_tree_add(float *sum, const float *other, size_t count)
{
#pragma omp parallel for schedule(static) if (count > GRAIN)
    for (size_t begin = 0; begin < count; begin += GRAIN) {
        const size_t end = count - begin < GRAIN ? count : begin + GRAIN;
        for (size_t i = begin; i < end; i++)
            sum[i] = sum[i] + other[i];
    }
}

static int are_siblings(const dn_subtree *left, int hi, int virtual_ranks)
{
    const int64_t size = left->hi - left->lo, end = left->lo + 2 * size;
    const int is_complete = (size & (size - 1)) == 0 && left->lo % (2 * size) == 0;
    return is_complete && hi == (end < virtual_ranks ? end : virtual_ranks);
}

/* Advances the counter by the next leaf. With leaf = NULL only the ranges move. */
static void advance(dn_tree *tree, const float *leaf)
{
    assert(tree->next < tree->last);
    const int hi = tree->next + 1;
    const float *sum = leaf;
    int merged = tree->held;
    while (merged > 0 && are_siblings(&tree->subtree[merged - 1], hi, tree->virtual_ranks)) {
        dn_subtree *left = &tree->subtree[--merged];
        if (leaf != NULL)
            dn_tree_add(left->sum, sum, tree->count);
        left->hi = hi;
        sum = left->sum;
    }
    if (merged == tree->held) {
        dn_subtree *slot = &tree->subtree[merged];
        slot->lo = tree->next;
        slot->hi = hi;
        if (leaf != NULL)
            memcpy(slot->sum, leaf, tree->count * sizeof(float));
    }
    tree->held = merged + 1;
    tree->next = hi;
}

/* The most subtrees ever held at once: found by a dry run. */
static int most_held(dn_tree *tree)
{
    int most = 0;
    while (tree->next < tree->last) {
        advance(tree, NULL);
        most = tree->held > most ? tree->held : most;
    }
    dn_tree_reset(tree);
    return most;
}

dn_status dn_tree_create(dn_tree **result, int virtual_ranks, int first, int last, size_t count)
{
    DN_CHECK(0 <= first && first < last && last <= virtual_ranks, DN_EINVAL,
             "summation tree: leaves [%d, %d) of %d: expected a range that is not empty", first,
             last, virtual_ranks);
    dn_tree *tree = calloc(1, sizeof *tree);
    DN_CHECK(tree != NULL, DN_ENOMEM, "summation tree: out of memory");
    tree->virtual_ranks = virtual_ranks;
    tree->first = tree->next = first;
    tree->last = last;
    tree->count = count;

    const size_t stride = (count + 15) / 16 * 16; /* floats: vectors start on cache lines */
    const int slots = most_held(tree);
    tree->memory = aligned_alloc(64, (slots * stride + 16) * sizeof(float));
    if (tree->memory == NULL) {
        dn_tree_destroy(&tree);
        return dn_fail(DN_ENOMEM, "summation tree: out of memory for %d vectors of %zu floats",
                       slots, count);
    }
    for (int i = 0; i < slots; i++)
        tree->subtree[i].sum = tree->memory + i * stride;
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

void dn_tree_reset(dn_tree *tree)
{
    tree->held = 0;
    tree->next = tree->first;
}

void dn_tree_push(dn_tree *tree, const float *leaf)
{
    advance(tree, leaf);
}

int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees)
{
    *subtrees = tree->subtree;
    return tree->held;
}
