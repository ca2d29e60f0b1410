/* Turns options into the settings of nets, transforms and schedules. Not collective. */
#ifndef DN_COMMANDS_FROM_OPTIONS_H
#define DN_COMMANDS_FROM_OPTIONS_H

#include "dn/checkpoint.h"
#include "dn/manifest.h"
#include "dn/net.h"
#include "dn/schedule.h"
#include "dn/source.h"
#include "dn/transform.h"
#include "options/options.h"

/* path(size) = the run's folder: --out, or runs/<recipe>, or runs/<model>, with all characters but
 * letters, digits, '.', '-' and '_' replaced by '_'. DN_EINVAL if it is too long. */
dn_status dn_options_folder(const dn_options *options, char *path, size_t size);

/* dn_options_resume_from_ini for a checkpoint's configuration; messages of failures name its file.
 */
dn_status dn_options_resume(dn_options *options, const dn_checkpoint *state);

/* *steps = those of an epoch of `images`, whole global batches. DN_ESHAPE if there is none. */
dn_status dn_options_steps(const dn_options *options, int virtual_ranks, int64_t images,
                           int64_t *steps);

/* The learning rate's settings for a run on `virtual_ranks`. Linear scaling makes the base rate
 * lr * global batch / 64 (Goyal et al. 2017). The automatic warm-up is 5 epochs, but at most a
 * tenth of the run, where scaling raises the rate, and none elsewhere; a schedule that does not
 * read --warmup-epochs has none. DN_EINVAL: --milestones, --lr-min. */
dn_status dn_options_rate(const dn_options *options, int virtual_ranks, int64_t steps_per_epoch,
                          dn_rate *rate);

/* Takes image size, channels and classes that the user did not give from a data set. */
void dn_options_fit(dn_options *options, const dn_data_info *data);

/* *window = the images of a window of --shuffle; 0: the whole split. DN_EINVAL. */
dn_status dn_options_shuffle(const dn_options *options, int64_t *window);

/* Sets mean and std of `info` to those of --normalize, unless that is automatic. DN_EINVAL. */
dn_status dn_options_normalize(const dn_options *options, dn_data_info *info);

/* *transform = the transform from a split's images to the net's input. Resolves --augment,
 * --eval-transform and --normalize if they are automatic. DN_EINVAL. */
dn_status dn_options_transform(dn_options *options, dn_split_id split, const dn_data_info *data,
                               dn_transform *transform);

/* weights(classes) = the class weights of the loss for training on `images`; untouched if
 * --class-weights is none. DN_EINVAL. */
dn_status dn_options_class_weights(const dn_options *options, const dn_source *images,
                                   float *weights);

/* What a net is used for. */
typedef enum dn_net_use { DN_NET_TRAINS, DN_NET_EVALUATES, DN_NET_IS_PLANNED } dn_net_use;

/* *net = a net for that use, which the caller destroys. Image size, channels and classes that the
 * options do not give are taken from `data` and its transform `input` (both may be NULL). DN_ESHAPE
 * if options and data differ; DN_EINVAL, DN_ENOMEM. */
dn_status dn_options_net(const dn_options *options, dn_net_use use, const dn_data_info *data,
                         const dn_transform *input, int virtual_ranks, dn_net **net);

#endif
