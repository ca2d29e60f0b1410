/*
 * From a stored split to the net's input: a source reads an image, a transform augments and
 * normalises it.
 *
 * Both are pure: what an image becomes follows from the request and the transform, not from who
 * asks, when, or how often. So batches are the same on any rank, thread or resumption.
 */
#ifndef DN_SOURCE_H
#define DN_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "dn/spec.h"
#include "dn/status.h"

/* What all images of a data set share, as dataset.json says. */
typedef struct dn_shard_info {
    char dataset[64]; /* "CIFAR10" */
    int channels, height, width, classes;
    double mean[DN_MAX_IMAGE_CHANNELS], std[DN_MAX_IMAGE_CHANNELS]; /* train split, [0, 1] */
} dn_shard_info;

/* Values of one image: bytes as stored, floats in a batch. */
static inline size_t dn_image_values(const dn_shard_info *info)
{
    return (size_t)info->channels * (size_t)info->height * (size_t)info->width;
}

/* One image of an epoch; its augmentation is drawn from (seed, epoch, position). */
typedef struct dn_request {
    int64_t index; /* in the split */
    int64_t epoch, position;
} dn_request;

/* How stored pixels become the net's input: (pixel / 255 - mean) / std, cropped and flipped. */
typedef struct dn_transform {
    int channels, height, width;
    int augment; /* 1: pad 4, crop at random, flip at random (He et al. 2016) */
    uint64_t seed;
    float value[DN_MAX_IMAGE_CHANNELS][256]; /* of each byte of a channel */
} dn_transform;

/* The transform of a data set's images. */
dn_transform dn_transform_of(const dn_shard_info *info, int augment, uint64_t seed);

/* to(channels, height, width) from pixels of that shape. What an augmented image reads outside the
 * stored one is 0 after normalisation. Thread-safe. */
void dn_transform_apply(const dn_transform *transform, const dn_request *request,
                        const uint8_t *pixels, float *to);

/* A split whose images can be read, wherever they are kept: the first member of a structure that
 * knows where, such as dn_split (mpi/training/dataset.h). Owned by whoever filled it. */
typedef struct dn_source dn_source;

/* image(channels, height, width) = the transformed image. Several threads call it at once. */
typedef dn_status dn_read_fn(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, float *image);

struct dn_source {
    dn_shard_info info;
    int64_t count;
    const uint16_t *labels; /* (count) */
    dn_read_fn *read;
};

/* text = what tells this split from others, however it is cut and compressed: the set's name, size,
 * mean, and a checksum of the labels in their order. */
void dn_source_describe(const dn_source *source, char *text, size_t size);

#endif
