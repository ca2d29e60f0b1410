/* What a net makes of each image of a split, from one or several crops of it; see evaluate.h. */
#include <math.h>
#include <stdlib.h>

#include "dn/math.h"
#include "dn/tree.h"
#include "training/evaluate.h"

enum { SAMPLE = sizeof(dn_sample) / sizeof(double) };

typedef struct logit_sums {
    int classes;
    int64_t first; /* of this rank's images */
    float *sum;    /* (images of this rank, classes) */
} logit_sums;

static void add_logits(void *user, const dn_scored *b)
{
    const logit_sums *s = user;
    const size_t count = (size_t)b->count * (size_t)s->classes;
    float *const sum = s->sum + (size_t)(b->first - s->first) * (size_t)s->classes;
    for (size_t i = 0; i < count; i++)
        sum[i] += b->logits[i];
}

void dn_softmax(const float *logits, int classes, double *p)
{
    double largest;
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    for (int o = 0; o < classes; o++)
        p[o] = dn_exp(logits[o] - largest - normal);
}

/* By the same arithmetic as the training's loss (src/layers/head.c). */
static dn_sample make_sample(const float *logits, int classes, int label)
{
    dn_sample s = {0};
    double largest;
    const double normal = dn_log_sum_exp(logits, classes, &largest);
    int predicted = 0;
    for (int o = 1; o < classes; o++)
        predicted = logits[o] > logits[predicted] ? o : predicted;
    s.loss = -(logits[label] - largest - normal);
    s.rank = dn_label_rank(logits, classes, label);
    s.predicted = predicted;
    s.probability = dn_exp(logits[predicted] - largest - normal);
    return s;
}

/* From the sums, which become means, of this rank's images. */
static void make_samples(const logit_sums *s, const dn_source *images, int crops, int64_t count,
                         dn_sample *samples)
{
    const size_t classes = (size_t)s->classes;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float *const logits = s->sum + (size_t)i * classes;
        for (size_t o = 0; o < classes; o++)
            logits[o] /= (float)crops;
        samples[i] = make_sample(logits, s->classes, images->labels[s->first + i]);
    }
}

/* A net whose numbers are too great gives logits that no class can be told by. */
static dn_status check_samples(const dn_sample *samples, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        DN_CHECK(isfinite(samples[i].loss), DN_EDIVERGED,
                 "image %lld of %lld, counted from 0: the net gives no finite loss for it",
                 (long long)i, (long long)count);
    return DN_OK;
}

/* In the order of dn_evaluate: within a batch one after another, then along the tree. */
static dn_status sum_scores(const dn_sample *samples, const dn_source *images, int batch,
                            dn_scores *scores)
{
    const int64_t count = images->count;
    const int batches = (int)((count + batch - 1) / batch);
    double *const losses = calloc((size_t)batches, sizeof *losses);
    int64_t *const correct = calloc((size_t)images->info.classes, sizeof *correct);
    int64_t top1 = 0, top5 = 0;
    dn_status status = DN_OK;
    if (!losses || !correct) {
        status = dn_fail(DN_ENOMEM, "memory: found none to sum the losses of %d batches", batches);
        goto done;
    }
    for (int64_t i = 0; i < count; i++) {
        losses[i / batch] += samples[i].loss;
        top1 += samples[i].rank < 1;
        correct[images->labels[i]] += samples[i].rank < 1;
        top5 += samples[i].rank < 5;
    }
    scores->loss = dn_tree_sum(losses, batches, 1) / (double)count;
    scores->top1 = 100 * (double)top1 / (double)count;
    scores->top5 = 100 * (double)top5 / (double)count;
    status = dn_score_classes(images, correct, scores);
done:
    free(losses);
    free(correct);
    return status;
}

dn_status dn_evaluate_samples(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transforms, int crops,
                              dn_sample *samples, dn_scores *scores)
{
    const dn_view view = dn_net_view(net);
    const dn_part_of_images own = dn_images_of(comm, net, images);
    const int64_t count = own.last - own.first;
    const size_t floats = (size_t)count * (size_t)view.spec->classes;
    logit_sums s = {view.spec->classes, own.first, calloc(floats + 1, sizeof *s.sum)};
    dn_status status = s.sum
                           ? DN_OK
                           : dn_fail(DN_ENOMEM, "memory: found none for the logits of %lld images",
                                     (long long)count);
    for (int c = 0; c < crops && status == DN_OK; c++)
        status = dn_evaluate_batches(comm, net, images, io_threads, &transforms[c], NULL,
                                     add_logits, &s);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    make_samples(&s, images, crops, count, samples);
    dn_comm_collect_doubles(comm, &samples->loss, (size_t)count * SAMPLE);
    if (comm->rank == 0)
        status = check_samples(samples, images->count);
    if (comm->rank == 0 && status == DN_OK)
        status = sum_scores(samples, images, view.batch, scores);
    status = dn_comm_agree(comm, status);
done:
    free(s.sum);
    return status;
}
