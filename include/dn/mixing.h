/*
 * Mixing of training images: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019),
 * as torchvision's transforms.v2 do it: image i of a batch with image i - 1, the first with the
 * last, the whole batch in one ratio and with one box, drawn from Beta(alpha, alpha).
 *
 * What is drawn is a pure function of (seed, step, virtual rank).
 */
#ifndef DN_MIXING_H
#define DN_MIXING_H

#include <stdint.h>

/* The alphas; 0: off. Where both are on, each batch takes either with probability 1/2. */
typedef struct dn_mixing {
    double mixup, cutmix;
} dn_mixing;

/* What becomes of one batch: `share` of an image's target is its own label's, the rest its
 * neighbour's; rows [top, bottom) and columns [left, right) are the neighbour's, or, of an empty
 * box, every pixel is mixed in that ratio. */
typedef struct dn_mix {
    float share; /* 1: nothing is mixed */
    int top, bottom, left, right;
} dn_mix;

/* That of a batch of images of height x width pixels. */
dn_mix dn_mix_draw(const dn_mixing *mixing, uint64_t seed, uint64_t step, uint64_t virtual_rank,
                   int height, int width);

/* Mixes images(batch, channels, height, width) in place. */
void dn_mix_images(const dn_mix *mix, float *images, int batch, int channels, int height,
                   int width);

/* The image whose label has the rest of image `image`'s target. */
static inline int dn_mix_partner(int image, int batch)
{
    return (image + batch - 1) % batch;
}

#endif
