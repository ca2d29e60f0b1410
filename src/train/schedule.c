/*
 * Learning-rate schedules. dn_cos and not libm's cos, whose last bit differs between machines.
 */
#include "dn/schedule.h"

#include <math.h>
#include <stddef.h>

#include "dn/math.h"

static double step_factor(double progress, const dn_schedule_state *state)
{
    (void)state;
    return progress < 0.5 ? 1 : progress < 0.75 ? 0.1 : 0.01;
}

static double cosine_factor(double progress, const dn_schedule_state *state)
{
    (void)state;
    return 0.5 * (1 + dn_cos(3.14159265358979323846 * progress));
}

static double constant_factor(double progress, const dn_schedule_state *state)
{
    (void)progress, (void)state;
    return 1;
}

/* In the order of --schedule's choices: the first is the default. */
static const dn_schedule schedules[] = {
    {"step", step_factor, NULL},     /* as in the DenseNet paper */
    {"cosine", cosine_factor, NULL}, /* half a cosine (Loshchilov and Hutter, ICLR 2017) */
    {"constant", constant_factor, NULL},
};

const dn_schedule *dn_schedule_get(int index)
{
    return index < (int)(sizeof schedules / sizeof *schedules) ? &schedules[index] : NULL;
}

const char *dn_schedule_name(int index)
{
    const dn_schedule *schedule = dn_schedule_get(index);
    return schedule ? schedule->name : NULL;
}

double dn_learning_rate(const dn_rate *rate, int64_t step)
{
    const double steps = (double)rate->steps_per_epoch * (double)rate->epochs;
    const double warmup = floor(rate->warmup_epochs * (double)rate->steps_per_epoch);
    const double progress = fmin((double)step / steps, 1);
    const double ramp = (double)step < warmup ? ((double)step + 1) / warmup : 1;
    return rate->base * ramp * rate->schedule->factor(progress, &rate->state);
}

int dn_rate_awaits(const dn_rate *rate, int64_t epoch)
{
    return rate->schedule->observe && rate->state.epochs < (double)epoch;
}

void dn_rate_observe(dn_rate *rate, int64_t epoch, double loss)
{
    if (!dn_rate_awaits(rate, epoch))
        return;
    rate->schedule->observe(&rate->state, loss);
    rate->state.epochs = (double)epoch;
}
