/*
 * A bucket in flight, on its way through the rounds of its communication schedule. A round posts
 * receives and sends; when they are complete it adds or copies what was received. A message whose
 * elements are added, or are sent in another format (packed), goes through a staging buffer; other
 * messages are sent from and received into the vector itself.
 */
#ifndef DN_INFLIGHT_H
#define DN_INFLIGHT_H

#include "allreduce/allreduce.h"
#include "allreduce/comm_schedule.h"

/* The element type of a vector: how elements are sent, and how two are added. */
typedef struct dn_elements {
    MPI_Datatype type;      /* of a message */
    size_t size, sent_size; /* bytes of an element, in memory and in a message */
    dn_add_fn *add;         /* adds a message's elements to those in memory */
    void (*pack)(void *message, const void *from, size_t count); /* NULL: sent as they are */
    void (*unpack)(void *to, const void *message, size_t count);
} dn_elements;

/* Floats sent as floats; floats that hold bf16 values, are sent as bf16, and whose sums are rounded
 * to bf16. */
extern const dn_elements dn_elements_fp32, dn_elements_bf16;

typedef struct dn_inflight {
    const dn_comm *comm;             /* not owned */
    void *vectors[DN_TREE_SUBTREES]; /* this rank's subtrees, by dn_holder.slot; not owned */
    dn_bucket *bucket;               /* NULL: free */
    const dn_transfer *next;         /* the first transfer of the next round */
    int parts, requests;             /* of this round */
    int complete;                    /* number of leading requests that are complete */
    struct dn_inflight_part *part;   /* (transfers of the largest round) */
    MPI_Request *request;            /* the same */
    int *peer;                       /* the same: the other rank of each request */
    char *landing;                   /* (landing_bytes) staging buffer of messages */
    size_t landing_bytes;
} dn_inflight;

/* Allocates memory for the largest round of any of buckets(count); the caller sets `vectors`.
 * `comm` must outlive it. DN_ENOMEM. The caller destroys it, even after a failure. Not collective.
 */
dn_status dn_inflight_create(dn_inflight *flight, const dn_comm *comm, const dn_bucket *buckets,
                             int count);
void dn_inflight_destroy(dn_inflight *flight);

/* Posts the first round of a bucket; the flight must be free. Not collective. */
void dn_inflight_start(dn_inflight *flight, dn_bucket *bucket);

/* Advances the bucket as far as possible without waiting; after its last round the flight is free.
 * Not collective. */
void dn_inflight_advance(dn_inflight *flight);

/* The other rank of a message that the bucket, which is in flight, waits for. Not collective. */
int dn_inflight_partner(const dn_inflight *flight);

/* Waits until the bucket's last round is complete, and frees the flight. Collective. */
void dn_inflight_finish(dn_inflight *flight);

#endif
