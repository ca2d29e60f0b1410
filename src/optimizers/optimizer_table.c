/* The table of optimizers, in the order of --optimizer's choices: the first is the default. Each
 * row is in a file of its own, and is compiled once per dn_level. */
#include "rule.h"

extern const dn_optimizer ISA(dn_sgd), ISA(dn_adam), ISA(dn_adamw), ISA(dn_rmsprop), ISA(dn_lars),
    ISA(dn_lamb);

const dn_optimizer *const ISA(dn_optimizers)[] = {
    &ISA(dn_sgd),  &ISA(dn_adam), &ISA(dn_adamw), &ISA(dn_rmsprop), &ISA(dn_lars),
    &ISA(dn_lamb), NULL};
