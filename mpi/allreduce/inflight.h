/*
 * A bucket in flight: its way through the rounds of its communication schedule. A round posts
 * receives and sends, and when they are done adds or copies what came. What is added is received
 * into memory of its own, what is copied goes straight to its place; bf16 messages are packed and
 * unpacked there.
 */
#ifndef DN_INFLIGHT_H
#define DN_INFLIGHT_H

#include <stddef.h>

#include "allreduce/comm_schedule.h"
#include "dn/tree.h"
#include "job/comm.h"

/* A part of the vector, and when it was in flight in the last sum, in omp_get_wtime's seconds. */
typedef struct dn_bucket {
    size_t begin;
    int count, tag;
    int bf16;     /* 1: its values are bf16's, travel as such, and sums are rounded to them */
    int segments; /* of its schedule */
    const dn_comm_schedule *schedule; /* this rank's; not owned */
    int flight;                       /* its place among those in flight */
    double start, end;
} dn_bucket;

typedef struct dn_inflight {
    const dn_comm *comm;            /* not owned, nor are the subtrees */
    const dn_subtree *subtrees;     /* this rank's */
    dn_bucket *bucket;              /* NULL: free */
    const dn_transfer *begin, *end; /* this round's */
    MPI_Request *request;
    int requests;
    char *landing; /* for messages that do not come from or go to their place directly */
} dn_inflight;

/* Allocates what the largest round of any of buckets(count) takes. comm and subtrees must outlive
 * it. DN_ENOMEM; the caller destroys it, also after a failure. Not collective. */
dn_status dn_inflight_create(dn_inflight *flight, const dn_comm *comm, const dn_subtree *subtrees,
                             const dn_bucket *buckets, int count);
void dn_inflight_destroy(dn_inflight *flight);

/* Posts the first round of a bucket; the flight is free. Not collective. */
void dn_inflight_start(dn_inflight *flight, dn_bucket *bucket);

/* Takes the bucket as far as it goes without waiting; the flight is free again when it has arrived.
 * Not collective. */
void dn_inflight_advance(dn_inflight *flight);

#endif
