/*
 * What a DenseNet is made of, and the names it goes by.
 *
 * DenseNet, -B, -C and -BC (Huang, Liu, van der Maaten, Weinberger, "Densely Connected
 * Convolutional Networks", CVPR 2017) are one specification.
 */
#ifndef DN_SPEC_H
#define DN_SPEC_H

#include "dn/status.h"

enum { DN_MAX_BLOCKS = 8, DN_MAX_IMAGE_CHANNELS = 4, DN_MAX_SIDE = 4096, DN_MAX_CLASSES = 65535 };

typedef enum dn_stem {
    DN_STEM_CIFAR,    /* 3x3 convolution */
    DN_STEM_IMAGENET, /* 7x7/2 convolution, batch norm, ReLU, 3x3/2 max pool */
    DN_STEM_7X7       /* 7x7/2 convolution alone */
} dn_stem;

typedef struct dn_spec {
    char name[160]; /* as given by the user: a known name or the written form */
    dn_stem stem;
    int stem_channels;
    int blocks;
    int layers[DN_MAX_BLOCKS]; /* dense layers of each block */
    int growth[DN_MAX_BLOCKS]; /* channels each layer adds (growth rate k) */
    int bottleneck;            /* width of the 1x1 convolution / growth; 0: plain 3x3 layers */
    double compression;        /* channels after a transition / before */
    int last_transition;       /* 1: a transition follows the last block too */
    int head_norm;             /* 0: no norm and ReLU before the head's pool */
    int head_pool;             /* side of its windows, whose means are all features; 0: global */
    double dropout;            /* the model's own, see dn_net_options; unless others are chosen */
    double transition_dropout;
    int channels;      /* of the input image */
    int height, width; /* of the input image, pixels, at most DN_MAX_SIDE */
    int classes;
} dn_spec;

/*
 * Fills `spec` from a name such as densenet121 or densenet-bc-100-12, or from the written form
 *
 *     blocks=6,12,24,16:growth=32:bottleneck=4:compression=0.5:stem=imagenet:stem-channels=64
 *
 * whose keys may stand in any order; growth may be a list, one number a block; further keys:
 * last-transition=0|1, head-norm=0|1, head-pool=0|SIDE, dropout=P, transition-dropout=P. The image
 * is 3x32x32 or 3x224x224 and the classes 10 or 1000 by the stem until the caller sets them.
 * DN_EINVAL for an unknown name or a bad value; messages begin with "model: ".
 */
dn_status dn_spec_parse(dn_spec *spec, const char *model);

/* Checks that every map keeps at least one pixel and every width is in range. */
dn_status dn_spec_check(const dn_spec *spec);

/* The known names, in the order of --help; NULL past the end. */
const char *dn_spec_name(int index);

/* The written form of a known name, NULL of any other. */
const char *dn_spec_form(const char *name);

#endif
