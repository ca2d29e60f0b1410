/*
 * Splitting a split into images to train on and held-out images for validation. Not collective.
 */
#ifndef DN_SUBSET_H
#define DN_SUBSET_H

#include "dn/rng.h"
#include "dn/source.h"

/* A random selection of a split's images. */
typedef struct dn_selection {
    const uint16_t *labels; /* (count), below `classes` */
    int64_t count;
    int classes;
    double fraction; /* of each class */
    int keep;        /* images of each class that are never drawn */
    uint64_t seed;
    dn_stream stream;
    int64_t drawn, largest; /* out: images drawn; images in the largest class */
} dn_selection;

/* drawn(count) = 1 for drawn images, else 0. Rounding errors of one class are carried to the next.
 * A function of the labels, fraction, seed and stream. Errors: DN_ENOMEM. */
dn_status dn_draw_images(dn_selection *selection, uint8_t *drawn);

/* A subset of a split, in its order. */
typedef struct dn_subset {
    dn_source images; /* a source that reads from `whole` */
    const dn_source *whole;
    int64_t *index;   /* (images.count) indices in `whole` */
    uint16_t *labels; /* (images.count) */
} dn_subset;

/* Holds out the images that dn_draw_images draws, a function of the labels and the fraction; at
 * least one image of each class is kept, unless labels are sets of classes. The caller frees both
 * with dn_subset_destroy, also on failure; `whole` must outlive them. Errors: DN_EINVAL (no image
 * is held out), DN_ENOMEM. */
dn_status dn_subset_split(dn_subset *kept, dn_subset *held_out, const dn_source *whole,
                          double fraction);

/* Accepts a zeroed one. */
void dn_subset_destroy(dn_subset *subset);

#endif
