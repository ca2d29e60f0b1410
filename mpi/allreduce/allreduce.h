/*
 * Allreduce: the sum over all V virtual ranks, on every rank, along the tree of dn/tree.h. The bits
 * are the same for every number of ranks R from 1 to V. It overlaps with the backward pass that
 * produces the vector.
 *
 * The vector is cut into buckets. A bucket starts when its floats are final on this rank, and goes
 * through the rounds of its communication schedule (inflight.h). A communication thread
 * (comm_thread) advances the buckets, or else the caller does, about one round of each bucket in a
 * call of dn_allreduce_ready. Up to 16 buckets are in flight at a time, so that their rounds, a
 * dozen on hundreds of ranks, do not hold up those that follow.
 *
 * Rows of a few doubles for each virtual rank are summed along the same tree, in one segment:
 * log2(R) rounds of one message each way if R and V/R are powers of two, else at most
 * 2 ceil(log2(V)).
 *
 * For the cost in messages and bytes see comm_schedule.h. Memory: one round of a bucket receives
 * half a bucket to two buckets; that much is allocated for each bucket in flight.
 */
#ifndef DN_ALLREDUCE_H
#define DN_ALLREDUCE_H

#include <stddef.h>

#include "dn/tree.h"
#include "job/comm.h"

typedef struct dn_allreduce dn_allreduce;

/* sum(count) = sum + other, or another operation that reduces along the tree. */
typedef void dn_add_fn(void *sum, const void *other, size_t count);

/* A part of the vector, and when it was in flight during the last sum, in seconds of omp_get_wtime.
 */
typedef struct dn_bucket {
    size_t begin;
    int count, tag;
    int segments; /* of its schedule; the last ones may be empty */
    size_t segment_length;
    const struct dn_elements *elements;
    const struct dn_comm_schedule *schedule; /* this rank's; not owned */
    int flight;                              /* its slot among the buckets in flight */
    double start, end;
} dn_bucket;

typedef struct dn_allreduce_settings {
    int virtual_ranks; /* >= comm->size; rank r has the leaves [dn_share_begin(V, R, r), ...) */
    size_t count;      /* floats of the vector */
    size_t gradients;  /* [0, gradients) are gradients, the rest statistics; no bucket spans both */
    size_t bucket; /* floats of a bucket, 1 to INT_MAX / 2; capped at an eighth of the gradients or,
                      if more, 64 KiB */
    int segments;  /* of every bucket, a power of two; 0: chosen by its length and the ranks */
    int bf16;      /* 1: gradients travel as bf16; the tree must round to bf16 as well */
    int comm_thread; /* 1: a dedicated thread advances the buckets */
    size_t widest;   /* greatest `width` passed to dn_allreduce_rows */
} dn_allreduce_settings;

enum { DN_BUCKETS_IN_FLIGHT = 16 };

/* Cuts a vector over `ranks` ranks into buckets, in order and without their schedules. Reads count,
 * gradients, bucket and segments of the settings. The caller frees *buckets. DN_ENOMEM. Not
 * collective. */
dn_status dn_allreduce_cut(const dn_allreduce_settings *settings, int ranks, dn_bucket **buckets,
                           int *count);

/* Plans sums of this rank's subtrees in `tree`, and allocates all memory that they need. The caller
 * destroys it; `comm` and `tree` must outlive it. With comm_thread, no other thread may call MPI
 * from the first dn_allreduce_ready of a sum to the return of its dn_allreduce_finish. DN_ENOMEM.
 * Not collective. */
dn_status dn_allreduce_create(dn_allreduce **allreduce, const dn_comm *comm, const dn_tree *tree,
                              const dn_allreduce_settings *settings);
/* Ends its thread, frees it and sets *allreduce to NULL; does nothing if that is NULL. Not
 * collective. */
void dn_allreduce_destroy(dn_allreduce **allreduce);

/* Bytes of the receive buffers, which the first sum touches. Not collective. */
size_t dn_allreduce_bytes(const dn_allreduce *allreduce);

/* Tells that floats [0, end) of this rank's subtrees are final. Starts their buckets and advances
 * those in flight, without waiting. Ranks may pass different values of `end`; the last call of each
 * passes the vector's end. Not collective. */
void dn_allreduce_ready(dn_allreduce *allreduce, size_t end);

/* Waits until this rank's last subtree holds the sum of all leaves; its other subtrees are
 * overwritten. The whole vector must be ready. Collective. */
void dn_allreduce_finish(dn_allreduce *allreduce);

/* Reduces rows(leaves of this rank, width) of all ranks by `add` into the first row, with the same
 * bits on all ranks and for every number of ranks. The other rows are overwritten. With a
 * communication thread no bucket may be in flight. Collective. */
void dn_allreduce_rows(dn_allreduce *allreduce, double *rows, size_t width, dn_add_fn *add);

/* Returns the number of buckets; *buckets = these in order, with the times of the last finished
 * sum, owned by `allreduce`. Not collective. */
int dn_allreduce_buckets(const dn_allreduce *allreduce, const dn_bucket **buckets);

#endif
