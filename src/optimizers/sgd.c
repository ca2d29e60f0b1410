/*
 * Stochastic gradient descent with momentum, Nesterov's variant and weight decay, as PyTorch's
 * torch.optim.SGD defines them (dampening 0):
 *
 *     g = gradient_scale * gradient + weight_decay * parameter
 *     momentum = mu * momentum + g
 *     parameter -= rate * (nesterov ? g + mu * momentum : momentum)
 *
 * Each sum is a fused multiply-add, with the first term of g and the Nesterov step rounded before.
 */
#include "rule.h"

static void ISA(sgd)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    const dn_optimizer_settings *s = &u->settings;
    const float rate = (float)s->rate, mu = (float)s->momentum, scale = u->gradient_scale;
    const float decay = (float)dn_weight_decay(s, tensor);
    /* What of g and of the new momentum goes into the step. */
    const float of_gradient = s->nesterov ? 1 : 0, of_momentum = s->nesterov ? mu : 1;
    float *parameters = u->parameters, *momentum = u->states;

    /* PyTorch sets the momentum to g at the first step; from zero the recurrence gives the same
     * (mu * 0 + g = g), so no flag tells the first step from the others. */
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float g = fmaf(decay, parameters[i], scale * u->gradients[i]);
        const float next = fmaf(mu, momentum[i], g);
        momentum[i] = next;
        parameters[i] = fmaf(-rate, fmaf(of_momentum, next, of_gradient * g), parameters[i]);
    }
}

const dn_optimizer ISA(dn_sgd) = {
    .name = "sgd",
    .defaults = {.rate = 0.1, .weight_decay = 1e-4, .momentum = 0.9, .nesterov = 1},
    .rate_scales = 1,
    .states = {"momentum"},
    .reads = {"momentum", "nesterov"},
    .rule = ISA(sgd)};
