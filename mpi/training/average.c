/* Averaged weights: their statistics, and their scores; see run.h. */
#include <omp.h>
#include <stdlib.h>

#include "dn/loader.h"
#include "dn/tree.h"
#include "job/heartbeat.h"
#include "training/rescue.h"
#include "training/run.h"

/* Of so many images at least do the statistics come, as thousands are enough (Wu and Johnson,
 * "Rethinking 'Batch' in BatchNorm", 2021), in at most so many batches. */
enum { STATISTICS_IMAGES = 4096, STATISTICS_BATCHES = 128 };

static int batches_of(const dn_run *r)
{
    const int64_t batch = dn_net_view(r->net).batch, all = r->training->count / batch;
    const int64_t wanted = (STATISTICS_IMAGES + batch - 1) / batch;
    const int64_t most = wanted < STATISTICS_BATCHES ? wanted : STATISTICS_BATCHES;
    return (int)(all < most ? all : most);
}

/* Fills this rank's rows of sums(batches, width) with the batches' statistics. */
static dn_status measure_batches(const dn_run *r, double *sums, int batches, size_t width)
{
    const dn_view view = dn_net_view(r->net);
    const dn_comm *comm = r->comm;
    const int first = dn_tree_first(batches, comm->size, comm->rank);
    const int last = dn_tree_first(batches, comm->size, comm->rank + 1);
    dn_loader *loader;
    dn_status status = dn_loader_create(
        &loader,
        &(dn_loader_settings){
            .source = r->training,
            .sequence = {.last = 1, .virtual_ranks = 1, .batch = view.batch, .steps = batches},
            .begin = first,
            .end = last,
            .shuffle = 1,
            .transform = r->transform,
            .seed = r->step.settings.seed,
            .depth = DN_READ_AHEAD,
            .threads = r->train.io_threads});
    for (int b = first; b < last && status == DN_OK; b++) {
        dn_result result;
        const dn_pass pass = {.seed = r->step.settings.seed, .virtual_rank = (uint64_t)b};
        dn_heartbeat_doing(comm->heartbeat, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, b, view.images, view.labels));
        dn_net_forward_train(r->net, &pass, &result);
        for (size_t i = 0; i < width; i++)
            sums[(size_t)b * width + i] = view.leaf[view.gradient_count + i];
        if (dn_preempt_reason(&r->preempt) != 0)
            status = dn_fail(DN_STOPPED, "the evaluation was stopped");
    }
done:
    dn_loader_destroy(&loader);
    return status;
}

/* The net's running statistics = the means of batches of the training images, the same ones every
 * time, with the weights that it has now. */
static dn_status measure_statistics(const dn_run *r)
{
    const dn_view view = dn_net_view(r->net);
    const size_t width = view.leaf_count - view.gradient_count;
    const int batches = batches_of(r);
    double *sums = calloc((size_t)batches * width, sizeof *sums);
    dn_status status = sums ? measure_batches(r, sums, batches, width)
                            : dn_fail(DN_ENOMEM,
                                      "memory: found none for the statistics of %d "
                                      "batches",
                                      batches);
    DN_TRY_OR_DONE(dn_comm_agree(r->comm, status));
    for (int b = 0; b < batches; b++) /* a row at a time: MPI counts in int */
        dn_comm_gather_doubles(r->comm, sums + (size_t)b * width, (int)width);
    for (size_t i = 0; i < width; i++)
        view.leaf[view.gradient_count + i] =
            (float)(dn_tree_sum(sums + i, batches, (int)width) / batches);
    dn_rescue_hold(r->step.settings.rescue);
    dn_net_set_running(r->net, view.leaf);
    dn_rescue_release(r->step.settings.rescue, r->done);
done:
    free(sums);
    return status;
}

static void swap_weights(dn_run *r, int is_swapped)
{
    const dn_view net = dn_net_view(r->net);
    dn_rescue_hold(r->step.settings.rescue);
    dn_optimizer_swap_average(&r->step.optimizer, &net, omp_get_max_threads());
    dn_rescue_swapped(r->step.settings.rescue, is_swapped);
    dn_rescue_release(r->step.settings.rescue, r->done);
}

dn_status dn_average_begin(dn_run *r)
{
    swap_weights(r, 1);
    return measure_statistics(r);
}

void dn_average_end(dn_run *r)
{
    swap_weights(r, 0);
}
