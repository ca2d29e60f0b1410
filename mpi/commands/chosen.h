/* The images that eval --split names. */
#ifndef DN_COMMANDS_CHOSEN_H
#define DN_COMMANDS_CHOSEN_H

#include "commands/trained.h"
#include "dn/subset.h"
#include "training/split.h"

typedef struct dn_chosen {
    dn_split split;           /* that the images are in */
    dn_subset kept, held_out; /* of the train split, by --val-fraction */
    const dn_source *images;
    const int64_t *index; /* (images->count) in the split; NULL: these are all of it */
} dn_chosen;

/* Opens the split, for "val" the part of the train split that the run held out where the records
 * have no such split, for "train" then the rest, if these are the run's own records. DN_EINVAL:
 * there is neither. To be closed also after a failure. Collective. */
dn_status dn_chosen_open(dn_chosen *c, const dn_comm *comm, const dn_trained *trained,
                         const dn_options *o);

/* The number in the split of image `index` of those. */
static inline int64_t dn_chosen_place(const dn_chosen *c, int64_t index)
{
    return c->index ? c->index[index] : index;
}

/* Accepts a zeroed one. */
void dn_chosen_close(dn_chosen *c);

#endif
