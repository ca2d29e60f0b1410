/* Exact evaluation on any number of ranks; see run.h. */
#include <stdlib.h>

#include "dn/loader.h"
#include "dn/tree.h"
#include "job/heartbeat.h"
#include "training/run.h"

enum { SCORES = sizeof(dn_scores) / sizeof(double) };

/* Fills this rank's rows of sums(batches), not divided by the images; DN_STOPPED when it is
 * preempted. */
static dn_status score_batches(const dn_comm *comm, dn_net *net, const dn_split *split,
                               const dn_transform *transform, const dn_preempt *preempt,
                               dn_scores *sums, int batches)
{
    const dn_view view = dn_net_view(net);
    const int first = dn_tree_first(batches, comm->size, comm->rank);
    const int last = dn_tree_first(batches, comm->size, comm->rank + 1);
    const dn_loader_settings settings = {
        .source = &split->images,
        .sequence = {.last = 1, .virtual_ranks = 1, .batch = view.batch, .steps = batches},
        .begin = first,
        .end = last,
        .transform = *transform,
        .depth = DN_READ_AHEAD,
        .threads = split->io_threads};
    dn_loader *loader;
    dn_status status = dn_loader_create(&loader, &settings);
    for (int b = first; b < last && status == DN_OK; b++) {
        const int64_t left = split->images.count - (int64_t)b * view.batch;
        dn_result result;
        dn_heartbeat_doing(comm->heartbeat, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, b, view.images, view.labels));
        dn_net_forward_eval(net, left < view.batch ? (int)left : view.batch, &result);
        sums[b] = (dn_scores){result.loss, result.correct1, result.correct5};
        const int reason = preempt ? dn_preempt_reason(preempt) : 0;
        if (reason != 0)
            status =
                dn_fail(DN_STOPPED, "the evaluation was stopped by %s", dn_preempt_name(reason));
    }
done:
    dn_loader_destroy(&loader);
    return status;
}

dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_split *split,
                      const dn_transform *transform, const dn_preempt *preempt, dn_scores *scores)
{
    const double count = (double)split->images.count;
    const int batch = dn_net_view(net).batch;
    const int batches = (int)((split->images.count + batch - 1) / batch);
    dn_scores *sums = calloc((size_t)batches, sizeof *sums);
    dn_status status =
        sums ? score_batches(comm, net, split, transform, preempt, sums, batches)
             : dn_fail(DN_ENOMEM, "memory: found none to evaluate %d batches", batches);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    dn_comm_gather_doubles(comm, &sums->loss, batches * SCORES);
    scores->loss = dn_tree_sum(&sums->loss, batches, SCORES) / count;
    scores->top1 = 100 * dn_tree_sum(&sums->top1, batches, SCORES) / count;
    scores->top5 = 100 * dn_tree_sum(&sums->top5, batches, SCORES) / count;
done:
    free(sums);
    return status;
}
