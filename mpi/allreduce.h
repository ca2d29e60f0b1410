/*
 * The sum over all virtual ranks, on every rank, along the tree of dn/tree.h: the same bits for
 * every number of ranks R from 1 to V.
 *
 * Each rank hands over its maximal subtrees. A node of the tree whose leaves lie on several ranks
 * is added up piece by piece: for each piece of the vector, either the place that holds the left
 * child's piece or the one that holds the right child's becomes the home of the sum, and the other
 * sends. Each side stays home to the share of the pieces that it has of the node's ranks. At the
 * root every rank is home to about 1/R of the vector; an allgather spreads the pieces.
 *
 * R = 4, V = 4: vector halving with distance doubling, distance 1 first; * is home to a sum.
 *
 *     rank    leaves          [0,2) and [2,4)      [0,4)               allgather
 *      0      a a a a   0<>1   * * . .       0<>2   * . . .             * * * *
 *      1      b b b b          . . * *       1<>3   . . * .             * * * *
 *      2      c c c c   2<>3   * * . .              . * . .             * * * *
 *      3      d d d d          . . * *              . . . *             * * * *
 *
 * R = 3, V = 8: rank 0 has [0,2); rank 1 [2,4) and [4,5); rank 2 [5,6) and [6,8). The vector is
 * cut into 16 pieces; a digit is the rank that is home to a piece of the sum.
 *
 *     round 1    [0,2) + [2,4)    ranks 0 1    0000000011111111
 *                [4,5) + [5,6)    ranks 1 2    1111111122222222
 *     round 2    [4,6) + [6,8)    ranks 1 2    1111122222222222
 *     round 3    [0,4) + [4,8)    ranks 0 1 2  0001102211112222    then the allgather, in two turns
 *
 * Cost, floats sent by a rank: 2 (R - 1)/R count where R and V/R are powers of two, in log2(R)
 * messages and one allgather: the least possible. Otherwise a rank has up to 2 log2(V) subtrees,
 * each of which it sends at most once before the allgather. Rounds: at most log2(V), rounded up.
 * Scratch: count/2 floats where R and V/R are powers of two, else at most 2 count; sums are formed
 * inside the subtrees.
 */
#ifndef DN_ALLREDUCE_H
#define DN_ALLREDUCE_H

#include "comm.h"
#include "dn/tree.h"

typedef struct dn_allreduce dn_allreduce;

/* What one call of dn_allreduce_run costs this rank; the allgather's messages are MPI's affair. */
typedef struct dn_allreduce_cost {
    size_t sent, scratch; /* floats; sent: before the allgather */
    int messages, rounds; /* sent and walked before the allgather */
    int gathers;          /* calls of MPI_Allgatherv */
} dn_allreduce_cost;

/* Plans the sum of vectors of `count` floats (at most INT_MAX) over virtual_ranks >= comm->size
 * leaves, where rank r has [dn_tree_first(V, R, r), dn_tree_first(V, R, r + 1)), and allocates all
 * that it takes. The caller owns it; `comm` must outlive it. Not collective. */
dn_status dn_allreduce_create(dn_allreduce **allreduce, const dn_comm *comm, int virtual_ranks,
                              size_t count);
void dn_allreduce_destroy(dn_allreduce **allreduce);

/* result(count) = the tree's sum of all leaves. `subtrees` are this rank's, as dn_tree_subtrees
 * gives them after the last push; their sums are overwritten. `result` overlaps none of them.
 * Addition commutes, so which side is home does not show in the bits. Collective. */
void dn_allreduce_run(dn_allreduce *allreduce, const dn_subtree *subtrees, int subtree_count,
                      float *result);

dn_allreduce_cost dn_allreduce_get_cost(const dn_allreduce *allreduce);

#endif
