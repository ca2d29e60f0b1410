/*
 * Checkpoints: one HDF5 file with everything that a run needs to continue on any number of ranks,
 * followed by a checksum of all its bytes. A reader verifies the checksum first, so any damaged
 * byte is DN_ECORRUPT. It still validates everything that it reads, because anyone can recompute
 * the checksum. docs/checkpoint-format.md specifies the file.
 *
 * A checkpoint is written under a temporary name in the same folder, flushed to disk and renamed,
 * so a file with its final name, checkpoint-STEP.h5, is complete. Not collective: one rank writes,
 * any rank reads.
 */
#ifndef DN_CHECKPOINT_H
#define DN_CHECKPOINT_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "dn/metrics.h"
#include "dn/monitor.h"
#include "dn/net.h"
#include "dn/optimizer.h"
#include "dn/schedule.h"
#include "dn/manifest.h"

/* Position and configuration of a run. The vectors are in its net and optimizer. */
typedef struct dn_checkpoint {
    int64_t step;          /* optimizer steps done; the position in the data follows from it */
    uint64_t hash;         /* dn_net_hash of the weights, checked by the reader */
    char path[PATH_MAX];   /* of the file; empty for a run that starts */
    char data[256];        /* identifies the data set (dn_source_describe) */
    char folder[PATH_MAX]; /* of the data set, absolute; empty if unknown */
    char config[8192];     /* INI text of the options that determine the result */
    char kernels[32];      /* "generic", "vectors" or the name of a bf16 product set: kernels that
                              compute the same bits */
    char schedule[32];     /* the schedule that `schedule_state` belongs to, or empty */
    dn_schedule_state schedule_state;
    dn_epoch_sums epoch_sums; /* of the steps since the end of the last epoch */
    dn_monitor_state monitor; /* of the best epoch */
    int64_t average_step;     /* the last step at which the averaged weights' batch statistics were
                                 measured; 0: never, -1: no weights are averaged */
    int is_best;              /* in: the file becomes DN_CHECKPOINT_BEST first; not stored */
    /* The data set's dataset.json, for the writer; not owned. NULL after reading: use
     * dn_checkpoint_data_set. */
    const uint8_t *data_set;
    size_t data_set_bytes;
} dn_checkpoint;

/* The name of the best epoch's checkpoint: a hard link or a copy, since the file's own name may be
 * deleted. */
#define DN_CHECKPOINT_BEST "best.h5"

/* ---- writing ---- */

/*
 * A saver writes checkpoints in the background: training stops only while the vectors are copied.
 * One thread at a time may use a saver. The HDF5 library is not thread-safe: between dn_saver_start
 * and the return of dn_saver_wait no other thread may call it. All functions but dn_saver_create
 * and dn_saver_rescue accept NULL and then do nothing, for ranks that do not save.
 */
typedef struct dn_saver dn_saver;

/* Creates a saver of `net` and `optimizer` with memory for a copy of their vectors. It writes into
 * `folder`, which is created if missing, and keeps the `keep` newest checkpoints (0: all). The
 * caller frees it with dn_saver_destroy; `net`, `optimizer` and `folder` must outlive it. Errors:
 * DN_ENOMEM, DN_EIO. */
dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const dn_optimizer_state *optimizer,
                          const char *folder, int keep);

/* Waits for the previous write, copies the vectors and `state`, and writes
 * dn_checkpoint_path(folder, step) in the background. Afterwards deletes all checkpoints up to this
 * step but the `keep` newest, and temporary files of killed processes. The write takes memory of
 * twice the file's size. If the previous write failed, warns, waits for this one as well and
 * returns its status as dn_saver_wait does; one that was to become DN_CHECKPOINT_BEST is first
 * written again, and a second failure returned at once. If a value is not finite, writes nothing,
 * since no reader would accept the file, and returns DN_EDIVERGED with the tensor's name. */
dn_status dn_saver_start(dn_saver *saver, const dn_checkpoint *state);

/* Warns once if a write is known to have failed. Does not wait. */
void dn_saver_warn(dn_saver *saver);

/* Waits for the last write and returns its failure, once. Errors: DN_ENOMEM; DN_EIO (names the file
 * and the system's reason; no file is left behind). */
dn_status dn_saver_wait(dn_saver *saver);

/* Seconds of the longest write so far that was waited for. */
double dn_saver_longest(const dn_saver *saver);

/* Forks a child (dn_child_detach) that saves the current vectors and `state`, for a process that
 * may be killed at any moment. Does nothing if that step is already on disk, written by this saver
 * or as state->path. The child reports on standard error what it saved, or why it could not; it
 * neither replaces nor deletes a newer file. After a failed write of DN_CHECKPOINT_BEST that was
 * not repeated yet, the saved state names no best epoch. `is_swapped`: the net holds the averaged
 * weights and the optimizer the net's own; the child swaps them back. Waits while a thread builds a
 * file. May be called from another thread than the saver's; nobody may change the vectors
 * meanwhile. Returns the child, for waitpid; 0 or -1 if there is none. */
pid_t dn_saver_rescue(dn_saver *saver, const dn_checkpoint *state, int is_swapped);

/* Waits, warns of a failure that was neither returned nor warned of, frees the saver and sets
 * *saver to NULL. */
void dn_saver_destroy(dn_saver **saver);

/* path(size) = "FOLDER/checkpoint-STEP.h5", STEP with 8 digits or more. */
void dn_checkpoint_path(char *path, size_t size, const char *folder, int64_t step);

/* ---- reading ---- */

/* A verified checkpoint, open for reading. */
typedef struct dn_checkpoint_file dn_checkpoint_file;

/* Reads the file into memory, verifies all its bytes, and reads position and configuration: what is
 * needed to build the net. The step is in [0, 10^18] and may lie beyond the run's end; the
 * configuration may be any text. Forks, as dn_checkpoint_load does (dn/child.h). The caller frees
 * *file with dn_checkpoint_close; it is NULL on failure. Errors: DN_ENOENT (there is no such file),
 * DN_EIO, DN_ECORRUPT, DN_ENOMEM. */
dn_status dn_checkpoint_open(dn_checkpoint_file **file, const char *path, dn_checkpoint *state);

/* Opens the folder's newest intact checkpoint of a step below `limit`. If there are no checkpoints
 * or no folder, *file is NULL and state->path empty. Damaged checkpoints are skipped with a
 * warning that names the one that is used. If all are damaged it fails and the message has their
 * number: a run that started over would overwrite them. A checkpoint that the system refuses to
 * read is not skipped: it may be whole. Errors: DN_EIO, DN_ENOMEM, those of the newest. */
dn_status dn_checkpoint_open_newest(dn_checkpoint_file **file, const char *folder, int64_t limit,
                                    dn_checkpoint *state);

/* Fills the net's parameters and running statistics and, unless `optimizer` is NULL, the
 * optimizer's vectors (averaged weights with the net's if the file has none). Verifies that all
 * values are finite, no variance is negative, and the weights have the recorded hash. Errors:
 * DN_ESHAPE (names the first tensor that is missing or has another shape), DN_EINVAL (another
 * optimizer), DN_ENOMEM, DN_ECORRUPT (the arrays are then undefined). Frees the file's bytes: only
 * dn_checkpoint_close may follow. */
dn_status dn_checkpoint_load(dn_checkpoint_file *file, dn_net *net, dn_optimizer_state *optimizer);

/* Fills the net with the averaged weights. Warns if their batch statistics are of an earlier step.
 * Errors: as dn_checkpoint_load; DN_ESHAPE (there are no averaged weights), DN_EINVAL (their batch
 * statistics were never measured). */
dn_status dn_checkpoint_load_average(dn_checkpoint_file *file, dn_net *net);

/* *manifest = the data set that the run was trained on, without its files; the caller frees it.
 * Not after dn_checkpoint_load. Errors: as dn_manifest_parse. */
dn_status dn_checkpoint_data_set(const dn_checkpoint_file *file, dn_manifest **manifest);

/* Closes *file, which may be NULL, and sets it to NULL. */
void dn_checkpoint_close(dn_checkpoint_file **file);

#endif
