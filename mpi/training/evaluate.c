/* Exact evaluation on any number of ranks; see evaluate.h. */
#include "training/evaluate.h"

#include "dn/loader.h"
#include "dn/progress.h"
#include "dn/tree.h"

typedef struct batches {
    int count, first, end; /* this rank's are [first, end) */
} batches;

static batches batches_of(const dn_comm *comm, const dn_net *net, const dn_source *images)
{
    const int batch = dn_net_view(net).batch, count = (int)((images->count + batch - 1) / batch);
    return (batches){.count = count,
                     .first = dn_share_begin(count, comm->size, comm->rank),
                     .end = dn_share_begin(count, comm->size, comm->rank + 1)};
}

dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images)
{
    const batches own = batches_of(comm, net, images);
    const int64_t batch = dn_net_view(net).batch, end = own.end * batch;
    dn_part_of_images part = {.first = own.first * batch,
                              .end = end < images->count ? end : images->count};
    part.results = (size_t)(comm->rank == 0 ? images->count : part.end - part.first);
    return part;
}

/* Shows the progress after `done` of rank 0's `all` passes, assuming that all ranks are equally
 * far. Without a terminal nothing is shown, as standard output may be JSON. */
static void show_progress(dn_progress *progress, int64_t done, int64_t all)
{
    if (dn_live_is_terminal(&progress->live))
        dn_progress_add(progress, progress->total * done / all - progress->done);
}

dn_status dn_evaluate_batches(const dn_evaluation *e, dn_scored_fn *scored, void *user)
{
    const dn_view view = dn_net_view(e->net);
    const batches own = batches_of(e->comm, e->net, e->images);
    const int64_t begin = (int64_t)own.first * e->crops, end = (int64_t)own.end * e->crops;
    const dn_loader_settings settings = {
        .source = e->images,
        .sequence = {.end = 1, .virtual_ranks = 1, .batch = view.batch, .steps = own.count},
        .begin = begin,
        .end = end,
        .transforms = e->transforms,
        .crops = e->crops,
        .depth = DN_READ_AHEAD,
        .threads = e->io_threads};
    dn_loader *loader;
    dn_progress progress = {0};
    if (e->comm->rank == 0)
        dn_progress_begin(&progress, "evaluating:", "images", e->images->count);
    dn_status status = dn_loader_create(&loader, &settings);
    for (int64_t n = begin; n < end && status == DN_OK; n++) {
        const int64_t first = n / e->crops * view.batch, left = e->images->count - first;
        const int count = left < view.batch ? (int)left : view.batch;
        dn_note_operation(e->comm->activity, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, n, view.images, view.labels));
        dn_net_forward_eval(e->net);
        scored(user, &(dn_scored){first, count, (int)(n % e->crops), view.logits});
        show_progress(&progress, n + 1 - begin, end - begin);
        const int reason = e->preempt && n + 1 < end ? dn_preempt_reason(e->preempt) : 0;
        if (reason != 0)
            status =
                dn_fail(DN_STOPPED, "the evaluation was stopped by %s", dn_preempt_name(reason));
    }
done:
    dn_progress_end(&progress);
    dn_loader_destroy(&loader);
    return status;
}

dn_status dn_evaluate(const dn_evaluation *e, dn_scores *scores, double **auroc)
{
    dn_results results;
    const dn_status status = dn_evaluate_samples(e, &results, scores);
    if (status == DN_OK)
        dn_comm_broadcast(e->comm, scores, sizeof *scores);
    *auroc = results.auroc;
    results.auroc = NULL;
    dn_results_free(&results);
    return status;
}
