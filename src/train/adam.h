/*
 * The rule that adam.c and adamw.c have in common (Kingma and Ba, ICLR 2015), as PyTorch computes
 * it. With t the step, from 1:
 *
 *     exp_avg    += (1 - beta1) * (g - exp_avg)
 *     exp_avg_sq  = beta2 * exp_avg_sq + (1 - beta2) * g^2
 *     parameter  -= rate / (1 - beta1^t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps)
 *
 * They differ in where weight decay comes in: in g, or beside it.
 */
#ifndef DN_TRAIN_ADAM_H
#define DN_TRAIN_ADAM_H

#include <math.h>

#include "dn/math.h"
#include "rule.h"

/* What is the same for all parameters of a step. */
typedef struct adam_terms {
    float rate; /* rate / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float average /* 1 - beta1 */, square /* 1 - beta2 */, beta2, eps;
} adam_terms;

static inline adam_terms adam_terms_of(const dn_update *u)
{
    const dn_optimizer_settings *s = &u->settings;
    return (adam_terms){
        .rate = (float)(s->rate / (1 - dn_power(s->beta1, u->step))),
        .root = (float)(1 / sqrt(1 - dn_power(s->beta2, u->step))),
        .average = (float)(1 - s->beta1),
        .square = (float)(1 - s->beta2),
        .beta2 = (float)s->beta2,
        .eps = (float)s->eps,
    };
}

/* Floats [begin, end), with `decay` times the parameter added to the gradient, and the parameter
 * shrunk by the factor `keep` before the step. */
static inline void adam_step(const dn_update *u, size_t begin, size_t end, const adam_terms *terms,
                             float decay, float keep)
{
    const adam_terms k = *terms;
    const float scale = u->gradient_scale;
    float *parameters = u->parameters, *averages = u->states, *squares = u->states + u->count;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float g = fmaf(decay, parameters[i], scale * u->gradients[i]);
        const float average = fmaf(k.average, g - averages[i], averages[i]);
        const float square = fmaf(k.square * g, g, k.beta2 * squares[i]);
        averages[i] = average;
        squares[i] = square;
        const float step = average / fmaf(sqrtf(square), k.root, k.eps);
        parameters[i] = fmaf(-k.rate, step, keep * parameters[i]);
    }
}

#endif
