/* What `eval` computes from the results of all images: the confusion matrix (not of label sets),
 * the scores of each class, and the calibration. Not collective. */
#ifndef DN_COMMANDS_CONFUSION_H
#define DN_COMMANDS_CONFUSION_H

#include "training/evaluate.h"

enum { DN_CALIBRATION_BINS = 15 };

/* A cell of the confusion matrix, counted in images. */
typedef struct dn_confusion_cell {
    int label, predicted;
    int64_t count;
} dn_confusion_cell;

/* Images that are known to have the class or not; of these, that have it, are predicted to have it,
 * both. */
typedef struct dn_class_counts {
    int64_t known, images, predicted, correct;
} dn_class_counts;

/* The full matrix would have classes^2 cells, too many for sets with many classes. */
typedef struct dn_confusion {
    int classes;
    dn_class_counts *class;  /* (classes) */
    dn_confusion_cell *cell; /* (cells) the nonzero ones, row by row; NULL if labels are sets */
    int64_t cells;
    const double *auroc; /* (classes) of dn_results, or NULL */
} dn_confusion;

/* Counts the results of all images, which must outlive it. The caller frees it, even after a
 * failure: DN_ENOMEM. */
dn_status dn_confusion_count(dn_confusion *confusion, const dn_source *images,
                             const dn_results *results);
void dn_confusion_free(dn_confusion *confusion);

/* Scores of one class in percent, AUROC from 0 to 1; NaN where the divisor is 0. */
typedef struct dn_class_scores {
    dn_class_counts counts;
    double recall, precision, f1, auroc;
} dn_class_scores;

dn_class_scores dn_score_class(const dn_confusion *confusion, int class);

/* The mean of recall, precision and f1, each over the classes that have it. */
dn_class_scores dn_score_classes(const dn_confusion *confusion);

/* The expected calibration error of the results of all images, in percent: the difference between
 * accuracy and mean confidence in DN_CALIBRATION_BINS bins of equal width by confidence (Guo,
 * Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017). If labels are
 * sets, each known class of an image is a prediction: the difference between the share of these
 * that are in the set and their mean probability; NaN without probabilities. */
double dn_calibration_error(const dn_source *images, const dn_results *results);

#endif
