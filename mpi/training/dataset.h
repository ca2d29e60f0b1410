/* A data set's splits in memory, once a node. */
#ifndef DN_DATASET_H
#define DN_DATASET_H

#include "job/comm.h"
#include "dn/images.h"

typedef struct dn_split {
    dn_images images;
    dn_shards *shards;
    dn_shared pixels;
} dn_split;

/* Opens the split and decodes it into memory that the node's ranks share, each rank a part of the
 * images. The same status and message on all ranks. The caller closes it, also after a failure.
 * Collective. */
dn_status dn_split_open(dn_split *split, const dn_comm *comm, const char *folder, dn_split_id id);

/* Accepts a zeroed split. Not collective. */
void dn_split_close(dn_split *split);

#endif
