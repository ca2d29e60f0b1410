/*
 * What a run reports: metrics.jsonl in its folder, one JSON object per line, and progress on
 * standard output: one line rewritten in place on a terminal, otherwise plain lines at intervals.
 *
 * docs/report.md specifies the objects, and the event files of `tensorboard`, one for each start of
 * the run.
 *
 * Not collective: rank 0 owns the dn_metrics; on other ranks it is NULL, which every function
 * accepts.
 */
#ifndef DN_METRICS_H
#define DN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "dn/scores.h"
#include "dn/status.h"

#define DN_METRICS_NAME "metrics.jsonl"

typedef struct dn_metrics dn_metrics;

/* The data set of a run. */
typedef struct dn_metrics_data {
    const char *name, *path;
    int classes, has_sets;          /* has_sets: labels are sets of classes */
    const char *const *class_names; /* (classes), not owned; only if has_sets */
    int64_t train;                  /* images */
    int64_t validation; /* in the validation split; 0: the test split validates the run */
    int64_t test;
    const char *judge; /* the scores that select the best epoch, as dn_named_scores names them */
} dn_metrics_data;

/* Training loss and accuracy of the current epoch so far; stored in the run's checkpoints. Only
 * doubles. */
typedef struct dn_epoch_sums {
    double steps, loss, correct; /* loss and correct: sums over the steps of dn_metrics_values' */
} dn_epoch_sums;

typedef struct dn_metrics_settings {
    const char *folder;        /* created if missing */
    FILE *progress;            /* stdout; NULL: no progress is printed */
    int64_t steps_per_epoch;   /* >= 1 */
    int64_t epochs, last_step; /* end of the run: epochs for display, the step for the time left */
    int64_t images;            /* per global batch */
    double interval;           /* minimum seconds between interval objects */
    int64_t done;              /* steps done before this process */
    dn_epoch_sums epoch_sums;  /* as of that step; ignored if of another */
    const char *config;        /* INI text, or NULL: a "run" object stays as it is */
    dn_metrics_data data;      /* its data set */
    int ranks;                 /* >= 1 */
    int has_norm;              /* 1: record the norm of the gradient */
    int tensorboard;           /* 1: also write an event file */
} dn_metrics_settings;

/* Opens folder/metrics.jsonl for appending. First removes all lines but those of steps that are
 * done, including a line that a crash cut short; the file is replaced atomically. The caller frees
 * *metrics with dn_metrics_destroy. Errors, here and below: DN_EIO (names the file or folder and
 * the reason). */
dn_status dn_metrics_create(dn_metrics **metrics, const dn_metrics_settings *settings);

/* If folder/metrics.jsonl is no longer the open file, because the folder was deleted or moved,
 * writes it again with all its lines and continues with the new file. */
dn_status dn_metrics_keep(dn_metrics *metrics);

/* Closes the file, frees *metrics, which may be NULL, and sets it to NULL. */
void dn_metrics_destroy(dn_metrics **metrics);

/* Values of one training step. */
typedef struct dn_metrics_values {
    double loss;      /* mean over the global batch */
    int64_t correct;  /* images of it whose class, or known classes, are predicted right */
    double rate;      /* learning rate */
    double data_wait; /* seconds, of the rank that waited longest for its batches */
    double sum_wait;  /* seconds, of the rank that waited longest for the sum over ranks */
    int late_rank;    /* the rank that waited least for that sum */
    double late_wait; /* seconds that another rank waited longer, for this one */
    double norm;      /* of the mean gradient before clipping; 0 without --clip-norm */
} dn_metrics_values;

/* Display name of a set of scores: "validation" for "val". */
const char *dn_metrics_title(const char *name);

/* Records step `step`; 1 is the first. */
dn_status dn_metrics_step(dn_metrics *metrics, int64_t step, const dn_metrics_values *values);

/* The state to pass as dn_metrics_settings.epoch_sums when the run is resumed after the last step.
 */
dn_epoch_sums dn_metrics_epoch_sums(const dn_metrics *metrics);

/* Scores and what they were measured on: "test", "val", or with averaged weights "ema_test",
 * "ema_val". */
typedef struct dn_named_scores {
    const char *name;
    dn_scores scores;
    double *class_auroc; /* (classes) of scores.auroc, NaN where there is none; NULL: not known */
} dn_named_scores;

/* Records the end of an epoch after its last step, with scores(count); none if the epoch was not
 * evaluated. */
dn_status dn_metrics_epoch(dn_metrics *metrics, int64_t step, uint64_t weights_hash,
                           const dn_named_scores *scores, int count);

/* Records the scores of the test images at the end of a run that validation images judge, with the
 * weights of best.h5, which are of epoch `best_epoch`, or if that is 0 the last ones. */
dn_status dn_metrics_test(dn_metrics *metrics, int64_t step, int64_t best_epoch,
                          const dn_named_scores *scores);

/* The best epoch so far and its value of the metric that selects it. */
typedef struct dn_metrics_best {
    double epoch, value;
    const char *suffix; /* "top1"; the key's suffix after the judge's name */
} dn_metrics_best;

/* Records the end of the run: its last step, an early stop or a preemption. `checkpoint` is the
 * file with the weights and `best` the epoch of best.h5; either may be NULL. */
dn_status dn_metrics_end(dn_metrics *metrics, int64_t step, uint64_t weights_hash,
                         const char *checkpoint, const dn_metrics_best *best, const char *reason);

/* 1 if the last whole line of the folder's metrics.jsonl is the end of a complete run of `done`
 * steps, 0 if not or if there is no such file. */
int dn_metrics_has_end(const char *folder, int64_t done);

/* Completes the folder's metrics.jsonl, if there is one, for a run that is complete but was killed
 * or failed while it recorded its end: removes torn lines and, unless it is there, records the end
 * after step settings->done. The line "run" stays; settings->config and progress are NULL. */
dn_status dn_metrics_complete(const dn_metrics_settings *settings, uint64_t weights_hash,
                              const char *checkpoint, const dn_metrics_best *best,
                              const char *reason);

/* Records a failure instead of dn_metrics_end, with its message. Prints nothing. */
dn_status dn_metrics_fail(dn_metrics *metrics, int64_t step, const char *message);

/* Reasons for the end: complete runs, and a failed one. */
#define DN_METRICS_COMPLETE   "the last step"
#define DN_METRICS_EARLY_STOP "early stop"
#define DN_METRICS_FAILED     "failed"

#endif
