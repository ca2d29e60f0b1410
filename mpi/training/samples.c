/* Results of each image of a split, from one or several crops, and their sums; see evaluate.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/loss.h"
#include "dn/math.h"
#include "dn/tree.h"
#include "training/auroc.h"
#include "training/evaluate.h"

size_t dn_result_bytes(const dn_source *images)
{
    const size_t classes = (size_t)images->info.classes;
    return sizeof(dn_sample) + dn_set_bytes(images) +
           (dn_has_auroc(images) ? classes * sizeof(double) : 0);
}

/* Of `count` images. */
static dn_status create_results(dn_results *r, const dn_source *images, size_t count)
{
    const size_t set_bytes = dn_set_bytes(images), classes = (size_t)images->info.classes;
    const int has_auroc = dn_has_auroc(images);
    *r = (dn_results){.samples = calloc(count + 1, sizeof *r->samples),
                      .predicted_sets = set_bytes > 0 ? calloc(count + 1, set_bytes) : NULL};
    if (has_auroc)
        r->probabilities = calloc(count + 1, classes * sizeof *r->probabilities);
    DN_CHECK(r->samples && (r->predicted_sets || set_bytes == 0) &&
                 (r->probabilities || !has_auroc),
             DN_ENOMEM, "out of memory for the results of %zu images", count);
    return DN_OK;
}

void dn_results_free(dn_results *r)
{
    free(r->samples);
    free(r->probabilities);
    free(r->auroc);
    free(r->predicted_sets);
    *r = (dn_results){0};
}

static dn_sample make_sample(const dn_loss *loss, const dn_source *images, int64_t image,
                             const float *logits)
{
    const int classes = images->info.classes, label = images->labels[image];
    const dn_target target = {.label = label, .share = 1, .sets = images->label_sets};
    dn_sample s = {.loss = loss->value(&target, logits, classes)};
    int predicted = 0;
    for (int o = 1; o < classes; o++)
        predicted = logits[o] > logits[predicted] ? o : predicted;
    s.rank = images->label_sets ? !loss->is_correct(&target, logits, classes)
                                : dn_label_rank(logits, classes, label);
    s.predicted = predicted;
    loss->probabilities(logits, classes, predicted, predicted + 1, &s.probability);
    return s;
}

typedef struct sampling {
    const dn_source *images;
    const dn_loss *loss;
    size_t classes;
    int crops;
    int64_t first;             /* this rank's first image */
    const dn_results *results; /* of this rank's images */
    float *sum;                /* (batch, classes) logits summed over crops; unused with one crop */
} sampling;

static void make_samples(const sampling *s, const dn_scored *b, const float *logits)
{
    const dn_results *const r = s->results;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->count; i++) {
        const size_t at = (size_t)(b->first - s->first + i);
        const float *const own = logits + (size_t)i * s->classes;
        r->samples[at] = make_sample(s->loss, s->images, b->first + i, own);
        if (r->probabilities)
            s->loss->probabilities(own, (int)s->classes, 0, (int)s->classes,
                                   r->probabilities + at * s->classes);
        for (size_t c = 0; c < s->classes && r->predicted_sets; c++)
            r->predicted_sets[at * dn_set_bytes(s->images) + c / 8] |=
                (uint8_t)((own[c] > 0) << c % 8);
    }
}

/* A dn_scored_fn: makes samples from the logits averaged over the crops. */
static void sample_batch(void *user, const dn_scored *b)
{
    const sampling *const s = user;
    const size_t count = (size_t)b->count * s->classes;
    if (s->crops == 1) {
        make_samples(s, b, b->logits);
        return;
    }
    if (b->crop == 0)
        memset(s->sum, 0, count * sizeof *s->sum);
    for (size_t i = 0; i < count; i++)
        s->sum[i] += b->logits[i];
    if (b->crop < s->crops - 1)
        return;
    for (size_t i = 0; i < count; i++)
        s->sum[i] /= (float)s->crops;
    make_samples(s, b, s->sum);
}

/* Sets scores->balanced and is_uneven; labels are classes. */
static dn_status score_classes(const dn_sample *samples, const dn_source *images, dn_scores *scores)
{
    const int classes = images->info.classes;
    int64_t *count, *const correct = calloc((size_t)classes, sizeof *correct);
    int present = 0;
    double sum = 0;
    DN_CHECK(correct, DN_ENOMEM, "out of memory for the scores of %d classes", classes);
    const dn_status status = dn_source_count(images, &count);
    for (int64_t i = 0; i < images->count; i++)
        correct[images->labels[i]] += samples[i].rank < 1;
    scores->is_uneven = 0;
    for (int c = 0; c < classes && status == DN_OK; c++) {
        present += count[c] > 0;
        sum += count[c] > 0 ? 100 * (double)correct[c] / (double)count[c] : 0;
        scores->is_uneven |= count[c] != count[0];
    }
    scores->balanced = sum / present;
    free(count);
    free(correct);
    return status;
}

/* Sets r->auroc and scores->auroc. */
static dn_status score_curves(const dn_source *images, dn_results *r, dn_scores *scores)
{
    const int classes = images->info.classes;
    scores->auroc = (double)NAN;
    if (!r->probabilities)
        return DN_OK;
    r->auroc = calloc((size_t)classes, sizeof *r->auroc);
    DN_CHECK(r->auroc, DN_ENOMEM, "out of memory for the ROC curves of %d classes", classes);
    DN_TRY(dn_class_auroc(images, r->probabilities, r->auroc));
    scores->auroc = dn_mean_auroc(r->auroc, classes);
    return DN_OK;
}

/* Sums in the same order on any number of ranks: within a batch in order, then along the tree. */
static dn_status sum_scores(const dn_sample *samples, const dn_source *images, int batch,
                            dn_scores *scores)
{
    const int64_t count = images->count;
    const int batches = (int)((count + batch - 1) / batch);
    double *const losses = calloc((size_t)batches, sizeof *losses);
    int64_t top1 = 0, top5 = 0;
    DN_CHECK(losses, DN_ENOMEM, "out of memory: cannot sum the losses of %d batches", batches);
    for (int64_t i = 0; i < count; i++) {
        losses[i / batch] += samples[i].loss;
        top1 += samples[i].rank < 1;
        top5 += samples[i].rank < 5;
    }
    scores->loss = dn_tree_sum(losses, batches, 1) / (double)count;
    free(losses);
    scores->top1 = 100 * (double)top1 / (double)count;
    scores->top5 = 100 * (double)top5 / (double)count;
    scores->has_sets = images->label_sets != NULL;
    if (!scores->has_sets)
        return score_classes(samples, images, scores);
    scores->top5 = scores->balanced = (double)NAN;
    return DN_OK;
}

dn_status dn_evaluate_samples(const dn_evaluation *e, dn_results *results, dn_scores *scores)
{
    const dn_view view = dn_net_view(e->net);
    const dn_part_of_images own = dn_images_of(e->comm, e->net, e->images);
    const size_t images = (size_t)(own.end - own.first);
    sampling s = {.images = e->images,
                  .loss = view.loss,
                  .classes = (size_t)view.spec->classes,
                  .crops = e->crops,
                  .first = own.first,
                  .results = results};
    dn_status status = create_results(results, e->images, own.results);
    if (status == DN_OK && e->crops > 1 &&
        !(s.sum = malloc((size_t)view.batch * s.classes * sizeof *s.sum)))
        status = dn_fail(DN_ENOMEM, "out of memory for the logits of %d images", view.batch);
    if (status == DN_OK)
        status = dn_evaluate_batches(e, sample_batch, &s);
    DN_TRY_OR_DONE(dn_comm_agree(e->comm, status));
    dn_comm_gather(e->comm, results->samples, images * sizeof *results->samples);
    if (results->probabilities)
        dn_comm_gather(e->comm, results->probabilities,
                       images * s.classes * sizeof *results->probabilities);
    if (results->predicted_sets)
        dn_comm_gather(e->comm, results->predicted_sets, images * dn_set_bytes(e->images));
    status = DN_ON_RANK_0(e->comm, sum_scores(results->samples, e->images, view.batch, scores));
    if (status == DN_OK)
        status = DN_ON_RANK_0(e->comm, score_curves(e->images, results, scores));
done:
    free(s.sum);
    return status;
}
