/* Shared by the files of the training step: step.c runs it, step_create.c allocates its memory,
 * divergence.c checks its numbers, and update.c changes the weights. */
#ifndef DN_STEP_PARTS_H
#define DN_STEP_PARTS_H

#include "training/step.h"

/* The columns of a step's scores. Those below DN_SCORE_SUMS are summed over the virtual ranks. Of
 * the others the maximum is taken: seconds that a rank waited for the sum, their negative, seconds
 * that it waited for its batches, whether its sum is not finite, and its reason to stop.
 * DN_SCORE_LATE_RANK becomes the rank that waited least, for which the others waited. */
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

/* Loads the batches of the team's virtual ranks from `v` on, and computes their losses and
 * gradients in step `number`. The backward pass calls `ready` unless it is NULL. Collective if the
 * team has an exchange. */
void dn_step_compute(dn_step *step, int64_t number, int v, dn_ready_fn *ready);

/* 1 if all floats of the net's leaf are finite. Not collective. */
int dn_leaf_is_finite(const dn_net *net);

/* Checks the losses and the summed gradient by the step's scores, which have been reduced: all
 * ranks return the same, even if one has other sums than the rest, as after a memory error.
 * DN_EDIVERGED names the first virtual rank with a non-finite loss or gradient, or none if only
 * their sum is not finite. Also returns the error of `load` on some rank. Collective. */
dn_status dn_step_check(dn_step *step, int64_t number);

/* Updates parameters, optimizer, averaged weights and running statistics from the summed leaf.
 * Returns the gradient's norm as dn_metrics_values has it. Not collective. */
double dn_step_update(dn_step *step, int64_t number, double rate);

#endif
