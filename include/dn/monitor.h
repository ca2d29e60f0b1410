/*
 * Tracks the best epoch of a run and decides on early stopping. The state is stored in checkpoints,
 * so a resumed run decides the same. Not collective.
 */
#ifndef DN_MONITOR_H
#define DN_MONITOR_H

#include <stdint.h>

/* Checkpoints store these numbers: do not change them. */
typedef enum dn_monitored {
    DN_BEST_ACCURACY,
    DN_BEST_LOSS,
    DN_BEST_NONE,
    DN_BEST_BALANCED,
    DN_BEST_AUROC,
    DN_BEST_AUTO /* only an option's value: the start of a run settles it */
} dn_monitored;

/* Zeroed before the first epoch. Only doubles. */
typedef struct dn_monitor_state {
    double epochs;     /* the last epoch observed */
    double best_epoch; /* 0: none yet */
    double best;       /* its metric value */
    double worse;      /* epochs observed since then */
    double metric;     /* dn_monitored that the values are of */
    double best_loss;  /* loss of the best epoch, which breaks ties */
} dn_monitor_state;

typedef struct dn_monitor {
    int metric;   /* dn_monitored */
    int patience; /* stop after so many epochs without improvement; 0: never */
    dn_monitor_state state;
} dn_monitor;

/* Resumes from a checkpoint's state, which may be of another metric. */
void dn_monitor_resume(dn_monitor *monitor, const dn_monitor_state *state);

/* Returns 1 if epoch `epoch` (1 is the first) has not been observed yet and has to be. */
int dn_monitor_awaits(const dn_monitor *monitor, int64_t epoch);

/* Observes the metric and the loss of an epoch that is awaited. Returns 1 if it is the best so far;
 * of equal values, that of the lower loss is the better. A value that is not finite is worse than
 * any other. */
int dn_monitor_observe(dn_monitor *monitor, int64_t epoch, double value, double loss);

/* Returns 1 if the run should stop: `patience` consecutive epochs brought no improvement. */
int dn_monitor_is_over(const dn_monitor *monitor);

#endif
