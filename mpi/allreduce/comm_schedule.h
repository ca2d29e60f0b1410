/*
 * The communication schedule of the tree sum: who sends which segments of the vector to whom, and
 * when.
 *
 * A vector is cut into equal segments. A subtree whose leaves lie on several ranks is
 * added up segment by segment, in one of two ways:
 *
 *   halving    while a rank holds several segments of its child's sum, each side keeps its share of
 *              them, in the ratio of ranks, and is sent those of the other side;
 *   doubling   once it holds a single one, the two sides exchange it and both hold the sum.
 *
 * Halving sends the fewest bytes, doubling takes the fewest rounds. On the way back the halving
 * transfers run backwards: who was sent a segment returns the final one. What doubling has spread
 * needs no way back. Many segments therefore suit long vectors; one segment, doubling alone, suits
 * those whose time is the latency of messages.
 *
 * R = 8, V = 8, 4 segments; * is held by the rank. Distance 1 comes first: neighbours share a
 * node's memory.
 *
 *     rank    leaves          [0,2) ...       [0,4) [4,8)     [0,8)
 *      0      a a a a   0<>1   * * . .   0<>2   * . . .   0<>4   * . . .
 *      1      b b b b          . . * *   1<>3   . . * .   1<>5   . . * .   then 0<>2, 1<>3, ...,
 *      2      c c c c   2<>3   * * . .          . * . .   2<>6   . * . .   then 0<>1, 2<>3, ...
 *      3      d d d d          . . * *          . . . *   3<>7   . . . *
 *      4      e e e e   ...                     * . . .          * . . .
 *
 * Where R and V/R are powers of two, a rank takes part in one transfer each way a round. With S =
 * 2^k segments, k <= log2(R), there are log2(R) + k rounds, and a rank sends 2 (S - 1)/S + (log2(R)
 * - k)/S of the vector. Otherwise a rank has up to 2 log2(V) subtrees to send, a
 * few ranks carry several segments through the doubling, and there are at most log2(V) rounds each
 * way, rounded up. Not collective: every rank plans by itself, and the plans agree.
 */
#ifndef DN_COMM_SCHEDULE_H
#define DN_COMM_SCHEDULE_H

#include <stddef.h>

#include "dn/status.h"

/* The vector of a subtree of a rank, counted within the rank as dn_tree_subtrees does. The result
 * of a rank is its last subtree. */
typedef struct dn_holder {
    int rank, slot;
} dn_holder;

/* The segments [first, last) of one vector are added to those of another, or replace them. The
 * transfers of a round happen at once: all read what was there before the round. */
typedef struct dn_transfer {
    int round;
    dn_holder from, to;
    int first, last;
    int adds;
} dn_transfer;

typedef struct dn_comm_schedule {
    int segments, count;
    dn_transfer *transfer; /* (count), by round; two ranks list those they share in one order */
} dn_comm_schedule;

enum { DN_ALL_RANKS = -1, DN_SCHEDULES = 32 /* of one job: one for each number of segments */ };

/* How many segments make the sum of a vector of `count` floats over `ranks` ranks fastest: a power
 * of two, at least 1, at most a few a rank. */
int dn_comm_schedule_segments(size_t count, int ranks);

/* Plans for `ranks` ranks, rank r with the leaves [dn_tree_first(V, R, r), dn_tree_first(V, R, r +
 * 1)) of V = virtual_ranks >= ranks; keeps the transfers that `rank` takes part in, or all.
 * DN_ENOMEM. The caller frees it, also after a failure. */
dn_status dn_comm_schedule_create(dn_comm_schedule *schedule, int virtual_ranks, int ranks,
                                  int rank, int segments);
void dn_comm_schedule_destroy(dn_comm_schedule *schedule);

#endif
