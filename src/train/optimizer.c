/*
 * The SGD step of include/dn/optimizer.h. Every element is updated on its own with the same three
 * lines, so neither threads nor vector width show in the result; this file must be compiled
 * without contraction of a * b + c.
 */
#include "dn/optimizer.h"

void dn_sgd_update(float *restrict parameters, float *restrict momentum,
                   const float *restrict gradients, size_t count, float gradient_scale,
                   const dn_sgd *settings)
{
    const float rate = settings->rate, mu = settings->momentum, decay = settings->weight_decay;
    /* What of g and of the new momentum goes into the step. */
    const float of_gradient = settings->nesterov ? 1 : 0;
    const float of_momentum = settings->nesterov ? mu : 1;

    /* PyTorch sets the buffer to g at the first step; from a zero buffer the recurrence gives the
     * same (mu * 0 + g = g), so no flag tells the first step from the others. */
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < count; i++) {
        const float g = gradient_scale * gradients[i] + decay * parameters[i];
        momentum[i] = mu * momentum[i] + g;
        parameters[i] -= rate * (of_gradient * g + of_momentum * momentum[i]);
    }
}
