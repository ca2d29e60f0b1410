/*
 * Shared by the optimizers. Each is compiled once per dn_level (DN_ISA), with automatic
 * vectorisation but without contraction: fused multiply-adds occur only where the source has fmaf,
 * so all levels give the same bits.
 */
#ifndef DN_OPTIMIZERS_RULE_H
#define DN_OPTIMIZERS_RULE_H

#include <math.h>

#include "dn/math.h"
#include "dn/optimizer.h"
#include "tables.h"

/* The terms of Adam and LAMB that are the same for all parameters of a step. */
typedef struct dn_adam_terms {
    float rate; /* rate / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float average /* 1 - beta1 */, square /* 1 - beta2 */, beta2, eps;
} dn_adam_terms;

static inline dn_adam_terms dn_adam_terms_of(const dn_update *u, double rate)
{
    const dn_optimizer_settings *s = &u->settings;
    return (dn_adam_terms){.rate = (float)(rate / (1 - dn_power(s->beta1, u->step))),
                           .root = (float)(1 / sqrt(1 - dn_power(s->beta2, u->step))),
                           .average = (float)(1 - s->beta1),
                           .square = (float)(1 - s->beta2),
                           .beta2 = (float)s->beta2,
                           .eps = (float)s->eps};
}

enum { DN_SUM_LANES = 16 }; /* partial sums of a norm, independent of the vector width */

/* lane(DN_SUM_LANES) += the squares of x(count), in lanes cyclically; only the sums are rounded. */
static inline void dn_add_squares(double *lane, const float *x, size_t count)
{
    size_t i = 0;
    for (; i + DN_SUM_LANES <= count; i += DN_SUM_LANES) {
#pragma omp simd
        for (size_t l = 0; l < DN_SUM_LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    }
    for (size_t l = 0; i + l < count; l++)
        lane[l] += (double)x[i + l] * (double)x[i + l];
}

/* The norm from the lanes' sums of squares. */
static inline double dn_lanes_norm(const double *lane)
{
    double sum = 0;
    for (int l = 0; l < DN_SUM_LANES; l++)
        sum += lane[l];
    return sqrt(sum);
}

/* The Euclidean norm of x(count). */
static inline double dn_norm(const float *x, size_t count)
{
    double lane[DN_SUM_LANES] = {0};
    dn_add_squares(lane, x, count);
    return dn_lanes_norm(lane);
}

#endif
