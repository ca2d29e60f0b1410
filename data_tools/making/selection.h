/* Which images of a data set are taken, and for which split: --classes, --limit, --val-fraction. */
#ifndef DN_SELECTION_H
#define DN_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"
#include "options.h"

/* asked(classes) = 1 for the names(classes), which are those in `where`, that are among --classes,
 * or for all without it. DN_EINVAL where a word of it is none of them; DN_ENOMEM. */
dn_status dn_find_asked(const dn_records_options *options, const char *where,
                        const char *const *names, int classes, uint8_t *asked);

/* order(count) = the images of a train split: the *train that stay in it, then those that are drawn
 * for the test split, each in their order. Drawn are --val-fraction of each class, what rounding
 * takes from one going to later ones; they follow from the seed, the classes and the numbers of
 * their images. The label of the first is given, the others follow every `stride` bytes. At least
 * one image a class stays, unless no class has two. DN_EINVAL where a split is left empty;
 * DN_ENOMEM. */
dn_status dn_draw_test(const dn_records_options *options, const char *source, const uint16_t *label,
                       size_t stride, int64_t count, int classes, int64_t *order, int64_t *train);

#endif
