/*
 * A split cut in two: images to train on, and images that are held out to judge by.
 */
#ifndef DN_SUBSET_H
#define DN_SUBSET_H

#include "dn/source.h"

/* Some images of a split, in its order. */
typedef struct dn_subset {
    dn_source images; /* reads from `whole` */
    const dn_source *whole;
    int64_t *index;   /* (images.count) in the whole */
    uint16_t *labels; /* (images.count) */
} dn_subset;

/* Holds out a fraction of each class, but at most all images of it but one; what rounding takes
 * from one class it gives to later ones. A function of (labels, fraction, seed). The caller
 * destroys both, also after a failure; `whole` must outlive them. DN_EINVAL where no image is held
 * out, DN_ENOMEM. */
dn_status dn_subset_split(dn_subset *kept, dn_subset *held_out, const dn_source *whole,
                          double fraction, uint64_t seed);

/* Accepts a zeroed one. */
void dn_subset_destroy(dn_subset *subset);

#endif
