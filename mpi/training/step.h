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
#include "allreduce/small_sum.h"
#include "dn/net.h"
#include "dn/optimizer.h"
#include "options/options.h"
#include "job/preempt.h"

/* Fills images and labels of virtual rank `virtual_rank` for the running step. */
typedef void dn_load_fn(void *user, int virtual_rank, float *images, int32_t *labels);

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
    dn_net *net;                    /* not owned */
    int virtual_ranks, first, last; /* of the job; this rank's range */
    dn_team team;       /* what computes at once: one virtual rank, or all of a norm group */
    dn_net **nets;      /* (team.count) the first is `net`, the others are owned */
    dn_result *results; /* (team.count) */
    dn_tree *tree;
    size_t pushed; /* floats of the last leaf that the tree has */
    dn_allreduce *allreduce;
    dn_small_sum small_sum; /* of statistics and scores */
    float *momentum;        /* (parameters) */
    double *losses;         /* (last - first) of this rank's virtual ranks */
    double *scores;         /* (last - first, 5); after the sum the first row is the step's */
    dn_preempt *stop;       /* or NULL; not owned */
    dn_step_times times;
} dn_step;

/* Allocates what the steps of `net` over so many virtual ranks take; the net's norm group is 1, or
 * all the virtual ranks. Of the options, those about gradients between ranks matter. The steps keep
 * the longest_step of `stop` (or NULL) up to date, and tell of its reason. DN_EINVAL where ranks
 * outnumber virtual ranks, DN_ENOMEM. The caller destroys it, also after a failure. Not
 * collective. */
dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net, const dn_options *options,
                         int virtual_ranks, dn_preempt *stop);
void dn_step_destroy(dn_step *step);

/* Results of one step over the global batch. */
typedef struct dn_step_result {
    double loss;     /* mean over the images */
    int64_t correct; /* top-1 */
    int culprit;     /* on DN_EDIVERGED: the virtual rank, -1 where only the sum is not finite */
    int stop;        /* why a rank should stop after this step (stop.h), the same on all; or 0 */
} dn_step_result;

/* One step: `load` is called for each of this rank's virtual ranks; `pass` gives seed, step and
 * label smoothing. DN_EDIVERGED, the same on all ranks, when a loss or the gradient is no finite
 * number: then nothing was updated. Collective. */
dn_status dn_step_run(dn_step *step, const dn_pass *pass, const dn_sgd *sgd, dn_load_fn *load,
                      void *user, dn_step_result *result);

#endif
