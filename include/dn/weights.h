/*
 * A net's weights in the files of other programs: safetensors, read and written, and ONNX, written.
 * Tensors have torchvision's names and shapes; docs/weights.md describes both files.
 *
 * Files to be read are not trusted. Not collective.
 */
#ifndef DN_WEIGHTS_H
#define DN_WEIGHTS_H

#include <stdint.h>

#include "dn/net.h"
#include "dn/manifest.h"

/* A tensor on its way into a net. */
typedef struct dn_named_tensor {
    char name[160];
    int rank;
    int64_t shape[4];
    const float *values; /* in C order; not owned */
} dn_named_tensor;

/* Copies tensors(count), which it renames and sorts, of the file `path` into the net's parameters
 * and running statistics, name by name; the older spelling of torchvision's keys (norm.1, conv.2)
 * counts as the newer. All of the net's have to be there, and no others. Where only the number of
 * classes differs, the head stays as it is and *classes is the file's number; else 0. DN_ESHAPE, or
 * DN_ECORRUPT where a number is not finite or a variance below 0: then the net's arrays are
 * undefined. */
dn_status dn_weights_take(dn_net *net, const char *path, dn_named_tensor *tensors, int count,
                          int *classes);

/* The same with all tensors of another net. */
dn_status dn_weights_copy(dn_net *net, const char *path, const dn_net *from, int *classes);

/* The same with a safetensors file: tensors of 32, 16 or bfloat 16 bits. num_batches_tracked may
 * be there. As dn_weights_take; DN_ECORRUPT where the file is not as its format says; DN_ENOENT,
 * DN_EIO, DN_ENOMEM. */
dn_status dn_safetensors_load(dn_net *net, const char *path, int *classes);

/* What is written beside the tensors. */
typedef struct dn_weights_about {
    int64_t step;               /* that the weights were trained */
    const dn_manifest *data;    /* whose classes, mean, std and size of images are recorded */
    const char *eval_transform; /* of the images that the net was evaluated on; NULL: not known */
    const char *weights;        /* "trained" or "average"; NULL: not known */
} dn_weights_about;

/* Writes the net's weights to the file `path`, whole or not at all. DN_EIO, DN_ENOMEM. */
dn_status dn_safetensors_save(const char *path, const dn_net *net, const dn_weights_about *about);

/* What a safetensors file tells beside its tensors. */
typedef struct dn_weights_told {
    int channels, classes; /* by the shapes of the first and the last layer; 0: of no DenseNet */
    /* What dn_safetensors_save wrote; of others' files empty, 0 and NULL: */
    char model[160], eval_transform[512], weights[16];
    int size; /* of the net's input; 0 where that is no square */
    int64_t step;
    dn_manifest *data; /* without files; to be freed by the caller */
} dn_weights_told;

/* Nothing that is told is more than a claim: the model may be none. As dn_safetensors_load. */
dn_status dn_safetensors_tell(const char *path, dn_weights_told *told);

/* ONNX's versions of operators that are written. */
enum { DN_ONNX_OPSET_LEAST = 13, DN_ONNX_OPSET_MOST = 17 };

/* Writes the net as a graph from normalised "images" (N, channels, height, width) to "logits" (N,
 * classes). With `fold`, a batch norm that alone reads a convolution's output becomes part of it.
 * DN_EIO, DN_ENOMEM. */
dn_status dn_onnx_save(const char *path, const dn_net *net, const dn_weights_about *about,
                       int opset, int fold);

#endif
