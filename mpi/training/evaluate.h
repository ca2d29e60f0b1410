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
    int64_t first;
    int count;
    const float *logits; /* (count, classes) */
} dn_scored;

typedef void dn_scored_fn(void *user, const dn_scored *batch);

/* The images [first, last) of this rank's batches, which follow those of the rank before. */
typedef struct dn_part_of_images {
    int64_t first, last;
    size_t kept; /* of how many images a rank keeps results: rank 0, which tells them, of all */
} dn_part_of_images;

dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images);

/* Runs the net over this rank's batches, transformed, and tells of each; rank 0 shows on a terminal
 * how far it is. DN_STOPPED when the rank is preempted (`preempt` may be NULL); what the images'
 * reader returns. Not collective. */
dn_status dn_evaluate_batches(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transform,
                              const dn_preempt *preempt, dn_scored_fn *scored, void *user);

/* What the net makes of one image; doubles alone, as ranks send them as such. */
typedef struct dn_sample {
    double loss;
    double rank;      /* classes that come before the label's; `classes` where that has no number */
    double predicted; /* class of the largest logit */
    double probability; /* of that */
} dn_sample;

/* samples(`kept` of dn_images_of), of all images on rank 0 alone, from logits that are the mean
 * over `crops` transforms of each image. *scores, there, = those of all. DN_STOPPED when a rank is
 * preempted (`preempt` may be NULL), DN_ENOMEM. Collective. */
dn_status dn_evaluate_samples(const dn_comm *comm, dn_net *net, const dn_source *images,
                              int io_threads, const dn_transform *transforms, int crops,
                              const dn_preempt *preempt, dn_sample *samples, dn_scores *scores);

/* *scores = loss and accuracy over all images, on all ranks. DN_STOPPED when a rank is preempted,
 * DN_ENOMEM. Collective. */
dn_status dn_evaluate(const dn_comm *comm, dn_net *net, const dn_source *images, int io_threads,
                      const dn_transform *transform, const dn_preempt *preempt, dn_scores *scores);

/* p(classes) = the softmax of the logits. */
void dn_softmax(const float *logits, int classes, double *p);

#endif
