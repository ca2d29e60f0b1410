/*
 * The rescue: what an urgent signal (preempt.h) must not cost is more than the running step.
 *
 * A launcher that was told to stop kills its ranks a second later, and a step may take longer.
 * Weights and optimizer change only in a step's update: at any other time rank 0 holds the state
 * after the last step. Where such a signal came and the run is still there a tenth of a second
 * later, rank 0's thread forks a child that saves this state, whatever becomes of the ranks. The
 * run itself goes on, and saves as ever if it is let.
 *
 * Not collective; all but dn_rescue_start accept NULL and then do nothing.
 */
#ifndef DN_RESCUE_H
#define DN_RESCUE_H

#include "dn/checkpoint.h"
#include "dn/claim.h"

typedef struct dn_rescue dn_rescue;

/* Starts the thread; *rescue is NULL, with a warning, where there is none to be had. `claim` is of
 * the saver's folder, and used only while the rescue is held; `state` is what the saver's net and
 * optimizer hold now. After dn_preempt_open. The caller stops it. */
void dn_rescue_start(dn_rescue **rescue, dn_saver *saver, dn_claim *claim,
                     const dn_checkpoint *state);

/* Waits until the thread has ended; a child may go on. Sets *rescue to NULL. */
void dn_rescue_stop(dn_rescue **rescue);

/* Around what changes the vectors or the claim; `step` is how many steps are done then. */
void dn_rescue_hold(dn_rescue *rescue);
void dn_rescue_release(dn_rescue *rescue, int64_t step);

/* Between these: the net has the averaged weights, 1, and the optimizer its own, or no more, 0. */
void dn_rescue_swapped(dn_rescue *rescue, int is_swapped);

/* The same: the averaged weights' statistics are those of step `step`. */
void dn_rescue_measured(dn_rescue *rescue, int64_t step);

/* The new state of the schedule, of what watches for the best epoch, and the epoch's scores. */
void dn_rescue_observed(dn_rescue *rescue, const dn_schedule_state *schedule,
                        const dn_monitor_state *monitor, const dn_epoch_sums *epoch_sums);

#endif
