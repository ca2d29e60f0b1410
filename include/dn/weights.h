/*
 * Exchange of a net's weights with other programs: safetensors, read and written, and ONNX,
 * written. Tensors have torchvision's names and shapes; docs/weights.md describes both formats.
 *
 * Input files are not trusted. Not collective.
 */
#ifndef DN_WEIGHTS_H
#define DN_WEIGHTS_H

#include <stdint.h>

#include "dn/net.h"
#include "dn/manifest.h"

/* A tensor to be copied into a net. */
typedef struct dn_named_tensor {
    char name[160];
    int dims;
    int64_t shape[4];
    const float *values; /* in C order; not owned */
} dn_named_tensor;

/* Copies tensors(count) of the file `path` into the net's parameters and running statistics by
 * name; renames and sorts them. torchvision's older keys (norm.1, conv.2) are accepted. All tensors
 * of the net must be present, and no others; but a first convolution of one channel is spread over
 * three of the net, as w / 3 each, which one line says. If only the number of classes differs, the
 * head is left unchanged and *classes = the file's number; otherwise *classes = 0. Errors:
 * DN_ESHAPE, DN_ECORRUPT (a value is not finite, or a variance negative); the net is then
 * unchanged.
 */
dn_status dn_weights_take(dn_net *net, const char *path, dn_named_tensor *tensors, int count,
                          int *classes);

/* As dn_weights_take, with all tensors of the net `from`. */
dn_status dn_weights_copy(dn_net *net, const char *path, const dn_net *from, int *classes);

/* As dn_weights_take, from a safetensors file with tensors of type F32, F16 or BF16;
 * num_batches_tracked is optional. Errors: also DN_ECORRUPT (the file violates its format),
 * DN_ENOENT, DN_EIO, DN_ENOMEM. */
dn_status dn_safetensors_load(dn_net *net, const char *path, int *classes);

/* What is written with the tensors. */
typedef struct dn_weights_about {
    int64_t step;               /* optimizer steps of training */
    const dn_manifest *data;    /* its classes, mean, std and image size are recorded */
    const char *eval_transform; /* of the images that the net was evaluated on; NULL: unknown */
    const char *weights;        /* "trained" or "average"; NULL: unknown */
} dn_weights_about;

/* Writes the net's weights to the safetensors file `path`, completely or not at all. Errors:
 * DN_EIO, DN_ENOMEM. */
dn_status dn_safetensors_save(const char *path, const dn_net *net, const dn_weights_about *about);

/* Metadata of a safetensors file. */
typedef struct dn_weights_metadata {
    int channels, classes; /* from the shapes of the first and last layer; 0: not a DenseNet */
    /* What dn_safetensors_save wrote; empty, 0 and NULL for files of other programs: */
    char model[160], eval_transform[512], weights[16];
    int size; /* side of the net's input; 0 if that is not square */
    int64_t step;
    dn_manifest *data; /* without files; the caller frees it */
} dn_weights_metadata;

/* Reads the metadata; the values are only claims, and `model` may name no known model. Errors: as
 * dn_safetensors_load. */
dn_status dn_safetensors_metadata(const char *path, dn_weights_metadata *metadata);

/* Versions of the ONNX operator set that can be written. */
enum { DN_ONNX_OPSET_LEAST = 13, DN_ONNX_OPSET_MOST = 17 };

/* Writes the net as an ONNX graph from normalised "images" (N, channels, height, width) to "logits"
 * and "probabilities", both (N, classes); N is free, and with a global average so are height and
 * width. With `fold`, a batch norm that alone reads a convolution's output is folded into
 * it. Errors: DN_EIO, DN_ENOMEM. */
dn_status dn_onnx_save(const char *path, const dn_net *net, const dn_weights_about *about,
                       int opset, int fold);

#endif
