/* Which images of a data set are taken, and for which split: --classes, --limit, --val-fraction. */
#ifndef DN_SELECTION_H
#define DN_SELECTION_H

#include "making/records.h"

/* asked(classes) = 1 for the names(classes), which are those in `where`, that are among --classes,
 * or for all without it. DN_EINVAL where a word of it is none of them; DN_ENOMEM. */
dn_status dn_find_asked(const dn_records_options *options, const char *where,
                        const char *const *names, int classes, uint8_t *asked);

/* drawn(count) = 1 for the images of a train split, by their labels(count), that are drawn for the
 * test split: --val-fraction of each class, what rounding takes from one going to later ones. They
 * follow from the seed, the classes and the numbers of their images. At least one image a class
 * stays, unless no class has two. DN_EINVAL where a split is left empty; DN_ENOMEM. */
dn_status dn_draw_test(const dn_records_options *options, const char *source,
                       const uint16_t *labels, int64_t count, int classes, uint8_t *drawn);

/* Leaves what was asked for of both splits: with --val-fraction the test split is what is drawn
 * from the train split. names(*classes), in the set's order, are those that are left, which the
 * labels count. DN_EINVAL where a split is left empty. */
dn_status dn_select_images(const dn_raw_set *set, const dn_records_options *options,
                           const char *source, dn_raw_split split[DN_SPLITS], const char **names,
                           int *classes);

#endif
