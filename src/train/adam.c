/* Adam as PyTorch's torch.optim.Adam: weight decay is added to the gradient, as an L2 penalty. */
#include "adam.h"

static void ISA(adam)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end,
                      const void *terms)
{
    adam_step(u, begin, end, terms, (float)dn_weight_decay(&u->settings, tensor), 1);
}

static void ISA(update_adam)(const dn_update *u)
{
    const adam_terms terms = adam_terms_of(u);
    dn_update_all(u, ISA(adam), &terms);
}

const dn_optimizer ISA(dn_adam) = {
    .name = "adam", .rate = 0.001, .states = {"exp_avg", "exp_avg_sq"}, .update = ISA(update_adam)};
