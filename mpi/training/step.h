/*
 * The training step: everything for one optimizer update, on any number of ranks.
 *
 * A rank's virtual ranks run one after another in the same activation memory. Their leaves are
 * summed along the fixed tree, first on this rank, then across ranks. During the backward pass of
 * the last one, finished gradients are sent to the other ranks while the rest is computed.
 *
 * Only the virtual ranks of a norm group (--sync-bn) run side by side, each with its own
 * activations; if a rank has several, their gradients are sent after the backward pass.
 */
#ifndef DN_STEP_H
#define DN_STEP_H

#include "allreduce/allreduce.h"
#include "dn/metrics.h"
#include "dn/net.h"
#include "dn/optimizer.h"
#include "training/settings.h"

/* Times of the steps since the caller cleared them, in seconds. */
typedef struct dn_step_times {
    double compute;   /* batches, forward, backward */
    double wait;      /* for the sum over ranks, after the backward pass */
    double flight;    /* with buckets in flight, `wait` included */
    double exposed;   /* the shortest `wait` of all ranks: communication that is not hidden */
    double imbalance; /* the longest minus the shortest `wait`: time lost to the latest rank */
    double update;
} dn_step_times;

typedef struct dn_step {
    const dn_comm *comm;
    dn_net *net; /* not owned */
    dn_step_settings settings;
    int first, end; /* this rank's virtual ranks: [first, end) */
    dn_team team;   /* the nets that run side by side: one, or one per virtual rank of a norm group;
                       the first is `net`, the others and the array are owned */
    dn_result *results; /* (team.count) */
    dn_tree *tree;
    size_t pushed; /* floats of the last leaf that were pushed into the tree */
    dn_allreduce *allreduce;
    dn_optimizer_state optimizer;
    dn_tensor *learnt; /* (learnt_tensors) parameters that are not frozen, first the head_tensors of
                          the head */
    int learnt_tensors, head_tensors;
    double label_weights; /* of the present step (dn_step_run) */
    double *losses;       /* (end - first) of this rank's virtual ranks */
    double *scores;     /* (end - first, DN_STEP_SCORES); after the reduction row 0 is the step's */
    dn_failure loading; /* of loading this rank's batches in the step */
    double data_wait;   /* seconds of waiting for these batches */
    dn_step_times times;
} dn_step;

/* The sum over ranks by these settings, for a leaf of `count` floats of which the first `gradients`
 * are gradients. Leaves comm_thread and widest 0. */
dn_allreduce_settings dn_step_sum(const dn_step_settings *settings, size_t count, size_t gradients);

/* Allocates memory for the steps of `net`, whose norm group has 1 or all virtual ranks. DN_ENOMEM;
 * DN_EINVAL if a communication thread is wanted and MPI does not allow one. The caller destroys it,
 * even after a failure; a zeroed one may be destroyed, too. Not collective.
 */
dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net,
                         const dn_step_settings *settings);
void dn_step_destroy(dn_step *step);

/* Bytes that will be touched for the first time, besides the net's: independent of the batch size,
 * and proportional to it. */
typedef struct dn_bytes {
    double fixed, by_batch;
} dn_bytes;

/* The bytes of the steps. Not collective. */
dn_bytes dn_step_bytes(const dn_step *step);

/* Results of one step over the global batch. */
typedef struct dn_step_result {
    dn_metrics_values values;
    int preempted; /* reason why the job should end after this step (preempt.h), or 0 */
} dn_step_result;

/* Runs step `number` (from 0) at learning rate `rate`. `label_weights`: with class weights, the sum
 * of those of a virtual rank's labels, averaged over all virtual ranks; 0: each virtual rank
 * divides its loss by its own sum. Returns the same status on all ranks: DN_EDIVERGED if a loss or
 * the gradient is not finite, or the error of `load` on some rank; then nothing was updated.
 * Collective. */
dn_status dn_step_run(dn_step *step, int64_t number, double rate, double label_weights,
                      dn_step_result *result);

#endif
