/*
 * The learning rate of a step: the same bits on any machine, from the step's number and, where a
 * schedule has one, a state that goes with the run's checkpoints. A new schedule is a row in
 * src/train/schedule.c.
 */
#ifndef DN_SCHEDULE_H
#define DN_SCHEDULE_H

#include <stdint.h>

/* What a schedule knows of the epochs that have ended, zero before the first. Doubles alone. */
typedef struct dn_schedule_state {
    double epochs;   /* that it was told of */
    double value[7]; /* the schedule's own */
} dn_schedule_state;

enum { DN_SCHEDULE_DOUBLES = sizeof(dn_schedule_state) / sizeof(double), DN_MILESTONES = 16 };
enum { DN_SCHEDULE_READS = 6 }; /* the most that a schedule reads */

typedef enum dn_schedule_metric { DN_METRIC_LOSS, DN_METRIC_ACCURACY } dn_schedule_metric;

/* A schedule reads those that it has. */
typedef struct dn_schedule_settings {
    double gamma;                     /* step, multi-step, plateau: the factor of a fall */
    int step_epochs;                  /* step: from one fall to the next; 0: at 50 and 75 % */
    int64_t milestone[DN_MILESTONES]; /* multi-step: epochs that begin with a fall, ascending */
    int milestones;                   /* how many */
    double power;                     /* polynomial */
    int metric;                       /* plateau: dn_schedule_metric */
    int patience, cooldown;           /* plateau: epochs */
    double threshold;                 /* plateau: the part by which an epoch has to be better */
} dn_schedule_settings;

typedef struct dn_schedule dn_schedule;

typedef struct dn_rate {
    const dn_schedule *schedule;
    dn_schedule_settings settings;
    double base;             /* the rate after the warm-up */
    double least;            /* what schedules that take it fall to, <= base */
    int64_t steps_per_epoch; /* >= 1 */
    int64_t epochs;          /* of the whole run, >= 1 */
    double warmup_epochs;    /* 0: none */
    dn_schedule_state state;
} dn_rate;

struct dn_schedule {
    const char *name;
    /* The rate of step `step` but for the warm-up. */
    double (*rate)(const dn_rate *rate, int64_t step);
    /* Takes an epoch's loss or accuracy on the images that judge the run into the state; NULL for a
     * schedule without one. */
    void (*observe)(dn_rate *rate, double metric);
    /* What it reads of settings and dn_rate.least, by the names of their options; NULL behind the
     * last. */
    const char *reads[DN_SCHEDULE_READS + 1];
};

/* Row `index` of the table and its name, NULL past the end. */
const dn_schedule *dn_schedule_get(int index);
const char *dn_schedule_name(int index);

/* The rate of step `step` (0 is the first). The warm-up is a linear ramp from base / W at step 0
 * to base at step W - 1, W its number of steps (Goyal et al. 2017), times the schedule. */
double dn_learning_rate(const dn_rate *rate, int64_t step);

/* 1 where the schedule has to be told of the end of epoch `epoch` (1 is the first). */
int dn_rate_awaits(const dn_rate *rate, int64_t epoch);

/* Tells a schedule that awaits it the scores of epoch `epoch`; does nothing for others. */
void dn_rate_observe(dn_rate *rate, int64_t epoch, double loss, double accuracy);

#endif
