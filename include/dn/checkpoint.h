/*
 * Checkpoints: one HDF5 file with all that a run needs to go on, on any number of ranks.
 *
 *     /model/<torchvision name>     float32, torchvision's shape (weights and running statistics)
 *     /model/<norm>.num_batches_tracked   int64 scalar, as torchvision has
 *     /optimizer/momentum/<parameter name>   float32, the parameter's shape (zero: never stepped)
 *     /config                       the run's configuration, one INI text (UTF-8 string)
 *     attributes of /: format "dn_dist checkpoint", format_version, model (string), step,
 *                      weights_hash (16 hex digits), data (string)
 *
 * and behind the HDF5 file's own bytes a checksum of them all; docs/checkpoint-format.md specifies
 * it. Every reader checks it first, so DN_ECORRUPT tells of any damaged byte.
 *
 * Written to a temporary name in the same folder, flushed to disk, then renamed; so a file under
 * its final name checkpoint-STEP.h5 is whole. Not collective: one rank writes, any rank reads.
 */
#ifndef DN_CHECKPOINT_H
#define DN_CHECKPOINT_H

#include <stdint.h>

#include "dn/net.h"

/* Position and configuration of a run, beside the net's own arrays. */
typedef struct dn_checkpoint {
    int64_t step;      /* optimizer steps done; the position in the data follows from it */
    float *momentum;   /* (parameter_count) or NULL where there is none */
    uint64_t hash;     /* dn_net_hash of the weights; written, not read */
    char data[256];    /* what tells the data set from others; empty where it is not known */
    char config[8192]; /* INI text of the options that decide the result */
} dn_checkpoint;

/*
 * A saver writes checkpoints while training goes on: training stops for as long as it takes to copy
 * the weights. One thread at a time uses it. The HDF5 library is not thread-safe: from
 * dn_saver_start to the end of dn_saver_wait no other thread may call it. Both accept NULL and then
 * do nothing, for ranks that do not save.
 */
typedef struct dn_saver dn_saver;

/* A saver of `net` into `folder` that keeps the `keep` newest checkpoints (0: all), with room for a
 * copy of parameters, running statistics and momentum. The caller owns it; folder and net must
 * outlive it. DN_ENOMEM. */
dn_status dn_saver_create(dn_saver **saver, const dn_net *net, const char *folder, int keep);

/* Copies the weights and `state`, then writes dn_checkpoint_name of the step into the folder in the
 * background; deletes all but the `keep` newest checkpoints of the folder up to STEP, and what
 * killed processes left under temporary names. Takes twice the file's size in memory while it
 * works. Waits first for the write before; where that failed, starts none and returns its failure:
 * DN_EIO names the file and what the system said; nothing is left behind. */
dn_status dn_saver_start(dn_saver *saver, const dn_checkpoint *state);

/* Waits until the last write has ended and returns its failure, once. */
dn_status dn_saver_wait(dn_saver *saver);

/* The seconds of the longest write that dn_saver_start or dn_saver_wait saw the end of; 0 for NULL.
 */
double dn_saver_longest(const dn_saver *saver);

/* Waits, warns of a failure that nobody has asked for, frees, and sets *saver to NULL; accepts NULL
 * inside. */
void dn_saver_destroy(dn_saver **saver);

/* name(size) = "checkpoint-STEP.h5", STEP with 8 digits or more. */
void dn_checkpoint_name(char *name, size_t size, int64_t step);

/* Reads position, data and configuration alone: what is needed to build the net. */
dn_status dn_checkpoint_peek(const char *path, dn_checkpoint *state);

/* Fills the net's parameters and running statistics, and momentum(parameter_count) where it
 * is not NULL. DN_ESHAPE names the first tensor that the net has with another shape or the file has
 * not. On failure the arrays are undefined. */
dn_status dn_checkpoint_load(const char *path, dn_net *net, float *momentum);

/* path = the newest whole checkpoint of the folder, an empty string where there is none. Damaged
 * ones are passed over with a warning that names them. DN_OK also when the folder is absent. */
dn_status dn_checkpoint_newest(const char *folder, char *path, int path_size);

/* Renames the folder's checkpoints to NAME.old, with one line that says so: a new run is to start
 * there, and its restart must not find them. DN_OK also when there are none. */
dn_status dn_checkpoint_set_aside(const char *folder);

#endif
