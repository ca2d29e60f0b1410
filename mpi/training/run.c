/* The loop of a run: steps, with evaluations and checkpoints between them, and the run's end; see
 * run.h. For the training step itself see step.c. */
#include "training/run_parts.h"

#include <inttypes.h>

/* ---- the steps ---- */

static dn_status open_loader(dn_run *r)
{
    const int own = r->step.end - r->step.first;
    r->sequence = (dn_sequence){.first = r->step.first,
                                .end = r->step.end,
                                .virtual_ranks = r->step.settings.virtual_ranks,
                                .batch = dn_net_view(r->net).batch,
                                .steps = r->rate.steps_per_epoch};
    return dn_loader_create(&r->loader,
                            &(dn_loader_settings){.source = r->training,
                                                  .sequence = r->sequence,
                                                  .begin = r->done * own,
                                                  .end = r->last * own,
                                                  .shuffle = 1,
                                                  .window = r->window,
                                                  .transforms = &r->transform,
                                                  .crops = 1,
                                                  .seed = r->step.settings.seed,
                                                  .depth = DN_READ_AHEAD * r->step.team.count,
                                                  .threads = r->train.io_threads});
}

dn_status dn_run_load(void *user, int virtual_rank, float *images, int32_t *labels, double *waited)
{
    const dn_run *r = user;
    const int first = r->step.first, own = r->step.end - first;
    const double before = dn_loader_waited(r->loader);
    const dn_status status =
        dn_loader_load(r->loader, r->done * own + virtual_rank - first, images, labels);
    *waited += dn_loader_waited(r->loader) - before;
    return status;
}

/* What the loss of the next step divides by: the class weights of all labels of the global batch,
 * summed, per virtual rank. Each rank computes it alone, from the labels and the order. */
static double mean_label_weights(dn_run *r)
{
    const dn_sequence *const s = &r->sequence;
    const int64_t images = (int64_t)s->virtual_ranks * s->batch, epoch = r->done / s->steps;
    if (r->ordered != epoch)
        dn_random_order(r->order, (size_t)r->training->count, (size_t)r->window,
                        r->step.settings.seed, (uint64_t)epoch);
    r->ordered = epoch;
    const uint32_t *const image = r->order + dn_sequence_position(s, r->done, 0);
    double sum = 0;
    for (int64_t i = 0; i < images; i++)
        sum += (double)r->class_weights[r->training->labels[image[i]]];
    return sum / s->virtual_ranks;
}

/* Runs, prints and records the next step (dn_step_run in step.c). */
static dn_status train_step(dn_run *r, dn_step_result *result)
{
    const double rate = dn_learning_rate(&r->rate, r->done);
    const double label_weights = r->order != NULL ? mean_label_weights(r) : 0;
    DN_TRY(dn_step_run(&r->step, r->done, rate, label_weights, result));
    r->done++;
    dn_run_warn_unrecorded(dn_metrics_step(r->metrics, r->done, &result->values));
    dn_saver_warn(r->saver);
    dn_run_update_rescue(r);
    return DN_OK;
}

/* ---- the end ---- */

const char *dn_run_judge(const dn_run *r)
{
    return dn_run_score_name(r, r->step.optimizer.average != NULL);
}

int dn_run_best(const dn_run *r, dn_metrics_best *best)
{
    const dn_monitor_state *const s = &r->monitor.state;
    *best = (dn_metrics_best){s->best_epoch, s->best, dn_score_row_get(r->monitor.metric)->suffix};
    return s->best_epoch > 0 && r->monitor.metric != DN_BEST_NONE;
}

const char *dn_run_end_reason(const dn_run *r)
{
    return r->done == r->last ? DN_METRICS_COMPLETE : DN_METRICS_EARLY_STOP;
}

int dn_run_is_complete(const dn_run *r)
{
    return (r->done == r->last || dn_monitor_is_over(&r->monitor)) && !dn_run_awaits_evaluation(r);
}

/* Steps agree on preemption themselves (agree_on_step of step.c); this is for long operations
 * between steps. */
static int agree_on_preemption(const dn_run *r)
{
    return dn_comm_max(r->comm, dn_preempt_reason(&r->preempt));
}

static dn_status end_run(dn_run *r, const char *reason)
{
    dn_metrics_best best;
    DN_TRY(dn_run_hash(r));
    DN_TRY(dn_run_finish_saving(r));
    const dn_status tested = dn_run_is_complete(r) ? dn_run_test(r) : DN_OK;
    if (tested == DN_STOPPED)
        reason = dn_preempt_name(agree_on_preemption(r));
    DN_TRY(dn_comm_agree(r->comm, dn_metrics_end(r->metrics, r->done, r->state.hash, r->state.path,
                                                 dn_run_best(r, &best) ? &best : NULL, reason)));
    DN_CHECK(tested == DN_OK, tested,
             "stopped on %s before the test images were scored; run again to score them", reason);
    return DN_OK;
}

/* Saves, unless that was just done, and ends the run early. */
static dn_status end_early(dn_run *r, int reason)
{
    if (r->saved != r->done)
        DN_TRY(dn_run_save(r));
    DN_TRY(end_run(r, dn_preempt_name(reason)));
    return dn_fail(DN_STOPPED, "stopped on %s at step %" PRId64 "; run again to resume",
                   dn_preempt_name(reason), r->done);
}

/* ---- the loop ---- */

static dn_status run_steps(dn_run *r)
{
    const int64_t every = r->settings.checkpoint_every;
    DN_TRY(dn_run_catch_up(r));
    dn_step_result result = {.preempted = agree_on_preemption(r)};
    while (r->done < r->last && result.preempted == 0 && !dn_monitor_is_over(&r->monitor)) {
        const dn_status status = train_step(r, &result);
        if (status == DN_EDIVERGED)
            return dn_fail(status, "step %" PRId64 ": %s", r->done + 1, dn_message());
        if (status != DN_OK)
            return dn_run_save_failed(r, "step", r->done + 1, status,
                                      "nothing was updated, the state before the step");
        const int epoch_ends = r->done % r->rate.steps_per_epoch == 0;
        if (epoch_ends)
            DN_TRY(dn_run_end_epoch(r, 0));
        if (epoch_ends || r->done == r->last || (every > 0 && r->done % every == 0))
            DN_TRY(dn_run_save_measured(r));
        if (epoch_ends || r->done == r->last)
            result.preempted = agree_on_preemption(r);
    }
    const int is_over = r->done == r->last || dn_monitor_is_over(&r->monitor);
    if (!is_over || (result.preempted != 0 && dn_run_awaits_evaluation(r)))
        return end_early(r, result.preempted);
    DN_TRY(end_run(r, dn_run_end_reason(r)));
    if (dn_monitor_is_over(&r->monitor))
        dn_info("stopped after epoch %g: no better %s since epoch %g", r->monitor.state.epochs,
                dn_score_row_get(r->monitor.metric)->title, r->monitor.state.best_epoch);
    return DN_OK;
}

/* Records the run's end in metrics.jsonl, if that can be written. */
static dn_status note_failure(const dn_run *r, dn_status status)
{
    dn_failure failure = {0};
    dn_failure_keep(&failure, status);
    (void)dn_metrics_fail(r->metrics, r->done, failure.message);
    return dn_failure_report(&failure);
}

dn_status dn_run_to_end(dn_run *r)
{
    dn_status status = dn_comm_agree(r->comm, open_loader(r));
    if (status == DN_OK)
        status = run_steps(r);
    if (status == DN_EDIVERGED)
        status = dn_run_report_divergence(r);
    dn_loader_destroy(&r->loader); /* another rank may have failed to create its own */
    return status == DN_OK || status == DN_STOPPED ? status : note_failure(r, status);
}
