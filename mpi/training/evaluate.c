/* Evaluation over all images of a split; see run.h. */
#include <stdlib.h>

#include "dn/tree.h"
#include "job/heartbeat.h"
#include "training/run.h"

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
