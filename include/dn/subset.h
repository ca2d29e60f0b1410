/*
 * A split cut in two: images to train on, and images that are held out to judge by.
 */
#ifndef DN_SUBSET_H
#define DN_SUBSET_H

#include "dn/rng.h"
#include "dn/source.h"

/* Images that are drawn of a split. */
typedef struct dn_selection {
    const uint16_t *labels; /* (count), below `classes` */
    int64_t count;
    int classes;
    double fraction; /* of each class */
    int keep;        /* so many images of each class stay */
    uint64_t seed;
    dn_stream stream;
    int64_t drawn, largest; /* set: images that are drawn, and of the largest class */
} dn_selection;

/* drawn(count) = 1 for those that are drawn. What rounding takes from one class it gives to later
 * ones. A function of the labels, fraction, seed and stream. DN_ENOMEM. */
dn_status dn_draw_images(dn_selection *selection, uint8_t *drawn);

/* Some images of a split, in its order. */
typedef struct dn_subset {
    dn_source images; /* reads from `whole` */
    const dn_source *whole;
    int64_t *index;   /* (images.count) in the whole */
    uint16_t *labels; /* (images.count) */
} dn_subset;

/* Holds out what dn_draw_images draws, a function of the labels and the fraction; an image of each
 * class stays. The caller destroys both, also after a failure; `whole` must outlive them. DN_EINVAL
 * where no image is held out, DN_ENOMEM. */
dn_status dn_subset_split(dn_subset *kept, dn_subset *held_out, const dn_source *whole,
                          double fraction);

/* Accepts a zeroed one. */
void dn_subset_destroy(dn_subset *subset);

#endif
