/*
 * From a stored image to the net's input: augmented, cropped, resized, normalised.
 *
 * A transform is a list of steps, each a row in a file of src/transforms, with torchvision's
 * semantics (docs/transforms.md). What they draw is a pure function of (seed, epoch, position), so
 * an image becomes the same on any rank, thread or resumption. Crops, a resize and flips only move
 * a view over the stored image, which is sampled when a step needs pixels, as a second resize does,
 * or at the end: no pixel is computed, or decoded, that no later step needs.
 */
#ifndef DN_TRANSFORM_H
#define DN_TRANSFORM_H

#include "dn/data_info.h"
#include "dn/resize.h"

/* One image of an epoch; its augmentation is drawn from (seed, epoch, position). */
typedef struct dn_request {
    int64_t index; /* in the split */
    int64_t epoch, position;
} dn_request;

enum { DN_TRANSFORM_STEPS = 16, DN_OP_PARAMETERS = 6, DN_OP_VALUES = 4 };

typedef struct dn_transform_step {
    int row;        /* of the table of steps */
    unsigned given; /* bit i: parameter i was given */
    double value[DN_OP_PARAMETERS][DN_OP_VALUES];
} dn_transform_step;

typedef struct dn_transform {
    int channels, height, width; /* of the net's input */
    int fit_height, fit_width;   /* images are brought to this size before the steps; 0: are not */
    int steps;
    dn_transform_step step[DN_TRANSFORM_STEPS];
    uint64_t seed;
    const struct dn_pixel_kernels *kernels;
    float value[DN_MAX_IMAGE_CHANNELS][256]; /* (pixel / 255 - mean) / std, of each byte */
    uint8_t middle[DN_MAX_IMAGE_CHANNELS];   /* the pixel nearest to the mean */
} dn_transform;

/* Memory in which one thread transforms images. Zeroed before the first. */
typedef struct dn_workspace {
    dn_buffer file, planes, spare, resizing;
    dn_pixels pixels;
} dn_workspace;

/* Accepts a zeroed one. */
void dn_workspace_free(dn_workspace *workspace);

/* How step `index` is written, with its defaults, and what it does; NULL past the last. */
const char *dn_transform_usage(int index);

/* The transform of a data set's images that `list` describes, such as
 * "random-resized-crop:224,hflip:p=0.3"; "none" or "": none. It is computed by these kernels.
 * DN_EINVAL names the step, or says that images of several sizes have to be brought to one. */
dn_status dn_transform_parse(dn_transform *transform, const struct dn_pixel_kernels *kernels,
                             const dn_data_info *info, const char *list, uint64_t seed);

/* to(channels, height, width) from pixels(channels, height, width) as stored, or from an encoded
 * file. DN_ENOMEM, what dn_image_decode returns, and DN_EINVAL for an image so long that a step
 * gets more than DN_IMAGE_PIXELS of it, resized. */
dn_status dn_transform_pixels(const dn_transform *transform, const dn_request *request,
                              const uint8_t *pixels, int height, int width, dn_workspace *workspace,
                              float *to);
dn_status dn_transform_encoded(const dn_transform *transform, const dn_request *request,
                               const dn_encoded *file, dn_workspace *workspace, float *to);

/* The byte, as it would have been stored, that the transform makes x of, or one near it of. */
uint8_t dn_transform_byte(const dn_transform *transform, int channel, float x);

/* The mean and std that `text` says instead of the shards': "imagenet"; "none", pixels from 0 to 1;
 * or "m,m,m/s,s,s", one for each channel, or one for all. DN_EINVAL. */
dn_status dn_normalize_parse(dn_data_info *info, const char *text);

/* text = what dn_normalize_parse reads to the same bits of a transform. */
void dn_normalize_describe(const dn_data_info *info, char *text, size_t size);

#endif
