/*
 * A summary of a run's progress, from the files in its folder alone: the records of metrics.jsonl
 * so far, whether the process that writes it is alive, and which rank was lost. Not collective.
 */
#ifndef DN_SUMMARY_H
#define DN_SUMMARY_H

#include <stdint.h>

#include "dn/status.h"
#include "top/curve.h"

/* The metrics: loss, and accuracy in percent or, if labels are sets of classes, AUROC. */
enum { DN_SUMMARY_LOSS, DN_SUMMARY_ACCURACY, DN_SUMMARY_METRICS };

typedef struct dn_summary_metric {
    dn_series train, held_out;
    double best;
    int64_t best_epoch; /* 0: none has been evaluated */
} dn_summary_metric;

typedef struct dn_run_summary {
    char model[160];   /* or "" */
    char held_out[16]; /* the scores that judge the run: "ema_val", "ema_test", "val" or "test" */
    int has_sets;      /* labels are sets of classes */
    int is_headless;   /* metrics.jsonl has lines, but not its first one */
    int is_finished;
    char state[512];
    /* 0 if not known: */
    int64_t epoch, epochs, step, last_step, ranks;
    /* NaN if not known: */
    double speed, seconds_left, rate;      /* images/s; of training alone; learning rate */
    double data_wait, sum_wait, late_wait; /* fractions of the time */
    int64_t late_rank;                     /* -1 if not known */
    dn_summary_metric metric[DN_SUMMARY_METRICS];
} dn_run_summary;

/* Reads the summary of a run's folder. If a step has several records, as in a run that was
 * restarted from an earlier checkpoint, the last one is used. The errors are those of
 * dn_metrics_lines_open and dn_metrics_lines_next, but a missing metrics.jsonl is not an error
 * while the run's process is alive. The caller destroys the summary, even after a failure. */
dn_status dn_run_summary_read(dn_run_summary *summary, const char *folder);

/* Accepts a zeroed one. */
void dn_run_summary_destroy(dn_run_summary *summary);

#endif
