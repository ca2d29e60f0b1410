/*
 * Which epoch of a run was the best, and whether to go on: a state that goes with the run's
 * checkpoints, so that a run that goes on decides alike.
 */
#ifndef DN_MONITOR_H
#define DN_MONITOR_H

#include <stdint.h>

/* Checkpoints have the numbers. */
typedef enum dn_monitored {
    DN_BEST_ACCURACY,
    DN_BEST_LOSS,
    DN_BEST_NONE,
    DN_BEST_BALANCED
} dn_monitored;

/* Zero before the first epoch. Doubles alone. */
typedef struct dn_monitor_state {
    double epochs;     /* that it was told of, the last one's number */
    double best_epoch; /* 0: none yet */
    double best;       /* its metric */
    double worse;      /* epochs since then that it was told of */
    double metric;     /* dn_monitored that these are of */
} dn_monitor_state;

typedef struct dn_monitor {
    int metric;   /* dn_monitored */
    int patience; /* epochs without a better one before the end, 0: any */
    dn_monitor_state state;
} dn_monitor;

/* Goes on from a checkpoint's state, which may be of another metric. */
void dn_monitor_resume(dn_monitor *monitor, const dn_monitor_state *state);

/* 1 where it has to be told of epoch `epoch` (1 is the first). */
int dn_monitor_awaits(const dn_monitor *monitor, int64_t epoch);

/* Tells it the metric's value in an epoch that it awaits; 1 where that is the best so far. One that
 * is not finite is worse than any. */
int dn_monitor_observe(dn_monitor *monitor, int64_t epoch, double value);

/* 1 where the run is over: it was told of `patience` epochs in a row that were no better. */
int dn_monitor_is_over(const dn_monitor *monitor);

#endif
