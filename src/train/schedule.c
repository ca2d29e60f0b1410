/*
 * Learning-rate schedules. dn_cos and not libm's cos, whose last bit differs between machines.
 */
#include "dn/schedule.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#include "dn/math.h"
#include "dn/monitor.h"

static double steps_of(const dn_rate *r)
{
    return (double)r->steps_per_epoch * (double)r->epochs;
}

static double warmup_steps(const dn_rate *r)
{
    return floor(r->warmup_epochs * (double)r->steps_per_epoch);
}

/* The fraction of the schedule that is done, in [0, 1]. */
static double progress(const dn_rate *r, int64_t step)
{
    const double first = r->schedule->follows_warmup ? warmup_steps(r) : 0;
    return fmin(fmax((double)step - first, 0) / fmax(steps_of(r) - first, 1), 1);
}

/* gamma^falls; computed as a power of ten if gamma is 0.1. */
static double after_falls(const dn_rate *r, int64_t falls)
{
    return r->base * (1 / dn_power(1 / r->settings.gamma, falls));
}

/* Half a cosine from `from` to `to`. */
static double anneal(double from, double to, double part)
{
    return to + (from - to) * 0.5 * (1 + dn_cos(DN_PI * part));
}

/* A drop every so many epochs, or as in the DenseNet paper. */
static double step_rate(const dn_rate *r, int64_t step)
{
    const double done = progress(r, step);
    const int64_t every = r->settings.step_epochs;
    return after_falls(r, every > 0 ? step / r->steps_per_epoch / every
                                    : (done >= 0.5) + (done >= 0.75));
}

static double multi_step_rate(const dn_rate *r, int64_t step)
{
    int falls = 0;
    while (falls < r->settings.milestones &&
           step / r->steps_per_epoch >= r->settings.milestone[falls])
        falls++;
    return after_falls(r, falls);
}

static double cosine_rate(const dn_rate *r, int64_t step)
{
    return anneal(r->base, r->least, progress(r, step));
}

static double constant_rate(const dn_rate *r, int64_t step)
{
    (void)step;
    return r->base;
}

static double polynomial_rate(const dn_rate *r, int64_t step)
{
    const double left = 1 - progress(r, step);
    const double factor = left > 0 ? dn_exp(r->settings.power * dn_log(left)) : 0;
    return r->least + (r->base - r->least) * factor;
}

/* PyTorch's constants: up from a 25th during 30 % of the run, then down to a 250,000th. */
static double one_cycle_rate(const dn_rate *r, int64_t step)
{
    const double last = steps_of(r) - 1, top = 0.3 * steps_of(r) - 1, first = r->base / 25;
    const double at = fmin((double)step, last);
    if (at <= top)
        return top > 0 ? anneal(first, r->base, at / top) : r->base;
    return anneal(r->base, first / 10000, (at - top) / (last - top));
}

/* Members of the state: the best epoch's metric, epochs since then without improvement, epochs left
 * of the cooldown, the factor of all drops so far. */
enum { BEST, BAD, COOLDOWN, FACTOR };

static const double LEAST_DROP = 1e-8; /* smaller ones are left out, as by PyTorch's default eps */

/* Whether an epoch was observed. The first may be a later one of a run that began with another
 * schedule. */
static int is_told(const dn_rate *r)
{
    return r->state.value[FACTOR] > 0;
}

/* The rate after drops by that factor in all. */
static double dropped(const dn_rate *r, double factor)
{
    return fmax(r->base * factor, r->least);
}

static double plateau_rate(const dn_rate *r, int64_t step)
{
    (void)step;
    return dropped(r, is_told(r) ? r->state.value[FACTOR] : 1);
}

static void plateau_observe(dn_rate *r, double metric)
{
    const dn_schedule_settings *s = &r->settings;
    double *value = r->state.value;
    const double sign = s->metric == DN_BEST_LOSS ? -1 : 1; /* sign of an improvement */
    const int is_first = !is_told(r);
    metric = isfinite(metric) ? metric : -sign * DBL_MAX; /* worse than any */
    const int is_better = sign * metric > sign * value[BEST] * (1 + sign * s->threshold);
    if (is_first || is_better)
        value[BEST] = metric;
    value[FACTOR] = is_first ? 1 : value[FACTOR];
    value[BAD] = is_first || is_better || value[COOLDOWN] > 0 ? 0 : value[BAD] + 1;
    value[COOLDOWN] = fmax(value[COOLDOWN] - 1, 0);
    if (value[BAD] > s->patience) {
        const double next = value[FACTOR] * s->gamma;
        if (dropped(r, value[FACTOR]) - dropped(r, next) > LEAST_DROP)
            value[FACTOR] = next;
        value[BAD] = 0;
        value[COOLDOWN] = s->cooldown;
    }
}

/* In the order of --schedule's choices: the first is the default. */
static const dn_schedule schedules[] = {
    {.name = "step", .rate = step_rate, .reads = {"gamma", "step-epochs", "warmup-epochs"}},
    /* Half a cosine (Loshchilov and Hutter, ICLR 2017). */
    {.name = "cosine",
     .rate = cosine_rate,
     .follows_warmup = 1,
     .reads = {"lr-min", "warmup-epochs"}},
    {.name = "constant", .rate = constant_rate, .reads = {"warmup-epochs"}},
    {.name = "multi-step",
     .rate = multi_step_rate,
     .reads = {"gamma", "milestones", "warmup-epochs"}},
    {.name = "polynomial",
     .rate = polynomial_rate,
     .follows_warmup = 1,
     .reads = {"lr-min", "power", "warmup-epochs"}},
    /* Smith and Topin, "Super-Convergence", 2018. Begins with a rise of its own. */
    {.name = "one-cycle", .rate = one_cycle_rate},
    /* PyTorch's ReduceLROnPlateau. */
    {.name = "plateau",
     .rate = plateau_rate,
     .observe = plateau_observe,
     .reads = {"gamma", "lr-min", "plateau-metric", "plateau-patience", "plateau-threshold",
               "plateau-cooldown", "warmup-epochs"}},
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

double dn_learning_rate(const dn_rate *r, int64_t step)
{
    const double warmup = warmup_steps(r);
    const double ramp = (double)step < warmup ? ((double)step + 1) / warmup : 1;
    return ramp * r->schedule->rate(r, step);
}

int dn_rate_awaits(const dn_rate *rate, int64_t epoch)
{
    return rate->schedule->observe && rate->state.epochs < (double)epoch;
}

void dn_rate_observe(dn_rate *rate, int64_t epoch, double score)
{
    if (!dn_rate_awaits(rate, epoch))
        return;
    rate->schedule->observe(rate, score);
    rate->state.epochs = (double)epoch;
}
