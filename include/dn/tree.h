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

/* The tree's sum of `count` doubles that stand `stride` apart. */
double dn_tree_sum(const double *leaf, int count, int stride);

/* First virtual rank (or batch) of rank `rank` of `ranks`: rank r owns [V*r/R, V*(r+1)/R). */
int dn_tree_first(int virtual_ranks, int ranks, int rank);

/* sum(count) = sum + other, by all threads: the one addition of vectors of the tree. */
void dn_tree_add(float *sum, const float *other, size_t count);

/* x(count) = x rounded to bf16, to nearest even: what a sum is kept in where asked for. */
void dn_tree_round(float *x, size_t count);

enum { DN_TREE_SUBTREES = 64 /* of one rank, at most */ };

/* A subtree's sum: node [lo, hi) and `count` floats. */
typedef struct dn_subtree {
    int lo, hi;
    float *sum;
} dn_subtree;

/*
 * Adds up the leaves of one rank as a binary counter does: holds the maximal subtrees of the
 * leaves pushed so far, in order. All leaves are pushed from one array, in ascending order. The
 * last is not copied: its array becomes the sum of the subtree that it completes, range by range,
 * so that the sum of a range can go to other ranks while the rest of the leaf is still computed.
 */
typedef struct dn_tree dn_tree;

/* For the leaves [first, last) of a tree over `virtual_ranks`, pushed from leaf(count). Of every
 * leaf and sum, the floats [0, rounded) are rounded to bf16. Allocates all the memory it will need,
 * at most 2 log2(V) + 1 vectors, none for a single leaf. The caller owns it and the array. */
dn_status dn_tree_create(dn_tree **tree, int virtual_ranks, int first, int last, float *leaf,
                         size_t count, size_t rounded);
void dn_tree_destroy(dn_tree **tree);

/* Bytes of the vectors. */
size_t dn_tree_bytes(const dn_tree *tree);

/* Forgets all leaves. */
void dn_tree_reset(dn_tree *tree);

/* Adds floats [begin, end) of the array as the next leaf's; the array is overwritten. Every leaf
 * but the last is pushed in one go; pushing a range of the last leaves the tree ready for another
 * one, until dn_tree_reset. */
void dn_tree_push(dn_tree *tree, size_t begin, size_t end);

/* The maximal subtrees of the tree that lie in [first, last), in ascending order: where their sums
 * are once all is pushed; the last is the array of the leaves. Owned by the tree. */
int dn_tree_subtrees(const dn_tree *tree, const dn_subtree **subtrees);

#endif
