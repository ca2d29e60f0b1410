/*
 * The fixed summation tree of include/dn/tree.h: its shape, and the binary counter that adds up
 * one rank's leaves.
 *
 * Every node is [k 2^j, min((k + 1) 2^j, V)). So a held subtree [lo, mid) of size 2^j and the next
 * one [mid, hi) are siblings exactly when lo is a multiple of 2^(j+1) and hi is where the parent
 * ends. The counter holds subtrees of ascending ranges, none of which are siblings; a new leaf
 * first joins all the siblings that it completes, in its own array; the sum is then copied to the
 * leftmost one's slot, or a new one, unless it is the rank's last.
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
    size_t count, rounded;
    float *leaf;
    int held;
    dn_subtree subtree[MAX_HELD]; /* [0, held) are in use; all that have a vector are kept */
    int finals;
    dn_subtree final[MAX_HELD]; /* what the last leaf leaves */
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

double dn_tree_sum(const double *leaf, int count, int stride)
{
    if (count <= 1)
        return count == 1 ? leaf[0] : 0;
    const int middle = dn_tree_split(0, count);
    return dn_tree_sum(leaf, middle, stride) +
           dn_tree_sum(leaf + (ptrdiff_t)middle * stride, count - middle, stride);
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

void dn_tree_round(float *x, size_t count)
{
#pragma omp parallel for schedule(static) if (count > GRAIN)
    for (size_t begin = 0; begin < count; begin += GRAIN) {
        const size_t end = count - begin < GRAIN ? count : begin + GRAIN;
        for (size_t i = begin; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, x + i, sizeof bits);
            const uint32_t odd = bits >> 16 & 1, is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
            bits = (is_nan ? bits | 0x400000u : bits + 0x7fffu + odd) & 0xffff0000u;
            memcpy(x + i, &bits, sizeof bits);
        }
    }
}

static int are_siblings(const dn_subtree *left, int hi, int virtual_ranks)
{
    const int64_t size = left->hi - left->lo, end = left->lo + 2 * size;
    const int is_complete = (size & (size - 1)) == 0 && left->lo % (2 * size) == 0;
    return is_complete && hi == (end < virtual_ranks ? end : virtual_ranks);
}

/* How many of the held subtrees stay when the next leaf joins all that it completes. */
static int remaining(const dn_tree *tree)
{
    int held = tree->held;
    while (held > 0 && are_siblings(&tree->subtree[held - 1], tree->next + 1, tree->virtual_ranks))
        held--;
    return held;
}

/* The subtree that the next leaf completes becomes the last that is held. */
static void advance(dn_tree *tree)
{
    const int place = remaining(tree);
    dn_subtree *slot = &tree->subtree[place];
    if (place == tree->held)
        slot->lo = tree->next;
    slot->hi = ++tree->next;
    tree->held = place + 1;
}

/* Finds what is held in the end; returns the number of slots that all leaves but the last take. */
static int dry_run(dn_tree *tree)
{
    int most = 0;
    while (tree->next < tree->last - 1) {
        advance(tree);
        most = tree->held > most ? tree->held : most;
    }
    tree->finals = remaining(tree) + 1;
    advance(tree);
    memcpy(tree->final, tree->subtree, sizeof tree->final);
    dn_tree_reset(tree);
    return most;
}

dn_status dn_tree_create(dn_tree **result, int virtual_ranks, int first, int last, float *leaf,
                         size_t count, size_t rounded)
{
    DN_CHECK(0 <= first && first < last && last <= virtual_ranks, DN_EINVAL,
             "summation tree: leaves [%d, %d) of %d: expected a range that is not empty", first,
             last, virtual_ranks);
    dn_tree *tree = calloc(1, sizeof *tree);
    DN_CHECK(tree != NULL, DN_ENOMEM, "summation tree: out of memory");
    tree->virtual_ranks = virtual_ranks;
    tree->first = tree->next = first;
    tree->last = last;
    tree->leaf = leaf;
    tree->count = count;
    tree->rounded = rounded;

    const size_t stride = (count + 15) / 16 * 16; /* floats: vectors start on cache lines */
    const int slots = dry_run(tree);
    tree->memory = aligned_alloc(64, (slots * stride + 16) * sizeof(float));
    if (tree->memory == NULL) {
        dn_tree_destroy(&tree);
        return dn_fail(DN_ENOMEM, "summation tree: out of memory for %d vectors of %zu floats",
                       slots, count);
    }
    for (int i = 0; i < slots; i++)
        tree->subtree[i].sum = tree->final[i].sum = tree->memory + i * stride;
    tree->final[tree->finals - 1].sum = leaf;
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

static void round_range(const dn_tree *tree, size_t begin, size_t end)
{
    const size_t rounded = tree->rounded < end ? tree->rounded : end;
    if (begin < rounded)
        dn_tree_round(tree->leaf + begin, rounded - begin);
}

void dn_tree_push(dn_tree *tree, size_t begin, size_t end)
{
    assert(tree->next < tree->last && begin <= end && end <= tree->count);
    const int place = remaining(tree);
    round_range(tree, begin, end);
    for (int i = tree->held; i-- > place;) {
        dn_tree_add(tree->leaf + begin, tree->subtree[i].sum + begin, end - begin);
        round_range(tree, begin, end);
    }
    if (tree->next == tree->last - 1)
        return;
    memcpy(tree->subtree[place].sum + begin, tree->leaf + begin, (end - begin) * sizeof(float));
    advance(tree);
}

int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees)
{
    *subtrees = tree->final;
    return tree->finals;
}
