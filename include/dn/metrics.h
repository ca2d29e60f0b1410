/*
 * What a run reports: metrics.jsonl in its folder, one JSON object a line, and progress on
 * standard output (one line rewritten in place on a terminal, plain lines at intervals elsewhere).
 *
 * docs/report.md specifies the objects, and the event files of `tensorboard`, one for each start of
 * the run.
 *
 * Not collective: rank 0 has one; on other ranks it is NULL, which every function accepts.
 */
#ifndef DN_METRICS_H
#define DN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "dn/status.h"

#define DN_METRICS_NAME "metrics.jsonl"

typedef struct dn_metrics dn_metrics;

/* What a run learns from. */
typedef struct dn_metrics_data {
    const char *name, *path;
    int classes;
    int64_t train;      /* images */
    int64_t validation; /* that judge the run; 0: the test images do */
    int64_t test;
    const char *judge; /* the scores that judge the run, as dn_named_scores names them */
} dn_metrics_data;

/* Of the steps that an epoch has had so far: a state that goes with the run's checkpoints. Doubles
 * alone. */
typedef struct dn_epoch_scores {
    double steps, loss, correct; /* loss and correct: sums of dn_metrics_values' */
} dn_epoch_scores;

typedef struct dn_metrics_settings {
    const char *folder;        /* made where it is missing */
    FILE *progress;            /* stdout; NULL: no progress is shown */
    int64_t steps_per_epoch;   /* >= 1 */
    int64_t epochs, last_step; /* where the run will end: epochs for display, step for time left */
    int64_t images;            /* of a global batch */
    double interval;           /* least seconds between interval objects */
    int64_t done;              /* steps of the run before this process */
    dn_epoch_scores scores;    /* at that step; those of any other are left out */
    const char *config;        /* INI text, or NULL: no "run" object */
    dn_metrics_data data;      /* its data set */
    int ranks;                 /* >= 1 */
    int tensorboard;           /* an event file, too */
} dn_metrics_settings;

/* Of a net on a split. */
typedef struct dn_scores {
    double loss, top1, top5; /* mean, percent, percent */
    double balanced; /* mean of the classes' accuracies, percent, of those that have images */
    int is_uneven;   /* classes have different numbers of images: balanced is not top1 */
} dn_scores;

/* Opens folder/metrics.jsonl to append. First all lines but those of the steps that are done are
 * taken out, a line cut short by a crash among them; the file is replaced whole. The caller owns
 * the result. DN_EIO names the folder or file and the reason, as do the functions below. */
dn_status dn_metrics_create(dn_metrics **metrics, const dn_metrics_settings *settings);

/* Where folder/metrics.jsonl is no longer the file that was opened, as the folder was deleted or
 * moved away: writes it there again, with all its lines, and goes on in that. */
dn_status dn_metrics_keep(dn_metrics *metrics);

/* Closes the file and sets *metrics to NULL; accepts NULL inside. */
void dn_metrics_destroy(dn_metrics **metrics);

/* Of one step. */
typedef struct dn_metrics_values {
    double loss;      /* mean over the global batch */
    int64_t correct;  /* its images that top-1 is right for */
    double rate;      /* of learning */
    double data_wait; /* seconds */
    double sum_wait;  /* seconds */
    int late_rank;    /* the last to have its gradients */
    double late_wait; /* seconds that another waited for it */
} dn_metrics_values;

/* text = the accuracies with `between` between them: balanced where it is not top-1, top-5 of more
 * than 5 classes. */
enum { DN_SCORES_TEXT = 96 };
void dn_scores_text(const dn_scores *scores, int classes, const char *between,
                    char text[DN_SCORES_TEXT]);

/* What a reader calls scores of that name: "val" is "validation". */
const char *dn_metrics_title(const char *name);

/* To be called after step `step` (1 is the first). */
dn_status dn_metrics_step(dn_metrics *metrics, int64_t step, const dn_metrics_values *values);

/* What a run that goes on after the last step is to be given. */
dn_epoch_scores dn_metrics_scores(const dn_metrics *metrics);

/* Scores by what they are of: "test", "val", or the same of averaged weights, "ema_test". */
typedef struct dn_named_scores {
    const char *name;
    dn_scores scores;
} dn_named_scores;

/* To be called after the last step of an epoch, with scores(count), none where it was not
 * evaluated. */
dn_status dn_metrics_epoch(dn_metrics *metrics, int64_t step, uint64_t weights_hash,
                           const dn_named_scores *scores, int count);

/* The best epoch so far, by a value of that name in its object. */
typedef struct dn_metrics_best {
    double epoch, value;
    const char *suffix; /* "top1", behind the judge's name */
} dn_metrics_best;

/* To be called at the run's end, by its last step, an early stop or preemption; `checkpoint` is the
 * file that holds the weights, `best` the epoch of best.h5; either may be NULL. */
dn_status dn_metrics_end(dn_metrics *metrics, int64_t step, uint64_t weights_hash,
                         const char *checkpoint, const dn_metrics_best *best, const char *reason);

/* To be called in place of that where the run failed: `message` says how. Shows nothing. */
dn_status dn_metrics_fail(dn_metrics *metrics, int64_t step, const char *message);

/* The reasons of runs that are complete, and of one that failed. */
#define DN_METRICS_COMPLETE   "the last step"
#define DN_METRICS_EARLY_STOP "early stop"
#define DN_METRICS_FAILED     "failed"

#endif
