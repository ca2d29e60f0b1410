/* Exact evaluation on any number of ranks; see evaluate.h. */
#include "training/evaluate.h"

#include <stdlib.h>

#include "dn/loader.h"
#include "dn/progress.h"
#include "dn/tree.h"
#include "training/auroc.h"

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
    part.kept = (size_t)(comm->rank == 0 ? images->count : part.end - part.first);
    return part;
}

/* Shows the progress after `done` of rank 0's `all` passes, assuming that all ranks are equally
 * far. Without a terminal nothing is shown, as standard output may be JSON. */
static void show_progress(dn_progress *progress, int64_t done, int64_t all)
{
    if (dn_live_is_terminal(&progress->live))
        dn_progress_add(progress, progress->total * done / all - progress->done);
}

dn_status dn_evaluate_batches(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transforms, int crops,
                              const dn_preempt *preempt, dn_scored_fn *scored, void *user)
{
    const dn_view view = dn_net_view(net);
    const batches own = batches_of(comm, net, images);
    const int64_t begin = (int64_t)own.first * crops, end = (int64_t)own.end * crops;
    const dn_loader_settings settings = {
        .source = images,
        .sequence = {.end = 1, .virtual_ranks = 1, .batch = view.batch, .steps = own.count},
        .begin = begin,
        .end = end,
        .transform = transforms[0],
        .crops = transforms,
        .crop_count = crops,
        .depth = DN_READ_AHEAD,
        .threads = io_threads};
    dn_loader *loader;
    dn_progress progress = {0};
    if (comm->rank == 0)
        dn_progress_begin(&progress, "evaluating:", "images", images->count);
    dn_status status = dn_loader_create(&loader, &settings);
    for (int64_t n = begin; n < end && status == DN_OK; n++) {
        const int64_t first = n / crops * view.batch, left = images->count - first;
        const int count = left < view.batch ? (int)left : view.batch;
        dn_note_operation(comm->activity, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, n, view.images, view.labels));
        dn_net_forward_eval(net, count, NULL);
        scored(user, &(dn_scored){first, count, (int)(n % crops), view.logits});
        show_progress(&progress, n + 1 - begin, end - begin);
        const int reason = preempt && n + 1 < end ? dn_preempt_reason(preempt) : 0;
        if (reason != 0)
            status =
                dn_fail(DN_STOPPED, "the evaluation was stopped by %s", dn_preempt_name(reason));
    }
done:
    dn_progress_end(&progress);
    dn_loader_destroy(&loader);
    return status;
}

dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images, int io_threads,
                      const dn_transform *transform, const dn_preempt *preempt, dn_scores *scores)
{
    const int has_auroc = dn_has_auroc(images);
    const size_t kept = dn_images_of(comm, net, images).kept;
    dn_sample *const samples = calloc(kept + 1, sizeof *samples);
    double *const probabilities =
        has_auroc ? calloc(kept + 1, (size_t)images->info.classes * sizeof *probabilities) : NULL;
    dn_status status = samples && (probabilities || !has_auroc)
                           ? DN_OK
                           : dn_fail(DN_ENOMEM, "out of memory: cannot evaluate %zu images", kept);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    DN_TRY_OR_DONE(dn_evaluate_samples(comm, net, images, io_threads, transform, 1, preempt,
                                       samples, probabilities, scores));
    dn_comm_broadcast(comm, scores, sizeof *scores);
done:
    free(probabilities);
    free(samples);
    return status;
}
