/* The SGD step of include/dn/optimizer.h, cut into blocks for the threads. */
#include "dn/kernels.h"

enum { BLOCK = 4096 };

void dn_sgd_update(const dn_kernels *kernels, float *parameters, float *momentum,
                   const float *gradients, size_t count, float gradient_scale,
                   const dn_sgd *settings)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += BLOCK)
        kernels->sgd(parameters + i, momentum + i, gradients + i,
                     count - i < BLOCK ? count - i : BLOCK, gradient_scale, settings);
}
