/*
 * A lane carries one bucket of the vector at a time through the rounds of the plan
 * (mpi/comm_schedule.h): it posts a round's receives and sends, and when they are done adds or
 * copies what came. What is added is received into the lane's own memory, what is copied goes
 * straight to its place; bf16 messages are packed and unpacked there.
 */
#ifndef DN_INFLIGHT_H
#define DN_INFLIGHT_H

#include <stddef.h>

#include "job/comm.h"
#include "dn/tree.h"
#include "allreduce/comm_schedule.h"

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
    dn_comm_schedule plan;
} dn_route;

typedef struct dn_inflight {
    const dn_route *route;          /* not owned */
    dn_bucket *bucket;              /* NULL: free */
    const dn_transfer *begin, *end; /* this round's */
    MPI_Request *request;
    int requests;
    char *landing; /* for messages that do not come from or go to their place directly */
} dn_inflight;

/* Allocates what the largest round of any of buckets(count) takes. `route` must outlive the lane.
 * DN_ENOMEM; the caller destroys the lane, also after a failure. Not collective. */
dn_status dn_inflight_create(dn_inflight *lane, const dn_route *route, const dn_bucket *buckets,
                             int count);
void dn_inflight_destroy(dn_inflight *lane);

/* Puts a bucket on a free lane and posts its first round. Not collective. */
void dn_inflight_start(dn_inflight *lane, dn_bucket *bucket);

/* Takes the bucket as far as it goes without waiting; the lane is free again when it has arrived.
 * Not collective. */
void dn_inflight_advance(dn_inflight *lane);

#endif
