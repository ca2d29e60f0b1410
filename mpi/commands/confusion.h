/* What `eval` computes from the results of all images: the confusion matrix, the scores of each
 * class, and the calibration. Not collective. */
#ifndef DN_COMMANDS_CONFUSION_H
#define DN_COMMANDS_CONFUSION_H

#include "training/evaluate.h"

enum { DN_CALIBRATION_BINS = 15 };

/* A cell of the confusion matrix, counted in images. */
typedef struct dn_confusion_cell {
    int label, predicted;
    int64_t count;
} dn_confusion_cell;

/* Images labelled as the class, predicted as it, both. */
typedef struct dn_class_counts {
    int64_t images, predicted, correct;
} dn_class_counts;

/* The full matrix would have classes^2 cells, too many for sets with many classes. */
typedef struct dn_confusion {
    int classes;
    dn_class_counts *class;  /* (classes) */
    dn_confusion_cell *cell; /* (cells) the nonzero ones, row by row */
    int64_t cells;
    double *auroc; /* (classes) of dn_class_auroc; NaN without probabilities */
} dn_confusion;

/* Counts samples(images->count); probabilities(images->count, classes) may be NULL. The caller
 * frees it, even after a failure: DN_ENOMEM. */
dn_status dn_confusion_count(dn_confusion *confusion, const dn_source *images,
                             const dn_sample *samples, const double *probabilities, int classes);
void dn_confusion_free(dn_confusion *confusion);

/* Scores of one class in percent, AUROC from 0 to 1; NaN where the divisor is 0. */
typedef struct dn_class_scores {
    dn_class_counts counts;
    double recall, precision, f1, auroc;
} dn_class_scores;

dn_class_scores dn_score_class(const dn_confusion *confusion, int class);

/* The mean F1 of the classes that have one, in percent. */
double dn_macro_f1(const dn_confusion *confusion);

/* The expected calibration error of samples(count), in percent: the difference between accuracy and
 * mean confidence in DN_CALIBRATION_BINS bins of equal width by confidence (Guo, Pleiss, Sun,
 * Weinberger, "On Calibration of Modern Neural Networks", ICML 2017). */
double dn_calibration_error(const dn_sample *samples, int64_t count);

#endif
