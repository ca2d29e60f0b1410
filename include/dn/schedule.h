/*
 * The learning rate of a step: bit-identical on any machine. It is a function of the step and, for
 * some schedules, of a state that is stored in the run's checkpoints. To add a schedule, add a
 * function and its row to src/train/schedule.c. Not collective.
 */
#ifndef DN_SCHEDULE_H
#define DN_SCHEDULE_H

#include <stdint.h>

/* What a schedule knows of the epochs that have ended; zeroed before the first. Only doubles. */
typedef struct dn_schedule_state {
    double epochs;   /* epochs observed */
    double value[7]; /* private to the schedule */
} dn_schedule_state;

enum { DN_SCHEDULE_DOUBLES = sizeof(dn_schedule_state) / sizeof(double), DN_MILESTONES = 16 };
enum { DN_SCHEDULE_READS = 7 }; /* most settings that a schedule reads */

/* A schedule reads those that its row names (dn_schedule.reads). */
typedef struct dn_schedule_settings {
    double gamma;                     /* factor of each drop */
    int step_epochs;                  /* epochs between drops; 0: at 50 and 75 % */
    int64_t milestone[DN_MILESTONES]; /* epochs that begin with a drop, ascending */
    int milestones;                   /* count of milestones */
    double power;                     /* exponent */
    int metric;                       /* plateau: dn_monitored, not DN_BEST_NONE */
    int patience, cooldown;           /* plateau: epochs */
    double threshold;                 /* plateau: minimum relative improvement */
} dn_schedule_settings;

typedef struct dn_schedule dn_schedule;

typedef struct dn_rate {
    const dn_schedule *schedule;
    dn_schedule_settings settings;
    double base;             /* the rate after the warm-up */
    double least;            /* minimum of schedules that take it, <= base */
    int64_t steps_per_epoch; /* >= 1 */
    int64_t epochs;          /* in the whole run, >= 1 */
    double warmup_epochs;    /* 0: none */
    dn_schedule_state state;
} dn_rate;

struct dn_schedule {
    const char *name;
    int follows_warmup; /* 1: it starts when the warm-up ends; 0: at the first step of the run */
    /* The rate of step `step`, without the ramp of the warm-up. */
    double (*rate)(const dn_rate *rate, int64_t step);
    /* Updates the state with an epoch's score on the images that judge the run; NULL for a schedule
     * without state. */
    void (*observe)(dn_rate *rate, double metric);
    /* Option names of the settings that it reads, dn_rate.least included; NULL after the last. */
    const char *reads[DN_SCHEDULE_READS + 1];
};

/* Row `index` of the table, and its name; NULL past the end. */
const dn_schedule *dn_schedule_get(int index);
const char *dn_schedule_name(int index);

/* The rate of step `step` (0 is the first). The warm-up multiplies the schedule's rate by a linear
 * ramp from 1 / W at step 0 to 1 at step W - 1, where W is its number of steps (Goyal et al. 2017);
 * the rate of a schedule that follows it is `base` until step W. */
double dn_learning_rate(const dn_rate *rate, int64_t step);

/* Returns 1 if the schedule has to observe the end of epoch `epoch` (1 is the first). */
int dn_rate_awaits(const dn_rate *rate, int64_t epoch);

/* Passes the score of epoch `epoch`, of settings.metric, to a schedule that awaits it; does nothing
 * for others. */
void dn_rate_observe(dn_rate *rate, int64_t epoch, double score);

#endif
