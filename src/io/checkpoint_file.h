/*
 * What the writer, the reader and the keeper of checkpoints share; docs/checkpoint-format.md
 * specifies the file.
 */
#ifndef DN_CHECKPOINT_FILE_H
#define DN_CHECKPOINT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "dn/checkpoint.h"

#define DN_CHECKPOINT_FORMAT   "dn_dist checkpoint"
#define DN_CHECKPOINT_MODEL    "model"
#define DN_CHECKPOINT_MOMENTUM "optimizer/momentum"
enum { DN_CHECKPOINT_VERSION = 1 };

/* The last bytes of a file: this text, then XXH3-64 of all bytes before it as 16 hex digits. */
#define DN_SEAL "dn_dist XXH3-64 "
enum { DN_HASH_DIGITS = 16, DN_SEAL_BYTES = sizeof DN_SEAL - 1 + DN_HASH_DIGITS };

static inline int dn_is_running(const dn_tensor *tensor)
{
    return tensor->kind == DN_RUNNING_MEAN || tensor->kind == DN_RUNNING_VAR;
}

/* What a file is made from: copies of a net's arrays. */
typedef struct dn_snapshot {
    const dn_net *net;                      /* names, shapes and places of the tensors */
    float *parameters, *momentum, *running; /* one allocation; as dn_net_view has them */
    dn_checkpoint state;                    /* its momentum is the copy, or NULL */
} dn_snapshot;

/* What dn_saver_start promises, at once. */
dn_status dn_snapshot_write(const dn_snapshot *snapshot, const char *folder, int keep);

/* Deletes what killed processes left under names that end in DN_PARTIAL. */
void dn_checkpoint_remove_partials(const char *folder);

/* Deletes the checkpoints of steps up to `step` but the `keep` newest. Later ones are not counted:
 * after a resumption that passed over a damaged file they are that file, and this run will replace
 * them. */
void dn_checkpoint_prune(const char *folder, int64_t step, int keep);

#endif
