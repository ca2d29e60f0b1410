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

/* A rank's images [first, end), whose batches follow those of the previous rank. */
typedef struct dn_part_of_images {
    int64_t first, end;
    size_t results; /* number of images whose results this rank has in the end: on rank 0 all */
} dn_part_of_images;

/* This rank's. Not collective. */
dn_part_of_images dn_images_of(const dn_comm *comm, const dn_net *net, const dn_source *images);

/* Runs the net on this rank's batches, on each once with every transform, in order, and calls
 * `scored` after each pass; on a terminal rank 0 shows the progress. DN_STOPPED if the rank is
 * preempted, or errors of reading the images. Not collective. */
dn_status dn_evaluate_batches(const dn_evaluation *evaluation, dn_scored_fn *scored, void *user);

/* The results of one image. */
typedef struct dn_sample {
    double loss;
    double probability; /* of `predicted` */
    int predicted;      /* class of the largest logit */
    int rank; /* number of classes ranked before the label's; `classes` if its logit is NaN. If
                 labels are sets: 0 if the known classes are predicted right, else 1 */
} dn_sample;

/* The results of the images of a rank, or of all. */
typedef struct dn_results {
    dn_sample *samples;      /* (images) */
    double *probabilities;   /* (images, classes); NULL: too many (dn_has_auroc) */
    double *auroc;           /* on rank 0 (classes) of dn_class_auroc; NULL without probabilities */
    uint8_t *predicted_sets; /* (images, bytes of dn_set_bytes) if labels are sets, otherwise NULL:
                                bit c % 8 of byte c / 8 is 1 if the logit of class c is positive */
} dn_results;

static inline size_t dn_set_bytes(const dn_source *images)
{
    return images->label_sets ? ((size_t)images->info.classes + 7) / 8 : 0;
}

/* 1 if the net predicts that the image has class c; only if labels are sets. */
static inline int dn_is_predicted(const dn_results *r, const dn_source *images, int64_t image,
                                  int c)
{
    return r->predicted_sets[(size_t)image * dn_set_bytes(images) + (size_t)c / 8] >> c % 8 & 1;
}

/* Bytes of the results of an image. */
size_t dn_result_bytes(const dn_source *images);

/* Evaluates the images from the logits averaged over the transforms of each. *results = those of
 * this rank's images, on rank 0 of all; the caller frees them, also after a failure. On rank 0
 * *scores = the scores of all; without probabilities there is no AUROC. DN_STOPPED if a rank is
 * preempted, DN_ENOMEM, or errors of reading the images. Collective. */
dn_status dn_evaluate_samples(const dn_evaluation *evaluation, dn_results *results,
                              dn_scores *scores);
void dn_results_free(dn_results *results);

/* *scores = the scores over all images, on all ranks. *auroc = that of dn_results, which the caller
 * frees, also after a failure. Errors are those of dn_evaluate_samples. Collective. */
dn_status dn_evaluate(const dn_evaluation *evaluation, dn_scores *scores, double **auroc);

#endif
