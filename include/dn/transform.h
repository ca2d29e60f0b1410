/*
 * From a stored image to the net's input: augmented, cropped, resized, normalised.
 *
 * A transform is a list of steps with torchvision's semantics (docs/transforms.md), each a row in a
 * file of src/transforms. Their random draws are a pure function of (seed, epoch, position), so the
 * result is the same on any rank or thread, and after a resumption. Crops, a resize and flips only
 * move a view over the stored image. The view is sampled when a step needs pixels, as a second
 * resize does, or at the end, so only pixels that a later step needs are decoded and computed. Not
 * collective.
 */
#ifndef DN_TRANSFORM_H
#define DN_TRANSFORM_H

#include "dn/data_info.h"
#include "dn/resize.h"

/* One image of an epoch; (seed, epoch, position) determine its augmentation. */
typedef struct dn_request {
    int64_t index; /* in the split */
    int64_t epoch, position;
} dn_request;

enum { DN_TRANSFORM_STEPS = 16, DN_STEP_PARAMETERS = 6, DN_STEP_VALUES = 4 };

typedef struct dn_transform_step {
    const struct dn_transform_row *row; /* of the table of steps */
    unsigned given;                     /* bit i: parameter i is given */
    double value[DN_STEP_PARAMETERS][DN_STEP_VALUES];
} dn_transform_step;

typedef struct dn_transform {
    int channels, height, width; /* of the net's input */
    int fit_height, fit_width;   /* images are resized and cropped to this size before the steps; 0:
                                    they are not */
    int steps;
    dn_transform_step step[DN_TRANSFORM_STEPS];
    uint64_t seed;
    const struct dn_pixel_kernels *kernels;
    float value[DN_MAX_IMAGE_CHANNELS][256]; /* (byte / 255 - mean) / std of each byte */
    uint8_t middle[DN_MAX_IMAGE_CHANNELS];   /* the byte nearest to the mean */
} dn_transform;

/* Values (channels * height * width) of a transformed image. */
static inline size_t dn_transform_values(const dn_transform *transform)
{
    return (size_t)transform->channels * (size_t)transform->height * (size_t)transform->width;
}

/* Working memory of one thread that transforms images. Zeroed before the first use. */
typedef struct dn_transform_memory {
    dn_buffer file, planes, spare, resizing;
    dn_pixels pixels;
} dn_transform_memory;

/* Frees the memory. Accepts a zeroed structure. */
void dn_transform_memory_free(dn_transform_memory *memory);

/* Usage of step `index`: its syntax with defaults, and what it does; NULL past the last. */
const char *dn_transform_usage(int index);

/* Parses `list`, such as "random-resized-crop:224,hflip:p=0.3"; "none" or "": no steps. The
 * transform is for images of the data set `info` and is computed by `kernels`. Errors: DN_EINVAL
 * (names the step, or says that images of several sizes have to be brought to one). */
dn_status dn_transform_parse(dn_transform *transform, const struct dn_pixel_kernels *kernels,
                             const dn_data_info *info, const char *list, uint64_t seed);

/* to(channels, height, width) = the transformed image, in fp32, from stored pixels(channels,
 * height, width) or from an encoded file. Errors: as dn_image_decode; DN_ENOMEM, DN_EINVAL (an
 * image so elongated that a step would resize it to more than DN_IMAGE_PIXELS). */
dn_status dn_transform_pixels(const dn_transform *transform, const dn_request *request,
                              const uint8_t *pixels, int height, int width,
                              dn_transform_memory *memory, float *to);
dn_status dn_transform_encoded(const dn_transform *transform, const dn_request *request,
                               const dn_encoded *file, dn_transform_memory *memory, float *to);

/* The byte that the transform maps to x, or one near it: the inverse of the normalisation. */
uint8_t dn_transform_byte(const dn_transform *transform, int channel, float x);

/* Sets the mean and std from `text` instead of the data set's: "imagenet"; "none", for values from
 * 0 to 1; or "m,m,m/s,s,s", one for each channel or one for all. Errors: DN_EINVAL. */
dn_status dn_normalize_parse(dn_data_info *info, const char *text);

/* text = the mean and std in the form that dn_normalize_parse reads back exactly. */
void dn_normalize_describe(const dn_data_info *info, char *text, size_t size);

#endif
