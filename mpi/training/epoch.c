/* The end of an epoch: its scores, and what follows from them; see run_parts.h. */
#include "training/run_parts.h"

#include <omp.h>
#include <stdlib.h>

#include "job/timeline.h"

enum { MOST_SCORES = 2 };

/* The scores of an evaluation on the images that judge the run; then the same with averaged
 * weights. */
typedef struct epoch_scores {
    dn_named_scores scores[MOST_SCORES];
    int count;
} epoch_scores;

const char *dn_run_score_name(const dn_run *r, int is_average)
{
    const int is_held_out = r->validation != &r->test.images;
    if (is_average)
        return is_held_out ? "ema_val" : "ema_test";
    return is_held_out ? "val" : "test";
}

dn_status dn_run_evaluate(dn_run *r, const dn_source *images, dn_named_scores *scores)
{
    return dn_evaluate(&(dn_evaluation){.comm = r->comm,
                                        .net = r->net,
                                        .images = images,
                                        .io_threads = r->train.io_threads,
                                        .transforms = &r->eval_transform,
                                        .crops = 1,
                                        .preempt = &r->preempt},
                       &scores->scores, &scores->class_auroc);
}

/* Evaluates the net's present weights on the images that judge the run. */
static dn_status evaluate_weights(dn_run *r, int is_average, epoch_scores *e)
{
    dn_named_scores *const scores = &e->scores[e->count];
    DN_TRY(dn_run_evaluate(r, r->validation, scores));
    scores->name = dn_run_score_name(r, is_average);
    e->count++;
    return DN_OK;
}

static dn_status evaluate_average(dn_run *r, epoch_scores *e)
{
    dn_status status = dn_average_begin(r);
    if (status == DN_OK)
        status = evaluate_weights(r, 1, e);
    dn_average_end(r);
    return status;
}

/* Passes the scores of the trained weights to the schedule, and those of the averaged weights, if
 * any, to the monitor. */
static void observe(dn_run *r, int64_t epoch, int is_due, const epoch_scores *e)
{
    dn_rate_observe(&r->rate, epoch, dn_score_value(&e->scores[0].scores, r->rate.settings.metric));
    const int average = r->step.optimizer.average != NULL ? e->count / 2 : 0;
    const dn_scores *const judged = &e->scores[average].scores;
    const double value = dn_score_value(judged, r->monitor.metric);
    if (is_due && dn_monitor_observe(&r->monitor, epoch, value, judged->loss))
        r->state.is_best = 1;
    dn_run_update_rescue(r);
}

/* 1 if --eval-every asks for the scores of this epoch. */
static int is_evaluated(const dn_run *r, int64_t epoch)
{
    return r->settings.eval_every > 0 && epoch % r->settings.eval_every == 0;
}

/* 1 if the run is at the end of an epoch after which it is evaluated as its last one. */
static int has_last_scores(const dn_run *r)
{
    return r->settings.eval_every > 0 && r->done == r->last &&
           r->done % r->rate.steps_per_epoch == 0;
}

/* Evaluates the weights after the epoch, if anything needs their scores; after a failure, or if
 * stopped, there are none. */
static dn_status score_epoch(dn_run *r, epoch_scores *e)
{
    const int64_t epoch = r->done / r->rate.steps_per_epoch;
    const int is_due = is_evaluated(r, epoch), is_last = has_last_scores(r);
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
    r->lacks_scores = is_last && status != DN_OK;
    dn_timeline_add(r->comm->timeline, DN_SPAN_EVALUATE, r->done, 0, start, omp_get_wtime());
    return status;
}

static dn_status end_epoch(dn_run *r, int is_belated, epoch_scores *e)
{
    dn_failure failure = {0};
    const dn_status scored = score_epoch(r, e);
    if (scored != DN_OK && is_belated)
        return scored == DN_STOPPED ? DN_OK : scored;
    if (scored != DN_STOPPED)
        dn_failure_keep(&failure, scored);
    DN_TRY(dn_run_hash(r));
    dn_run_warn_unrecorded(
        dn_metrics_epoch(r->metrics, r->done, r->state.hash, e->scores, e->count));
    const dn_status status = dn_failure_report(&failure);
    return status == DN_OK ? DN_OK
                           : dn_run_save_failed(r, "evaluation after step", r->done, status,
                                                "the state after the step");
}

dn_status dn_run_end_epoch(dn_run *r, int is_belated)
{
    epoch_scores e = {.count = 0};
    const dn_status status = end_epoch(r, is_belated, &e);
    for (int i = 0; i < MOST_SCORES; i++)
        free(e.scores[i].class_auroc);
    return status;
}

static int awaits_scores(const dn_run *r)
{
    const int64_t epoch = r->done / r->rate.steps_per_epoch;
    return r->lacks_scores || dn_rate_awaits(&r->rate, epoch) ||
           (r->done > 0 && r->done % r->rate.steps_per_epoch == 0 && is_evaluated(r, epoch) &&
            dn_monitor_awaits(&r->monitor, epoch));
}

int dn_run_only_records_scores(const dn_run *r)
{
    const int64_t epoch = r->done / r->rate.steps_per_epoch;
    return has_last_scores(r) && r->monitor.state.epochs < (double)epoch;
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

dn_status dn_run_save_measured(dn_run *r)
{
    if (awaits_statistics(r)) {
        const dn_status status = dn_average_begin(r);
        dn_average_end(r);
        dn_failure_keep(&r->failure, status == DN_STOPPED ? DN_OK : status);
    }
    return dn_run_save(r);
}

dn_status dn_run_catch_up(dn_run *r)
{
    if (!dn_run_awaits_evaluation(r))
        return DN_OK;
    if (awaits_scores(r))
        DN_TRY(dn_run_end_epoch(r, 1));
    return dn_run_save_measured(r);
}
