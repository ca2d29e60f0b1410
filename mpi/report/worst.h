/* Pictures of the samples with the greatest loss. Not collective. */
#ifndef DN_REPORT_WORST_H
#define DN_REPORT_WORST_H

#include <jansson.h>

#include "training/evaluate.h"

enum { DN_WORST = 24 };

/* *worst = an array of the at most DN_WORST images with the greatest loss, each {"index", "label",
 * "predicted", "probability", "loss", "png"}, where "png" is the net's input before normalisation,
 * in base64, or null, with a warning, if memory is short. If labels are sets, "label" and
 * "predicted" are lists of classes, without "probability". The caller releases it. Returns errors
 * of reading the images; DN_ENOMEM. */
dn_status dn_worst_samples(json_t **worst, const dn_source *images, const dn_transform *transform,
                           const dn_results *results);

#endif
