/* Properties shared by all images of a data set. */
#ifndef DN_DATA_INFO_H
#define DN_DATA_INFO_H

#include <stddef.h>

#include "dn/spec.h"

enum { DN_MAX_IMAGE_BYTES = 64 << 20 /* of a stored image: its pixels or its encoded file */ };

/* What an image's label, a set of classes, says of a class; stored as a byte. */
typedef enum dn_presence { DN_ABSENT, DN_PRESENT, DN_UNKNOWN } dn_presence;

typedef struct dn_data_info {
    char dataset[64];                     /* "CIFAR10" */
    int channels, height, width, classes; /* height and width 0: each image has its own */
    int label_sets; /* sets of classes, which the labels number; 0: they number the classes */
    double mean[DN_MAX_IMAGE_CHANNELS], std[DN_MAX_IMAGE_CHANNELS]; /* train split, [0, 1] */
} dn_data_info;

/* 1 if images are stored as encoded files, each with its own size; 0 if as pixels of one size. */
static inline int dn_is_encoded(const dn_data_info *info)
{
    return info->height == 0;
}

/* Values (channels * height * width) of a stored image, if all have one size. */
static inline size_t dn_image_values(const dn_data_info *info)
{
    return (size_t)info->channels * (size_t)info->height * (size_t)info->width;
}

/* Number of different labels. */
static inline int dn_label_count(const dn_data_info *info)
{
    return info->label_sets > 0 ? info->label_sets : info->classes;
}

#endif
