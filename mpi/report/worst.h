/* Pictures of the images that a net is most wrong about. Not collective. */
#ifndef DN_REPORT_WORST_H
#define DN_REPORT_WORST_H

#include <jansson.h>

#include "training/evaluate.h"

enum { DN_WORST = 24 };

/* *worst = an array of at most DN_WORST {"index", "label", "predicted", "probability", "loss",
 * "png"}, the last in base64: the net's input as it was before normalisation; of samples
 * (images->count) those of the greatest loss, to be released by the caller. What the images' reader
 * returns; DN_ENOMEM. */
dn_status dn_worst_samples(json_t **worst, const dn_source *images, const dn_transform *transform,
                           const dn_sample *samples);

#endif
