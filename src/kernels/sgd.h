/*
 * The update of the weights, for all tables: where additions and products join is said in full, so
 * all tables give the same bits, and compilers for a table's instructions make vectors of it.
 */
#ifndef DN_KERNELS_SGD_H
#define DN_KERNELS_SGD_H

#include <math.h>

#include "dn/optimizer.h"

static inline void sgd(float *restrict parameters, float *restrict momentum,
                       const float *restrict gradients, size_t n, float gradient_scale,
                       const dn_sgd *settings)
{
    const float rate = settings->rate, mu = settings->momentum, decay = settings->weight_decay;
    /* What of g and of the new momentum goes into the step. */
    const float of_gradient = settings->nesterov ? 1 : 0;
    const float of_momentum = settings->nesterov ? mu : 1;

    /* PyTorch sets the buffer to g at the first step; from a zero buffer the recurrence gives the
     * same (mu * 0 + g = g), so no flag tells the first step from the others. */
    for (size_t i = 0; i < n; i++) {
        const float g = fmaf(decay, parameters[i], gradient_scale * gradients[i]);
        momentum[i] = fmaf(mu, momentum[i], g);
        const float step = fmaf(of_momentum, momentum[i], of_gradient * g);
        parameters[i] = fmaf(-rate, step, parameters[i]);
    }
}

#endif
