/*
 * A bucket in flight: its way through the rounds of its communication schedule. A round posts
 * receives and sends, and when they are done adds or copies what came. What is added is received
 * into memory of its own, what is copied goes straight to its place; elements that travel packed
 * are packed and unpacked there.
 */
#ifndef DN_INFLIGHT_H
#define DN_INFLIGHT_H

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"

/* What a vector consists of: how its elements are sent, and how two are added. */
typedef struct dn_elements {
    MPI_Datatype type;      /* of a message */
    size_t size, sent_size; /* bytes of an element, in memory and in a message */
    dn_add_fn *add;         /* a message's elements to those in memory */
    void (*pack)(void *message, const void *from, size_t count); /* NULL: sent as they are */
    void (*unpack)(void *to, const void *message, size_t count);
} dn_elements;

/* Floats, and floats that are bf16's, travel as such and are rounded to them when added. */
extern const dn_elements dn_elements_fp32, dn_elements_bf16;

typedef struct dn_inflight {
    const dn_comm *comm;             /* not owned */
    void *vectors[DN_TREE_SUBTREES]; /* this rank's, as the schedule counts them; not owned */
    dn_bucket *bucket;               /* NULL: free */
    const dn_transfer *next;         /* where the next round begins */
    int parts, requests;             /* of this round */
    int complete;                    /* requests, from the first on */
    struct dn_inflight_part *part;   /* (transfers of the largest round) */
    MPI_Request *request;            /* the same */
    int *peer;                       /* the same: the other rank of each request */
    char *landing; /* (landing_bytes) for messages that do not come from or go to their place
                      directly */
    size_t landing_bytes;
} dn_inflight;

/* Allocates what the largest round of any of buckets(count) takes; the caller sets the vectors.
 * `comm` must outlive it. DN_ENOMEM; the caller destroys it, also after a failure. Not collective.
 */
dn_status dn_inflight_create(dn_inflight *flight, const dn_comm *comm, const dn_bucket *buckets,
                             int count);
void dn_inflight_destroy(dn_inflight *flight);

/* Posts the first round of a bucket; the flight is free. Not collective. */
void dn_inflight_start(dn_inflight *flight, dn_bucket *bucket);

/* Takes the bucket as far as it goes without waiting; the flight is free again when it has arrived.
 * Not collective. */
void dn_inflight_advance(dn_inflight *flight);

/* The other rank of a message that the bucket, which has not arrived, waits for. Not collective. */
int dn_inflight_partner(const dn_inflight *flight);

/* Waits until the bucket has arrived. The flights of a bucket on all ranks wait for each other. */
void dn_inflight_finish(dn_inflight *flight);

#endif
