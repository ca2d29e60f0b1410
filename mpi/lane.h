/*
 * A lane carries one bucket of the vector at a time through the rounds of the plan (mpi/moves.h):
 * it posts a round's receives and sends, and when they are done adds or copies what came. What is
 * added is received into the lane's own memory, what is copied goes straight to its place; bf16
 * messages are packed and unpacked there.
 */
#ifndef DN_LANE_H
#define DN_LANE_H

#include <stddef.h>

#include "comm.h"
#include "dn/tree.h"
#include "moves.h"

/* One bucket, and when it was under way in the last sum, in omp_get_wtime's seconds. */
typedef struct dn_bucket {
    size_t begin;
    int count, tag;
    int bf16; /* 1: its values are bf16's, travel as such, and sums are rounded to them */
    int lane; /* that carried it */
    double start, end;
} dn_bucket;

/* What the lanes of a sum have in common. */
typedef struct dn_route {
    const dn_comm *comm;
    const dn_subtree *subtrees; /* this rank's */
    dn_moves plan;
} dn_route;

typedef struct dn_lane {
    const dn_route *route;      /* not owned */
    dn_bucket *bucket;          /* NULL: free */
    const dn_move *begin, *end; /* this round's */
    MPI_Request *request;
    int requests;
    char *landing; /* for messages that do not come from or go to their place directly */
} dn_lane;

/* Allocates what the largest round of any of buckets(count) takes. `route` must outlive the lane.
 * DN_ENOMEM; the caller destroys the lane, also after a failure. Not collective. */
dn_status dn_lane_create(dn_lane *lane, const dn_route *route, const dn_bucket *buckets, int count);
void dn_lane_destroy(dn_lane *lane);

/* Puts a bucket on a free lane and posts its first round. Not collective. */
void dn_lane_start(dn_lane *lane, dn_bucket *bucket);

/* Takes the bucket as far as it goes without waiting; the lane is free again when it has arrived.
 * Not collective. */
void dn_lane_advance(dn_lane *lane);

#endif
