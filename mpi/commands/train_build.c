/* Builds a run from options and data; see train_parts.h. */
#include "commands/train_parts.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/from_options.h"
#include "training/auroc.h"

/* ---- the data ---- */

/* 1 if the data set has a val split. */
static int has_val(const dn_run *r)
{
    return dn_shards_manifest(r->train.shards)->split[DN_VAL].shards > 0;
}

/* Parses both transforms, which must give images of the same size, the net's. */
static dn_status plan_transforms(dn_run *r, dn_options *o, const dn_data_info *data)
{
    dn_transform *const train = &r->transform, *const eval = &r->eval_transform;
    DN_TRY(dn_options_transform(o, DN_TRAIN, data, train));
    DN_CHECK(o->size == 0 || (train->height == o->size && train->width == o->size), DN_EINVAL,
             "--augment %s: found images of %d x %d, expected %d x %d, the net's (--size)",
             o->augment, train->height, train->width, o->size, o->size);
    if (o->size == 0 && train->height == train->width)
        o->size = train->height;
    DN_TRY(dn_options_transform(o, DN_TEST, data, eval));
    DN_CHECK(eval->height == train->height && eval->width == train->width, DN_EINVAL,
             "--eval-transform %s: found images of %d x %d, expected %d x %d as by --augment %s",
             o->eval_transform, eval->height, eval->width, train->height, train->width, o->augment);
    return DN_OK;
}

/* Checks the transforms by dataset.json alone, as opening the shards may take minutes. */
static dn_status check_transforms(dn_run *r, const dn_options *options)
{
    dn_options o = *options;
    dn_manifest *data;
    DN_TRY(dn_manifest_load(&data, o.data));
    const dn_status status = plan_transforms(r, &o, &data->info);
    free(data);
    return status;
}

dn_status dn_train_open_data(dn_run *r, const dn_options *o)
{
    const int is_new = r->state.path[0] == '\0'; /* else same_data comes first */
    dn_note_operation(r->comm->activity, DN_READING_DATA);
    DN_TRY(dn_comm_agree(r->comm, is_new ? check_transforms(r, o) : DN_OK));
    DN_TRY(dn_split_open(&r->train, r->comm, o->data, DN_TRAIN, &o->reading));
    DN_TRY(dn_split_open(&r->test, r->comm, o->data, DN_TEST, &o->reading));
    if (has_val(r))
        DN_TRY(dn_split_open(&r->val, r->comm, o->data, DN_VAL, &o->reading));
    dn_note_operation(r->comm->activity, DN_STARTING);
    return DN_OK;
}

/* Checks that the checkpoint's data set is this one, and records it for the next checkpoints. */
static dn_status same_data(dn_run *r, const char *folder)
{
    char data[sizeof r->state.data];
    dn_source_describe(&r->train.images, data, sizeof data);
    DN_CHECK(r->state.data[0] == '\0' || strcmp(r->state.data, data) == 0, DN_EINVAL,
             "--data %s: found %s, expected %s as in %s (or another --out, or --resume none)",
             folder, data, r->state.data, r->state.path);
    strcpy(r->state.data, data);
    if (realpath(folder, r->state.folder) == NULL)
        r->state.folder[0] = '\0'; /* only a convenience for later commands */
    return DN_OK;
}

/* *curves = the number of classes that some of the images are known to have, and others not to
 * have: those with a curve. */
static dn_status count_curves(const dn_source *images, int *curves)
{
    int64_t *count;
    DN_TRY(dn_source_count(images, &count));
    *curves = 0;
    for (int c = 0; c < images->info.classes; c++)
        *curves += count[c] > 0 && count[c] < count[images->info.classes + c];
    free(count);
    return DN_OK;
}

/* The option that asks for the score, "best" or "plateau-metric"; NULL if neither does. */
static const char *asks_for(const dn_options *o, dn_monitored metric)
{
    const int is_rate =
        dn_options_reads(o, "plateau-metric") && o->scheduling.metric == (int)metric;
    return o->run.best == (int)metric ? "best" : is_rate ? "plateau-metric" : NULL;
}

/* Settles the scores that judge the run and its rate, and checks that the images have them. */
static dn_status settle_judges(const dn_run *r, dn_options *o)
{
    const dn_source *const images = r->validation;
    const int has_sets = r->training->label_sets != NULL;
    int curves;
    DN_TRY(count_curves(images, &curves));
    if (o->run.best == DN_BEST_AUTO)
        o->run.best = !has_sets                            ? DN_BEST_ACCURACY
                      : dn_has_auroc(images) && curves > 0 ? DN_BEST_AUROC
                                                           : DN_BEST_LOSS;
    if (o->scheduling.metric == DN_BEST_AUTO)
        o->scheduling.metric = has_sets && o->run.best != DN_BEST_NONE ? o->run.best : DN_BEST_LOSS;
    const char *const balanced = asks_for(o, DN_BEST_BALANCED);
    const char *const auroc = asks_for(o, DN_BEST_AUROC);
    DN_CHECK(!has_sets || !balanced, DN_EINVAL,
             "--%s balanced: found images with sets of classes, expected accuracy (of whole sets), "
             "auroc or loss",
             balanced);
    DN_CHECK(!auroc || dn_has_auroc(images), DN_EINVAL,
             "--%s auroc: found %" PRId64 " images to judge the run and %d classes, expected a "
             "product of at most %d",
             auroc, images->count, images->info.classes, DN_MOST_PROBABILITIES);
    DN_CHECK(!auroc || curves > 0, DN_EINVAL,
             "--%s auroc: found no class that some, but not all, of the %" PRId64
             " images that judge the run have, expected one, or loss",
             auroc, images->count);
    return DN_OK;
}

enum { FEW_IMAGES = 10 }; /* of a class: each is 10 points of its recall */

/* Says what the classes of the images that judge the run mean for its scores. */
static dn_status say_classes(const dn_run *r, const dn_options *o)
{
    const dn_source *const images = r->validation;
    const char *const *const names = dn_shards_manifest(r->train.shards)->class_names;
    const int classes = images->info.classes;
    int least = 0, most = 0, few = 0;
    int64_t *count;
    DN_TRY(dn_source_count(images, &count));
    for (int c = 0; c < classes; c++) {
        least = count[c] < count[least] ? c : least;
        most = count[c] > count[most] ? c : most;
        few += count[c] < FEW_IMAGES;
    }
    if (few > 0)
        dn_warn("%d of %d classes have fewer than %d of the images that judge the run, such as %s "
                "with %" PRId64 ": scores of these classes are uncertain",
                few, classes, FEW_IMAGES, names[least], count[least]);
    if (o->run.best == DN_BEST_ACCURACY && !images->label_sets && count[most] >= 2 * count[least])
        dn_info("--best accuracy judges classes of unequal size, %s with %" PRId64
                " images and %s with %" PRId64 ": see also --best balanced, auroc and loss",
                names[most], count[most], names[least], count[least]);
    free(count);
    return DN_OK;
}

/* Chooses the training images and the validation images. */
static dn_status hold_out(dn_run *r, const dn_options *o)
{
    r->training = &r->train.images;
    r->validation = has_val(r) ? &r->val.images : &r->test.images;
    if (o->run.val_fraction == 0 && !has_val(r) && o->run.best != DN_BEST_NONE &&
        o->run.eval_every > 0)
        dn_info("no validation images: the test images choose " DN_CHECKPOINT_BEST
                " (--val-fraction holds some out)");
    if (o->run.val_fraction == 0)
        return DN_OK;
    DN_CHECK(
        !has_val(r), DN_EINVAL,
        "--val-fraction %g: found a val split in %s, which judges the run, expected 0 (a run that "
        "held images out: another --out, or --resume none)",
        o->run.val_fraction, o->data);
    DN_TRY(dn_subset_split(&r->remaining, &r->held_out, &r->train.images, o->run.val_fraction));
    r->training = &r->remaining.images;
    r->validation = &r->held_out.images;
    dn_info("held out for validation: %" PRId64 " of %" PRId64 " training images",
            r->held_out.images.count, r->train.images.count);
    return DN_OK;
}

/* Warns of classes that no training image has: those of sets that were held out whole. */
static dn_status warn_of_unlearnt(const dn_run *r)
{
    const char *const *const names = dn_shards_manifest(r->train.shards)->class_names;
    const int classes = r->training->info.classes;
    int none = 0, first = 0;
    int64_t *count;
    DN_TRY(dn_source_count(r->training, &count));
    for (int c = classes - 1; c >= 0; c--)
        if (count[c] == 0) {
            first = c;
            none++;
        }
    if (none > 0)
        dn_warn("%d of %d classes have no training image, and so are not learnt; the first is %s",
                none, classes, names[first]);
    free(count);
    return DN_OK;
}

/* Prints the weights of the first classes by their names. */
static void say_class_weights(const dn_run *r, int classes)
{
    enum { MOST_CLASSES = 20 };
    const char *const *const names = dn_shards_manifest(r->train.shards)->class_names;
    const int count = classes < MOST_CLASSES ? classes : MOST_CLASSES;
    char text[4096] = "";
    size_t used = 0;
    for (int c = 0; c < count && used < sizeof text; c++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %.4g", c ? ", " : "",
                                 names[c], (double)r->class_weights[c]);
    dn_info("class weights%s: %s%s", r->training->label_sets ? " of images with the class" : "",
            text, count < classes ? ", ..." : "");
}

static dn_status weigh_classes(dn_run *r, dn_options *o)
{
    const size_t images = (size_t)r->training->count;
    if (strcmp(o->class_weights, "none") == 0)
        return DN_OK;
    /* otherwise the loss is divided by the number of images */
    const int is_divided =
        o->step.mixing.mixup == 0 && o->step.mixing.cutmix == 0 && !r->training->label_sets;
    o->step.class_weights = r->class_weights = calloc((size_t)o->classes, sizeof(float));
    r->order = is_divided ? malloc(images * sizeof *r->order) : NULL;
    r->ordered = -1;
    DN_CHECK(r->class_weights && (r->order || !is_divided), DN_ENOMEM,
             "out of memory for the weights of %d classes and the order of %zu images", o->classes,
             images);
    DN_TRY(dn_options_class_weights(o, r->training, r->class_weights));
    say_class_weights(r, o->classes);
    return DN_OK;
}

/* ---- steps and rates ---- */

/* Checks that every rank has a virtual rank; else the message says how to keep the global batch. */
static dn_status check_ranks(const dn_run *r, const dn_options *o)
{
    char cure[96] = "";
    const int64_t global = (int64_t)o->batch_size * o->step.virtual_ranks;
    int64_t parts = r->comm->size;
    DN_CHECK(r->state.path[0] == '\0' || r->comm->size <= o->step.virtual_ranks, DN_EINVAL,
             "found %d ranks, expected at most %d, the --virtual-ranks of %s", r->comm->size,
             o->step.virtual_ranks, r->state.path);
    while (parts < global && global % parts != 0)
        parts++;
    if (parts <= global)
        snprintf(cure, sizeof cure,
                 "; for %d: --virtual-ranks %" PRId64 " --batch-size %" PRId64 "%s", r->comm->size,
                 parts, global / parts, o->sync_bn ? "" : " --sync-bn");
    DN_CHECK(r->comm->size <= o->step.virtual_ranks, DN_EINVAL,
             "--virtual-ranks %d: found %d ranks, expected at most one a virtual rank%s",
             o->step.virtual_ranks, r->comm->size, cure);
    return DN_OK;
}

/* Creates the monitor in the checkpoint's state. */
static dn_status watch_best(dn_run *r, const dn_options *o, int64_t per_epoch)
{
    const int had_average = r->state.average_step >= 0, has_average = o->step.average_decay > 0;
    const double epochs = (double)(r->state.step / per_epoch);
    r->monitor = (dn_monitor){.metric = r->settings.best, .patience = r->settings.early_stop};
    dn_monitor_resume(&r->monitor, &r->state.monitor);
    if (r->state.path[0] && had_average != has_average) /* its scores were of other weights */
        r->monitor.state.best_epoch = 0;
    DN_CHECK(r->monitor.patience == 0 ||
                 (r->settings.eval_every > 0 && r->monitor.metric != DN_BEST_NONE),
             DN_EINVAL,
             "--early-stop %d: found no evaluations to judge by, expected another --best "
             "than none and --eval-every above 0",
             r->monitor.patience);
    DN_CHECK(r->monitor.state.epochs <= epochs, DN_ECORRUPT,
             "%s: found a best epoch told after epoch %g, expected none after step %" PRId64,
             r->state.path, r->monitor.state.epochs, r->state.step);
    return DN_OK;
}

/* Sets the run's settings and its schedule in the checkpoint's state; needs the data. */
static dn_status plan_run(dn_run *r, const dn_options *o)
{
    const int64_t images = r->training->count;
    const int64_t global = (int64_t)o->batch_size * o->step.virtual_ranks;
    int64_t per_epoch;
    DN_TRY(check_ranks(r, o));
    DN_TRY(dn_options_steps(o, o->step.virtual_ranks, images, &per_epoch));
    const int64_t all = per_epoch * o->epochs;
    if (images > per_epoch * global)
        dn_info("an epoch takes %" PRId64 " of the %" PRId64 " training images, whole batches of "
                "%" PRId64 "; each leaves out others",
                per_epoch * global, images, global);
    r->settings = o->run;
    r->last = o->run.max_steps > 0 && o->run.max_steps < all ? o->run.max_steps : all;
    DN_CHECK(r->state.step <= r->last, DN_EINVAL,
             "%s: found step %" PRId64 ", expected at most the run's last, %" PRId64
             " by --epochs and --max-steps",
             r->state.path, r->state.step, r->last);
    DN_TRY(dn_options_rate(o, o->step.virtual_ranks, per_epoch, &r->rate));
    if (strcmp(r->state.schedule, r->rate.schedule->name) == 0)
        r->rate.state = r->state.schedule_state;
    else /* another schedule, which has not seen the scores so far */
        r->rate.state.epochs = (double)(r->state.step / per_epoch);
    DN_CHECK(r->rate.state.epochs <= (double)(r->state.step / per_epoch), DN_ECORRUPT,
             "%s: found a schedule after epoch %g, expected none after step %" PRId64,
             r->state.path, r->rate.state.epochs, r->state.step);
    snprintf(r->state.schedule, sizeof r->state.schedule, "%s", r->rate.schedule->name);
    return watch_best(r, o, per_epoch);
}

/* *rate = the learning rate of the head as a multiple of the others', as it follows the same
 * schedule. */
static dn_status rate_head(const dn_options *o, double *rate)
{
    *rate = o->lr_head > 0 ? o->lr_head / o->lr : 1;
    DN_CHECK(
        isfinite(*rate), DN_EINVAL,
        "--lr-head %g: found --lr %g, expected a greater one; --freeze features --lr %g trains "
        "the linear layer alone",
        o->lr_head, o->lr, o->lr_head);
    return DN_OK;
}

void dn_train_say_rates(const dn_run *r, const dn_options *recorded)
{
    dn_rate rate;
    const int64_t step = r->state.step;
    if (r->state.path[0] == '\0' || dn_options_rate(recorded, r->step.settings.virtual_ranks,
                                                    r->rate.steps_per_epoch, &rate) != DN_OK)
        return;
    if (rate.schedule == r->rate.schedule)
        rate.state = r->rate.state;
    const double old = dn_learning_rate(&rate, step), new = dn_learning_rate(&r->rate, step);
    if (old != new)
        dn_info("learning rate at step %" PRId64 ": %g by the checkpoint's options, %g by these",
                step + 1, old, new);
}

/* ---- net and step ---- */

/* Says what a step learns from, and at which rate. */
static void say_batches(const dn_run *r, const dn_options *o)
{
    static const char *const scaled[] = {
        [DN_RATE_SCALING_LINEAR] = "linearly", [DN_RATE_SCALING_SQRT] = "by the root"};
    const dn_spec *const spec = dn_net_view(r->net).spec;
    char scaling[64] = "", warmup[48] = "";
    if (r->rate.base != o->lr)
        snprintf(scaling, sizeof scaling, " (%g scaled %s)", o->lr, scaled[o->lr_scaling]);
    if (r->rate.warmup_epochs > 0)
        snprintf(warmup, sizeof warmup, ", warm-up %g epochs", r->rate.warmup_epochs);
    dn_info("images %dx%dx%d, --augment %s; global batch %" PRId64 ", lr %g%s%s", spec->channels,
            spec->height, spec->width, o->augment, (int64_t)o->batch_size * o->step.virtual_ranks,
            r->rate.base, scaling, warmup);
}

dn_status dn_train_build(dn_run *r, dn_options *o)
{
    const dn_data_info *data = &r->train.images.info;
    if (o->step.virtual_ranks == 0)
        o->step.virtual_ranks = r->comm->size;
    DN_TRY(same_data(r, o->data));
    DN_TRY(hold_out(r, o));
    DN_TRY(warn_of_unlearnt(r));
    DN_TRY(settle_judges(r, o));
    if (o->run.best != DN_BEST_NONE && o->run.eval_every > 0)
        DN_TRY(say_classes(r, o));
    DN_TRY(plan_run(r, o));
    DN_TRY(dn_options_shuffle(o, &r->window));
    DN_TRY(plan_transforms(r, o, data));
    DN_TRY(dn_options_net(o, DN_NET_TRAINS, data, &r->transform, o->step.virtual_ranks, &r->net));
    const dn_view net = dn_net_view(r->net);
    o->size = net.spec->height == net.spec->width ? net.spec->height : 0;
    o->classes = net.spec->classes;
    DN_TRY(rate_head(o, &o->step.head_rate));
    o->step.load = dn_run_load;
    o->step.user = r;
    o->step.label_sets = r->training->label_sets;
    o->step.preempt = &r->preempt;
    DN_TRY(weigh_classes(r, o));
    DN_TRY(dn_step_create(&r->step, r->comm, r->net, &o->step));
    dn_net_init(r->net, (dn_init)o->init, o->step.seed);
    dn_info("%s on %s: %d ranks x %d threads, %d virtual ranks x %d images, kernels %s",
            net.spec->name, data->dataset, r->comm->size, omp_get_max_threads(),
            o->step.virtual_ranks, o->batch_size, net.kernels->products[o->dtype].name);
    say_batches(r, o);
    return dn_options_to_ini(o, r->state.config, sizeof r->state.config);
}
