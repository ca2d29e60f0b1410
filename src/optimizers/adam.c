/*
 * Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019) as PyTorch computes
 * them. With t the step, from 1:
 *
 *     exp_avg    += (1 - beta1) * (g - exp_avg)
 *     exp_avg_sq  = beta2 * exp_avg_sq + (1 - beta2) * g^2
 *     parameter  -= rate / (1 - beta1^t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps)
 *
 * Adam adds weight decay to g, as an L2 penalty; AdamW shrinks the parameters by
 * rate * weight_decay before the step.
 */
#include "rule.h"

/* Updates floats [begin, end): adds `decay` times the parameter to the gradient, and scales the
 * parameter by `keep` before the step. */
static inline void adam_step(const dn_update *u, size_t begin, size_t end, float decay, float keep)
{
    const dn_adam_terms k = dn_adam_terms_of(u, u->settings.rate);
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

static void ISA(adam)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    adam_step(u, begin, end, (float)dn_weight_decay(&u->settings, tensor), 1);
}

static void ISA(adamw)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    const double decay = dn_weight_decay(&u->settings, tensor);
    adam_step(u, begin, end, 0, (float)(1 - u->settings.rate * decay));
}

#define ADAM_DEFAULTS .rate = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8

const dn_optimizer ISA(dn_adam) = {.name = "adam",
                                   .defaults = {ADAM_DEFAULTS},
                                   .states = {"exp_avg", "exp_avg_sq"},
                                   .reads = {"beta1", "beta2", "eps"},
                                   .squares = 1 << 1,
                                   .rule = ISA(adam)};
const dn_optimizer ISA(dn_adamw) = {.name = "adamw",
                                    .defaults = {ADAM_DEFAULTS, .weight_decay = 0.01},
                                    .states = {"exp_avg", "exp_avg_sq"},
                                    .reads = {"beta1", "beta2", "eps"},
                                    .squares = 1 << 1,
                                    .rule = ISA(adamw)};
