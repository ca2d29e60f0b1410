/* The loop of a run: steps, with evaluations and checkpoints between them, and the run's end; see
 * run.h. For the training step itself see step.c. */
#include "training/run.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "dn/run_folder.h"
#include "job/timeline.h"
#include "training/evaluate.h"
#include "training/rescue.h"

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
                                                  .transform = r->transform,
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

/* Tells the rescue the state that is not in net and optimizer. */
static void update_rescue(const dn_run *r)
{
    const dn_epoch_sums sums = dn_metrics_epoch_sums(r->metrics);
    dn_rescue_observed(r->step.settings.rescue, &r->rate.state, &r->monitor.state, &sums);
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

/* The weights are worth more than a line of metrics.jsonl. */
static void warn_unrecorded(dn_status status)
{
    if (status != DN_OK)
        dn_warn("%s; training continues", dn_message());
}

/* Runs, prints and records the next step (dn_step_run in step.c). */
static dn_status train_step(dn_run *r, dn_step_result *result)
{
    const double rate = dn_learning_rate(&r->rate, r->done);
    const double label_weights = r->order != NULL ? mean_label_weights(r) : 0;
    DN_TRY(dn_step_run(&r->step, r->done, rate, label_weights, result));
    r->done++;
    warn_unrecorded(dn_metrics_step(r->metrics, r->done,
                                    &(dn_metrics_values){.loss = result->loss,
                                                         .correct = result->correct,
                                                         .rate = rate,
                                                         .norm = result->norm,
                                                         .data_wait = result->data_wait,
                                                         .sum_wait = result->sum_wait,
                                                         .late_rank = result->late_rank,
                                                         .late_wait = result->late_wait}));
    dn_saver_warn(r->saver);
    update_rescue(r);
    return DN_OK;
}

/* ---- checkpoints and failures ---- */

/* *hash = the hash of the weights, which must be the same on all ranks. */
static dn_status common_hash(const dn_run *r, uint64_t *hash)
{
    *hash = dn_net_hash(r->net);
    return dn_comm_same_hash(r->comm, *hash, "weights");
}

/* Rank 0, before it saves: makes sure that the folder is there and this run's; recreates it if it
 * was deleted or moved. Fails if another run has taken it. */
static dn_status renew_folder(dn_run *r)
{
    dn_rescue *const rescue = r->step.settings.rescue;
    dn_rescue_hold(rescue);
    const dn_status status = dn_claim_keep(&r->claim);
    dn_rescue_release(rescue, r->done);
    DN_TRY(status);
    warn_unrecorded(dn_metrics_keep(r->metrics));
    return DN_OK;
}

/* Starts to write a checkpoint; whether that succeeded is known later (dn_saver_warn). After a
 * failed checkpoint it waits for this one, and the run ends if this fails, too. */
static dn_status save(dn_run *r)
{
    const double start = omp_get_wtime();
    dn_note_operation(r->comm->activity, DN_SAVING);
    dn_checkpoint_path(r->state.path, sizeof r->state.path, r->folder, r->done);
    r->state.step = r->saved = r->done;
    r->state.schedule_state = r->rate.state;
    r->state.monitor = r->monitor.state;
    r->state.epoch_sums = dn_metrics_epoch_sums(r->metrics);
    DN_TRY(common_hash(r, &r->state.hash));
    dn_status status = r->comm->rank == 0 ? renew_folder(r) : DN_OK;
    if (status == DN_OK)
        status = dn_saver_start(r->saver, &r->state);
    dn_failure_keep(&r->failure, status);
    r->state.is_best = 0;
    const double seconds = fmax(omp_get_wtime() - start, dn_saver_longest(r->saver));
    r->preempt.longest_saving = fmax(r->preempt.longest_saving, seconds);
    status = dn_comm_agree(r->comm, dn_failure_report(&r->failure));
    dn_timeline_add(r->comm->timeline, DN_SPAN_SAVE, r->done, 0, start, omp_get_wtime());
    return status;
}

/* Waits until the last checkpoint is written. */
static dn_status finish_saving(dn_run *r)
{
    dn_failure_keep(&r->failure, dn_saver_wait(r->saver));
    return dn_comm_agree(r->comm, dn_failure_report(&r->failure));
}

/* Saves before the end of a failed run. */
static dn_status save_last(dn_run *r)
{
    DN_TRY(save(r));
    return finish_saving(r);
}

/* After a failure in `what` of a step: saves the state, called `kept`, and returns the failure with
 * a message that says where it is. */
static dn_status save_and_report(dn_run *r, const char *what, int64_t step, dn_status status,
                                 const char *kept)
{
    dn_failure failure = {0};
    dn_failure_keep(&failure, status);
    const dn_status saved = save_last(r);
    return dn_fail(
        status, "%s %" PRId64 ": %s; %s is %s %s", what, step, failure.message, kept,
        saved == DN_OK ? "in" : "not saved:", saved == DN_OK ? r->state.path : dn_message());
}

enum { WAY_SIZE = PATH_MAX + 32 };

/* Rank 0: sets aside the checkpoints of the diverged step; way = the checkpoint from which another
 * learning rate can be tried. */
static dn_status set_aside_diverged(dn_run *r, char way[WAY_SIZE])
{
    dn_checkpoint_file *file;
    dn_checkpoint state;
    if (dn_saver_wait(r->saver) != DN_OK) /* a checkpoint of this step may be in progress */
        dn_warn("%s", dn_message());
    DN_TRY(renew_folder(r));
    if (r->done > 0)
        DN_TRY(dn_run_set_aside(r->folder, r->done - 1));
    DN_TRY(dn_checkpoint_open_newest(&file, r->folder, r->done, &state));
    dn_checkpoint_close(&file);
    snprintf(way, WAY_SIZE, ", from %s", state.path[0] ? state.path : "the start");
    return DN_OK;
}

/* After non-finite numbers. This state diverges at any learning rate, so it is not saved, and the
 * run can resume from an earlier checkpoint. */
static dn_status report_divergence(dn_run *r)
{
    char way[WAY_SIZE] = "";
    dn_failure failure = {0};
    dn_failure_keep(&failure, DN_EDIVERGED);
    if (r->comm->rank == 0 && set_aside_diverged(r, way) != DN_OK)
        dn_warn("%s", dn_message());
    return dn_fail(DN_EDIVERGED,
                   "%s; nothing was saved; the learning rate was %g: try a smaller --lr%s",
                   failure.message, dn_learning_rate(&r->rate, r->done), way);
}

/* ---- evaluation and the end of an epoch ---- */

enum { MOST_SCORES = 2 };

/* The scores of an evaluation on the images that judge the run; then the same with averaged
 * weights. */
typedef struct evaluation {
    dn_named_scores scores[MOST_SCORES];
    int count;
} evaluation;

/* "val", "test", "ema_val" or "ema_test". */
static const char *score_name(const dn_run *r, int is_average)
{
    const int is_held_out = r->validation != &r->test.images;
    if (is_average)
        return is_held_out ? "ema_val" : "ema_test";
    return is_held_out ? "val" : "test";
}

/* Evaluates the net's present weights on the images that judge the run. */
static dn_status evaluate_weights(dn_run *r, int is_average, evaluation *e)
{
    DN_TRY(dn_evaluate(r->comm, r->net, r->validation, r->train.io_threads, &r->eval_transform,
                       &r->preempt, &e->scores[e->count].scores));
    e->scores[e->count++].name = score_name(r, is_average);
    return DN_OK;
}

static dn_status evaluate_average(dn_run *r, evaluation *e)
{
    dn_status status = dn_average_begin(r);
    if (status == DN_OK)
        status = evaluate_weights(r, 1, e);
    dn_average_end(r);
    return status;
}

/* `metric`: dn_monitored. */
static double score_of(const dn_scores *scores, int metric)
{
    const double value[] = {[DN_BEST_ACCURACY] = scores->top1,
                            [DN_BEST_LOSS] = scores->loss,
                            [DN_BEST_NONE] = 0,
                            [DN_BEST_BALANCED] = scores->balanced,
                            [DN_BEST_AUROC] = scores->auroc};
    return value[metric];
}

/* Passes the scores of the trained weights to the schedule, and those of the averaged weights, if
 * any, to the monitor. */
static void observe(dn_run *r, int64_t epoch, int is_due, const evaluation *e)
{
    dn_rate_observe(&r->rate, epoch, score_of(&e->scores[0].scores, r->rate.settings.metric));
    const int average = r->step.optimizer.average != NULL ? e->count / 2 : 0;
    const dn_scores *const judged = &e->scores[average].scores;
    const double value = score_of(judged, r->monitor.metric);
    if (is_due && dn_monitor_observe(&r->monitor, epoch, value, judged->loss))
        r->state.is_best = 1;
    update_rescue(r);
}

/* 1 if --eval-every asks for the scores of this epoch. */
static int is_evaluated(const dn_run *r, int64_t epoch)
{
    return r->settings.eval_every > 0 && epoch % r->settings.eval_every == 0;
}

/* Evaluates the weights after the epoch, if anything needs their scores; after a failure, or if
 * stopped, there are none. */
static dn_status score_epoch(dn_run *r, evaluation *e)
{
    const int64_t epoch = r->done / r->rate.steps_per_epoch;
    const int is_due = is_evaluated(r, epoch);
    const int is_last = r->settings.eval_every > 0 && r->done == r->last;
    *e = (evaluation){.count = 0};
    if (!is_due && !is_last && !dn_rate_awaits(&r->rate, epoch))
        return DN_OK;
    const double start = omp_get_wtime();
    dn_status status = evaluate_weights(r, 0, e);
    if (status == DN_OK && r->step.optimizer.average != NULL)
        status = evaluate_average(r, e);
    if (status == DN_OK)
        observe(r, epoch, is_due, e);
    else
        e->count = 0;
    dn_timeline_add(r->comm->timeline, DN_SPAN_EVALUATE, r->done, 0, start, omp_get_wtime());
    return status;
}

/* `is_belated`: a previous process of the run ended the epoch and printed its line, but was stopped
 * in its evaluation. */
static dn_status end_epoch(dn_run *r, int is_belated)
{
    uint64_t hash;
    evaluation e;
    dn_failure failure = {0};
    const dn_status scored = score_epoch(r, &e);
    if (scored != DN_OK && is_belated)
        return scored == DN_STOPPED ? DN_OK : scored;
    if (scored != DN_STOPPED)
        dn_failure_keep(&failure, scored);
    DN_TRY(common_hash(r, &hash));
    warn_unrecorded(dn_metrics_epoch(r->metrics, r->done, hash, e.scores, e.count));
    const dn_status status = dn_failure_report(&failure);
    return status == DN_OK ? DN_OK
                           : save_and_report(r, "evaluation after step", r->done, status,
                                             "the state after the step");
}

static int awaits_scores(const dn_run *r)
{
    const int64_t epoch = r->done / r->rate.steps_per_epoch;
    return dn_rate_awaits(&r->rate, epoch) ||
           (r->done > 0 && r->done % r->rate.steps_per_epoch == 0 && is_evaluated(r, epoch) &&
            dn_monitor_awaits(&r->monitor, epoch));
}

/* 1 if the run is at its end and the statistics of its averaged weights are of an earlier step. A
 * run that resumes without averages, or starts them, has none to measure. */
static int awaits_statistics(const dn_run *r)
{
    const int64_t measured = r->state.average_step;
    return r->step.optimizer.average != NULL && r->done == r->last && measured >= 0 &&
           measured < r->done;
}

int dn_run_awaits_evaluation(const dn_run *r)
{
    return awaits_scores(r) || awaits_statistics(r);
}

/* Saves, after measuring the statistics of the run's last averaged weights if they are missing. If
 * that is stopped they remain missing. */
static dn_status save_measured(dn_run *r)
{
    if (awaits_statistics(r)) {
        const dn_status status = dn_average_begin(r);
        dn_average_end(r);
        dn_failure_keep(&r->failure, status == DN_STOPPED ? DN_OK : status);
    }
    return save(r);
}

/* ---- the end ---- */

const char *dn_run_judge(const dn_run *r)
{
    return score_name(r, r->step.optimizer.average != NULL);
}

/* By dn_monitored: the key of a score after the judge's name, and its name in messages. */
static const struct {
    const char *suffix, *title;
} best_metrics[] = {[DN_BEST_ACCURACY] = {"top1", "accuracy"},
                    [DN_BEST_LOSS] = {"loss", "loss"},
                    [DN_BEST_NONE] = {"", "none"}, /* no best epoch and no early stop */
                    [DN_BEST_BALANCED] = {"balanced", "balanced accuracy"},
                    [DN_BEST_AUROC] = {"auroc", "AUROC"}};

int dn_run_best(const dn_run *r, dn_metrics_best *best)
{
    const dn_monitor_state *const s = &r->monitor.state;
    *best = (dn_metrics_best){s->best_epoch, s->best, best_metrics[r->monitor.metric].suffix};
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

static dn_status end_run(dn_run *r, const char *reason)
{
    uint64_t hash;
    dn_metrics_best best;
    DN_TRY(common_hash(r, &hash));
    DN_TRY(finish_saving(r));
    if (dn_run_is_complete(r))
        dn_run_test(r);
    return dn_comm_agree(r->comm, dn_metrics_end(r->metrics, r->done, hash, r->state.path,
                                                 dn_run_best(r, &best) ? &best : NULL, reason));
}

/* Saves, unless that was just done, and ends the run early. */
static dn_status end_early(dn_run *r, int reason)
{
    if (r->saved != r->done)
        DN_TRY(save(r));
    DN_TRY(end_run(r, dn_preempt_name(reason)));
    return dn_fail(DN_STOPPED, "stopped on %s at step %" PRId64 "; run again to resume",
                   dn_preempt_name(reason), r->done);
}

/* Steps agree on preemption themselves (agree_on_step of step.c); this is for long operations
 * between steps. */
static int agree_on_preemption(const dn_run *r)
{
    return dn_comm_max(r->comm, dn_preempt_reason(&r->preempt));
}

/* ---- the loop ---- */

static dn_status run_steps(dn_run *r)
{
    const int64_t every = r->settings.checkpoint_every;
    if (dn_run_awaits_evaluation(r)) {
        if (awaits_scores(r))
            DN_TRY(end_epoch(r, 1));
        DN_TRY(save_measured(r));
    }
    dn_step_result result = {.preempted = agree_on_preemption(r)};
    while (r->done < r->last && result.preempted == 0 && !dn_monitor_is_over(&r->monitor)) {
        const dn_status status = train_step(r, &result);
        if (status == DN_EDIVERGED)
            return dn_fail(status, "step %" PRId64 ": %s", r->done + 1, dn_message());
        if (status != DN_OK)
            return save_and_report(r, "step", r->done + 1, status,
                                   "nothing was updated, the state before the step");
        const int epoch_ends = r->done % r->rate.steps_per_epoch == 0;
        if (epoch_ends)
            DN_TRY(end_epoch(r, 0));
        if (epoch_ends || r->done == r->last || (every > 0 && r->done % every == 0))
            DN_TRY(save_measured(r));
        if (epoch_ends || r->done == r->last)
            result.preempted = agree_on_preemption(r);
    }
    const int is_over = r->done == r->last || dn_monitor_is_over(&r->monitor);
    if (!is_over || (result.preempted != 0 && dn_run_awaits_evaluation(r)))
        return end_early(r, result.preempted);
    DN_TRY(end_run(r, dn_run_end_reason(r)));
    if (dn_monitor_is_over(&r->monitor))
        dn_info("stopped after epoch %g: no better %s since epoch %g", r->monitor.state.epochs,
                best_metrics[r->monitor.metric].title, r->monitor.state.best_epoch);
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
        status = report_divergence(r);
    dn_loader_destroy(&r->loader); /* another rank may have failed to create its own */
    return status == DN_OK || status == DN_STOPPED ? status : note_failure(r, status);
}
