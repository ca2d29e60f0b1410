/*
 * Checkpoints: one HDF5 file with all that a run needs to go on, on any number of ranks, and behind
 * it a checksum of all its bytes. A reader checks that first, so DN_ECORRUPT tells of any damaged
 * byte; and trusts nothing that it finds all the same, as anyone can renew the checksum.
 * docs/checkpoint-format.md specifies the file.
 *
 * Written to a temporary name in the same folder, flushed to disk, then renamed; so a file under
 * its final name checkpoint-STEP.h5 is whole. Not collective: one rank writes, any rank reads.
 */
#ifndef DN_CHECKPOINT_H
#define DN_CHECKPOINT_H

#include <limits.h>
#include <stdint.h>

#include "dn/metrics.h"
#include "dn/monitor.h"
#include "dn/net.h"
#include "dn/optimizer.h"
#include "dn/schedule.h"
#include "dn/manifest.h"

/* Position and configuration of a run, beside the vectors of its net and optimizer. */
typedef struct dn_checkpoint {
    int64_t step;        /* optimizer steps done; the position in the data follows from it */
    uint64_t hash;       /* dn_net_hash of the weights; written, and compared by the reader alone */
    char path[PATH_MAX]; /* of its file; empty of a run that starts */
    char data[256];      /* what tells the data set from others */
    char folder[PATH_MAX]; /* of the data set, absolute; empty where it is not known */
    char config[8192];     /* INI text of the options that decide the result */
    char kernels[32];      /* "generic", "vectors" or a bf16 product's: the class of bits that they
                              come to */
    char schedule[32];     /* the name of the one that `schedule_state` is of, or empty */
    dn_schedule_state schedule_state;
    dn_epoch_scores scores;   /* of the steps since the last epoch's end */
    dn_monitor_state monitor; /* of the best epoch */
    int64_t average_step;     /* the step whose averaged weights' statistics were measured last; 0:
                                 none yet, -1: no weights are averaged */
    int is_best;              /* written: the file becomes DN_CHECKPOINT_BEST, too. Not recorded */
    /* The data set's dataset.json, for the writer; not owned. NULL after reading:
     * dn_checkpoint_data_set has it. */
    const uint8_t *data_set;
    size_t data_set_bytes;
} dn_checkpoint;

/* The name that the best epoch's checkpoint has beside its own, which may be deleted. */
#define DN_CHECKPOINT_BEST "best.h5"

/* ---- writing ---- */

/*
 * A saver writes checkpoints while training goes on: training stops for as long as it takes to copy
 * the vectors. One thread at a time uses it. The HDF5 library is not thread-safe: from
 * dn_saver_start to the end of dn_saver_wait no other thread may call it. All but dn_saver_create
 * and dn_saver_rescue accept NULL and then do nothing, for ranks that do not save.
 */
typedef struct dn_saver dn_saver;

/* A saver of `net` and `optimizer` into `folder`, made where it is missing, that keeps the `keep`
 * newest checkpoints (0: all), with room for a copy. The caller owns it; the three must outlive it.
 * DN_ENOMEM, DN_EIO. */
dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const dn_optimizer_state *optimizer,
                          const char *folder, int keep);

/* Copies vectors and `state`, then writes dn_checkpoint_path of the folder and step in the
 * background; deletes all but the `keep` newest checkpoints of the folder up to STEP, and what
 * killed processes left under temporary names. Takes twice the file's size in memory while it
 * works. Waits first for the write before; where that failed, warns of it, then waits for this one,
 * too, and returns its failure, as dn_saver_wait. Starts none where a number is not finite, as that
 * file could not be read: DN_EDIVERGED names the tensor. */
dn_status dn_saver_start(dn_saver *saver, const dn_checkpoint *state);

/* Warns of a write that has failed, once, as soon as that is known; waits for none. */
void dn_saver_warn(dn_saver *saver);

/* Waits until the last write has ended and returns its failure, once: DN_EIO names the file and
 * what the system said; nothing is left behind. */
dn_status dn_saver_wait(dn_saver *saver);

/* The seconds of the longest write whose end was waited for. */
double dn_saver_longest(const dn_saver *saver);

/* Has a child (dn_child_detach) save what net and optimizer hold now, and `state`, for a process
 * that may be killed any moment: unless that step is on the disk, written by this saver or as the
 * file state->path. The child says on standard error what it saved, or why not; it replaces and
 * deletes nothing newer. `is_swapped`: the net has the averaged weights, and the optimizer the
 * net's, which the child puts right. Waits while a thread builds a file. Another thread than the
 * saver's may call it; nobody may change the vectors meanwhile. */
void dn_saver_rescue(dn_saver *saver, const dn_checkpoint *state, int is_swapped);

/* Waits, warns of a failure that nobody has asked for or was warned of, frees, and sets *saver to
 * NULL. */
void dn_saver_destroy(dn_saver **saver);

/* path(size) = "FOLDER/checkpoint-STEP.h5", STEP with 8 digits or more. */
void dn_checkpoint_path(char *path, size_t size, const char *folder, int64_t step);

/* ---- reading ---- */

/* A whole checkpoint, open to be read. */
typedef struct dn_checkpoint_file dn_checkpoint_file;

/* Opens the file, checks all its bytes, and reads position and configuration: what is needed to
 * build the net. The step is 0 to 10^18, perhaps beyond the run's end, and the configuration any
 * text. Forks, as dn_checkpoint_load does (dn/child.h). The caller closes *file, which is NULL
 * after a failure. */
dn_status dn_checkpoint_open(dn_checkpoint_file **file, const char *path, dn_checkpoint *state);

/* The same for the newest whole checkpoint of the folder of a step below `limit`; where there is
 * none at all, or no folder, *file is NULL and state->path empty. Damaged ones are passed over with
 * a warning, but where all are, that is a failure that tells their number: a run from its start
 * would write over them. */
dn_status dn_checkpoint_open_newest(dn_checkpoint_file **file, const char *folder, int64_t limit,
                                    dn_checkpoint *state);

/* Fills the net's parameters and running statistics, and the optimizer's vectors unless it is NULL
 * (averaged weights with the net's where the file has none), with finite numbers, none of a
 * variance below 0, and weights of the hash that the file tells. DN_ESHAPE names the first tensor
 * that the net has with another shape or the file has not, DN_EINVAL another optimizer. On failure
 * the arrays are undefined. */
dn_status dn_checkpoint_load(const dn_checkpoint_file *file, dn_net *net,
                             dn_optimizer_state *optimizer);

/* The same for averaged weights alone: DN_ESHAPE where there are none, DN_EINVAL where their batch
 * statistics were never measured; of those of an earlier step it warns. */
dn_status dn_checkpoint_load_average(const dn_checkpoint_file *file, dn_net *net);

/* *manifest = the data set that the run learnt from, without its files, to be freed by the caller.
 * As dn_manifest_parse. */
dn_status dn_checkpoint_data_set(const dn_checkpoint_file *file, dn_manifest **manifest);

/* Sets *file to NULL; accepts NULL inside. */
void dn_checkpoint_close(dn_checkpoint_file **file);

#endif
