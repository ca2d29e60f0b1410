/* What the files of the training step share: step.c runs it, step_create.c makes what it takes,
 * divergence.c looks at its numbers, and update.c changes the weights. */
#ifndef DN_STEP_PARTS_H
#define DN_STEP_PARTS_H

#include "training/step.h"

/* What a step adds up over the virtual ranks; and of what it takes the largest: how long a rank
 * waited for the sum, the negative of that, how long for its batches, whether it found a sum that
 * is not finite, and why to stop. Last the rank that waited least: the others waited for it. */
enum {
    DN_SCORE_LOSS,
    DN_SCORE_CORRECT,
    DN_SCORE_SUMS,
    DN_SCORE_WAIT = DN_SCORE_SUMS,
    DN_SCORE_NEGATIVE_WAIT,
    DN_SCORE_DATA_WAIT,
    DN_SCORE_BAD_SUM,
    DN_SCORE_STOP,
    DN_SCORE_LATE_RANK,
    DN_STEP_SCORES
};

/* Sets the step's `learnt` tensors, which the caller frees. DN_ENOMEM. Not collective. */
dn_status dn_step_find_learnt(dn_step *step);

/* Losses and gradients of the team's virtual ranks from `v` on, in step `number`; `ready` is called
 * in the backward pass, or NULL. Collective where the team has an exchange. */
void dn_step_compute(dn_step *step, int64_t number, int v, dn_ready_fn *ready);

/* 1 where all of the net's leaf is finite. Not collective. */
int dn_leaf_is_finite(const dn_net *net);

/* Looks at the losses and the summed gradient, of which the step's scores tell: all ranks come to
 * the same result, also where one has other sums than the rest, as by a fault of its memory.
 * DN_EDIVERGED names the virtual rank that it comes from, none where each gradient is finite and
 * only their sum is not; or what `load` returned on a rank. Collective. */
dn_status dn_step_check(dn_step *step, int64_t number);

/* Parameters, optimizer, averaged weights and running statistics from the summed leaf. Not
 * collective. */
void dn_step_update(dn_step *step, int64_t number, double rate);

#endif
