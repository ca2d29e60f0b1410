/* What all images of a data set have in common. */
#ifndef DN_DATA_INFO_H
#define DN_DATA_INFO_H

#include <stddef.h>

#include "dn/spec.h"

enum { DN_MAX_IMAGE_BYTES = 64 << 20 /* of a stored image: of its pixels, or of its file */ };

typedef struct dn_data_info {
    char dataset[64];                     /* "CIFAR10" */
    int channels, height, width, classes; /* height and width 0: the images' own */
    double mean[DN_MAX_IMAGE_CHANNELS], std[DN_MAX_IMAGE_CHANNELS]; /* train split, [0, 1] */
} dn_data_info;

/* 1: images are stored as files of sizes of their own, not as pixels of one size. */
static inline int dn_is_encoded(const dn_data_info *info)
{
    return info->height == 0;
}

/* Values of one stored image, all of one size. */
static inline size_t dn_image_values(const dn_data_info *info)
{
    return (size_t)info->channels * (size_t)info->height * (size_t)info->width;
}

#endif
