/*
 * The learning rate of a step: a pure function of the step's number, so that nothing has to be
 * kept or restored when a run resumes, and the same bits on any machine.
 */
#ifndef DN_SCHEDULE_H
#define DN_SCHEDULE_H

#include <stdint.h>

typedef enum dn_schedule {
    DN_SCHEDULE_STEP,   /* a tenth from 50 % and a hundredth from 75 % of the run (DenseNet) */
    DN_SCHEDULE_COSINE, /* half a cosine from 1 to 0 (Loshchilov and Hutter, ICLR 2017) */
    DN_SCHEDULE_CONSTANT
} dn_schedule;

typedef struct dn_rate {
    dn_schedule schedule;
    double base;             /* the rate after the warm-up */
    int64_t steps_per_epoch; /* >= 1 */
    int64_t epochs;          /* of the whole run, >= 1 */
    double warmup_epochs;    /* 0: none */
} dn_rate;

/* The rate of step `step` (0 is the first). The warm-up is a linear ramp from base / W at step 0
 * to base at step W - 1, W its number of steps (Goyal et al. 2017), times the schedule. */
double dn_learning_rate(const dn_rate *rate, int64_t step);

#endif
