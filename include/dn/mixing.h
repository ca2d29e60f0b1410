/*
 * Mixing of training images: mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019), as
 * torchvision's transforms.v2 do it: image i of a batch is mixed with image i - 1, the first with
 * the last. One ratio or box, drawn from Beta(alpha, alpha), is used for the whole batch.
 *
 * The draw is a pure function of (seed, step, virtual rank). Not collective.
 */
#ifndef DN_MIXING_H
#define DN_MIXING_H

#include <stdint.h>

/* The alphas; 0: off. If both are on, each batch uses one of them with probability 1/2. */
typedef struct dn_mixing {
    double mixup, cutmix;
} dn_mixing;

/* How one batch is mixed: an image's own label has weight `share` in its target, its partner's
 * label the rest. Rows [top, bottom) and columns [left, right) come from the partner; if the box is
 * empty, all pixels are blended with that ratio. */
typedef struct dn_mix {
    float share; /* 1: nothing is mixed */
    int top, bottom, left, right;
} dn_mix;

/* Draws the mix of a batch of height x width images. */
dn_mix dn_mix_draw(const dn_mixing *mixing, uint64_t seed, uint64_t step, uint64_t virtual_rank,
                   int height, int width);

/* Mixes images(batch, channels, height, width) in place. */
void dn_mix_images(const dn_mix *mix, float *images, int batch, int channels, int height,
                   int width);

/* The image that `image` is mixed with. */
static inline int dn_mix_partner(int image, int batch)
{
    return (image + batch - 1) % batch;
}

#endif
