/* Exact evaluation on any number of ranks, and the command `dn_dist eval`. */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "training/dataset.h"
#include "dn/checkpoint.h"
#include "dn/loader.h"
#include "dn/tree.h"
#include "job/heartbeat.h"

enum { LOSS, TOP1, TOP5, SCORES };

/* Fills this rank's rows of sums(batches, SCORES), until there is a *reason to stop. */
static dn_status score_batches(const dn_comm *comm, dn_net *net, const dn_source *images,
                               const dn_preempt *stop, double (*sums)[SCORES], int batches,
                               int *reason)
{
    const dn_view view = dn_net_view(net);
    const int last = dn_tree_first(batches, comm->size, comm->rank + 1);
    int b = dn_tree_first(batches, comm->size, comm->rank);
    dn_loader *loader;
    dn_status status = dn_loader_create(
        &loader,
        &(dn_loader_settings){
            .source = images,
            .sequence = {.last = 1, .virtual_ranks = 1, .batch = view.batch, .steps = batches},
            .begin = b,
            .end = last,
            .threads = 1,
            .depth = DN_READ_AHEAD});
    for (; b < last && *reason == 0 && status == DN_OK; b++) {
        const int64_t left = images->count - (int64_t)b * view.batch;
        dn_result result;
        dn_heartbeat_doing(comm->heartbeat, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, b, view.images, view.labels));
        dn_net_forward_eval(net, left < view.batch ? (int)left : view.batch, &result);
        sums[b][LOSS] = result.loss;
        sums[b][TOP1] = result.correct1;
        sums[b][TOP5] = result.correct5;
        *reason = stop ? dn_preempt_reason(stop) : 0;
    }
done:
    dn_loader_destroy(&loader);
    return status;
}

dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images,
                      const dn_preempt *stop, dn_epoch_metrics *scores)
{
    const double count = (double)images->count;
    const int batch = dn_net_view(net).batch;
    const int batches = (int)((images->count + batch - 1) / batch);
    double(*sums)[SCORES] = calloc((size_t)batches, sizeof *sums);
    DN_TRY(dn_comm_agree(
        comm,
        sums ? DN_OK : dn_fail(DN_ENOMEM, "memory: found none to evaluate %d batches", batches)));
    int reason = 0; /* to stop */
    const dn_status status = score_batches(comm, net, images, stop, sums, batches, &reason);
    dn_comm_gather_doubles(comm, sums[0], batches, SCORES);
    scores->test_loss = dn_tree_sum(&sums[0][LOSS], batches, SCORES) / count;
    scores->test_top1 = 100 * dn_tree_sum(&sums[0][TOP1], batches, SCORES) / count;
    scores->test_top5 = 100 * dn_tree_sum(&sums[0][TOP5], batches, SCORES) / count;
    free(sums);
    DN_TRY(dn_comm_agree(comm, status));
    reason = dn_comm_max(comm, reason);
    scores->evaluated = reason == 0;
    DN_CHECK(reason == 0, DN_STOPPED, "the evaluation was stopped by %s", dn_preempt_name(reason));
    return DN_OK;
}

static void print_scores(const dn_options *options, const dn_epoch_metrics *scores, int64_t images)
{
    char loss[32] = "null"; /* JSON has no NaN */
    if (isfinite(scores->test_loss))
        snprintf(loss, sizeof loss, "%.9g", scores->test_loss);
    if (options->json)
        printf("{\"top1\": %.9g, \"top5\": %.9g, \"loss\": %s}\n", scores->test_top1,
               scores->test_top5, loss);
    else
        printf("%" PRId64 " images: top-1 %.2f %%, top-5 %.2f %%, loss %.4f\n", images,
               scores->test_top1, scores->test_top5, scores->test_loss);
}

/* The net that the checkpoint holds, with its weights. The options take what the checkpoint
 * recorded. Not collective. */
static dn_status load_net(dn_net **net, dn_options *options, const dn_shard_info *info)
{
    dn_checkpoint state;
    DN_TRY(dn_checkpoint_peek(options->checkpoint, &state));
    DN_TRY(dn_options_resume_from_ini(options, state.config));
    DN_TRY(dn_options_net(options, info, 1, net));
    dn_info("%s from %s, kernels %s", dn_net_view(*net).spec->name, options->checkpoint,
            dn_net_view(*net).kernels->name);
    return dn_checkpoint_load(options->checkpoint, *net, NULL);
}

dn_status dn_eval(const dn_comm *comm, dn_options *options)
{
    dn_net *net = NULL;
    dn_split test = {0};
    dn_epoch_metrics scores;
    dn_status status;
    DN_TRY_OR_DONE(dn_split_open(&test, comm, options->data, DN_TEST));
    DN_TRY_OR_DONE(dn_comm_agree(comm, load_net(&net, options, &test.images.info)));
    DN_TRY_OR_DONE(dn_evaluate(comm, net, &test.images, NULL, &scores));
    if (comm->rank == 0)
        print_scores(options, &scores, test.images.count);
done:
    dn_net_destroy(&net);
    dn_split_close(&test);
    return status;
}
