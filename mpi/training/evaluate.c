/* Exact evaluation on any number of ranks; see evaluate.h. */
#include "training/evaluate.h"

#include <stdlib.h>

#include "dn/loader.h"
#include "dn/math.h"
#include "dn/tree.h"
#include "job/heartbeat.h"

dn_batches dn_batches_of(const dn_comm *comm, const dn_net *net, const dn_source *images)
{
    const int batch = dn_net_view(net).batch, count = (int)((images->count + batch - 1) / batch);
    return (dn_batches){.count = count,
                        .first = dn_tree_first(count, comm->size, comm->rank),
                        .last = dn_tree_first(count, comm->size, comm->rank + 1)};
}

dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images)
{
    const dn_batches own = dn_batches_of(comm, net, images);
    const int64_t batch = dn_net_view(net).batch, end = own.last * batch;
    dn_part_of_images part = {.first = own.first * batch,
                              .last = end < images->count ? end : images->count};
    part.kept = (size_t)(comm->rank == 0 ? images->count : part.last - part.first);
    return part;
}

dn_status dn_evaluate_batches(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transform,
                              const dn_preempt *preempt, dn_scored_fn *scored, void *user)
{
    const dn_view view = dn_net_view(net);
    const dn_batches own = dn_batches_of(comm, net, images);
    const dn_loader_settings settings = {
        .source = images,
        .sequence = {.last = 1, .virtual_ranks = 1, .batch = view.batch, .steps = own.count},
        .begin = own.first,
        .end = own.last,
        .transform = *transform,
        .depth = DN_READ_AHEAD,
        .threads = io_threads};
    dn_loader *loader;
    dn_status status = dn_loader_create(&loader, &settings);
    for (int b = own.first; b < own.last && status == DN_OK; b++) {
        const int64_t first = (int64_t)b * view.batch, left = images->count - first;
        const int count = left < view.batch ? (int)left : view.batch;
        dn_result result;
        dn_heartbeat_doing(comm->heartbeat, DN_EVALUATING);
        DN_TRY_OR_DONE(dn_loader_load(loader, b, view.images, view.labels));
        dn_net_forward_eval(net, count, &result);
        scored(user, &(dn_scored){b, first, count, view.logits, &result});
        const int reason = preempt ? dn_preempt_reason(preempt) : 0;
        if (reason != 0)
            status =
                dn_fail(DN_STOPPED, "the evaluation was stopped by %s", dn_preempt_name(reason));
    }
done:
    dn_loader_destroy(&loader);
    return status;
}

typedef struct batch_sums {
    double loss, correct1, correct5;
} batch_sums;

enum { SUMS = sizeof(batch_sums) / sizeof(double) };

typedef struct tally {
    const dn_source *images;
    batch_sums *sums; /* of each batch */
    int64_t *correct; /* (classes) */
} tally;

static void keep_scores(void *user, const dn_scored *b)
{
    const tally *const t = user;
    const int classes = t->images->info.classes;
    t->sums[b->batch] = (batch_sums){b->result->loss, b->result->correct1, b->result->correct5};
    for (int i = 0; i < b->count; i++) {
        const int label = t->images->labels[b->first + i];
        const float *const logits = b->logits + (size_t)i * (size_t)classes;
        t->correct[label] += dn_label_rank(logits, classes, label) < 1;
    }
}

dn_status dn_score_classes(const dn_source *images, const int64_t *correct, dn_scores *scores)
{
    const int classes = images->info.classes;
    int64_t *const count = calloc((size_t)classes, sizeof *count);
    int present = 0;
    double sum = 0;
    DN_CHECK(count, DN_ENOMEM, "memory: found none for the images of %d classes", classes);
    for (int64_t i = 0; i < images->count; i++)
        count[images->labels[i]]++;
    scores->is_uneven = 0;
    for (int c = 0; c < classes; c++) {
        present += count[c] > 0;
        sum += count[c] > 0 ? 100 * (double)correct[c] / (double)count[c] : 0;
        scores->is_uneven |= count[c] != count[0];
    }
    scores->balanced = sum / present;
    free(count);
    return DN_OK;
}

dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images, int io_threads,
                      const dn_transform *transform, const dn_preempt *preempt, dn_scores *scores)
{
    const double count = (double)images->count;
    const int batches = dn_batches_of(comm, net, images).count, classes = images->info.classes;
    batch_sums *const sums = calloc((size_t)batches, sizeof *sums);
    int64_t *const correct = calloc((size_t)classes, sizeof *correct);
    tally t = {images, sums, correct};
    dn_status status =
        sums && correct ? dn_evaluate_batches(comm, net, images, io_threads, transform, preempt,
                                              keep_scores, &t)
                        : dn_fail(DN_ENOMEM, "memory: found none to evaluate %d batches", batches);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    dn_comm_gather_doubles(comm, &sums->loss, (size_t)batches * SUMS);
    dn_comm_sum_counts(comm, correct, classes);
    scores->loss = dn_tree_sum(&sums->loss, batches, SUMS) / count;
    scores->top1 = 100 * dn_tree_sum(&sums->correct1, batches, SUMS) / count;
    scores->top5 = 100 * dn_tree_sum(&sums->correct5, batches, SUMS) / count;
    status = dn_comm_agree(comm, dn_score_classes(images, correct, scores));
done:
    free(sums);
    free(correct);
    return status;
}
