/*
 * Copies of encoded shards on a node's own disk, made in the background while the shards are read.
 *
 * STAGE/dn_dist-HASH holds the copies of one data set, HASH being that of its dataset.json: NAME.h5
 * is whole and was right, NAME.h5.partial is being written by whoever has it locked. All runs that
 * use the folder have its file `lock` locked in common; the last to leave removes the folder. What
 * a killed run left is used again where its checksum is right, and removed by the next run that
 * stages in STAGE where nobody uses it.
 *
 * Nothing here can make reading fail: what cannot be copied is read where it is.
 */
#ifndef DN_STAGE_H
#define DN_STAGE_H

#include "dn/shard.h"

typedef struct dn_stage dn_stage;

/* Bytes of zeroed memory by which the processes of a node tell each other which shards have been
 * copied; it outlives the shards and the stage. */
size_t dn_stage_bytes(const dn_shards *shards);

/* The shards are read from the copies below the folder `stage` as far as `copied` says, by all
 * processes that have these bytes in common. DN_EINVAL: the path is too long. */
dn_status dn_stage_use(dn_shards *shards, const char *stage, void *copied);

/* Starts the thread that copies, in one process of a node, after dn_stage_use. *stage is NULL where
 * the folder cannot be made or locked, or is another user's, which is a warning. The caller stops
 * it before he closes the shards. */
void dn_stage_start(dn_stage **stage, dn_shards *shards);

/* Ends the thread and, where nobody else uses the copies, removes them. Sets *stage to NULL and
 * accepts NULL inside. */
void dn_stage_stop(dn_stage **stage);

#endif
