/*
 * `dn_dist train`: sets up a run, from its first step or from a checkpoint, and runs it to its end
 * (run.c).
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/consistency.h"
#include "commands/memory.h"
#include "commands/train_parts.h"
#include "dn/run_folder.h"
#include "job/heartbeat.h"
#include "job/placement.h"
#include "training/rescue.h"

/* Bytes that the run touches besides its net: for the steps, the batches that are read ahead, and
 * on rank 0 the saver, which holds a copy of the state and the file's bytes. A checkpoint that is
 * to be loaded is in memory already. */
static dn_bytes beside_net(const dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    const double image = (double)dn_spec_values(net.spec);
    dn_bytes bytes = dn_step_bytes(&r->step);
    bytes.by_batch += DN_READ_AHEAD * r->step.team.count * net.batch * image * sizeof(float);
    if (r->comm->rank == 0)
        bytes.fixed += (r->from ? 1.0 : 2.0) * sizeof(float) *
                       (double)(net.parameter_count + net.running_count + r->step.optimizer.floats);
    return bytes;
}

/* Sets up data, net, step and weights on all ranks. *limit is as for try_train; *recorded = the
 * options at the checkpoint. */
static dn_status set_up(dn_run *r, dn_options *o, int64_t *limit, dn_options *recorded)
{
    DN_TRY(dn_preempt_open(&r->preempt, o->time_limit, r->comm->start));
    DN_TRY(dn_train_find_start(r, o, *limit, recorded));
    DN_TRY(dn_options_check_reads(o));
    dn_info("%s on the data in %s, ranks: %d, output to %s", o->model, o->data, r->comm->size,
            r->folder);
    dn_heartbeat_record(r->comm, r->folder);
    DN_TRY(dn_train_open_data(r, o));
    DN_TRY(dn_comm_agree(r->comm, dn_train_build(r, o)));
    dn_train_say_rates(r, recorded);
    DN_TRY(dn_same_kernels(r->comm, r->net, o->dtype));
    DN_TRY(dn_check_memory(
        r->comm, r->net, beside_net(r),
        "the optimizer's and checkpoints', which fewer ranks here would need less of"));
    DN_TRY(dn_place_report(r->comm, o->step.virtual_ranks, 1));
    return dn_train_load_start(r, o, limit);
}

/* Opens metrics and checkpoints, on rank 0. Files of earlier runs are set aside if the run starts
 * from scratch, and newer checkpoints if it skipped one. */
static dn_status open_output(dn_run *r, const dn_options *o, int64_t limit)
{
    if (strcmp(o->resume, "auto") != 0 || r->state.path[0] == '\0' || limit < INT64_MAX)
        DN_TRY(dn_run_set_aside(r->folder, r->state.path[0] ? r->state.step : -1));
    DN_TRY(dn_manifest_read(&r->data_set, &r->state.data_set_bytes, o->data));
    r->state.data_set = r->data_set;
    const dn_metrics_data data = {.name = r->train.images.info.dataset,
                                  .path = r->state.folder[0] ? r->state.folder : o->data,
                                  .classes = r->train.images.info.classes,
                                  .has_sets = r->train.images.label_sets != NULL,
                                  .class_names = dn_shards_manifest(r->train.shards)->class_names,
                                  .train = r->training->count,
                                  .validation =
                                      r->validation == &r->test.images ? 0 : r->validation->count,
                                  .test = r->test.images.count,
                                  .judge = dn_run_judge(r)};
    DN_TRY(dn_saver_create(&r->saver, r->net, &r->step.optimizer, r->folder, o->run.keep));
    return dn_metrics_create(
        &r->metrics,
        &(dn_metrics_settings){.folder = r->folder,
                               .progress = stdout,
                               .steps_per_epoch = r->rate.steps_per_epoch,
                               .epochs = o->epochs,
                               .last_step = r->last,
                               .images = (int64_t)o->batch_size * o->step.virtual_ranks,
                               .interval = 10,
                               .done = r->done,
                               .epoch_sums = r->state.epoch_sums,
                               .config = r->state.config,
                               .data = data,
                               .ranks = r->comm->size,
                               .has_norm = r->step.settings.clip_norm > 0,
                               .tensorboard = o->tensorboard});
}

/* DN_EINVAL if --time-limit leaves no time for a step: every restart would end in the same way. */
static dn_status check_time(const dn_run *r, const char *limit)
{
    const int is_late = dn_preempt_reason(&r->preempt) == DN_PREEMPT_TIME && limit[0] != '\0';
    DN_CHECK(dn_comm_max(r->comm, is_late) == 0, DN_EINVAL,
             "--time-limit %s: found too little for a step and a checkpoint, expected more", limit);
    return DN_OK;
}

/* Says where the weights are: first the best ones, which other commands use. */
static void say_weights(const dn_run *r)
{
    dn_metrics_best best;
    char value[48];
    if (dn_run_best(r, &best)) {
        const int metric = r->monitor.metric;
        const int is_exact = metric == DN_BEST_ACCURACY && r->training->label_sets != NULL;
        snprintf(value, sizeof value, is_exact ? "exact %.2f %%" : dn_score_row_get(metric)->format,
                 best.value);
        dn_info("best epoch %g, %s %s: %s/" DN_CHECKPOINT_BEST, best.epoch,
                dn_metrics_title(dn_run_judge(r)), value, r->folder);
    }
    dn_info("last weights %s, metrics %s/" DN_METRICS_NAME, r->state.path, r->folder);
}

/* Trains from the step at which the run was set up. */
static dn_status train(dn_run *r, const dn_options *o, const dn_options *recorded, int64_t limit)
{
    if (recorded->dtype == o->dtype) /* a change of dtype was reported already */
        dn_warn_of_kernels(&r->state, r->net, o->dtype);
    snprintf(r->state.kernels, sizeof r->state.kernels, "%s", dn_kernel_class(r->net, o->dtype));
    DN_TRY(check_time(r, o->time_limit));
    dn_note_operation(r->comm->activity, DN_SAVING);
    DN_TRY(DN_ON_RANK_0(r->comm, open_output(r, o, limit)));
    dn_note_operation(r->comm->activity, DN_STARTING);
    dn_train_find_best(r, strcmp(o->resume, "auto") == 0);
    r->state.schedule_state = r->rate.state;
    r->state.monitor = r->monitor.state;
    if (r->step.optimizer.average == NULL)
        r->state.average_step = -1;
    else if (r->state.average_step < 0)
        r->state.average_step = 0;
    if (r->comm->rank == 0)
        dn_rescue_start(&r->step.settings.rescue, r->saver, &r->claim, &r->state);
    DN_TRY(dn_run_to_end(r));
    say_weights(r);
    return DN_OK;
}

/* Rank 0 of a complete run: records its end if the process that trained its last step could not. */
static void complete_metrics(const dn_run *r)
{
    dn_metrics_best best;
    const dn_metrics_settings settings = {.folder = r->folder,
                                          .steps_per_epoch = r->rate.steps_per_epoch,
                                          .done = r->done,
                                          .data.judge = dn_run_judge(r),
                                          .ranks = 1};
    if (dn_metrics_complete(&settings, dn_net_hash(r->net), r->state.path,
                            dn_run_best(r, &best) ? &best : NULL, dn_run_end_reason(r)) != DN_OK)
        dn_warn("%s", dn_message());
}

/* Nothing is left to train. That is a success if the options are those of the run, or an early stop
 * ended it; with other options it is an error. */
static dn_status report_complete(const dn_run *r, const dn_options *o, const dn_options *recorded)
{
    const int is_last = r->done == r->last;
    const char *const longer =
        is_last ? "--epochs or --max-steps make" : "another --early-stop makes";
    dn_options then = *recorded;
    if (!is_last)
        then.run.early_stop = o->run.early_stop;
    const char *const other = dn_options_other(o, &then);
    DN_CHECK(other == NULL, DN_EINVAL,
             "--%s: found another value than %s was trained with, and nothing was trained, as it "
             "has no step left (another --out, or --resume none, starts anew; %s it longer)",
             other, r->state.path, longer);
    if (r->comm->rank == 0 && strcmp(o->resume, "auto") == 0)
        complete_metrics(r);
    dn_info("nothing was trained: the run is complete, %s is of its last step, %" PRId64
            ", weights %016" PRIx64 " (%s it longer)",
            r->state.path, r->done, dn_net_hash(r->net), longer);
    return DN_OK;
}

/* 1 if the run is complete, unless its process ended before it had scored the last epoch or the
 * test images. Collective. */
static int is_complete(dn_run *r, const dn_options *o)
{
    const int only_records = dn_run_only_records_scores(r);
    const int is_over = only_records || (dn_run_is_complete(r) && dn_run_has_test(r));
    if (strcmp(o->resume, "auto") != 0 || !is_over)
        return dn_run_is_complete(r);
    int has_end = r->comm->rank == 0 && dn_metrics_has_end(r->folder, r->done);
    dn_comm_broadcast(r->comm, &has_end, sizeof has_end);
    r->lacks_scores = only_records && !has_end;
    return has_end && dn_run_is_complete(r);
}

static void close_run(dn_run *r)
{
    if (!r->metrics) /* the folder was not used */
        dn_claim_abandon(&r->claim);
    dn_rescue_stop(&r->step.settings.rescue);
    dn_saver_destroy(&r->saver);
    dn_checkpoint_close(&r->from);
    dn_metrics_destroy(&r->metrics);
    dn_step_destroy(&r->step);
    dn_net_destroy(&r->net);
    free(r->class_weights);
    free(r->order);
    dn_subset_destroy(&r->remaining);
    dn_subset_destroy(&r->held_out);
    dn_split_close(&r->train);
    dn_split_close(&r->test);
    dn_split_close(&r->val);
    dn_claim_release(&r->claim);
    free(r->data_set);
}

/* Trains, from a checkpoint of a step below *limit if there is one. If that cannot be loaded lowers
 * *limit to its step, so that the caller tries an older one. */
static dn_status try_train(const dn_comm *comm, dn_options *options, int64_t *limit)
{
    dn_run r = {.comm = comm, .saved = -1, .hashed = -1};
    dn_options recorded = *options;
    dn_status status = set_up(&r, options, limit, &recorded);
    if (status == DN_OK)
        status = is_complete(&r, options)
                     ? dn_comm_agree(comm, report_complete(&r, options, &recorded))
                     : train(&r, options, &recorded, *limit);
    close_run(&r);
    return status;
}

dn_status dn_train(const dn_comm *comm, dn_options *options)
{
    const dn_options given = *options;
    int64_t limit = INT64_MAX, tried;
    dn_status status;
    do {
        tried = limit;
        *options = given;
        status = try_train(comm, options, &limit);
    } while (limit < tried);
    return status;
}
