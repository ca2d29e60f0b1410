/* What the writers of weights say beside the tensors. */
#ifndef DN_WEIGHTS_ABOUT_H
#define DN_WEIGHTS_ABOUT_H

#include <jansson.h>

#include "dn/weights.h"

/* An object of texts: model, image, classes, mean, std, ...; the caller decrements its references.
 * NULL: no memory. */
json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about);

#endif
