/*
 * AdamW (Loshchilov and Hutter, ICLR 2019) as PyTorch's torch.optim.AdamW: weight decay shrinks the
 * parameters by rate * weight_decay, beside the gradient.
 */
#include "adam.h"

static void ISA(adamw)(const dn_update *u, const dn_tensor *tensor, size_t begin, size_t end,
                       const void *terms)
{
    const double decay = dn_weight_decay(&u->settings, tensor);
    adam_step(u, begin, end, terms, 0, (float)(1 - u->settings.rate * decay));
}

static void ISA(update_adamw)(const dn_update *u)
{
    const adam_terms terms = adam_terms_of(u);
    dn_update_all(u, ISA(adamw), &terms);
}

const dn_optimizer ISA(dn_adamw) = {.name = "adamw",
                                    .rate = 0.001,
                                    .states = {"exp_avg", "exp_avg_sq"},
                                    .update = ISA(update_adamw)};
