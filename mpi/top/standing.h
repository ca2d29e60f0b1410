/*
 * How a run stands, from the files in its folder alone: what metrics.jsonl has so far, whether the
 * process that writes it lives, and which rank was lost. Not collective.
 */
#ifndef DN_STANDING_H
#define DN_STANDING_H

#include <stdint.h>

#include "dn/status.h"
#include "top/curve.h"

/* Loss and accuracy (%) by step, and the best value. */
enum { DN_STANDING_LOSS, DN_STANDING_ACCURACY, DN_STANDING_MEASURES };

typedef struct dn_standing_measure {
    dn_series train, held_out;
    double best;
    int64_t best_epoch; /* 0: none was evaluated */
} dn_standing_measure;

typedef struct dn_standing {
    char model[160];   /* or "" */
    char held_out[16]; /* what judges the run: "ema_val", "ema_test", "val" or "test" */
    int is_headless;   /* metrics.jsonl lacks its first line, but not others */
    int is_finished;
    char state[512];
    /* 0 where it is not known: */
    int64_t epoch, epochs, step, last_step, ranks;
    /* NaN where they are not: */
    double speed, seconds_left, rate;      /* images/s; of training alone; of learning */
    double data_wait, sum_wait, late_wait; /* parts of the time */
    int64_t late_rank;                     /* -1 where it is not known */
    dn_standing_measure measure[DN_STANDING_MEASURES];
} dn_standing;

/* Reads it; to be destroyed by the caller, also after a failure. Where steps stand twice, as in the
 * files of a run that went back, the later ones hold. Errors as of dn_report_load; DN_ENOENT is no
 * failure while the run's process lives. */
dn_status dn_standing_read(dn_standing *standing, const char *folder);

void dn_standing_destroy(dn_standing *standing);

#endif
