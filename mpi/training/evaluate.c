/* Exact evaluation on any number of ranks; see run.h. */
#include <stdlib.h>

#include "dn/loader.h"
#include "dn/tree.h"
#include "job/heartbeat.h"
#include "training/run.h"

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
    dn_comm_gather_doubles(comm, sums[0], batches * SCORES);
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
