/* What the readers and writers of weights share. */
#ifndef DN_WEIGHTS_FILE_H
#define DN_WEIGHTS_FILE_H

#include <jansson.h>

#include "dn/weights.h"

/* safetensors: so many bytes of length, little-endian, then a header of that length, a JSON object,
 * then the tensors' bytes without a hole, where the header says. */
enum { DN_SAFETENSORS_LENGTH = 8 };

/* What a batch norm's third buffer is called in torchvision's keys. */
#define DN_BATCHES_TRACKED ".num_batches_tracked"

/* What writers say beside the tensors: an object of texts: model, image, classes, mean, std, ...;
 * the caller decrements its references. NULL: no memory. */
json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about);

#endif
