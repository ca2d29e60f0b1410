/*
 * The fixed summation tree over the V virtual ranks of a step.
 *
 * sum[lo, hi) = sum[lo, m) + sum[m, hi) with m = lo + the largest power of two below hi - lo.
 *
 *     V = 6:            [0,6)
 *                   [0,4)   [4,6)
 *               [0,2) [2,4)
 *
 * Every sum over virtual ranks in this program follows it, so a result does not depend on which
 * rank computed which leaf.
 */
#ifndef DN_TREE_H
#define DN_TREE_H

#include <stddef.h>

#include "dn/status.h"

/* Where the node [lo, hi) splits; hi - lo >= 2. */
int dn_tree_split(int lo, int hi);

/* The tree's sum of leaf(count) in double. */
double dn_tree_sum(const double *leaf, int count);

/* First virtual rank of rank `rank` of `ranks`: rank r owns [V*r/R, V*(r+1)/R). */
int dn_tree_first(int virtual_ranks, int ranks, int rank);

/* sum(count) = sum + other, by all threads: the one addition of vectors of the tree. */
void dn_tree_add(float *sum, const float *other, size_t count);

/* A subtree's sum: node [lo, hi) and `count` floats. */
typedef struct dn_subtree {
    int lo, hi;
    float *sum;
} dn_subtree;

/*
 * Adds up the leaves of one rank as a binary counter does: holds the maximal subtrees of the
 * leaves pushed so far, in order. Leaves are pushed in ascending order from `first` on.
 */
typedef struct dn_tree dn_tree;

/* For the leaves [first, last) of a tree over `virtual_ranks`, `count` floats each. Allocates all
 * the memory it will need, at most 2 log2(V) + 2 vectors. The caller owns it. */
dn_status dn_tree_create(dn_tree **tree, int virtual_ranks, int first, int last, size_t count);
void dn_tree_destroy(dn_tree **tree);

/* Forgets all leaves. */
void dn_tree_reset(dn_tree *tree);

/* Adds the next leaf (count floats; copied or summed, the caller keeps the array). */
void dn_tree_push(dn_tree *tree, const float *leaf);

/* The subtrees held, in ascending order: after the last push, the maximal subtrees of the tree
 * that lie in [first, last). Owned by the tree. */
int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees);

#endif
