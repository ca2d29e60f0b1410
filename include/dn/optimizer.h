/*
 * Stochastic gradient descent with momentum, Nesterov's variant and weight decay, as PyTorch's
 * torch.optim.SGD defines them (dampening 0).
 */
#ifndef DN_OPTIMIZER_H
#define DN_OPTIMIZER_H

#include <stddef.h>

typedef struct dn_sgd {
    float rate;         /* learning rate of this step */
    float momentum;     /* mu, 0 = none */
    float weight_decay; /* of all parameters, batch norms and biases too */
    int nesterov;
} dn_sgd;

struct dn_kernels;

/*
 * One step over flat arrays of `count` floats, which do not overlap:
 *
 *     g = gradient_scale * gradients + weight_decay * parameters
 *     momentum = mu * momentum + g
 *     parameters -= rate * (nesterov ? g + mu * momentum : momentum)
 *
 * Each sum is a fused multiply-add, with the first term of g and the Nesterov step rounded before.
 * `gradient_scale` is 1 / V where the gradients are a sum over V virtual ranks. `momentum` is zero
 * before the first step. The result is the same bits on any number of threads and with any table of
 * kernels.
 */
void dn_sgd_update(const struct dn_kernels *kernels, float *parameters, float *momentum,
                   const float *gradients, size_t count, float gradient_scale,
                   const dn_sgd *settings);

#endif
