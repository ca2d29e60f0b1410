/*
 * `dn_dist train`: sets a run up, from its first step or from a checkpoint, and lets it go to its
 * end (run.c).
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job/placement.h"
#include "training/run.h"
#include "job/heartbeat.h"

static const double slow_disk = 20e6; /* bytes/s */

/* Finds the checkpoint to go on from and reads its configuration. Rank 0. */
static dn_status find_checkpoint(dn_run *r)
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
    return dn_checkpoint_peek(r->resume, &r->state);
}

/* Settles run folder and checkpoint; options that were not given are taken from the checkpoint. */
static dn_status agree_on_checkpoint(dn_run *r)
{
    DN_TRY(dn_options_out(r->options, r->folder, sizeof r->folder)); /* the same on all ranks */
    DN_TRY(dn_comm_agree(r->comm, r->comm->rank == 0 ? find_checkpoint(r) : DN_OK));
    dn_comm_broadcast(r->comm, r->resume, sizeof r->resume, 0);
    if (r->resume[0] == '\0')
        return DN_OK;
    dn_comm_broadcast(r->comm, r->state.config, sizeof r->state.config, 0);
    dn_comm_broadcast(r->comm, r->state.data, sizeof r->state.data, 0);
    DN_TRY(dn_comm_agree(r->comm, dn_options_resume_from_ini(r->options, r->state.config)));
    /* The folder may carry the model's name, which is known only now. */
    return dn_options_out(r->options, r->folder, sizeof r->folder);
}

/* The checkpoint's data set is this one; the next checkpoints record it. */
static dn_status same_data(dn_run *r)
{
    char data[sizeof r->state.data];
    dn_source_describe(&r->train.images, data, sizeof data);
    dn_status status = DN_OK;
    if (r->state.data[0] != '\0' && strcmp(r->state.data, data) != 0)
        status = dn_fail(DN_EINVAL, "--data %s: found %s, expected %s as in %s (or --resume none)",
                         r->options->data, data, r->state.data, r->resume);
    snprintf(r->state.data, sizeof r->state.data, "%s", data);
    return dn_comm_agree(r->comm, status);
}

/* Steps of an epoch and of the run; needs the data and the number of virtual ranks. */
static dn_status plan_steps(dn_run *r)
{
    dn_options *o = r->options;
    const int64_t images = r->train.images.count;
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
    return DN_OK;
}

static dn_status build(dn_run *r)
{
    dn_options *o = r->options;
    if (o->virtual_ranks == 0)
        o->virtual_ranks = r->comm->size;
    DN_TRY(plan_steps(r));
    DN_TRY(dn_options_net(o, &r->train.images.info, o->virtual_ranks, &r->net));
    const dn_view net = dn_net_view(r->net);
    o->size = net.spec->height == net.spec->width ? net.spec->height : 0;
    o->classes = net.spec->classes;
    if (o->augment == DN_AUGMENT_AUTO)
        o->augment = net.spec->channels > 1 ? DN_AUGMENT_PAD_CROP_FLIP : DN_AUGMENT_NONE;
    DN_TRY(dn_step_create(&r->step, r->comm, r->net, o, o->virtual_ranks, &r->stop));
    dn_net_init(r->net, o->init, (uint64_t)o->seed);
    dn_info("%s on %s: %d ranks x %d threads, %d virtual ranks x %d images, kernels %s",
            net.spec->name, r->train.images.info.dataset, r->comm->size, omp_get_max_threads(),
            o->virtual_ranks, o->batch_size, net.kernels->name);
    return dn_options_to_ini(o, r->state.config, sizeof r->state.config);
}

/* Rank 0 reads the weights to go on from, or to start from, into its net. */
static dn_status read_weights(dn_run *r)
{
    if (r->resume[0] != '\0') {
        DN_TRY(dn_checkpoint_load(r->resume, r->net, r->step.momentum));
        r->done = r->state.step;
        dn_info("resumed from %s at step %" PRId64, r->resume, r->done);
    } else if (r->options->init_from[0] != '\0') {
        DN_TRY(dn_checkpoint_load(r->options->init_from, r->net, NULL));
    }
    return DN_OK;
}

/* Rank 0's weights, momentum and position on all ranks. */
static dn_status share_weights(dn_run *r)
{
    const dn_status status = r->comm->rank == 0 ? read_weights(r) : DN_OK;
    DN_TRY(dn_comm_agree(r->comm, status));
    const dn_view net = dn_net_view(r->net);
    const size_t parameters = net.parameter_count * sizeof(float);
    dn_comm_broadcast(r->comm, net.parameters, parameters, 0);
    dn_comm_broadcast(r->comm, net.running, net.running_count * sizeof(float), 0);
    dn_comm_broadcast(r->comm, r->step.momentum, parameters, 0);
    dn_comm_broadcast(r->comm, &r->done, sizeof r->done, 0);
    r->first = r->done;
    r->state.momentum = r->step.momentum;
    r->stop.longest_saving = (double)(2 * parameters) / slow_disk; /* until one was measured */
    return DN_OK;
}

/* What rank 0 alone does: metrics and checkpoints. */
static dn_status open_run(dn_run *r)
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
                                                          .interval = 10});
    return dn_comm_agree(r->comm, status);
}

dn_status dn_train(const dn_comm *comm, dn_options *options)
{
    dn_run r = {.comm = comm, .options = options};
    dn_status status;
    DN_TRY_OR_DONE(dn_preempt_open(&r.stop, options->time_limit, comm->start));
    DN_TRY_OR_DONE(agree_on_checkpoint(&r));
    dn_heartbeat_record(comm, r.folder);
    dn_heartbeat_doing(comm->heartbeat, DN_READING_DATA);
    DN_TRY_OR_DONE(dn_split_open(&r.train, comm, options->data, DN_TRAIN));
    DN_TRY_OR_DONE(dn_split_open(&r.test, comm, options->data, DN_TEST));
    DN_TRY_OR_DONE(same_data(&r));
    DN_TRY_OR_DONE(dn_comm_agree(comm, build(&r)));
    DN_TRY_OR_DONE(dn_place_report(comm, options->virtual_ranks, 1));
    DN_TRY_OR_DONE(share_weights(&r));
    DN_TRY_OR_DONE(open_run(&r));
    DN_TRY_OR_DONE(dn_run_to_end(&r));
    if (comm->rank == 0)
        printf("weights %s, metrics %s/metrics.jsonl\n", r.saved[0] ? r.saved : r.resume, r.folder);
done:
    dn_saver_destroy(&r.saver);
    dn_metrics_destroy(&r.metrics);
    dn_step_destroy(&r.step);
    dn_net_destroy(&r.net);
    dn_split_close(&r.train);
    dn_split_close(&r.test);
    return status;
}
