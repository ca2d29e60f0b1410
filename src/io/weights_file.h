/* What the readers and writers of weights share. */
#ifndef DN_WEIGHTS_FILE_H
#define DN_WEIGHTS_FILE_H

#include <jansson.h>

#include "dn/weights.h"

/* safetensors: so many bytes of length, little-endian, then a header of that length, a JSON object,
 * then the tensors' bytes without a hole, where the header says. */
enum { DN_SAFETENSORS_LENGTH = 8 };

/* Reads the file: *header, whose references the caller decrements, and bytes(size), which follow
 * it, to be freed by the caller. Both NULL after a failure: DN_ECORRUPT, or as dn_file_load. */
dn_status dn_safetensors_open(const char *path, uint8_t **bytes, size_t *size, json_t **header);

/* What a batch norm's third buffer is called in torchvision's keys. */
#define DN_BATCHES_TRACKED ".num_batches_tracked"

/* What writers say beside the tensors: an object of texts: model, image, classes, mean, std, ...;
 * the caller decrements its references. NULL: no memory. */
json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about);

#endif
