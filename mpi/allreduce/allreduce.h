/*
 * The sum over all virtual ranks, on every rank, along the tree of dn/tree.h: the same bits for
 * every number of ranks R from 1 to V. It runs while the vector is still being made.
 *
 * The vector is cut into buckets. A bucket starts when its floats are final on this rank, and goes
 * through the rounds of its communication schedule (inflight.h). Up to four buckets are in flight
 * at a time, so one's messages travel while another's are added. They are advanced by a
 * communication thread where a core is spare, else by the caller, each time it tells of progress.
 *
 * A few doubles of each virtual rank are summed the same way, whole and at once: log2(R) rounds of
 * one message each way where R and V/R are powers of two, else at most twice log2(V).
 *
 * Cost: comm_schedule.h. Memory: four times what a round of a bucket receives, half a bucket to
 * two.
 */
#ifndef DN_ALLREDUCE_H
#define DN_ALLREDUCE_H

#include <stddef.h>

#include "dn/tree.h"
#include "job/comm.h"

typedef struct dn_allreduce dn_allreduce;

/* sum(count) = sum + other, or what else is added up along the tree. */
typedef void dn_add_fn(void *sum, const void *other, size_t count);

/* A part of the vector, and when it was in flight in the last sum, in omp_get_wtime's seconds. */
typedef struct dn_bucket {
    size_t begin;
    int count, tag;
    int segments; /* of its schedule, the last ones perhaps empty */
    size_t segment_length;
    const struct dn_elements *elements;
    const struct dn_comm_schedule *schedule; /* this rank's; not owned */
    int flight;                              /* its place among those in flight */
    double start, end;
} dn_bucket;

typedef struct dn_allreduce_settings {
    int virtual_ranks; /* >= comm->size; rank r has the leaves [dn_tree_first(V, R, r), ...) */
    size_t count;      /* floats of the vector */
    size_t gradients;  /* a bucket ends here: [0, gradients) are such, the rest statistics */
    size_t bucket;     /* floats of a bucket, > 0; at most an eighth of the gradients are taken */
    int segments;      /* of every bucket, a power of two; 0: as suits its length and the ranks */
    int bf16;          /* 1: gradients travel as bf16; the tree must round them too */
    int comm_thread;   /* 1: a thread of its own looks after the buckets */
    size_t widest;     /* doubles of dn_allreduce_rows, at most */
} dn_allreduce_settings;

enum { DN_BUCKETS_IN_FLIGHT = 4 };

/* The buckets of a vector over `ranks` ranks, in order and without their schedules: of the
 * settings, count, gradients, bucket and segments matter. *buckets is the caller's to free.
 * DN_ENOMEM. Not collective. */
dn_status dn_allreduce_cut(const dn_allreduce_settings *settings, int ranks, dn_bucket **buckets,
                           int *count);

/* Plans sums of this rank's subtrees in `tree`, and allocates all that they take. The caller owns
 * it; `comm` and `tree` must outlive it. With comm_thread, no other thread may call MPI from the
 * first dn_allreduce_ready of a sum to the return of its dn_allreduce_finish. Not collective. */
dn_status dn_allreduce_create(dn_allreduce **allreduce, const dn_comm *comm, const dn_tree *tree,
                              const dn_allreduce_settings *settings);
/* Ends its thread, frees, and sets *allreduce to NULL; accepts NULL inside. Not collective. */
void dn_allreduce_destroy(dn_allreduce **allreduce);

/* Bytes that messages land in, which the first sum touches. Not collective. */
size_t dn_allreduce_bytes(const dn_allreduce *allreduce);

/* Floats [0, end) of this rank's subtrees are final. Starts their buckets, and looks after those
 * in flight. Ranks may tell of other ends on the way; all must come to the vector's. Does not wait.
 * Not collective. */
void dn_allreduce_ready(dn_allreduce *allreduce, size_t end);

/* Waits until the last subtree holds the sum of all leaves on this rank; the others are
 * overwritten. The vector was said to be ready to its end. Collective. */
void dn_allreduce_finish(dn_allreduce *allreduce);

/* The first of rows(leaves of this rank, width) of doubles = the sum of all ranks' rows, by `add`,
 * the same on all ranks and for every number of them. The other rows are overwritten. No bucket may
 * be in flight. Collective. */
void dn_allreduce_rows(dn_allreduce *allreduce, double *rows, size_t width, dn_add_fn *add);

/* The buckets of the vector, in order, with the times of the last finished sum. Owned by the sum.
 * Not collective. */
int dn_allreduce_buckets(const dn_allreduce *allreduce, const dn_bucket **buckets);

#endif
