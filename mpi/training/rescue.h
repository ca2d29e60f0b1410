/*
 * The rescue: after an urgent signal (preempt.h) at most the running step is lost.
 *
 * A launcher that is told to stop kills its ranks a second later, and a step may take longer.
 * Weights and optimizer change only in a step's update; at any other time rank 0 holds the state
 * after the last step. If the run has not ended a tenth of a second after such a signal, a thread
 * of rank 0 forks a child that saves this state, whatever becomes of the ranks. The run itself
 * continues, and saves as usual if it lives long enough.
 *
 * Not collective. All functions but dn_rescue_start do nothing if `rescue` is NULL.
 */
#ifndef DN_RESCUE_H
#define DN_RESCUE_H

#include "dn/checkpoint.h"
#include "dn/claim.h"

typedef struct dn_rescue dn_rescue;

/* Starts the thread; *rescue is NULL, with a warning, if it cannot be started. `claim` is that of
 * the saver's folder, and must only be used while the rescue is held; `state` is the present state
 * of the saver's net and optimizer. Call it after dn_preempt_open. The caller stops it. */
void dn_rescue_start(dn_rescue **rescue, dn_saver *saver, dn_claim *claim,
                     const dn_checkpoint *state);

/* Waits until the thread has ended; a child may continue. Sets *rescue to NULL. */
void dn_rescue_stop(dn_rescue **rescue);

/* Lock and unlock the rescue, around code that changes the vectors or the claim; `step` is the
 * number of steps done after the change. */
void dn_rescue_hold(dn_rescue *rescue);
void dn_rescue_release(dn_rescue *rescue, int64_t step);

/* While it is held: 1: the net has the averaged weights and the optimizer the trained ones; 0: no
 * longer. */
void dn_rescue_swapped(dn_rescue *rescue, int is_swapped);

/* While it is held: the statistics of the averaged weights are those of step `step`. */
void dn_rescue_measured(dn_rescue *rescue, int64_t step);

/* Sets the new states of schedule and monitor, and the epoch's scores. */
void dn_rescue_observed(dn_rescue *rescue, const dn_schedule_state *schedule,
                        const dn_monitor_state *monitor, const dn_epoch_sums *epoch_sums);

#endif
