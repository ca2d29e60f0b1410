/* What the files of `dn_dist train` share: train.c has the way of the command, train_start.c finds
 * and loads what a run goes on from, train_build.c makes the run that options and data come to. */
#ifndef DN_COMMANDS_TRAIN_PARTS_H
#define DN_COMMANDS_TRAIN_PARTS_H

#include "options/options.h"
#include "training/run.h"

/* Settles the run's folder, which rank 0 then holds, and the checkpoint to go on from, in the
 * folder one of a step below `limit`: sets run->state, and on rank 0 run->from. Options that were
 * not given are taken from it, and *before, a copy of the options, becomes what all were there; of
 * a run that starts, the model is that of --init-from. DN_EINVAL, and what reading the file
 * returns. Collective. */
dn_status dn_train_find_start(dn_run *run, dn_options *options, int64_t limit, dn_options *before);

/* The weights to go on from, or to start from, and the optimizer's state, on all ranks. Where the
 * folder's newest checkpoint was whole, but cannot be loaded, *limit = its step: the run is to be
 * set up from an older one. What reading them returns. Collective. */
dn_status dn_train_load_start(dn_run *run, const dn_options *options, int64_t *limit);

/* Opens the run's splits; the caller closes them, also after a failure. Collective. */
dn_status dn_train_open_data(dn_run *run, const dn_options *options);

/* Net, step, schedule and the configuration that checkpoints record, in which nothing is automatic,
 * from splits that are open; the caller destroys them, also after a failure. DN_EINVAL, DN_ESHAPE,
 * DN_ENOMEM; DN_ECORRUPT where the checkpoint's state is none of its step. Not collective. */
dn_status dn_train_build(dn_run *run, dn_options *options);

/* Where a run goes on by another schedule: what the rate was, and what it is. Not collective. */
void dn_train_say_rates(const dn_run *run, const dn_options *before);

#endif
