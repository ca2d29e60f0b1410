/* Confusion matrix, class scores and calibration; see confusion.h. */
#include "commands/confusion.h"

#include <math.h>
#include <stdlib.h>

#include "training/auroc.h"

/* ---- the matrix ---- */

static int by_place(const void *a, const void *b)
{
    const dn_confusion_cell *const x = a, *const y = b;
    return x->label != y->label ? (x->label > y->label) - (x->label < y->label)
                                : (x->predicted > y->predicted) - (x->predicted < y->predicted);
}

/* Sorts cell(count) and merges equal ones; returns how many are left. */
static int64_t merge_cells(dn_confusion_cell *cell, int64_t count)
{
    int64_t cells = 0;
    qsort(cell, (size_t)count, sizeof *cell, by_place);
    for (int64_t i = 0; i < count; i++)
        if (cells > 0 && by_place(&cell[cells - 1], &cell[i]) == 0)
            cell[cells - 1].count++;
        else
            cell[cells++] = cell[i];
    return cells;
}

dn_status dn_confusion_count(dn_confusion *c, const dn_source *images, const dn_sample *samples,
                             const double *probabilities, int classes)
{
    *c = (dn_confusion){.classes = classes,
                        .class = calloc((size_t)classes, sizeof *c->class),
                        .cell = malloc((size_t)images->count * sizeof *c->cell),
                        .auroc = malloc((size_t)classes * sizeof *c->auroc)};
    DN_CHECK(c->class && c->cell && c->auroc, DN_ENOMEM, "out of memory for counts of %d classes",
             classes);
    for (int64_t i = 0; i < images->count; i++) {
        const dn_confusion_cell cell = {images->labels[i], (int)samples[i].predicted, 1};
        c->class[cell.label].images++;
        c->class[cell.predicted].predicted++;
        c->class[cell.label].correct += cell.label == cell.predicted;
        c->cell[i] = cell;
    }
    c->cells = merge_cells(c->cell, images->count);
    for (int class = 0; class < classes; class ++)
        c->auroc[class] = (double)NAN;
    return probabilities ? dn_class_auroc(images, probabilities, c->auroc) : DN_OK;
}

void dn_confusion_free(dn_confusion *c)
{
    free(c->class);
    free(c->cell);
    free(c->auroc);
}

/* ---- scores ---- */

dn_class_scores dn_score_class(const dn_confusion *c, int class)
{
    const dn_class_counts n = c->class[class];
    return (dn_class_scores){.counts = n,
                             .recall = 100 * (double)n.correct / (double)n.images,
                             .precision = 100 * (double)n.correct / (double)n.predicted,
                             .f1 = 200 * (double)n.correct / (double)(n.images + n.predicted),
                             .auroc = c->auroc[class]};
}

double dn_macro_f1(const dn_confusion *c)
{
    double sum = 0;
    int count = 0;
    for (int class = 0; class < c->classes; class ++) {
        const double f1 = dn_score_class(c, class).f1;
        sum += isnan(f1) ? 0 : f1;
        count += !isnan(f1);
    }
    return sum / count;
}

double dn_calibration_error(const dn_sample *samples, int64_t count)
{
    enum { BINS = DN_CALIBRATION_BINS };
    double confidence[BINS] = {0}, correct[BINS] = {0}, error = 0;
    for (int64_t i = 0; i < count; i++) {
        const double p = samples[i].probability;
        const int bin = p >= 0 && p < 1 ? (int)(p * BINS) : BINS - 1;
        confidence[bin] += p;
        correct[bin] += samples[i].rank < 1;
    }
    for (int b = 0; b < BINS; b++)
        error += fabs(correct[b] - confidence[b]);
    return 100 * error / (double)count;
}
