/* Selects the classes of a data set, and draws a test split: --classes, --val-fraction. */
#ifndef DN_SELECTION_H
#define DN_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"
#include "options.h"

/* asked(classes) = 1 for those of names(classes) that --classes lists, or for all without it.
 * DN_EINVAL if a listed name is not among them, with a message that calls their source `where`;
 * DN_ENOMEM. */
dn_status dn_find_asked(const dn_records_options *options, const char *where,
                        const char *const *names, int classes, uint8_t *asked);

/* order(count) = the indices of the images of a train split: the *train that stay in it, then those
 * drawn for the test split, both in order. The fraction --val-fraction of each class is drawn;
 * rounding errors are carried over to the next classes. The draw depends on the seed, the classes
 * and their numbers of images only. `label` points to the first label, the others follow at a
 * distance of `stride` bytes. At least one image of a class stays, unless no class has two,
 * or labels are sets of classes.
 * DN_EINVAL if a split would be empty; DN_ENOMEM. */
dn_status dn_draw_test(const dn_records_options *options, const char *source, const uint16_t *label,
                       size_t stride, int64_t count, int classes, int64_t *order, int64_t *train);

/* The same for item(count) of `size` bytes each, which are put in this order; `label` points into
 * the first item. */
dn_status dn_draw_items(const dn_records_options *options, const char *source, void *item,
                        const uint16_t *label, size_t size, int64_t count, int classes,
                        int64_t *train);

#endif
