/*
 * The scores of an evaluation, in one table: what they are called in metrics.jsonl, in options that
 * choose by one of them, and in messages. Not collective.
 */
#ifndef DN_SCORES_H
#define DN_SCORES_H

#include <stddef.h>

/* Evaluation results of a net on a split. */
typedef struct dn_scores {
    double loss, top1, top5; /* mean, percent, percent. If labels are sets, top1 is the share of
                                images whose set is predicted; top5 and balanced are NaN */
    double balanced; /* mean of the per-class accuracies, percent, over classes that have images */
    double auroc;    /* mean area under the ROC curves of the classes, 0 to 1; NaN: not computed */
    int is_uneven;   /* 1: class sizes differ, so balanced is not top1 */
    int has_sets;    /* 1: labels are sets of classes */
} dn_scores;

/* A score. Its member of an object is NAME_SUFFIX, such as "test_top1" (dn_named_scores). */
typedef struct dn_score_row {
    const char *suffix; /* without '_'; NULL: no score */
    size_t offset;      /* of a double in dn_scores */
    const char *choice; /* its name in options; NULL: no epoch is chosen by it */
    const char *title;
    const char *format; /* of its name and value, a double */
} dn_score_row;

/* Row `index`: first those of dn_monitored, then the others; NULL past the last. */
const dn_score_row *dn_score_row_get(int index);

/* The dn_name_fn of options: the choice of row `index`, NULL past the rows of dn_monitored. */
const char *dn_score_choice(int index);

/* The value of row `index`; 0 if that is no score. */
double dn_score_value(const dn_scores *scores, int index);

/* What the scores' top1 is called: "top-1", or "exact" if labels are sets. */
const char *dn_top1_name(int has_sets);

/* text = the scores but the loss, separated by `between`: top-1, balanced accuracy and AUROC if
 * class sizes differ, and top-5 if there are more than 5 classes; if labels are sets, AUROC and the
 * share of sets that are predicted exactly. */
enum { DN_SCORES_TEXT = 128 };
void dn_scores_text(const dn_scores *scores, int classes, const char *between,
                    char text[DN_SCORES_TEXT]);

#endif
