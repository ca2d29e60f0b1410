/*
 * `dn_dist train`: a run from its first step, or from a checkpoint, to its last.
 *
 * The position of a run is one number, its steps done: epoch, place in the epoch's order and
 * learning rate follow from it. Rank 0 writes checkpoints and metrics; all ranks compare the hash
 * of their weights whenever one is reported.
 */
#include "commands.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataset.h"
#include "dn/checkpoint.h"
#include "dn/metrics.h"
#include "dn/rng.h"
#include "placement.h"
#include "step.h"
#include "watch.h"

static const double slow_disk = 20e6; /* bytes/s */

typedef struct run {
    const dn_comm *comm;
    dn_options *options;
    char folder[DN_PATH_SIZE], resume[DN_PATH_SIZE], saved[DN_PATH_SIZE];
    dn_split train, test;
    dn_net *net;
    dn_timeline *timeline;
    dn_step step;
    dn_metrics *metrics;  /* rank 0 */
    dn_saver *saver;      /* rank 0 */
    dn_checkpoint *state; /* momentum points at the step's */
    dn_rate rate;
    uint32_t *order;                            /* the epoch's permutation */
    int64_t ordered_epoch;                      /* that `order` is of; -1: none */
    int64_t steps_per_epoch, first, done, last; /* steps; first: done at the start */
    dn_stop stop;
    dn_status failure; /* of writing metrics and checkpoints, on rank 0: reported by `save` */
    char reason[1024];
} run;

/* ---- the steps ---- */

static void load_batch(void *user, int virtual_rank, float *images, int32_t *labels)
{
    const run *r = user;
    const int64_t batch = r->options->batch_size, place = r->done % r->steps_per_epoch;
    dn_images_batch(&r->train.images,
                    &(dn_batch){.order = r->order,
                                .position = (place * r->step.virtual_ranks + virtual_rank) * batch,
                                .count = (int)batch,
                                .augment = r->options->augment == DN_AUGMENT_PAD_CROP_FLIP,
                                .seed = (uint64_t)r->options->seed,
                                .epoch = (uint64_t)r->ordered_epoch},
                    images, labels);
}

/* Keeps the first failure that rank 0 meets between checkpoints, so that no work is lost to it. */
static void remember(run *r, dn_status status)
{
    if (status == DN_OK || r->failure != DN_OK)
        return;
    r->failure = status;
    snprintf(r->reason, sizeof r->reason, "%s", dn_message());
}

/* The next step; the training step itself is dn_step_run (step.c). */
static dn_status train_step(run *r, dn_step_result *result)
{
    const dn_options *o = r->options;
    const int64_t epoch = r->done / r->steps_per_epoch;
    const double rate = dn_learning_rate(&r->rate, r->done);
    if (epoch != r->ordered_epoch) {
        dn_random_permutation(r->order, (size_t)r->train.images.info.count, (uint64_t)o->seed,
                              (uint64_t)epoch);
        r->ordered_epoch = epoch;
    }
    DN_TRY(dn_step_run(&r->step,
                       &(dn_pass){.seed = (uint64_t)o->seed,
                                  .step = (uint64_t)r->done,
                                  .label_smoothing = (float)o->label_smoothing},
                       &(dn_sgd){.rate = (float)rate,
                                 .momentum = (float)o->momentum,
                                 .weight_decay = (float)o->weight_decay,
                                 .nesterov = o->nesterov},
                       load_batch, r, result));
    r->done++;
    const dn_step_metrics metrics = {.epoch = epoch + 1,
                                     .step = r->done,
                                     .loss = result->loss,
                                     .correct = result->correct,
                                     .images = (int64_t)o->batch_size * r->step.virtual_ranks,
                                     .lr = rate};
    remember(r, dn_metrics_step(r->metrics, &metrics));
    return DN_OK;
}

/* ---- epochs, checkpoints, the end ---- */

/* Compares the ranks' weights; *hash is what they all have. */
static dn_status common_hash(const run *r, uint64_t *hash)
{
    *hash = dn_net_hash(r->net);
    return dn_comm_same_hash(r->comm, *hash, "weights");
}

/* What rank 0 remembered, on all ranks. */
static dn_status agree_on_failure(const run *r)
{
    return dn_comm_agree(r->comm,
                         r->failure == DN_OK ? DN_OK : dn_fail(r->failure, "%s", r->reason));
}

/* Starts a checkpoint; how its writing went is known when the next one starts. */
static dn_status save(run *r)
{
    char name[32];
    dn_watch_doing(r->comm->watch, DN_SAVING);
    dn_checkpoint_name(name, sizeof name, r->done);
    snprintf(r->saved, sizeof r->saved, "%.*s/%s", (int)(sizeof r->saved - sizeof name - 1),
             r->folder, name);
    r->state->step = r->done;
    const double start = dn_timeline_now();
    DN_TRY(common_hash(r, &r->state->hash));
    remember(r, dn_saver_start(r->saver, r->state));
    const double seconds = fmax(dn_timeline_now() - start, dn_saver_longest(r->saver));
    r->stop.longest_saving = fmax(r->stop.longest_saving, seconds);
    const dn_status status = agree_on_failure(r);
    dn_timeline_add(r->timeline, DN_SPAN_SAVE, r->done, 0, start, dn_timeline_now());
    return status;
}

/* The numbers of a virtual rank's images in this step, all or the first and the last. */
static void sample_text(const run *r, int virtual_rank, char *text, size_t size)
{
    const int64_t batch = r->options->batch_size, place = r->done % r->steps_per_epoch;
    const uint32_t *sample = r->order + (place * r->step.virtual_ranks + virtual_rank) * batch;
    size_t used = 0;
    for (int64_t i = 0; i < batch && used + 1 < size; i++) {
        if (batch > 12 && i == 8) {
            i = batch - 2;
            used += (size_t)snprintf(text + used, size - used, " ...");
        }
        used += (size_t)snprintf(text + used, size - used, " %" PRIu32, sample[i]);
    }
}

/* Saves and waits until that is written. */
static dn_status save_now(run *r)
{
    DN_TRY(save(r));
    remember(r, dn_saver_wait(r->saver));
    return agree_on_failure(r);
}

/* After a step that ended in numbers that are none, and updated nothing: saves the state before it
 * and says what is known. */
static dn_status keep_diverged(run *r, int virtual_rank)
{
    char reason[256], samples[256] = " none by itself", kept[DN_PATH_SIZE + 16];
    snprintf(reason, sizeof reason, "%s", dn_message());
    if (virtual_rank >= 0)
        sample_text(r, virtual_rank, samples, sizeof samples);
    const int is_saved = save_now(r) == DN_OK;
    snprintf(kept, sizeof kept, "%s %s",
             is_saved ? "in" : "not saved:", is_saved ? r->saved : dn_message());
    return dn_fail(DN_EDIVERGED,
                   "step %" PRId64
                   ": %s; its images of %s, counted from 0:%s; nothing was updated, "
                   "the state before the step is %s",
                   r->done + 1, reason, r->options->data, samples, kept);
}

static dn_status end_epoch(run *r)
{
    const int64_t epoch = r->done / r->steps_per_epoch;
    const int every = r->options->eval_every;
    dn_epoch_metrics metrics = {.evaluated =
                                    every > 0 && (epoch % every == 0 || r->done == r->last)};
    dn_scores scores = {0};
    const double start = dn_timeline_now();
    if (metrics.evaluated) {
        const dn_status status = dn_evaluate(r->comm, r->net, &r->test.images, &r->stop, &scores);
        if (status != DN_OK && status != DN_STOPPED)
            return status;
        metrics.evaluated = status == DN_OK;
        dn_timeline_add(r->timeline, DN_SPAN_EVALUATE, r->done, 0, start, dn_timeline_now());
    }
    metrics.test_loss = scores.loss;
    metrics.test_top1 = scores.top1;
    metrics.test_top5 = scores.top5;
    DN_TRY(common_hash(r, &metrics.weights_hash));
    remember(r, dn_metrics_epoch(r->metrics, &metrics));
    return DN_OK;
}

static dn_status end_run(run *r)
{
    dn_end_metrics end = {.epoch = (r->done + r->steps_per_epoch - 1) / r->steps_per_epoch,
                          .step = r->done,
                          .checkpoint = r->saved[0] ? r->saved : r->resume};
    DN_TRY(common_hash(r, &end.weights_hash));
    remember(r, dn_saver_wait(r->saver));
    DN_TRY(agree_on_failure(r));
    return dn_comm_agree(r->comm, dn_metrics_end(r->metrics, &end));
}

/* Saves, unless that was just done, and ends the run before its last step. A time limit that counts
 * from the run's start and leaves no time for a step would do so again. */
static dn_status stop_run(run *r, int reason)
{
    const char *limit = r->options->time_limit;
    DN_CHECK(reason != DN_STOP_TIME || limit[0] == '\0' || r->done > r->first, DN_EINVAL,
             "--time-limit %s: found too little for a step and a checkpoint, expected more", limit);
    if (r->saved[0] == '\0' || r->state->step != r->done)
        DN_TRY(save(r));
    DN_TRY(end_run(r));
    return dn_fail(DN_STOPPED, "stopped on %s at step %" PRId64 "; run again to go on",
                   dn_stop_name(reason), r->done);
}

/* Why to stop is agreed on in every step, and after what takes long between steps. */
static int agree_to_stop(const run *r)
{
    return dn_comm_max(r->comm, dn_stop_reason(&r->stop));
}

static dn_status train_loop(run *r)
{
    const int64_t every = r->options->checkpoint_every;
    dn_step_result result = {.stop = agree_to_stop(r)};
    while (r->done < r->last && result.stop == 0) {
        if (train_step(r, &result) != DN_OK)
            return keep_diverged(r, result.culprit);
        const int epoch_ends = r->done % r->steps_per_epoch == 0;
        if (epoch_ends)
            DN_TRY(end_epoch(r));
        if (epoch_ends || r->done == r->last || (every > 0 && r->done % every == 0))
            DN_TRY(save(r));
        if (epoch_ends)
            result.stop = agree_to_stop(r);
    }
    return r->done < r->last ? stop_run(r, result.stop) : end_run(r);
}

/* ---- setting up ---- */

/* Finds the checkpoint to go on from and reads its configuration. Rank 0. */
static dn_status find_checkpoint(run *r)
{
    const dn_options *o = r->options;
    if (strcmp(o->resume, "none") == 0)
        return dn_checkpoint_set_aside(r->folder);
    if (strcmp(o->resume, "auto") != 0)
        snprintf(r->resume, sizeof r->resume, "%s", o->resume);
    else
        DN_TRY(dn_checkpoint_newest(r->folder, r->resume, sizeof r->resume));
    if (r->resume[0] == '\0')
        return DN_OK;
    return dn_checkpoint_peek(r->resume, r->state);
}

/* Settles run folder and checkpoint; options that were not given are taken from the checkpoint. */
static dn_status agree_on_checkpoint(run *r)
{
    r->state = calloc(1, sizeof *r->state);
    DN_TRY(dn_comm_agree(r->comm,
                         r->state ? DN_OK : dn_fail(DN_ENOMEM, "memory: found none for a run")));
    DN_TRY(dn_comm_agree(r->comm, dn_options_out(r->options, r->folder, sizeof r->folder)));
    DN_TRY(dn_comm_agree(r->comm, r->comm->rank == 0 ? find_checkpoint(r) : DN_OK));
    dn_comm_broadcast(r->comm, r->resume, sizeof r->resume, 0);
    if (r->resume[0] == '\0')
        return DN_OK;
    dn_comm_broadcast(r->comm, r->state->config, sizeof r->state->config, 0);
    dn_comm_broadcast(r->comm, r->state->data, sizeof r->state->data, 0);
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume_from_ini(r->options, r->state->config)));
    /* The folder may carry the model's name, which is known only now. */
    return dn_comm_agree(r->comm, dn_options_out(r->options, r->folder, sizeof r->folder));
}

/* The checkpoint's data set is this one; the next checkpoints record it. */
static dn_status same_data(run *r)
{
    char data[sizeof r->state->data];
    dn_images_describe(&r->train.images, data, sizeof data);
    dn_status status = DN_OK;
    if (r->state->data[0] != '\0' && strcmp(r->state->data, data) != 0)
        status = dn_fail(DN_EINVAL, "--data %s: found %s, expected %s as in %s (or --resume none)",
                         r->options->data, data, r->state->data, r->resume);
    snprintf(r->state->data, sizeof r->state->data, "%s", data);
    return dn_comm_agree(r->comm, status);
}

/* Steps of an epoch and of the run; needs the data and the number of virtual ranks. */
static dn_status plan_steps(run *r)
{
    dn_options *o = r->options;
    const int64_t images = r->train.images.info.count;
    const int64_t global = (int64_t)o->batch_size * o->virtual_ranks;
    r->steps_per_epoch = images / global;
    DN_CHECK(r->steps_per_epoch > 0, DN_ESHAPE,
             "--batch-size %d x %d virtual ranks: found a global batch of %" PRId64
             " images, expected at most the %" PRId64 " of %s",
             o->batch_size, o->virtual_ranks, global, images, o->data);
    r->last = r->steps_per_epoch * o->epochs;
    if (o->max_steps > 0 && o->max_steps < r->last)
        r->last = o->max_steps;
    r->rate = dn_options_rate(o, o->virtual_ranks, r->steps_per_epoch);
    r->ordered_epoch = -1;
    r->order = malloc((size_t)images * sizeof *r->order);
    DN_CHECK(r->order != NULL, DN_ENOMEM, "memory: found none to order %" PRId64 " images", images);
    return DN_OK;
}

static dn_status build(run *r)
{
    dn_options *o = r->options;
    dn_spec spec;
    const dn_kernels *kernels;
    if (o->virtual_ranks == 0)
        o->virtual_ranks = r->comm->size;
    DN_TRY(dn_spec_from_options(&spec, o, &r->train.images.info));
    o->size = spec.height == spec.width ? spec.height : 0;
    o->classes = spec.classes;
    if (o->augment == DN_AUGMENT_AUTO)
        o->augment = spec.channels > 1 ? DN_AUGMENT_PAD_CROP_FLIP : DN_AUGMENT_NONE;
    DN_TRY(plan_steps(r));
    DN_TRY(dn_kernels_select(&kernels, o->isa));
    DN_TRY(dn_net_create(&r->net, &spec, kernels,
                         &(dn_net_options){.batch = o->batch_size,
                                           .train = 1,
                                           .dtype = o->dtype,
                                           .recompute = o->recompute,
                                           .dropout = (float)o->dropout,
                                           .norm_group = o->sync_bn ? o->virtual_ranks : 1}));
    dn_step_settings step = dn_step_settings_from_options(r->comm, o, o->virtual_ranks);
    step.timeline = r->timeline;
    step.stop = &r->stop;
    DN_TRY(dn_step_create(&r->step, r->comm, r->net, &step));
    dn_net_init(r->net, o->init, (uint64_t)o->seed);
    dn_info("%s on %s: %d ranks x %d threads, %d virtual ranks x %d images, kernels %s", spec.name,
            r->train.images.info.dataset, r->comm->size, omp_get_max_threads(), o->virtual_ranks,
            o->batch_size, kernels->name);
    return dn_options_to_ini(o, r->state->config, sizeof r->state->config);
}

/* Rank 0 reads the weights to go on from, or to start from, into its net. */
static dn_status read_weights(run *r)
{
    if (r->resume[0] != '\0') {
        DN_TRY(dn_checkpoint_load(r->resume, r->net, r->step.momentum));
        r->done = r->state->step;
        dn_info("resumed from %s at step %" PRId64, r->resume, r->done);
    } else if (r->options->init_from[0] != '\0') {
        DN_TRY(dn_checkpoint_load(r->options->init_from, r->net, NULL));
    }
    return DN_OK;
}

/* Rank 0's weights, momentum and position on all ranks. */
static dn_status share_weights(run *r)
{
    const dn_status status = r->comm->rank == 0 ? read_weights(r) : DN_OK;
    DN_TRY(dn_comm_agree(r->comm, status));
    const size_t parameters = dn_net_parameter_count(r->net) * sizeof(float);
    dn_comm_broadcast(r->comm, dn_net_parameters(r->net), parameters, 0);
    dn_comm_broadcast(r->comm, dn_net_running(r->net), dn_net_running_count(r->net) * sizeof(float),
                      0);
    dn_comm_broadcast(r->comm, r->step.momentum, parameters, 0);
    dn_comm_broadcast(r->comm, &r->done, sizeof r->done, 0);
    r->first = r->done;
    r->state->momentum = r->step.momentum;
    r->stop.longest_saving = (double)(2 * parameters) / slow_disk; /* until one was measured */
    return DN_OK;
}

/* What rank 0 alone does: metrics and checkpoints. */
static dn_status open_run(run *r)
{
    dn_status status = DN_OK;
    if (r->comm->rank == 0)
        status = dn_saver_create(&r->saver, r->net, r->folder, r->options->keep);
    if (r->comm->rank == 0 && status == DN_OK)
        status = dn_metrics_create(&r->metrics,
                                   &(dn_metrics_settings){.folder = r->folder,
                                                          .progress = stdout,
                                                          .steps_per_epoch = r->steps_per_epoch,
                                                          .epochs = r->options->epochs,
                                                          .last_step = r->last,
                                                          .interval = -1});
    return dn_comm_agree(r->comm, status);
}

dn_status dn_train(const dn_comm *comm, dn_options *options)
{
    run r = {.comm = comm, .options = options};
    dn_status status;
    DN_TRY_OR_DONE(dn_stop_open(&r.stop, options->time_limit, comm->start));
    DN_TRY_OR_DONE(dn_timeline_create(&r.timeline, comm, options->timeline));
    DN_TRY_OR_DONE(agree_on_checkpoint(&r));
    dn_watch_record(comm, r.folder);
    dn_watch_doing(comm->watch, DN_READING_DATA);
    DN_TRY_OR_DONE(dn_split_open(&r.train, comm, options->data, "train"));
    DN_TRY_OR_DONE(dn_split_open(&r.test, comm, options->data, "test"));
    DN_TRY_OR_DONE(same_data(&r));
    DN_TRY_OR_DONE(dn_comm_agree(comm, build(&r)));
    DN_TRY_OR_DONE(dn_place_report(comm, options->virtual_ranks, 1));
    DN_TRY_OR_DONE(share_weights(&r));
    DN_TRY_OR_DONE(open_run(&r));
    DN_TRY_OR_DONE(train_loop(&r));
    if (comm->rank == 0)
        printf("weights %s, metrics %s/metrics.jsonl\n", r.saved[0] ? r.saved : r.resume, r.folder);
done:;
    const dn_status closed = dn_timeline_close(&r.timeline);
    dn_saver_destroy(&r.saver);
    dn_metrics_destroy(&r.metrics);
    dn_step_destroy(&r.step);
    dn_net_destroy(&r.net);
    dn_split_close(&r.train);
    dn_split_close(&r.test);
    free(r.order);
    free(r.state);
    return status != DN_OK ? status : closed;
}
