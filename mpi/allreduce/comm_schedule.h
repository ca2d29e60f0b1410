/*
 * The plan of the tree sum across ranks: who sends which part of the vector to whom, and when.
 *
 * A vector is cut into pieces. A node of the tree whose leaves lie on several ranks is added up
 * piece by piece: either the place that holds the left child's piece or the one that holds the
 * right child's becomes the home of the sum, and the other sends. Each side stays home to the share
 * of the pieces that it has of the node's ranks. At the root every rank is home to about 1/R of the
 * vector. Then the same moves run backwards: who was sent to sends the final piece back, unless
 * that rank has it already.
 *
 * R = 4, V = 4: vector halving with distance doubling, distance 1 first (neighbours share a node's
 * memory), then the mirror image; * is home to a sum.
 *
 *     rank    leaves          [0,2) and [2,4)      [0,4)
 *      0      a a a a   0<>1   * * . .       0<>2   * . . .
 *      1      b b b b          . . * *       1<>3   . . * .    then 0<>2, 1<>3, then 0<>1, 2<>3
 *      2      c c c c   2<>3   * * . .              . * . .
 *      3      d d d d          . . * *              . . . *
 *
 * R = 3, V = 8: rank 0 has [0,2); rank 1 [2,4) and [4,5); rank 2 [5,6) and [6,8). The vector is
 * cut into 16 pieces; a digit is the rank that is home to a piece of the sum.
 *
 *     round 1    [0,2) + [2,4)    ranks 0 1    0000000011111111
 *                [4,5) + [5,6)    ranks 1 2    1111111122222222
 *     round 2    [4,6) + [6,8)    ranks 1 2    1111122222222222
 *     round 3    [0,4) + [4,8)    ranks 0 1 2  0001102211112222    then rounds 3, 2, 1 backwards
 *
 * A rank is sent every piece that it is not home to exactly once on the way back. Where R and V/R
 * are powers of two it sends (R - 1)/R of the vector each way in log2(R) rounds: the least
 * possible. Otherwise it has up to 2 log2(V) subtrees, each of which it sends at most once before
 * the way back. Rounds each way: at most log2(V), rounded up. Not collective: every rank plans by
 * itself, and the plans agree.
 */
#ifndef DN_COMM_SCHEDULE_H
#define DN_COMM_SCHEDULE_H

#include "dn/status.h"

/* Where a piece of a sum lives: in this subtree, counted within the rank as dn_tree_subtrees does.
 * The result of a rank is its last subtree. */
typedef struct dn_home {
    int rank, slot;
} dn_home;

/* The pieces [first, last) of one place are added to those of another, or replace them. Moves of
 * one round are independent of each other. */
typedef struct dn_transfer {
    int round, order; /* two ranks list their common moves of a round in the same order */
    dn_home from, to;
    int first, last;
    int adds;
} dn_transfer;

typedef struct dn_comm_schedule {
    int pieces, count;
    dn_transfer *move; /* (count), by round and order */
} dn_comm_schedule;

enum { DN_ALL_RANKS = -1 };

/* Plans for `ranks` ranks, rank r with the leaves [dn_tree_first(V, R, r), dn_tree_first(V, R, r +
 * 1)) of V = virtual_ranks >= ranks; keeps the moves that `rank` takes part in, or all. DN_ENOMEM.
 * The caller frees it, also after a failure. */
dn_status dn_comm_schedule_create(dn_comm_schedule *moves, int virtual_ranks, int ranks, int rank);
void dn_comm_schedule_destroy(dn_comm_schedule *moves);

#endif
