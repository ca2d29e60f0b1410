/* The commands of dn_dist, and what their options amount to. */
#ifndef DN_COMMANDS_H
#define DN_COMMANDS_H

#include "dn/net.h"
#include "dn/schedule.h"
#include "dn/shard.h"
#include "job/comm.h"
#include "options/options.h"
#include "planning/profile.h"
#include "training/step.h"

/* ---- the commands: collective; the same status on all ranks, with dn_message set everywhere.
 * Results go to standard output of rank 0. ---- */

dn_status dn_train(const dn_comm *comm, dn_options *options);
dn_status dn_eval(const dn_comm *comm, dn_options *options);
dn_status dn_predict(const dn_comm *comm, dn_options *options);
dn_status dn_export(const dn_comm *comm, dn_options *options);
dn_status dn_info_command(const dn_comm *comm, dn_options *options);
dn_status dn_bench(const dn_comm *comm, dn_options *options);
dn_status dn_bench_reader(const dn_comm *comm, dn_options *options); /* dn_bench, with --reader */
dn_status dn_report_command(const dn_comm *comm, dn_options *options);
dn_status dn_plan_command(const dn_comm *comm, dn_options *options);
dn_status dn_models_command(const dn_comm *comm, dn_options *options);
dn_status dn_recipes_command(const dn_comm *comm, dn_options *options);

/* Measures steps as dn_bench does; each rank gets the profile of its own, to be destroyed by the
 * caller also after a failure. Collective. */
dn_status dn_bench_profile(const dn_comm *comm, const dn_options *options, dn_profile *profile);

/* ---- settings: not collective ---- */

/* path(size) = the run's folder: --out, or runs/<recipe>, or runs/<model>, with all but letters,
 * digits, '.', '-' and '_' turned into '_'. DN_EINVAL where that is too long. */
dn_status dn_options_folder(const dn_options *options, char *path, size_t size);

/* dn_options_resume_from_ini of a checkpoint's configuration; a failure names its file. */
dn_status dn_options_resume(dn_options *options, const dn_checkpoint *state);

/* The learning rate's settings for a run on `virtual_ranks`. Linear scaling makes the base rate
 * lr * global batch / 64 (Goyal et al. 2017). The automatic warm-up is 5 epochs, but at most a
 * tenth of the run, where scaling raises the rate, and none elsewhere. DN_EINVAL: --milestones. */
dn_status dn_options_rate(const dn_options *options, int virtual_ranks, int64_t steps_per_epoch,
                          dn_rate *rate);

/* *window = what --shuffle says: the images of a window, 0: the whole split. DN_EINVAL. */
dn_status dn_options_shuffle(const dn_options *options, int64_t *window);

/* *transform = what makes a split's images the net's input. --augment, --eval-transform and
 * --normalize that are automatic become what they stand for. DN_EINVAL. */
dn_status dn_options_transform(dn_options *options, dn_split_id split, const dn_shard_info *data,
                               dn_transform *transform);

/* weights(classes) = those of the loss for training on `images`, unless --class-weights is none.
 * DN_EINVAL. */
dn_status dn_options_class_weights(const dn_options *options, const dn_source *images,
                                   float *weights);

/* *net = the net for their command, which the caller owns. What they leave open of its images and
 * classes is taken from `data` and what makes the net's input of it (or NULL); DN_ESHAPE where both
 * are given and differ. DN_EINVAL, DN_ENOMEM. */
dn_status dn_options_net(const dn_options *options, const dn_shard_info *data,
                         const dn_transform *input, int virtual_ranks, dn_net **net);

/* Before a net's memory is touched: DN_ENOMEM on all ranks where those of a machine, each with
 * `more` beside its net, take more than 95 % of what the machine or their cgroup has left: not all
 * that a run touches is counted. The message names the largest batch that fits. Collective. */
dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, dn_bytes more);

#endif
