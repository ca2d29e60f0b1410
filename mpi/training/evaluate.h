/*
 * A net on a split: exact on any number of ranks, as the images are cut into batches of the net's
 * size, each computed once, and what is summed is summed along the tree over the batches.
 */
#ifndef DN_EVALUATE_H
#define DN_EVALUATE_H

#include "dn/metrics.h"
#include "dn/net.h"
#include "dn/source.h"
#include "job/comm.h"
#include "job/preempt.h"

/* A batch that the net has run on: the images [first, first + count) of the split. */
typedef struct dn_scored {
    int batch;
    int64_t first;
    int count;
    const float *logits;     /* (count, classes) */
    const dn_result *result; /* the loss as a sum */
} dn_scored;

typedef void dn_scored_fn(void *user, const dn_scored *batch);

/* Of how many images a batch is, and which batches [first, last) are this rank's. */
typedef struct dn_batches {
    int count, first, last;
} dn_batches;

dn_batches dn_batches_of(const dn_comm *comm, const dn_net *net, const dn_source *images);

/* The images [first, last) of these, which follow those of the rank before. */
typedef struct dn_part_of_images {
    int64_t first, last;
    size_t kept; /* of how many images a rank keeps results: rank 0, which tells them, of all */
} dn_part_of_images;

dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images);

/* Runs the net over this rank's batches, transformed, and tells of each. DN_STOPPED when the rank
 * is preempted (`preempt` may be NULL); what the images' reader returns. Not collective. */
dn_status dn_evaluate_batches(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transform,
                              const dn_preempt *preempt, dn_scored_fn *scored, void *user);

/* *scores = loss and accuracy over all images. DN_STOPPED when a rank is preempted, DN_ENOMEM.
 * Collective. */
dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images, int io_threads,
                      const dn_transform *transform, const dn_preempt *preempt, dn_scores *scores);

/* Sets scores->balanced and is_uneven, from how many of each class's images, correct(classes), are
 * right. DN_ENOMEM. */
dn_status dn_score_classes(const dn_source *images, const int64_t *correct, dn_scores *scores);

/* What the net makes of one image. */
typedef struct dn_sample {
    double loss;
    double rank;      /* classes that come before the label's; `classes` where that has no number */
    double predicted; /* class of the largest logit */
    double probability; /* of that */
} dn_sample;

/* samples(`kept` of dn_images_of), of all images on rank 0 alone, from logits that are the mean
 * over `crops` transforms of each image. *scores, there, = the same as dn_evaluate's where there is
 * one. DN_EDIVERGED where the loss of an image is not finite, DN_ENOMEM. Collective. */
dn_status dn_evaluate_samples(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transforms, int crops,
                              dn_sample *samples, dn_scores *scores);

/* p(classes) = the softmax of the logits. */
void dn_softmax(const float *logits, int classes, double *p);

#endif
