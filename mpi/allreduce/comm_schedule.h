/*
 * The communication schedule of the tree sum: which rank sends which segments of the vector to
 * which rank, and in which round.
 *
 * A vector is cut into equal segments. A subtree whose leaves lie on several ranks is the sum of
 * its two sides, and is summed segment by segment, in one of two ways:
 *
 *   halving    while a rank holds several segments of its side's sum, each side keeps half of them
 *              and is sent the other side's sums of these;
 *   doubling   once a rank holds a single one, both sides exchange it and both hold the sum.
 *
 * Halving sends the fewest bytes, doubling takes the fewest rounds. On the way back the halving
 * transfers run in reverse: the receiver of a segment returns its final value. Doubling needs no
 * way back, as both sides hold the sum. Many segments therefore suit long vectors; one segment
 * (doubling alone) suits short ones, whose time is dominated by latency.
 *
 * Example with R = 8, V = 8 and 4 segments; the rank holds those marked *. Distance 1 comes first,
 * as neighbouring ranks share a node's memory.
 *
 *     rank    leaves          [0,2) ...       [0,4) [4,8)     [0,8)
 *      0      a a a a   0<>1   * * . .   0<>2   * . . .   0<>4   * . . .
 *      1      b b b b          . . * *   1<>3   . . * .   1<>5   . . * .   then 0<>2, 1<>3, ...,
 *      2      c c c c   2<>3   * * . .          . * . .   2<>6   . * . .   then 0<>1, 2<>3, ...
 *      3      d d d d          . . * *          . . . *   3<>7   . . . *
 *      4      e e e e   ...                     * . . .          * . . .
 *
 * If R and V/R are powers of two, a rank takes part in one transfer each way per round. With S =
 * 2^k segments, k <= log2(R), there are log2(R) + k rounds, and a rank sends 2 (S - 1)/S + (log2(R)
 * - k)/S of the vector. Otherwise a rank has up to 2 log2(V) subtrees to send, a few ranks hold
 * several segments during doubling, and there are at most ceil(log2(V)) rounds each way.
 *
 * Not collective: every rank plans by itself, and the plans agree.
 */
#ifndef DN_COMM_SCHEDULE_H
#define DN_COMM_SCHEDULE_H

#include <stddef.h>

#include "dn/status.h"

/* The vector of one subtree of a rank; `slot` is its index in dn_tree_subtrees. A rank's result is
 * its last subtree. */
typedef struct dn_holder {
    int rank, slot;
} dn_holder;

/* Segments [first, last) of one vector are added to those of another if `adds`, else replace them.
 * The transfers of a round are simultaneous: all read the values from before the round. */
typedef struct dn_transfer {
    int round;
    dn_holder from, to;
    int first, last;
    int adds;
} dn_transfer;

typedef struct dn_comm_schedule {
    int segments, count;
    dn_transfer *transfer; /* (count), by round; two ranks list shared ones in one order */
} dn_comm_schedule;

enum { DN_ALL_RANKS = -1, DN_SCHEDULES = 32 /* of one job: one for each number of segments */ };

/* The number of segments for which the sum of `count` floats over `ranks` ranks is fastest: a power
 * of two, at most the smallest that is not below `ranks`. */
int dn_comm_schedule_segments(size_t count, int ranks);

/* The place of a schedule of that many segments, a power of two, among the DN_SCHEDULES. */
int dn_comm_schedule_slot(int segments);

/* Plans for `ranks` ranks, of which rank r has the leaves [dn_share_begin(V, R, r),
 * dn_share_begin(V, R, r + 1)) of V = virtual_ranks >= ranks. Keeps the transfers that `rank` takes
 * part in, or all for DN_ALL_RANKS. DN_ENOMEM. The caller destroys it, even after a failure. */
dn_status dn_comm_schedule_create(dn_comm_schedule *schedule, int virtual_ranks, int ranks,
                                  int rank, int segments);
void dn_comm_schedule_destroy(dn_comm_schedule *schedule);

#endif
