/* Shared by the files of a run: run.c has its loop, epoch.c the end of an epoch, save.c its
 * checkpoints and its end after a failure, average.c the averaged weights, final_test.c the scores
 * of the test images. */
#ifndef DN_RUN_PARTS_H
#define DN_RUN_PARTS_H

#include "training/evaluate.h"
#include "training/run.h"

/* Evaluates the net's present weights on the images. Errors as dn_evaluate. Collective
 * (epoch.c). */
dn_status dn_run_evaluate(dn_run *run, const dn_source *images, dn_named_scores *scores);

/* Evaluates the weights, if anything needs their scores, and records the epoch. `is_belated`: a
 * previous process of the run ended the epoch and printed its line, but was stopped in its
 * evaluation. Collective. */
dn_status dn_run_end_epoch(dn_run *run, int is_belated);

/* The name of the scores on the images that judge the run: "val" or "test", with averaged weights
 * "ema_val" or "ema_test". Not collective. */
const char *dn_run_score_name(const dn_run *run, int is_average);

/* Does what a previous process of the run was stopped in (dn_run_awaits_evaluation). Collective. */
dn_status dn_run_catch_up(dn_run *run);

/* dn_run_save, after measuring the statistics of the run's last averaged weights if they are
 * missing. If that is stopped they remain missing. Collective. */
dn_status dn_run_save_measured(dn_run *run);

/* Starts to write a checkpoint; whether that succeeded is known later (dn_saver_warn). After a
 * failed checkpoint it waits for this one, and the run ends if this fails, too. Collective. */
dn_status dn_run_save(dn_run *run);

/* Waits until the last checkpoint is written. Collective. */
dn_status dn_run_finish_saving(dn_run *run);

/* After the failure `status` in `what` of a step: saves the state, which the message calls `state`,
 * and returns the failure with a message that says where it is. Collective. */
dn_status dn_run_save_failed(dn_run *run, const char *what, int64_t step, dn_status status,
                             const char *state);

/* After non-finite numbers: returns DN_EDIVERGED with a message that says how to continue. The
 * state diverges at any learning rate, so it is not saved, and the run can resume from an earlier
 * checkpoint. Not collective. */
dn_status dn_run_report_divergence(dn_run *run);

/* state.hash = the hash of the weights after step `done`, computed once for each step; it must be
 * the same on all ranks. Collective. */
dn_status dn_run_hash(dn_run *run);

/* Warns of a failure of metrics.jsonl: the weights are worth more than a line of it. */
void dn_run_warn_unrecorded(dn_status status);

/* Tells the rescue the state that is not in net and optimizer. */
void dn_run_update_rescue(const dn_run *run);

#endif
