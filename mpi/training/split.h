/* A split as a source: images of one size are decoded into memory, once a node; encoded ones are
 * read, and decoded, from their shards whenever they are asked for. */
#ifndef DN_SPLIT_H
#define DN_SPLIT_H

#include <stdatomic.h>

#include "job/comm.h"
#include "dn/shard.h"
#include "dn/stage.h"
#include "training/settings.h"

typedef struct dn_split {
    dn_source images; /* reads from `pixels`, or the shards */
    int io_threads;   /* that are to read it, of each rank */
    dn_shards *shards;
    dn_shared index;     /* of the shards */
    dn_shared pixels;    /* (count, channels, height, width), or none */
    dn_shared copied;    /* what the node's ranks know of the stage, or none */
    dn_stage *stage;     /* on the node's first rank, with --stage; or NULL */
    atomic_llong stored; /* bytes of the images that this rank has read, as they are stored */
} dn_split;

/* As many threads as `reading` asks for, of images that are encoded or not. */
int dn_io_threads(const dn_comm *comm, const dn_reading *reading, int is_encoded);

/* Opens the split and, where its images are pixels, decodes it into memory that the node's ranks
 * share: each rank checks a part of the files and decodes a part of the images. The same status and
 * message on all ranks. The caller closes it, also after a failure. Collective. */
dn_status dn_split_open(dn_split *split, const dn_comm *comm, const char *folder, dn_split_id id,
                        const dn_reading *reading);

/* Accepts a zeroed split. Not collective. */
void dn_split_close(dn_split *split);

#endif
