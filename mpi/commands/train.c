/*
 * `dn_dist train`: sets a run up, from its first step or from a checkpoint, and lets it go to its
 * end (run.c).
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/alike.h"
#include "commands/init_from.h"
#include "commands/memory.h"
#include "commands/settings.h"
#include "commands/trained.h"
#include "dn/file.h"
#include "dn/run_folder.h"
#include "job/heartbeat.h"
#include "job/placement.h"
#include "training/rescue.h"
#include "training/run.h"

static const double slow_disk = 20e6; /* bytes/s */

/* Finds the checkpoint to go on from and reads its configuration; takes the folder before it looks
 * there, for one of a step below `limit`. Rank 0. */
static dn_status find_checkpoint(dn_run *r, const char *resume, int64_t limit)
{
    const int is_auto = strcmp(resume, "auto") == 0;
    if (!is_auto && strcmp(resume, "none") != 0) {
        DN_CHECK(access(resume, F_OK) == 0 && !dn_is_folder(resume), DN_ENOENT,
                 "--resume: found no file '%s', expected auto, none or a checkpoint", resume);
        return dn_checkpoint_open(&r->from, resume, &r->state);
    }
    DN_TRY(dn_claim_take(&r->claim, r->folder));
    if (!is_auto)
        return DN_OK;
    const dn_status status = dn_checkpoint_open_newest(&r->from, r->folder, limit, &r->state);
    DN_CHECK(status == DN_OK, status, "%s%s", dn_message(),
             status == DN_ECORRUPT ? " (--resume none starts anew)" : "");
    DN_CHECK(r->from || limit == INT64_MAX, DN_ECORRUPT,
             "%s: found no checkpoint before step %" PRId64
             ", whose is not readable (--resume none "
             "starts anew)",
             r->folder, limit);
    return DN_OK;
}

/* The model of a run that starts is that of --init-from unless one was given. */
static dn_status take_model(const dn_run *r, dn_options *o)
{
    if (o->init_from[0] == '\0' || dn_options_given(o, "model"))
        return DN_OK;
    DN_TRY(DN_ON_RANK_0(r->comm, dn_init_model(o)));
    dn_comm_broadcast(r->comm, o->model, sizeof o->model);
    return DN_OK;
}

/* The data of a run that goes on are those that it learnt from unless others were given. */
static dn_status take_folder(const dn_run *r, dn_options *o)
{
    if (r->state.folder[0] == '\0' || dn_options_given(o, "data"))
        return DN_OK;
    DN_TRY(DN_ON_RANK_0(r->comm, dn_learnt_folder(&r->state)));
    strcpy(o->data, r->state.folder);
    return DN_OK;
}

/* Settles run folder and checkpoint; options that were not given are taken from the checkpoint, and
 * *before = what all were there. */
static dn_status agree_on_checkpoint(dn_run *r, dn_options *o, int64_t limit, dn_options *before)
{
    const int is_named = o->out[0] || o->recipe[0]; /* the folder, whatever the model */
    DN_TRY(is_named ? DN_OK : take_model(r, o));
    DN_TRY(dn_options_folder(o, r->folder, sizeof r->folder)); /* the same on all ranks */
    DN_TRY(DN_ON_RANK_0(r->comm, find_checkpoint(r, o->resume, limit)));
    dn_comm_broadcast(r->comm, &r->state, sizeof r->state);
    if (r->state.path[0] == '\0')
        return is_named ? take_model(r, o) : DN_OK;
    if (o->init_from[0] != '\0')
        dn_warn("--init-from %s: not read, as the run goes on from %s (--resume none starts anew)",
                o->init_from, r->state.path);
    before->given = 0;
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume(before, &r->state)));
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume(o, &r->state)));
    DN_TRY(take_folder(r, o));
    /* The folder may carry the model's name, which is known only now. */
    DN_TRY(dn_options_folder(o, r->folder, sizeof r->folder));
    return DN_ON_RANK_0(r->comm, dn_claim_take(&r->claim, r->folder));
}

/* The checkpoint's data set is this one; the next checkpoints record it. */
static dn_status same_data(dn_run *r, const char *folder)
{
    char data[sizeof r->state.data];
    dn_source_describe(&r->train.images, data, sizeof data);
    DN_CHECK(r->state.data[0] == '\0' || strcmp(r->state.data, data) == 0, DN_EINVAL,
             "--data %s: found %s, expected %s as in %s (or another --out, or --resume none)",
             folder, data, r->state.data, r->state.path);
    strcpy(r->state.data, data);
    if (realpath(folder, r->state.folder) == NULL)
        r->state.folder[0] = '\0'; /* it is only kept for the comfort of later commands */
    return DN_OK;
}

/* The monitor in the state that the checkpoint has of it. */
static dn_status watch_best(dn_run *r, int64_t per_epoch)
{
    const double epochs = (double)(r->state.step / per_epoch);
    r->monitor = (dn_monitor){.metric = r->settings.best, .patience = r->settings.early_stop};
    dn_monitor_resume(&r->monitor, &r->state.monitor);
    DN_CHECK(r->monitor.patience == 0 ||
                 (r->settings.eval_every > 0 && r->monitor.metric != DN_BEST_NONE),
             DN_EINVAL,
             "--early-stop %d: found no evaluations to judge by, expected another --best "
             "than none and --eval-every above 0",
             r->monitor.patience);
    DN_CHECK(r->monitor.state.epochs <= epochs, DN_ECORRUPT,
             "%s: found a best epoch told after epoch %g, expected none after step %" PRId64,
             r->state.path, r->monitor.state.epochs, r->state.step);
    return DN_OK;
}

/* 1 where the data set has a split to judge runs by. */
static int has_val(const dn_run *r)
{
    return dn_shards_manifest(r->train.shards)->split[DN_VAL].shards > 0;
}

/* What is trained on, and judged by. */
static dn_status hold_out(dn_run *r, const dn_options *o)
{
    r->training = &r->train.images;
    r->validation = has_val(r) ? &r->val.images : &r->test.images;
    if (o->run.val_fraction == 0)
        return DN_OK;
    DN_CHECK(
        !has_val(r), DN_EINVAL,
        "--val-fraction %g: found a val split in %s, which judges the run, expected 0 (a run that "
        "held images out: another --out, or --resume none)",
        o->run.val_fraction, o->data);
    DN_TRY(dn_subset_split(&r->kept, &r->held_out, &r->train.images, o->run.val_fraction,
                           o->step.seed));
    r->training = &r->kept.images;
    r->validation = &r->held_out.images;
    dn_info("held out for validation: %" PRId64 " of %" PRId64 " training images",
            r->held_out.images.count, r->train.images.count);
    return DN_OK;
}

/* There is work for every rank; else the message says how the same global batch has some. */
static dn_status check_ranks(const dn_run *r, const dn_options *o)
{
    char cure[PATH_MAX + 32] = "";
    const int64_t global = (int64_t)o->batch_size * o->step.virtual_ranks;
    int64_t parts = r->comm->size;
    while (parts < global && global % parts != 0)
        parts++;
    if (r->state.path[0])
        snprintf(cure, sizeof cure, "; so it is in %s", r->state.path);
    else if (parts <= global)
        snprintf(cure, sizeof cure,
                 "; for %d: --virtual-ranks %" PRId64 " --batch-size %" PRId64 "%s", r->comm->size,
                 parts, global / parts, o->sync_bn ? "" : " --sync-bn");
    DN_CHECK(r->comm->size <= o->step.virtual_ranks, DN_EINVAL,
             "--virtual-ranks %d: found %d ranks, expected at most one a virtual rank%s",
             o->step.virtual_ranks, r->comm->size, cure);
    return DN_OK;
}

/* The run's settings and its schedule, in the state that a checkpoint has of it; needs the data. */
static dn_status plan_run(dn_run *r, const dn_options *o)
{
    const int64_t images = r->training->count;
    const int64_t global = (int64_t)o->batch_size * o->step.virtual_ranks;
    const int64_t per_epoch = images / global, all = per_epoch * o->epochs;
    DN_TRY(check_ranks(r, o));
    DN_CHECK(per_epoch > 0, DN_ESHAPE,
             "--batch-size %d x %d virtual ranks: found a global batch of %" PRId64
             " images, expected at most the %" PRId64 " of %s",
             o->batch_size, o->step.virtual_ranks, global, images, o->data);
    if (images > per_epoch * global)
        dn_info("an epoch takes %" PRId64 " of the %" PRId64 " training images, whole batches of "
                "%" PRId64 "; each leaves out others",
                per_epoch * global, images, global);
    r->settings = o->run;
    r->last = o->run.max_steps > 0 && o->run.max_steps < all ? o->run.max_steps : all;
    DN_CHECK(r->state.step <= r->last, DN_EINVAL,
             "%s: found step %" PRId64 ", expected at most the run's last, %" PRId64
             " by --epochs and --max-steps",
             r->state.path, r->state.step, r->last);
    DN_TRY(dn_options_rate(o, o->step.virtual_ranks, per_epoch, &r->rate));
    if (strcmp(r->state.schedule, r->rate.schedule->name) == 0)
        r->rate.state = r->state.schedule_state;
    else /* a schedule that was not told of the epochs before */
        r->rate.state.epochs = (double)(r->state.step / per_epoch);
    DN_CHECK(r->rate.state.epochs <= (double)(r->state.step / per_epoch), DN_ECORRUPT,
             "%s: found a schedule after epoch %g, expected none after step %" PRId64,
             r->state.path, r->rate.state.epochs, r->state.step);
    snprintf(r->state.schedule, sizeof r->state.schedule, "%s", r->rate.schedule->name);
    return watch_best(r, per_epoch);
}

static dn_status weigh_classes(dn_run *r, dn_options *o)
{
    const size_t images = (size_t)r->training->count;
    if (strcmp(o->class_weights, "none") == 0)
        return DN_OK;
    const int is_mixed = o->step.mixing.mixup > 0 || o->step.mixing.cutmix > 0;
    o->step.class_weights = r->class_weights = calloc((size_t)o->classes, sizeof(float));
    r->order = is_mixed ? NULL : malloc(images * sizeof *r->order);
    r->ordered = -1;
    DN_CHECK(r->class_weights && (r->order || is_mixed), DN_ENOMEM,
             "memory: found none for the weights of %d classes and the order of %zu images",
             o->classes, images);
    return dn_options_class_weights(o, r->training, r->class_weights);
}

/* Where a run goes on by another schedule: what the rate was, and what it is. */
static void say_rates(const dn_run *r, const dn_options *before)
{
    dn_rate rate;
    const int64_t step = r->state.step;
    if (r->state.path[0] == '\0' || dn_options_rate(before, r->step.settings.virtual_ranks,
                                                    r->rate.steps_per_epoch, &rate) != DN_OK)
        return;
    if (rate.schedule == r->rate.schedule)
        rate.state = r->rate.state;
    const double old = dn_learning_rate(&rate, step), new = dn_learning_rate(&r->rate, step);
    if (old != new)
        dn_info("learning rate at step %" PRId64 ": %g by the checkpoint's options, %g by these",
                step + 1, old, new);
}

/* Both give images of the net's size, which --augment may be the only one to say. */
static dn_status plan_transforms(dn_run *r, dn_options *o, const dn_data_info *data)
{
    dn_transform *const train = &r->transform, *const eval = &r->eval_transform;
    DN_TRY(dn_options_transform(o, DN_TRAIN, data, train));
    if (o->size == 0 && train->height == train->width)
        o->size = train->height;
    DN_TRY(dn_options_transform(o, DN_TEST, data, eval));
    DN_CHECK(eval->height == train->height && eval->width == train->width, DN_EINVAL,
             "--eval-transform %s: found images of %d x %d, expected %d x %d as by --augment %s",
             o->eval_transform, eval->height, eval->width, train->height, train->width, o->augment);
    return DN_OK;
}

/* *rate = the linear layer's over the others': it has no schedule of its own. */
static dn_status rate_head(const dn_options *o, double *rate)
{
    *rate = o->lr_head > 0 ? o->lr_head / o->lr : 1;
    DN_CHECK(
        isfinite(*rate), DN_EINVAL,
        "--lr-head %g: found --lr %g, expected a greater one; --freeze features --lr %g trains "
        "the linear layer alone",
        o->lr_head, o->lr, o->lr_head);
    return DN_OK;
}

/* What a step learns from, and at which rate. */
static void say_batches(const dn_run *r, const dn_options *o)
{
    static const char *const scaled[] = {
        [DN_RATE_SCALING_LINEAR] = "linearly", [DN_RATE_SCALING_SQRT] = "by the root"};
    const dn_spec *const spec = dn_net_view(r->net).spec;
    char scaling[64] = "", warmup[48] = "";
    if (r->rate.base != o->lr)
        snprintf(scaling, sizeof scaling, " (%g scaled %s)", o->lr, scaled[o->lr_scaling]);
    if (r->rate.warmup_epochs > 0)
        snprintf(warmup, sizeof warmup, ", warm-up %g epochs", r->rate.warmup_epochs);
    dn_info("images %dx%dx%d, --augment %s; global batch %" PRId64 ", lr %g%s%s", spec->channels,
            spec->height, spec->width, o->augment, (int64_t)o->batch_size * o->step.virtual_ranks,
            r->rate.base, scaling, warmup);
}

/* Net, step and the configuration that checkpoints record, in which nothing is automatic. */
static dn_status build_run(dn_run *r, dn_options *o)
{
    const dn_data_info *data = &r->train.images.info;
    if (o->step.virtual_ranks == 0)
        o->step.virtual_ranks = r->comm->size;
    DN_TRY(same_data(r, o->data));
    DN_TRY(hold_out(r, o));
    DN_TRY(plan_run(r, o));
    DN_TRY(dn_options_shuffle(o, &r->window));
    DN_TRY(plan_transforms(r, o, data));
    DN_TRY(dn_options_net(o, DN_NET_TRAINS, data, &r->transform, o->step.virtual_ranks, &r->net));
    const dn_view net = dn_net_view(r->net);
    o->size = net.spec->height == net.spec->width ? net.spec->height : 0;
    o->classes = net.spec->classes;
    DN_TRY(rate_head(o, &o->step.head_rate));
    o->step.load = dn_run_load;
    o->step.user = r;
    o->step.preempt = &r->preempt;
    DN_TRY(weigh_classes(r, o));
    DN_TRY(dn_step_create(&r->step, r->comm, r->net, &o->step));
    dn_net_init(r->net, (dn_init)o->init, o->step.seed);
    dn_info("%s on %s: %d ranks x %d threads, %d virtual ranks x %d images, kernels %s",
            net.spec->name, data->dataset, r->comm->size, omp_get_max_threads(),
            o->step.virtual_ranks, o->batch_size, net.kernels->products[o->dtype].name);
    say_batches(r, o);
    return dn_options_to_ini(o, r->state.config, sizeof r->state.config);
}

/* The averages begin as the weights. */
static void begin_average(dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    float *const average = r->step.optimizer.average;
    memcpy(average, net.parameters, net.parameter_count * sizeof *average);
    memcpy(average + net.parameter_count, net.running, net.running_count * sizeof *average);
}

/* Rank 0 reads the weights to go on from, or to start from, into its net. */
static dn_status read_weights(dn_run *r, const dn_options *o)
{
    if (r->from) {
        DN_TRY(dn_checkpoint_load(r->from, r->net, &r->step.optimizer));
        dn_info("resumed from %s at step %" PRId64, r->state.path, r->state.step);
    } else if (o->init_from[0] != '\0') {
        DN_TRY(dn_init_from(r->net, o, dn_shards_manifest(r->train.shards)));
    }
    if (r->step.optimizer.average != NULL && r->state.path[0] == '\0')
        begin_average(r);
    dn_checkpoint_close(&r->from);
    return DN_OK;
}

/* The same for all ranks. Where the folder's newest checkpoint was whole, but cannot be loaded,
 * *limit = its step: the run is to be set up from an older one. */
static dn_status load_weights(dn_run *r, const dn_options *o, int64_t *limit)
{
    const dn_status status = DN_ON_RANK_0(r->comm, read_weights(r, o));
    if (status == DN_ECORRUPT && r->state.path[0] && strcmp(o->resume, "auto") == 0) {
        dn_warn("the newest checkpoint is passed over: %s", dn_message());
        *limit = r->state.step;
    }
    return status;
}

/* What the run touches beside its net: the steps, the batches that are read ahead, and on rank 0
 * the saver, whose copy becomes HDF5's and then the file's. */
static dn_bytes beside_net(const dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    const dn_spec *spec = net.spec;
    const double image = (double)spec->channels * spec->height * spec->width;
    dn_bytes bytes = dn_step_bytes(&r->step);
    bytes.by_batch += DN_READ_AHEAD * r->step.team.count * net.batch * image * sizeof(float);
    if (r->comm->rank == 0)
        bytes.fixed += 3.0 * sizeof(float) *
                       (double)(net.parameter_count + net.running_count + r->step.optimizer.floats);
    return bytes;
}

/* Rank 0's weights and the optimizer's state on all ranks. */
static void share_weights(dn_run *r)
{
    const dn_view net = dn_net_view(r->net);
    const size_t parameters = net.parameter_count * sizeof(float);
    const size_t states = r->step.optimizer.floats * sizeof(float);
    dn_comm_broadcast(r->comm, net.parameters, parameters);
    dn_comm_broadcast(r->comm, net.running, net.running_count * sizeof(float));
    dn_comm_broadcast(r->comm, r->step.optimizer.vectors, states);
    r->done = r->state.step;
    /* Until a checkpoint has been timed: */
    r->preempt.longest_saving = (double)(parameters + states) / slow_disk;
}

/* What rank 0 alone does: metrics and checkpoints. A run that starts anew is alone in its folder,
 * and one that passed over a checkpoint is without that. */
static dn_status open_output(dn_run *r, const dn_options *o, int64_t limit)
{
    if (strcmp(o->resume, "auto") != 0 || r->state.path[0] == '\0' || limit < INT64_MAX)
        DN_TRY(dn_run_set_aside(r->folder, r->state.path[0] ? r->state.step : -1));
    DN_TRY(dn_manifest_read(&r->data_set, &r->state.data_set_bytes, o->data));
    r->state.data_set = r->data_set;
    const dn_metrics_data data = {.name = r->train.images.info.dataset,
                                  .path = r->state.folder[0] ? r->state.folder : o->data,
                                  .classes = r->train.images.info.classes,
                                  .train = r->training->count,
                                  .validation =
                                      r->validation == &r->test.images ? 0 : r->validation->count,
                                  .test = r->test.images.count};
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
                               .scores = r->state.scores,
                               .config = r->state.config,
                               .data = data,
                               .ranks = r->comm->size,
                               .tensorboard = o->tensorboard});
}

/* A best epoch whose best.h5 is not in this folder, as after --resume FILE from another one, would
 * leave the run without: the next that is evaluated is the best so far. */
static void forget_best(dn_run *r)
{
    char best[PATH_MAX];
    const int is_there = r->comm->rank == 0 &&
                         dn_join_path(best, r->folder, DN_CHECKPOINT_BEST) == DN_OK &&
                         access(best, F_OK) == 0;
    if (dn_comm_max(r->comm, is_there) || r->monitor.state.best_epoch == 0)
        return;
    dn_info("no " DN_CHECKPOINT_BEST " in %s: the best epoch is looked for anew, after epoch %g",
            r->folder, r->monitor.state.epochs);
    r->monitor.state.best_epoch = 0;
}

/* A time limit that counts from the run's start and leaves no time for a step would end each
 * attempt alike. */
static dn_status check_time(const dn_run *r, const char *limit)
{
    const int is_late = dn_preempt_reason(&r->preempt) == DN_PREEMPT_TIME && limit[0] != '\0';
    DN_CHECK(dn_comm_max(r->comm, is_late) == 0, DN_EINVAL,
             "--time-limit %s: found too little for a step and a checkpoint, expected more", limit);
    return DN_OK;
}

/* Nothing is left to train: what was asked for is there, or, with other options, is not. An
 * --early-stop by which the run is over is what it asked for. */
static dn_status tell_complete(const dn_run *r, const dn_options *o, const dn_options *before)
{
    const int is_last = r->done == r->last;
    const char *const longer =
        is_last ? "--epochs or --max-steps make" : "another --early-stop makes";
    dn_options then = *before;
    if (!is_last)
        then.run.early_stop = o->run.early_stop;
    const char *const other = dn_options_other(o, &then);
    DN_CHECK(other == NULL, DN_EINVAL,
             "--%s: found another value than %s was trained with, and nothing was trained, as it "
             "has no step left (another --out, or --resume none, starts anew; %s it longer)",
             other, r->state.path, longer);
    dn_info("nothing was trained: the run is complete, %s is of its last step, %" PRId64
            ", weights %016" PRIx64 " (%s it longer)",
            r->state.path, r->done, dn_net_hash(r->net), longer);
    return DN_OK;
}

/* Trains, from a checkpoint of a step below *limit; lowers it where that one is damaged, and an
 * older one is to be tried. */
static dn_status try_train(const dn_comm *comm, dn_options *options, int64_t *limit)
{
    const int is_first = comm->rank == 0;
    dn_run r = {.comm = comm, .saved = -1};
    dn_options before = *options;
    dn_status status;
    DN_TRY_OR_DONE(dn_preempt_open(&r.preempt, options->time_limit, comm->start));
    DN_TRY_OR_DONE(agree_on_checkpoint(&r, options, *limit, &before));
    DN_TRY_OR_DONE(dn_options_check_reads(options));
    dn_info("%s on the data in %s, ranks: %d, output to %s", options->model, options->data,
            comm->size, r.folder);
    dn_heartbeat_record(comm, r.folder);
    dn_note_operation(comm->activity, DN_READING_DATA);
    DN_TRY_OR_DONE(dn_split_open(&r.train, comm, options->data, DN_TRAIN, &options->reading));
    DN_TRY_OR_DONE(dn_split_open(&r.test, comm, options->data, DN_TEST, &options->reading));
    if (has_val(&r))
        DN_TRY_OR_DONE(dn_split_open(&r.val, comm, options->data, DN_VAL, &options->reading));
    dn_note_operation(comm->activity, DN_STARTING);
    DN_TRY_OR_DONE(dn_comm_agree(comm, build_run(&r, options)));
    say_rates(&r, &before);
    DN_TRY_OR_DONE(dn_same_kernels(comm, r.net, options->dtype));
    DN_TRY_OR_DONE(dn_check_memory(
        comm, r.net, beside_net(&r),
        "the optimizer's and checkpoints', which fewer ranks here would need less of"));
    DN_TRY_OR_DONE(dn_place_report(comm, options->step.virtual_ranks, 1));
    DN_TRY_OR_DONE(load_weights(&r, options, limit));
    share_weights(&r);
    if ((r.done == r.last || dn_monitor_is_over(&r.monitor)) && !dn_run_awaits_evaluation(&r)) {
        status = dn_comm_agree(comm, tell_complete(&r, options, &before));
        goto done;
    }
    if (before.dtype != options->dtype) /* of which there is word already */
        r.state.kernels[0] = '\0';
    dn_note_kernels(&r.state, r.net, options->dtype);
    DN_TRY_OR_DONE(check_time(&r, options->time_limit));
    dn_note_operation(comm->activity, DN_SAVING);
    DN_TRY_OR_DONE(dn_comm_agree(comm, is_first ? open_output(&r, options, *limit) : DN_OK));
    dn_note_operation(comm->activity, DN_STARTING);
    forget_best(&r);
    r.state.schedule_state = r.rate.state;
    r.state.monitor = r.monitor.state;
    if (r.step.optimizer.average == NULL)
        r.state.average_step = -1;
    else if (r.state.average_step < 0)
        r.state.average_step = 0;
    if (is_first)
        dn_rescue_start(&r.step.settings.rescue, r.saver, &r.claim, &r.state);
    DN_TRY_OR_DONE(dn_run_to_end(&r));
    dn_info("weights %s, metrics %s/" DN_METRICS_NAME, r.state.path, r.folder);
done:
    if (!r.metrics) /* nothing stands in the folder */
        dn_claim_abandon(&r.claim);
    dn_rescue_stop(&r.step.settings.rescue);
    dn_saver_destroy(&r.saver);
    dn_checkpoint_close(&r.from);
    dn_metrics_destroy(&r.metrics);
    dn_step_destroy(&r.step);
    dn_net_destroy(&r.net);
    free(r.class_weights);
    free(r.order);
    dn_subset_destroy(&r.kept);
    dn_subset_destroy(&r.held_out);
    dn_split_close(&r.train);
    dn_split_close(&r.test);
    dn_split_close(&r.val);
    dn_claim_release(&r.claim);
    free(r.data_set);
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
