/*
 * The update of parameters, optimizer, averaged weights and running statistics by the summed leaf.
 * Each rank has the whole sum and does the whole update, so no weights are sent.
 */
#include "training/step_parts.h"

#include <string.h>

/* Clears the gradients of frozen parameters, some of which the backward pass computes. */
static void clear_frozen(const dn_view *net, float *gradients)
{
    for (const dn_tensor *t = net->tensors; t < net->tensors + net->tensor_count; t++)
        if (t->frozen && t->offset < net->gradient_count)
            memset(gradients + t->offset, 0, t->count * sizeof *gradients);
}

/* Updates learnt tensors [first, last) at learning rate `rate`. */
static void update_tensors(const dn_step *step, dn_update *u, int first, int last, double rate)
{
    u->settings.rate = rate;
    u->tensors = step->learnt + first;
    u->tensor_count = last - first;
    dn_optimizer_update(step->optimizer.optimizer, u);
}

/* `scale` is the factor from the sum to the clipped mean gradient. */
static void update_parameters(dn_step *step, const dn_view *net, const float *sum, float scale,
                              int64_t number, double rate)
{
    const double head_rate = step->settings.head_rate;
    const int heads = head_rate == 1 ? 0 : step->head_tensors;
    dn_update u = {.settings = step->settings.rule,
                   .step = number + 1,
                   .count = net->parameter_count,
                   .parameters = net->parameters,
                   .states = step->optimizer.vectors,
                   .gradients = sum,
                   .gradient_scale = scale};
    if (heads > 0)
        update_tensors(step, &u, 0, heads, rate * head_rate);
    update_tensors(step, &u, heads, step->learnt_tensors, rate);
    if (step->optimizer.average != NULL)
        dn_optimizer_average(&step->optimizer, net->parameters, step->settings.average_decay,
                             u.step);
}

double dn_step_update(dn_step *step, int64_t number, double rate)
{
    const dn_view net = dn_net_view(step->net);
    const float share = 1 / (float)step->settings.virtual_ranks;
    const double most = step->settings.clip_norm;
    /* The last leaf holds the sum: tree and allreduce add in place (dn/tree.h). */
    float *const sum = net.leaf;
    clear_frozen(&net, sum);
    const double norm = most > 0 ? (double)share * dn_gradient_norm(sum, net.gradient_count) : 0;
    const float scale = norm > most ? share * (float)(most / (norm + 1e-6)) : share;
    update_parameters(step, &net, sum, scale, number, rate);
    for (size_t i = net.gradient_count; i < net.leaf_count; i++)
        sum[i] *= share;
    dn_net_update_running(step->net, sum, DN_NORM_MOMENTUM);
    return norm;
}
