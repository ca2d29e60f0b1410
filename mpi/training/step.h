/*
 * The training step: what one optimizer update takes, on any number of ranks.
 *
 * This rank's virtual ranks run one after another and keep one set of activations; their leaves
 * are added up along the fixed tree, first here, then across ranks. What the last one's backward
 * pass has finished is on its way to the other ranks while the rest is computed.
 *
 * Only those of a norm group (--sync-bn) run side by side, each with activations of its own, and
 * send their gradients when all are done.
 */
#ifndef DN_STEP_H
#define DN_STEP_H

#include "allreduce/allreduce.h"
#include "dn/net.h"
#include "dn/optimizer.h"
#include "training/settings.h"

/* What the steps took, in seconds, since the caller cleared it. */
typedef struct dn_step_times {
    double compute;   /* batches, forward, backward */
    double wait;      /* for the other ranks' gradients, after the backward pass */
    double flight;    /* with buckets in flight, `wait` included */
    double exposed;   /* what the rank that waited least did: communication that nothing hid */
    double imbalance; /* what the one that waited longest did beyond that: for the latest rank */
    double update;
} dn_step_times;

typedef struct dn_step {
    const dn_comm *comm;
    dn_net *net; /* not owned */
    dn_step_settings settings;
    int first, last;    /* this rank's virtual ranks */
    dn_team team;       /* what computes at once: one virtual rank, or all of a norm group; of its
                           nets, an array of the step's, the first is `net`, the others are owned */
    dn_result *results; /* (team.count) */
    dn_tree *tree;
    size_t pushed; /* floats of the last leaf that the tree has */
    dn_allreduce *allreduce;
    dn_optimizer_state optimizer;
    dn_tensor *learnt; /* (learnt_tensors) parameters that are not frozen; head_tensors of them, the
                          linear layer's, first */
    int learnt_tensors, head_tensors;
    double *losses; /* (last - first) of this rank's virtual ranks */
    double *scores; /* (last - first, DN_STEP_SCORES); after the sum the first row is the step's */
    dn_failure loading; /* of this rank's batches of the step */
    double data_wait;   /* for these, seconds */
    dn_step_times times;
} dn_step;

/* Allocates what the steps of `net` take; its norm group is 1, or all virtual ranks. DN_ENOMEM. The
 * caller destroys it, also after a failure; a zeroed one may be destroyed, too. Not collective. */
dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net,
                         const dn_step_settings *settings);
void dn_step_destroy(dn_step *step);

/* Bytes that will be touched for the first time, besides the net's: whatever the batch, and in
 * proportion to it. */
typedef struct dn_bytes {
    double fixed, by_batch;
} dn_bytes;

/* Those of the steps. */
dn_bytes dn_step_bytes(const dn_step *step);

/* Results of one step over the global batch. */
typedef struct dn_step_result {
    double loss;      /* mean over the images */
    int64_t correct;  /* top-1 */
    double data_wait; /* of the rank that waited longest for its batches, seconds */
    double sum_wait;  /* and for the sum over ranks, after its last backward pass */
    int late_rank;    /* the rank that waited least for that sum, ... */
    double late_wait; /* ... and how much longer another did: for this one */
    int preempted;    /* why the job should end after this step (preempt.h), or 0; on all ranks */
} dn_step_result;

/* Step `number` (0 is the first) at learning rate `rate`. DN_EDIVERGED, the same on all ranks, when
 * a loss or the gradient is non-finite, and what `load` returned on a rank: then nothing was
 * updated. Collective. */
dn_status dn_step_run(dn_step *step, int64_t number, double rate, dn_step_result *result);

#endif
