/*
 * Staging: copies of encoded shards on a node's local disk, made in the background while the shards
 * are read.
 *
 * STAGE/dn_dist-HASH holds the copies of one data set, where HASH is that of its dataset.json.
 * NAME.h5 is complete and verified; NAME.h5.partial is being written by the process that has it
 * locked. All runs that use the folder hold a shared lock on its file `lock`; the last one removes
 * the folder. Copies left by a killed run are reused if their checksums match; the next run that
 * stages in STAGE removes those that nobody uses.
 *
 * Staging never makes reading fail: a shard that cannot be copied is read from its original place.
 * Not collective.
 */
#ifndef DN_STAGE_H
#define DN_STAGE_H

#include "dn/shard.h"

typedef struct dn_stage dn_stage;

/* Size of the zeroed memory in which processes of a node share which shards have been copied.
 * It must outlive the shards and the stage. */
size_t dn_stage_bytes(const dn_shards *shards);

/* From now on reads the shards from the copies below the folder `stage` as far as `copied`, shared
 * by these processes, says that they are complete. Errors: DN_EINVAL (the path is too long).
 */
dn_status dn_stage_use(dn_shards *shards, const char *stage, void *copied);

/* Starts the copying thread, in one of these processes, after dn_stage_use. If the folder cannot be
 * created or locked, or belongs to another user, warns and sets *stage to NULL. The caller stops it
 * before closing the shards. */
void dn_stage_start(dn_stage **stage, dn_shards *shards);

/* Stops the thread, removes the copies if no other run uses them, frees *stage, which may be NULL,
 * and sets it to NULL. */
void dn_stage_stop(dn_stage **stage);

#endif
