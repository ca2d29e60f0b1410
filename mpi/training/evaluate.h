/*
 * Evaluates a net on a split, with the same result on any number of ranks: the images are cut into
 * batches of the net's size, each is computed once, and sums follow the tree over the batches.
 */
#ifndef DN_EVALUATE_H
#define DN_EVALUATE_H

#include "dn/metrics.h"
#include "dn/net.h"
#include "dn/source.h"
#include "job/comm.h"
#include "job/preempt.h"

typedef struct dn_evaluation {
    const dn_comm *comm;
    dn_net *net;
    const dn_source *images;
    int io_threads;
    const dn_transform *transforms; /* (crops) of each image */
    int crops;
    const dn_preempt *preempt; /* or NULL */
} dn_evaluation;

/* A batch after the forward pass: the images [first, first + count) of the split. */
typedef struct dn_scored {
    int64_t first;
    int count, crop;     /* crop: index of the transform */
    const float *logits; /* (count, classes) */
} dn_scored;

typedef void dn_scored_fn(void *user, const dn_scored *batch);

/* This rank's images [first, end), whose batches follow those of the previous rank. */
typedef struct dn_part_of_images {
    int64_t first, end;
    size_t results; /* number of images whose results this rank has in the end: on rank 0 all */
} dn_part_of_images;

dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images);

/* Runs the net on this rank's batches, on each once with every transform, in order, and calls
 * `scored` after each pass; on a terminal rank 0 shows the progress. DN_STOPPED if the rank is
 * preempted, or errors of reading the images. Not collective. */
dn_status dn_evaluate_batches(const dn_evaluation *evaluation, dn_scored_fn *scored, void *user);

/* The results of one image; only doubles, as ranks send them as an array of doubles. */
typedef struct dn_sample {
    double loss;
    double rank; /* number of classes ranked before the label's; `classes` if its logit is NaN. If
                    labels are sets: 0 for the right set, else 1 */
    double predicted;   /* class of the largest logit */
    double probability; /* of `predicted` */
} dn_sample;

/* Computes samples(`results` of dn_images_of) and probabilities(results, classes), on rank 0 those
 * of all images, from the logits averaged over the transforms of each image. `probabilities` may be
 * NULL (dn_has_auroc); then there is no AUROC. On rank 0 *scores = the scores of all. DN_STOPPED if
 * a rank is preempted, DN_ENOMEM, or errors of reading the images. Collective. */
dn_status dn_evaluate_samples(const dn_evaluation *evaluation, dn_sample *samples,
                              double *probabilities, dn_scores *scores);

/* *scores = the scores over all images, on all ranks. Errors are those of dn_evaluate_samples.
 * Collective. */
dn_status dn_evaluate(const dn_evaluation *evaluation, dn_scores *scores);

#endif
