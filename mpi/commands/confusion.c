/* Confusion matrix, class scores and calibration; see confusion.h. */
#include "commands/confusion.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

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

static dn_status count_matrix(dn_confusion *c, const dn_source *images, const dn_results *r)
{
    c->cell = malloc((size_t)images->count * sizeof *c->cell);
    DN_CHECK(c->cell, DN_ENOMEM, "out of memory for predictions of %" PRId64 " images",
             images->count);
    for (int64_t i = 0; i < images->count; i++)
        c->cell[i] = (dn_confusion_cell){images->labels[i], r->samples[i].predicted, 1};
    c->cells = merge_cells(c->cell, images->count);
    for (int64_t i = 0; i < c->cells; i++) {
        const dn_confusion_cell *const n = &c->cell[i];
        c->class[n->label].images += n->count;
        c->class[n->predicted].predicted += n->count;
        c->class[n->label].correct += n->label == n->predicted ? n->count : 0;
    }
    for (int class = 0; class < c->classes; class ++)
        c->class[class].known = images->count;
    return DN_OK;
}

static dn_status count_sets(dn_confusion *c, const dn_source *images, const dn_results *r)
{
#pragma omp parallel for schedule(static)
    for (int class = 0; class < c->classes; class ++) {
        dn_class_counts n = {0};
        for (int64_t i = 0; i < images->count; i++) {
            const dn_presence has = dn_image_presence(images, i, class);
            const int is_predicted = has != DN_UNKNOWN && dn_is_predicted(r, images, i, class);
            n.known += has != DN_UNKNOWN;
            n.images += has == DN_PRESENT;
            n.predicted += is_predicted;
            n.correct += has == DN_PRESENT && is_predicted;
        }
        c->class[class] = n;
    }
    return DN_OK;
}

dn_status dn_confusion_count(dn_confusion *c, const dn_source *images, const dn_results *r)
{
    const int classes = images->info.classes;
    *c = (dn_confusion){
        .classes = classes, .class = calloc((size_t)classes, sizeof *c->class), .auroc = r->auroc};
    DN_CHECK(c->class, DN_ENOMEM, "out of memory for counts of %d classes", classes);
    return (images->label_sets ? count_sets : count_matrix)(c, images, r);
}

void dn_confusion_free(dn_confusion *c)
{
    free(c->class);
    free(c->cell);
}

/* ---- scores ---- */

dn_class_scores dn_score_class(const dn_confusion *c, int class)
{
    const dn_class_counts n = c->class[class];
    return (dn_class_scores){.counts = n,
                             .recall = 100 * (double)n.correct / (double)n.images,
                             .precision = 100 * (double)n.correct / (double)n.predicted,
                             .f1 = 200 * (double)n.correct / (double)(n.images + n.predicted),
                             .auroc = c->auroc ? c->auroc[class] : (double)NAN};
}

/* The mean of the numbers that are not NaN. */
typedef struct mean {
    double sum;
    int count;
} mean;

static void add_to(mean *m, double x)
{
    m->sum += isnan(x) ? 0 : x;
    m->count += !isnan(x);
}

dn_class_scores dn_score_classes(const dn_confusion *c)
{
    mean recall = {0}, precision = {0}, f1 = {0};
    for (int class = 0; class < c->classes; class ++) {
        const dn_class_scores s = dn_score_class(c, class);
        add_to(&recall, s.recall);
        add_to(&precision, s.precision);
        add_to(&f1, s.f1);
    }
    return (dn_class_scores){.recall = recall.sum / recall.count,
                             .precision = precision.sum / precision.count,
                             .f1 = f1.sum / f1.count};
}

/* ---- calibration ---- */

typedef struct bins {
    double confidence[DN_CALIBRATION_BINS], correct[DN_CALIBRATION_BINS];
    double predictions;
} bins;

static void add_prediction(bins *b, double p, int is_correct)
{
    const int bin = p >= 0 && p < 1 ? (int)(p * DN_CALIBRATION_BINS) : DN_CALIBRATION_BINS - 1;
    b->confidence[bin] += p;
    b->correct[bin] += is_correct;
    b->predictions++;
}

double dn_calibration_error(const dn_source *images, const dn_results *r)
{
    const int classes = images->info.classes, has_sets = images->label_sets != NULL;
    bins b = {0};
    double error = 0;
    if (has_sets && !r->probabilities)
        return (double)NAN;
    for (int64_t i = 0; i < images->count && !has_sets; i++)
        add_prediction(&b, r->samples[i].probability, r->samples[i].rank < 1);
    for (int64_t i = 0; i < images->count && has_sets; i++)
        for (int c = 0; c < classes; c++) {
            const dn_presence has = dn_image_presence(images, i, c);
            if (has != DN_UNKNOWN)
                add_prediction(&b, r->probabilities[i * classes + c], has == DN_PRESENT);
        }
    for (int bin = 0; bin < DN_CALIBRATION_BINS; bin++)
        error += fabs(b.correct[bin] - b.confidence[bin]);
    return 100 * error / b.predictions;
}
