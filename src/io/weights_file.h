/* Shared by the readers and writers of weights. */
#ifndef DN_WEIGHTS_FILE_H
#define DN_WEIGHTS_FILE_H

#include <string.h>

#include <jansson.h>

#include "dn/weights.h"

/* safetensors: a header length of so many bytes, little-endian; a header of that length, a JSON
 * object; then the tensors' bytes, contiguous, at the offsets in the header. */
enum { DN_SAFETENSORS_LENGTH = 8 };

/* Reads the file: *header, whose reference the caller releases, and *bytes(*size), the tensors'
 * bytes, which the caller frees. Both NULL on failure. Errors: DN_ECORRUPT; as dn_file_load. */
dn_status dn_safetensors_open(const char *path, uint8_t **bytes, size_t *size, json_t **header);

/* Suffix of a batch norm's third buffer in torchvision's keys, its number of batches. */
#define DN_BATCHES_TRACKED ".num_batches_tracked"

/* Changes the name of a running variance to that of the number of batches. */
static inline void dn_batches_tracked_name(char *running_var)
{
    strcpy(strrchr(running_var, '.'), DN_BATCHES_TRACKED);
}

/* text = "(64, 3, 7, 7)", which it returns. */
enum { DN_SHAPE_TEXT = 96 };
const char *dn_shape_text(char text[DN_SHAPE_TEXT], int dims, const int64_t *shape);

/* Checks that tensor `name` of the file `path` is finite, and a variance (or, with `is_squares`, an
 * average of squares) not negative. Errors: DN_ECORRUPT. */
dn_status dn_check_values(const char *path, const char *name, const dn_tensor *t, int is_squares,
                          const float *values);

/* The metadata that writers store: an object of texts: model, image, classes, mean, std, ...; the
 * caller releases its reference. NULL: out of memory. */
json_t *dn_weights_describe(const dn_net *net, const dn_weights_about *about);

#endif
