/* What the readers and writers of weights share. */
#ifndef DN_WEIGHTS_FILE_H
#define DN_WEIGHTS_FILE_H

#include <string.h>

#include <jansson.h>

#include "dn/weights.h"

/* safetensors: so many bytes of length, little-endian, then a header of that length, a JSON object,
 * then the tensors' bytes without a hole, where the header says. */
enum { DN_SAFETENSORS_LENGTH = 8 };

/* Reads the file: *header, whose references the caller decrements, and bytes(size), which follow
 * it, to be freed by the caller. Both NULL after a failure: DN_ECORRUPT, or as dn_file_load. */
dn_status dn_safetensors_open(const char *path, uint8_t **bytes, size_t *size, json_t **header);

/* What torchvision's keys call a batch norm's third buffer, the number of its batches. */
#define DN_BATCHES_TRACKED ".num_batches_tracked"

/* Makes the name of a running variance that of the number of batches. */
static inline void dn_batches_tracked_name(char *running_var)
{
    strcpy(strrchr(running_var, '.'), DN_BATCHES_TRACKED);
}

/* text = "(64, 3, 7, 7)", which it returns. */
enum { DN_SHAPE_TEXT = 96 };
const char *dn_shape_text(char text[DN_SHAPE_TEXT], int rank, const int64_t *shape);

/* What tensor `name` of the file `path` has for the net's t is finite, and a variance (of the
 * gradients, too: `is_squares`) 0 or more. DN_ECORRUPT. */
dn_status dn_check_values(const char *path, const char *name, const dn_tensor *t, int is_squares,
                          const float *values);

/* What writers say beside the tensors: an object of texts: model, image, classes, mean, std, ...;
 * the caller decrements its references. NULL: no memory. */
json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about);

#endif
