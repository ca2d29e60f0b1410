/* Exact evaluation on any number of ranks, and the command `dn_dist eval`. */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "training/dataset.h"
#include "dn/checkpoint.h"
#include "dn/tree.h"
#include "job/heartbeat.h"

dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_images *images,
                      const dn_preempt *stop, dn_epoch_metrics *scores)
{
    const int64_t count = images->count;
    const dn_view view = dn_net_view(net);
    const int batch = view.batch;
    const int batches = (int)((count + batch - 1) / batch);
    enum { LOSS, TOP1, TOP5, SCORES };
    double(*sums)[SCORES] = calloc((size_t)batches, sizeof *sums);
    DN_TRY(dn_comm_agree(
        comm,
        sums ? DN_OK : dn_fail(DN_ENOMEM, "memory: found none to evaluate %d batches", batches)));
    const int first = dn_tree_first(batches, comm->size, comm->rank);
    const int last = dn_tree_first(batches, comm->size, comm->rank + 1);
    int reason = 0; /* to stop */
    for (int b = first; b < last && reason == 0; b++) {
        const int64_t position = (int64_t)b * batch;
        const int valid = count - position < batch ? (int)(count - position) : batch;
        dn_result result;
        dn_heartbeat_doing(comm->heartbeat, DN_EVALUATING);
        dn_images_batch(images, &(dn_batch){.position = position, .count = valid}, view.images,
                        view.labels);
        dn_net_forward_eval(net, valid, &result);
        sums[b][LOSS] = result.loss;
        sums[b][TOP1] = result.correct1;
        sums[b][TOP5] = result.correct5;
        reason = stop ? dn_preempt_reason(stop) : 0;
    }
    dn_comm_gather_doubles(comm, sums[0], batches, SCORES);
    scores->test_loss = dn_tree_sum(&sums[0][LOSS], batches, SCORES) / (double)count;
    scores->test_top1 = 100 * dn_tree_sum(&sums[0][TOP1], batches, SCORES) / (double)count;
    scores->test_top5 = 100 * dn_tree_sum(&sums[0][TOP5], batches, SCORES) / (double)count;
    free(sums);
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
    dn_checkpoint_file *file;
    dn_status status;
    DN_TRY_OR_DONE(dn_checkpoint_open(&file, options->checkpoint, &state));
    DN_TRY_OR_DONE(dn_options_resume_from_ini(options, state.config));
    DN_TRY_OR_DONE(dn_options_net(options, info, 1, net));
    dn_info("%s from %s, kernels %s", dn_net_view(*net).spec->name, options->checkpoint,
            dn_net_view(*net).kernels->name);
    DN_TRY_OR_DONE(dn_checkpoint_load(file, *net, NULL));
done:
    dn_checkpoint_close(&file);
    return status;
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
