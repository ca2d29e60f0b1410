/*
 * From stored images to a batch: which images, in which order, with which augmentation.
 *
 * All of it is a function of (seed, epoch, position in the epoch): the same on any rank, thread or
 * resumption. Position p of an epoch is image order[p]; step s of V virtual ranks of b images gives
 * virtual rank v the positions [(s V + v) b, (s V + v + 1) b).
 */
#ifndef DN_IMAGES_H
#define DN_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "dn/shard.h" /* dn_images: a split in memory */

/* text = what tells this split from others, however it is cut and compressed: the set's name, size,
 * mean, and a checksum of the labels in their order. */
void dn_images_describe(const dn_images *images, char *text, size_t size);

/* Names the images of one virtual rank's batch. */
typedef struct dn_batch {
    const uint32_t *order; /* the epoch's permutation; NULL: stored order */
    int64_t position;      /* of the first image in the epoch */
    int count;
    int augment; /* 1: pad 4, crop at random, flip at random (He et al. 2016) */
    uint64_t seed, epoch;
} dn_batch;

/* to(count, channels, height, width) = (pixel / 255 - mean) / deviation, and labels(count). What an
 * augmented image reads outside the stored one is 0 after normalisation. */
void dn_images_batch(const dn_images *images, const dn_batch *batch, float *to, int32_t *labels);

#endif
