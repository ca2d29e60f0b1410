/*
 * LAMB (You et al., "Large Batch Optimization for Deep Learning", ICLR 2020), algorithm 2: Adam
 * with a separate rate for each tensor. With t the step, from 1, and exp_avg and exp_avg_sq as in
 * adam.c:
 *
 *     r = exp_avg / (1 - beta1^t) / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps)
 *         + weight_decay * parameter
 *     parameter -= rate * |parameter| / |r| * r
 *
 * where the ratio is 1 if either norm is 0, and for tensors without weight decay, as in later uses
 * of the method.
 */
#include "rule.h"

enum { BLOCK = 16 * DN_SUM_LANES }; /* floats of r computed at a time */

/* Updates floats [begin, end) of the averages. */
static inline void lamb_average(const dn_update *u, size_t begin, size_t end,
                                const dn_adam_terms *k)
{
    float *averages = u->states, *squares = u->states + u->count;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float g = u->gradient_scale * u->gradients[i];
        averages[i] = fmaf(k->average, g - averages[i], averages[i]);
        squares[i] = fmaf(k->square * g, g, k->beta2 * squares[i]);
    }
}

/* r(end - begin) = the direction for floats [begin, end). */
static inline void lamb_direction(const dn_update *u, size_t begin, size_t end,
                                  const dn_adam_terms *k, float decay, float *r)
{
    const float *parameters = u->parameters, *averages = u->states, *squares = averages + u->count;
#pragma omp simd
    for (size_t i = begin; i < end; i++)
        r[i - begin] = fmaf(decay, parameters[i],
                            averages[i] * k->rate / fmaf(sqrtf(squares[i]), k->root, k->eps));
}

static inline size_t lamb_block(size_t begin, size_t end)
{
    return end - begin < BLOCK ? end : begin + BLOCK;
}

static void ISA(lamb)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end)
{
    const dn_adam_terms k = dn_adam_terms_of(u, 1);
    const int is_exempt = dn_is_undecayed(&u->settings, tensor);
    const float decay = (float)dn_weight_decay(&u->settings, tensor);
    float r[BLOCK], *parameters = u->parameters;
    double lane[DN_SUM_LANES] = {0};
    for (size_t i = begin; i < end; i = lamb_block(i, end)) {
        const size_t next = lamb_block(i, end);
        lamb_average(u, i, next, &k);
        lamb_direction(u, i, next, &k, decay, r);
        dn_add_squares(lane, r, next - i);
    }
    const double own = dn_norm(parameters + begin, end - begin), norm = dn_lanes_norm(lane);
    const double ratio = is_exempt || own == 0 || norm == 0 ? 1 : own / norm;
    const float rate = (float)(u->settings.rate * ratio);
    for (size_t i = begin; i < end; i = lamb_block(i, end)) {
        const size_t next = lamb_block(i, end);
        lamb_direction(u, i, next, &k, decay, r);
#pragma omp simd
        for (size_t j = i; j < next; j++)
            parameters[j] = fmaf(-rate, r[j - i], parameters[j]);
    }
}

const dn_optimizer ISA(dn_lamb) = {
    .name = "lamb",
    .defaults = {.rate = 0.001, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-6, .weight_decay = 0.01},
    .states = {"exp_avg", "exp_avg_sq"},
    .reads = {"beta1", "beta2", "eps"},
    .squares = 1 << 1,
    .takes_whole_tensors = 1,
    .rule = ISA(lamb)};
