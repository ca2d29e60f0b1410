/*
 * LARS (You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", 2017),
 * algorithm 1: SGD with momentum and a separate rate for each tensor,
 *
 *     g = gradient_scale * gradient
 *     local = trust * |parameter| / (|g| + weight_decay * |parameter|)
 *     momentum = mu * momentum + rate * local * (g + weight_decay * parameter)
 *     parameter -= momentum
 *
 * where local is 1 if either norm is 0, and for tensors without weight decay, as in later uses of
 * the method.
 */
#include "rule.h"

static double local_rate(const dn_update *u, const dn_tensor *tensor, double decay)
{
    const double own = dn_norm(u->parameters + tensor->offset, tensor->count);
    const double g =
        (double)u->gradient_scale * dn_norm(u->gradients + tensor->offset, tensor->count);
    const int is_exempt = dn_is_undecayed(&u->settings, tensor);
    return is_exempt || own == 0 || g == 0 ? 1 : u->settings.trust * own / (g + decay * own);
}

static void ISA(lars)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    const double weight_decay = dn_weight_decay(&u->settings, tensor);
    const float rate = (float)(u->settings.rate * local_rate(u, tensor, weight_decay));
    const float mu = (float)u->settings.momentum, decay = (float)weight_decay;
    const float scale = u->gradient_scale;
    float *parameters = u->parameters, *momentum = u->states;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float g = fmaf(decay, parameters[i], scale * u->gradients[i]);
        momentum[i] = fmaf(mu, momentum[i], rate * g);
        parameters[i] -= momentum[i];
    }
}

const dn_optimizer ISA(dn_lars) = {
    .name = "lars",
    .defaults = {.rate = 1, .weight_decay = 1e-4, .momentum = 0.9, .trust = 0.001},
    .rate_scales = 1,
    .states = {"momentum"},
    .reads = {"momentum", "trust"},
    .takes_whole_tensors = 1,
    .rule = ISA(lars)};
