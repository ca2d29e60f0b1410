/* The table of scores, and their texts; see include/dn/scores.h. */
#include "dn/scores.h"

#include <math.h>
#include <stdio.h>

#include "dn/monitor.h"

#define SCORE(member) #member, offsetof(dn_scores, member)

static const dn_score_row rows[] = {
    [DN_BEST_ACCURACY] = {SCORE(top1), "accuracy", "accuracy", "top-1 %.2f %%"},
    [DN_BEST_LOSS] = {SCORE(loss), "loss", "loss", "loss %.4f"},
    [DN_BEST_NONE] = {.choice = "none"},
    [DN_BEST_BALANCED] = {SCORE(balanced), "balanced", "balanced accuracy", "balanced %.2f %%"},
    [DN_BEST_AUROC] = {SCORE(auroc), "auroc", "AUROC", "AUROC %.4f"},
    [DN_BEST_AUTO] = {.choice = "auto"},
    {.suffix = "top5", .offset = offsetof(dn_scores, top5)}};

const dn_score_row *dn_score_row_get(int index)
{
    return index < (int)(sizeof rows / sizeof *rows) ? &rows[index] : NULL;
}

const char *dn_score_choice(int index)
{
    const dn_score_row *const row = dn_score_row_get(index);
    return row ? row->choice : NULL;
}

double dn_score_value(const dn_scores *scores, int index)
{
    return rows[index].suffix
               ? *(const double *)(const void *)((const char *)scores + rows[index].offset)
               : 0;
}

const char *dn_top1_name(int has_sets)
{
    return has_sets ? "exact" : "top-1";
}

/* Sets have no top-5 and no balanced accuracy; AUROC, which judges them, comes first. */
static void sets_text(const dn_scores *s, const char *between, char text[DN_SCORES_TEXT])
{
    char auroc[32] = "";
    if (isfinite(s->auroc))
        snprintf(auroc, sizeof auroc, "AUROC %.4f%s", s->auroc, between);
    snprintf(text, DN_SCORES_TEXT, "%s%s %.2f %%", auroc, dn_top1_name(1), s->top1);
}

void dn_scores_text(const dn_scores *s, int classes, const char *between, char text[DN_SCORES_TEXT])
{
    char balanced[32] = "", auroc[32] = "", top5[32] = "";
    if (s->has_sets) {
        sets_text(s, between, text);
        return;
    }
    if (s->is_uneven && isfinite(s->auroc))
        snprintf(auroc, sizeof auroc, "%sAUROC %.4f", between, s->auroc);
    if (s->is_uneven)
        snprintf(balanced, sizeof balanced, "%sbalanced %.2f %%", between, s->balanced);
    if (classes > 5)
        snprintf(top5, sizeof top5, "%stop-5 %.2f %%", between, s->top5);
    snprintf(text, DN_SCORES_TEXT, "%s %.2f %%%s%s%s", dn_top1_name(0), s->top1, balanced, auroc,
             top5);
}
