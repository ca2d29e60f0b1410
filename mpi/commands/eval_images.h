/* The images that eval --split names. */
#ifndef DN_COMMANDS_EVAL_IMAGES_H
#define DN_COMMANDS_EVAL_IMAGES_H

#include "commands/trained.h"
#include "dn/subset.h"
#include "training/split.h"

typedef struct dn_eval_images {
    dn_split split;                /* the split that contains the images */
    dn_subset remaining, held_out; /* of the train split, by --val-fraction */
    const dn_source *images;
    const int64_t *index; /* (images->count) indices in the split; NULL: all of it */
} dn_eval_images;

/* Opens the split of options->split. If the records have no val split and are those that the run
 * learnt from, "val" is the part of the train split that the run held out, and "train" the rest.
 * DN_EINVAL if there is no such split. The caller closes it, even after a failure. Collective. */
dn_status dn_eval_images_open(dn_eval_images *e, const dn_comm *comm, const dn_trained *trained,
                              const dn_options *o);

/* The index in the split of image `index`. */
static inline int64_t dn_eval_images_index(const dn_eval_images *e, int64_t index)
{
    return e->index ? e->index[index] : index;
}

/* Accepts a zeroed one. Not collective. */
void dn_eval_images_close(dn_eval_images *e);

#endif
