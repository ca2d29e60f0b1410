/* Shared by the files of `dn_dist train`: train.c is the command, train_start.c finds and loads the
 * checkpoint or the initial weights, train_build.c builds the run from options and data. */
#ifndef DN_COMMANDS_TRAIN_PARTS_H
#define DN_COMMANDS_TRAIN_PARTS_H

#include "options/options.h"
#include "training/run.h"

/* Finds the run's folder, which rank 0 then locks, and the checkpoint to resume from (in this
 * folder, one of a step below `limit`): sets run->state, and on rank 0 run->from. Options that were
 * not given are taken from the checkpoint; *recorded = the options with all values of the
 * checkpoint. A run that starts takes its model from --init-from. Returns DN_EINVAL or errors of
 * reading the file. Collective. */
dn_status dn_train_find_start(dn_run *run, dn_options *options, int64_t limit,
                              dn_options *recorded);

/* Loads the weights to resume or start from, and the optimizer's state, on all ranks. If the
 * folder's newest checkpoint is whole but cannot be loaded, *limit = its step, and the caller sets
 * the run up again from an older one. Returns errors of reading the file. Collective. */
dn_status dn_train_load_start(dn_run *run, const dn_options *options, int64_t *limit);

/* Finds the checkpoint of the best epoch that the run knows of: the folder's best.h5, or after
 * --resume FILE that file or the best.h5 beside it, of which it makes a copy. Without one forgets
 * the best epoch, so that the next evaluated epoch writes one. `is_auto`: the run resumes from its
 * own folder's newest checkpoint. Collective. */
void dn_train_find_best(dn_run *run, int is_auto);

/* Opens the run's splits; the caller closes them, even after a failure. Errors as dn_split_open;
 * DN_EINVAL if --augment does not suit the images. Collective. */
dn_status dn_train_open_data(dn_run *run, const dn_options *options);

/* Builds net, step, schedule and the configuration that checkpoints record, in which all automatic
 * options are resolved. The splits must be open. The caller destroys them, even after a failure.
 * DN_EINVAL, DN_ESHAPE, DN_ENOMEM; DN_ECORRUPT if the checkpoint's state does not belong to its
 * step. Not collective. */
dn_status dn_train_build(dn_run *run, dn_options *options);

/* If a run resumes at another learning rate, says what the learning rate was and what it is now.
 * Not collective. */
void dn_train_say_rates(const dn_run *run, const dn_options *recorded);

#endif
