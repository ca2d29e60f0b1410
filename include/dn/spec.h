/*
 * The architecture of a DenseNet, and its names.
 *
 * DenseNet, -B, -C and -BC (Huang, Liu, van der Maaten, Weinberger, "Densely Connected
 * Convolutional Networks", CVPR 2017) are all described by one structure. Not collective.
 */
#ifndef DN_SPEC_H
#define DN_SPEC_H

#include <stddef.h>

#include "dn/status.h"

enum { DN_MAX_BLOCKS = 8, DN_MAX_IMAGE_CHANNELS = 4, DN_MAX_SIDE = 4096, DN_MAX_CLASSES = 65535 };

typedef enum dn_stem {
    DN_STEM_CIFAR,    /* 3x3 convolution */
    DN_STEM_IMAGENET, /* 7x7/2 convolution, batch norm, ReLU, 3x3/2 max pool */
    DN_STEM_7X7       /* 7x7/2 convolution alone */
} dn_stem;

typedef struct dn_spec {
    char name[160]; /* as given by the user: a known name, or keys and values */
    dn_stem stem;
    int stem_channels;
    int blocks;
    int layers[DN_MAX_BLOCKS]; /* dense layers of each block */
    int growth[DN_MAX_BLOCKS]; /* channels each layer adds (growth rate k) */
    int bottleneck;            /* width of the 1x1 convolution / growth rate; 0: plain 3x3 layers */
    double compression;        /* channels after a transition / before */
    int last_transition;       /* 1: a transition also follows the last block */
    int head_norm;             /* 0: no batch norm and ReLU before the head's pool */
    int head_pool;  /* side of the head's pooling windows, whose means are the features; 0: global
                       pooling */
    double dropout; /* the model's default; see dn_net_options */
    double transition_dropout;
    int channels;      /* of the input image */
    int height, width; /* of the input image, pixels, at most DN_MAX_SIDE */
    int classes;
} dn_spec;

/* Values (channels * height * width) of an input image. */
static inline size_t dn_spec_values(const dn_spec *spec)
{
    return (size_t)spec->channels * (size_t)spec->height * (size_t)spec->width;
}

/*
 * Fills `spec` from a name such as densenet121 or densenet-bc-100-12, or from keys and values, the
 * written form:
 *
 *     blocks=6,12,24,16:growth=32:bottleneck=4:compression=0.5:stem=imagenet:stem-channels=64
 *
 * Keys may be in any order; growth may be a list with one number per block. Further keys:
 * last-transition=0|1, head-norm=0|1, head-pool=0|SIDE, dropout=P, transition-dropout=P. The stem
 * determines the default image, 3x32x32 or 3x224x224, and 10 or 1000 classes; the caller may change
 * them. Errors: DN_EINVAL (unknown name or invalid value; the message begins with "model: ").
 */
dn_status dn_spec_parse(dn_spec *spec, const char *model);

/* Checks that every feature map has at least one pixel and every width is in range. Errors:
 * DN_EINVAL, DN_ESHAPE. */
dn_status dn_spec_check(const dn_spec *spec);

/* Known name `index`, in the order of --help; NULL past the end. */
const char *dn_spec_name(int index);

/* The written form of a known name; NULL for any other. */
const char *dn_spec_form(const char *name);

#endif
