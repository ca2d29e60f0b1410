/*
 * Learning-rate schedules: each is a factor of the base rate over the run's progress in [0, 1].
 * A new one is a function here and a line in the table. dn_cos and not libm's cos, whose last bit
 * differs between machines.
 */
#include "dn/schedule.h"

#include <math.h>

#include "dn/math.h"

static double step_factor(double progress)
{
    return progress < 0.5 ? 1 : progress < 0.75 ? 0.1 : 0.01;
}

static double cosine_factor(double progress)
{
    return 0.5 * (1 + dn_cos(3.14159265358979323846 * progress));
}

static double constant_factor(double progress)
{
    (void)progress;
    return 1;
}

static double (*const factors[])(double progress) = {
    [DN_SCHEDULE_STEP] = step_factor,
    [DN_SCHEDULE_COSINE] = cosine_factor,
    [DN_SCHEDULE_CONSTANT] = constant_factor,
};

double dn_learning_rate(const dn_rate *rate, int64_t step)
{
    const double steps = (double)rate->steps_per_epoch * (double)rate->epochs;
    const double warmup = floor(rate->warmup_epochs * (double)rate->steps_per_epoch);
    const double progress = fmin((double)step / steps, 1);
    const double ramp = (double)step < warmup ? ((double)step + 1) / warmup : 1;
    return rate->base * ramp * factors[rate->schedule](progress);
}
