/* A split as a source. Images stored as pixels of one size are decoded into memory, once for
 * all ranks that share it (comm->shm); encoded images (JPEG, PNG) are read from their shards and
 * decoded on every access. */
#ifndef DN_SPLIT_H
#define DN_SPLIT_H

#include <stdatomic.h>

#include "job/comm.h"
#include "dn/shard.h"
#include "dn/stage.h"
#include "training/settings.h"

typedef struct dn_split {
    dn_source images; /* reads from `pixels`, or the shards */
    int io_threads;   /* of each rank */
    dn_shards *shards;
    dn_shared index;     /* of the shards */
    dn_shared pixels;    /* (count, channels, height, width), or none */
    dn_shared copied;    /* state of the stage for the ranks of comm->shm, or none */
    dn_stage *stage;     /* on rank 0 of comm->shm if --stage is given; or NULL */
    atomic_llong stored; /* stored (compressed) bytes of the images that this rank has read */
} dn_split;

/* The I/O threads of a rank by `reading`, resolved if automatic. Not collective. */
int dn_io_threads(const dn_comm *comm, const dn_reading *reading, int is_encoded);

/* Opens the split. If its images are pixels, decodes it into memory that the ranks of comm->shm
 * share: each checks a part of the files and decodes a part of the images. Returns the same status
 * and message on all ranks: DN_ENOMEM, or errors of reading the files. The caller closes it, even
 * after a failure. Collective. */
dn_status dn_split_open(dn_split *split, const dn_comm *comm, const char *folder, dn_split_id id,
                        const dn_reading *reading);

/* Accepts a zeroed split. Not collective. */
void dn_split_close(dn_split *split);

#endif
