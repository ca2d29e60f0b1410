/*
 * The fixed summation tree over the V virtual ranks of a step.
 *
 * sum[lo, hi) = sum[lo, m) + sum[m, hi) with m = lo + the largest power of two below hi - lo.
 *
 *     V = 6:            [0,6)
 *                   [0,4)   [4,6)
 *               [0,2) [2,4)
 *
 * Every sum over virtual ranks in this program follows it, so results do not depend on which rank
 * computes which leaf. Not collective: mpi/allreduce exchanges the partial sums.
 */
#ifndef DN_TREE_H
#define DN_TREE_H

#include <stddef.h>

#include "dn/status.h"

/* The middle m at which the node [lo, hi) is split; hi - lo >= 2. */
int dn_tree_split(int lo, int hi);

/* The tree's sum of `count` doubles, `stride` apart. */
double dn_tree_sum(const double *leaf, int count, int stride);

/* The first of `items` (virtual ranks, batches, ...) of rank `rank` of `ranks`: rank r owns
 * [items*r/ranks, items*(r+1)/ranks). */
int dn_share_begin(int items, int ranks, int rank);

/* sum(count) = sum + other, by all threads. All vector additions of the tree use it. */
void dn_tree_add(float *sum, const float *other, size_t count);

/* x(count) = x rounded to bf16, to nearest even: the precision of sums where bf16 is asked for. */
void dn_tree_round(float *x, size_t count);

enum { DN_TREE_SUBTREES = 64 /* most subtrees of a rank */ };

/* The sum of a subtree: node [lo, hi) and `count` floats. */
typedef struct dn_subtree {
    int lo, hi;
    float *sum;
} dn_subtree;

/*
 * Adds up the leaves of one rank like a binary counter: holds the maximal subtrees of the leaves
 * pushed so far, in order. All leaves are pushed from one array, in ascending order. The last leaf
 * is not copied: its array becomes the sum of the subtree that it completes, range by range, so
 * that a range can be sent to other ranks while the rest of the leaf is still being computed.
 */
typedef struct dn_tree dn_tree;

/* Creates a tree for the leaves [first, end) of `virtual_ranks`, pushed from leaf(count), which
 * remains the caller's. Floats [0, rounded) of every leaf and sum are rounded to bf16. Allocates
 * all the memory it needs: at most 2 log2(V) + 1 vectors, none for a single leaf. The caller frees
 * it with dn_tree_destroy. Errors: DN_EINVAL (not 0 <= first < end <= virtual_ranks), DN_ENOMEM. */
dn_status dn_tree_create(dn_tree **tree, int virtual_ranks, int first, int end, float *leaf,
                         size_t count, size_t rounded);
void dn_tree_destroy(dn_tree **tree);

/* Bytes of memory for the vectors. */
size_t dn_tree_bytes(const dn_tree *tree);

/* Removes all leaves. */
void dn_tree_reset(dn_tree *tree);

/* Adds floats [begin, end) of the array as those of the next leaf, and overwrites the array. Every
 * leaf but the last is pushed at once. After a range of the last leaf, the tree accepts further
 * ranges of it until dn_tree_reset. */
void dn_tree_push(dn_tree *tree, size_t begin, size_t end);

/* *subtrees = the maximal subtrees within [first, end), in ascending order; owned by the tree.
 * Returns their number. They hold the sums once all leaves are pushed; the last one is in the array
 * of the leaves. */
int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees);

#endif
