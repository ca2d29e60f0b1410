/*
 * RMSprop (Hinton, Coursera lecture 6, 2012) as torch.optim.RMSprop computes it, where beta2 is
 * called alpha:
 *
 *     g = gradient_scale * gradient + weight_decay * parameter
 *     square_avg = beta2 * square_avg + (1 - beta2) * g^2
 *     momentum   = mu * momentum + g / (sqrt(square_avg) + eps)
 *     parameter -= rate * momentum
 */
#include "rule.h"

static void ISA(rmsprop)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    const dn_optimizer_settings *s = &u->settings;
    const float rate = (float)s->rate, mu = (float)s->momentum, eps = (float)s->eps;
    const float keep = (float)s->beta2, square = (float)(1 - s->beta2), scale = u->gradient_scale;
    const float decay = (float)dn_weight_decay(s, tensor);
    float *parameters = u->parameters, *squares = u->states, *momentum = u->states + u->count;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float g = fmaf(decay, parameters[i], scale * u->gradients[i]);
        squares[i] = fmaf(square * g, g, keep * squares[i]);
        momentum[i] = fmaf(mu, momentum[i], g / (sqrtf(squares[i]) + eps));
        parameters[i] = fmaf(-rate, momentum[i], parameters[i]);
    }
}

const dn_optimizer ISA(dn_rmsprop) = {.name = "rmsprop",
                                      .defaults = {.rate = 0.01, .beta2 = 0.99, .eps = 1e-8},
                                      .states = {"square_avg", "momentum_buffer"},
                                      .reads = {"momentum", "beta2", "eps"},
                                      .squares = 1 << 0,
                                      .rule = ISA(rmsprop)};
