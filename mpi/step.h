/*
 * The training step: what one optimizer update takes, on any number of ranks.
 *
 * This rank's virtual ranks run one after another and keep one set of activations; their leaves
 * are added up along the fixed tree, first here, then across ranks.
 */
#ifndef DN_STEP_H
#define DN_STEP_H

#include "allreduce.h"
#include "dn/net.h"
#include "dn/optimizer.h"

/* Fills images and labels of virtual rank `virtual_rank` for the running step. */
typedef void dn_load_fn(void *user, int virtual_rank, float *images, int32_t *labels);

typedef struct dn_step {
    const dn_comm *comm;
    dn_net *net;                    /* not owned */
    int virtual_ranks, first, last; /* of the job; this rank's range */
    dn_tree *tree;
    dn_allreduce *allreduce;
    float *momentum;                                        /* (parameters) */
    double *losses, *corrects;                              /* (virtual_ranks) */
    double compute_seconds, reduce_seconds, update_seconds; /* since the caller cleared them */
} dn_step;

/* Allocates what the steps of `net` over so many virtual ranks take. DN_EINVAL where ranks
 * outnumber virtual ranks. The caller destroys it, also after a failure. Not collective. */
dn_status dn_step_create(dn_step *step, const dn_comm *comm, dn_net *net, int virtual_ranks);
void dn_step_destroy(dn_step *step);

/* Results of one step over the global batch. */
typedef struct dn_step_result {
    double loss;     /* mean over the images */
    int64_t correct; /* top-1 */
} dn_step_result;

/* One step: `load` is called for each of this rank's virtual ranks; `pass` gives seed, step and
 * label smoothing. Collective. */
void dn_step_run(dn_step *step, const dn_pass *pass, const dn_sgd *sgd, dn_load_fn *load,
                 void *user, dn_step_result *result);

#endif
