/* Turns options into settings; see from_options.h. */
#include "commands/from_options.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/kernels.h"
#include "dn/monitor.h"
#include "dn/rng.h"
#include "dn/words.h"

dn_status dn_options_folder(const dn_options *options, char *path, size_t size)
{
    const char *prefix = options->out[0] ? "" : "runs/";
    const char *const recipe = basename(options->recipe);
    const char *folder = options->out[0] ? options->out : recipe[0] ? recipe : options->model;
    const int letters = (int)strlen(folder);
    const int is_file = folder == recipe && letters > 4 && dn_ends_in(folder, ".ini");
    const int length = letters - (is_file ? 4 : 0);
    const int used = snprintf(path, size, "%s%.*s", prefix, length, folder);
    DN_CHECK((size_t)used < size, DN_EINVAL, "--out: expected at most %zu characters", size - 1);
    for (char *c = path + strlen(prefix); !options->out[0] && *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr(".-_", *c))
            *c = '_';
    return DN_OK;
}

dn_status dn_options_resume(dn_options *options, const dn_checkpoint *state)
{
    const dn_status status = dn_options_resume_from_ini(options, state->config);
    DN_CHECK(status == DN_OK, status, "%s: %s", state->path, dn_message());
    return DN_OK;
}

/* Epochs in ascending order, with commas between. */
static dn_status parse_milestones(const char *text, dn_schedule_settings *settings)
{
    const char *at = text;
    for (settings->milestones = 0; *at != '\0';) {
        char *end;
        const int64_t last =
            settings->milestones > 0 ? settings->milestone[settings->milestones - 1] : 0;
        const int64_t epoch = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : 0;
        DN_CHECK(epoch > last && (*end == ',' ? end[1] != '\0' : *end == '\0') &&
                     settings->milestones < DN_MILESTONES,
                 DN_EINVAL,
                 "--milestones: found '%s', expected at most %d ascending epochs such as 150,225",
                 text, DN_MILESTONES);
        settings->milestone[settings->milestones++] = epoch;
        at = end + (*end == ',');
    }
    return DN_OK;
}

dn_status dn_options_steps(const dn_options *options, int virtual_ranks, int64_t images,
                           int64_t *steps)
{
    const int64_t global = (int64_t)options->batch_size * virtual_ranks;
    *steps = images / global;
    DN_CHECK(*steps > 0, DN_ESHAPE,
             "--batch-size %d x %d virtual ranks: found a global batch of %" PRId64
             " images, expected at most the %" PRId64 " of %s",
             options->batch_size, virtual_ranks, global, images, options->data);
    return DN_OK;
}

dn_status dn_options_rate(const dn_options *options, int virtual_ranks, int64_t steps_per_epoch,
                          dn_rate *rate)
{
    const double ratio = (double)options->batch_size * virtual_ranks / 64;
    const double scales[] = {1, ratio, sqrt(ratio)}; /* dn_rate_scaling */
    const double scale = scales[options->lr_scaling];
    const double automatic = scale <= 1 ? 0 : options->epochs < 50 ? options->epochs * 0.1 : 5;
    const double warmup = options->warmup_epochs < 0 ? automatic : options->warmup_epochs;
    *rate = (dn_rate){
        .schedule = dn_schedule_get(options->schedule),
        .settings = options->scheduling,
        .base = options->lr * scale,
        .least = options->lr_min * scale,
        .steps_per_epoch = steps_per_epoch,
        .epochs = options->epochs,
        .warmup_epochs = dn_options_reads(options, "warmup-epochs") ? warmup : 0,
    };
    DN_TRY(parse_milestones(options->milestones, &rate->settings));
    DN_CHECK(!dn_options_reads(options, "milestones") || rate->settings.milestones > 0, DN_EINVAL,
             "--schedule %s: found no --milestones, expected such as 150,225",
             rate->schedule->name);
    DN_CHECK(!dn_options_reads(options, "lr-min") || rate->least <= rate->base, DN_EINVAL,
             "--lr-min: found %g, expected at most --lr, %g, from which --schedule %s falls",
             options->lr_min, options->lr, rate->schedule->name);
    return DN_OK;
}

/* The option's value if it is given, else the data's; if both are given they must agree. `where` is
 * followed by the data set's name. */
static dn_status given_or_data(const char *option, int given, int data, const char *where,
                               const char *dataset, int *value)
{
    DN_CHECK(given == 0 || data == 0 || given == data, DN_ESHAPE,
             "%s %d: found %d %s data set %s, expected the same", option, given, data, where,
             dataset);
    if (given != 0 || data != 0)
        *value = given != 0 ? given : data;
    return DN_OK;
}

void dn_options_fit(dn_options *o, const dn_data_info *data)
{
    o->channels = dn_options_given(o, "channels") ? o->channels : data->channels;
    o->classes = dn_options_given(o, "classes") ? o->classes : data->classes;
    if (!dn_options_given(o, "size") && data->height == data->width)
        o->size = data->height;
}

dn_status dn_options_shuffle(const dn_options *options, int64_t *window)
{
    static const char prefix[] = "window:";
    const char *const text = options->shuffle;
    const char *const digits = text + strlen(prefix);
    *window = 0;
    DN_CHECK(strcmp(text, "full") == 0 ||
                 (strncmp(text, prefix, strlen(prefix)) == 0 &&
                  dn_parse_whole(digits, DN_NEIGHBOURS, UINT32_MAX, window)),
             DN_EINVAL, "--shuffle: found \"%s\", expected full, or window:N of %d or more images",
             text, DN_NEIGHBOURS);
    return DN_OK;
}

/* The net's input size for data sets with images of several sizes: --size, or the model's own. */
static int automatic_side(const dn_options *o)
{
    dn_spec spec;
    const int has_model = o->command != DN_COMMAND_BENCH && dn_spec_parse(&spec, o->model) == DN_OK;
    return o->size > 0 ? o->size : has_model ? spec.height : 224;
}

/* The transform list that an automatic --augment or --eval-transform stands for. */
static void resolve(char *list, size_t size, const dn_options *o, dn_split_id split,
                    const dn_data_info *data)
{
    const int is_one_size = data->height > 0, side = automatic_side(o);
    const int is_resized = o->size > 0 && (o->size != data->height || o->size != data->width);
    const char *flips = split == DN_TRAIN && data->channels > 1 ? "pad-crop:4,hflip" : "";
    if (strcmp(list, "auto") != 0)
        return;
    if (!is_one_size && split == DN_TRAIN)
        snprintf(list, size, "random-resized-crop:%d,hflip", side);
    else if (!is_one_size)
        snprintf(list, size, "resize:%d,center-crop:%d", side * 8 / 7, side);
    else if (is_resized)
        snprintf(list, size, "resize:%d,center-crop:%d%s%s", side, side, *flips ? "," : "", flips);
    else
        snprintf(list, size, "%s", *flips ? flips : "none");
}

dn_status dn_options_normalize(const dn_options *o, dn_data_info *info)
{
    if (strcmp(o->normalize, "auto") == 0 || dn_normalize_parse(info, o->normalize) == DN_OK)
        return DN_OK;
    return dn_fail(DN_EINVAL, "--normalize: %s", dn_message());
}

dn_status dn_options_transform(dn_options *o, dn_split_id split, const dn_data_info *data,
                               dn_transform *transform)
{
    char *const list = split == DN_TRAIN ? o->augment : o->eval_transform;
    dn_data_info normalised = *data;
    const dn_kernels *kernels;
    DN_TRY(dn_kernels_select(&kernels, o->isa));
    if (strcmp(o->normalize, "auto") == 0)
        dn_normalize_describe(data, o->normalize, sizeof o->normalize);
    DN_TRY(dn_options_normalize(o, &normalised));
    resolve(list, sizeof o->augment, o, split, data);
    const dn_status status = dn_transform_parse(transform, dn_pixel_kernels_of(kernels),
                                                &normalised, list, o->step.seed);
    return status == DN_OK
               ? DN_OK
               : dn_fail(status, "--%s %s: %s", split == DN_TRAIN ? "augment" : "eval-transform",
                         list, dn_message());
}

/* images / (classes x images of the class), as scikit-learn's "balanced"; 0 for a class without
 * images. For sets of classes images without the class / images with it, of those that are known to
 * have it or not, as is usual for PyTorch's pos_weight; 1 if there are none with or without it. */
static dn_status balance(const dn_source *images, float *weights)
{
    const int classes = images->info.classes, has_sets = images->label_sets != NULL;
    int64_t *count;
    DN_TRY(dn_source_count(images, &count));
    for (int c = 0; c < classes; c++) {
        const double own = (double)count[c], all = (double)count[classes + c];
        if (has_sets)
            weights[c] = own == 0 || own == all ? 1 : (float)((all - own) / own);
        else
            weights[c] = own == 0 ? 0 : (float)(all / (classes * own));
    }
    free(count);
    return DN_OK;
}

dn_status dn_options_class_weights(const dn_options *o, const dn_source *images, float *weights)
{
    const int classes = images->info.classes;
    const char *at = o->class_weights;
    int count = 0;
    if (strcmp(at, "balanced") == 0)
        return balance(images, weights);
    for (char word[32]; *at != '\0'; count++) {
        const size_t length = strcspn(at, ",");
        double weight;
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        DN_CHECK(length < sizeof word && dn_parse_real(word, 1e-6, 1e6, &weight), DN_EINVAL,
                 "--class-weights: found '%.*s', expected none, balanced or numbers from 1e-06 to "
                 "1e+06 with commas between",
                 (int)length, at);
        if (count < classes)
            weights[count] = (float)weight;
        at += length + (at[length] == ',');
    }
    DN_CHECK(count == classes, DN_EINVAL,
             "--class-weights: found %d, expected %d, one a class of %s", count, classes,
             images->info.dataset);
    return DN_OK;
}

static dn_status make_spec(dn_spec *spec, const dn_options *o, const dn_data_info *data,
                           const dn_transform *input)
{
    DN_TRY(dn_spec_parse(spec, o->model));
    spec->channels = data != NULL ? data->channels : o->channels;
    data = data != NULL ? data : &(dn_data_info){0};
    const int height = input ? input->height : 0, width = input ? input->width : 0;
    const char *const name = data->dataset, *const after = "after --augment or --eval-transform of";
    DN_TRY(given_or_data("--size", o->size, height, after, name, &spec->height));
    DN_TRY(given_or_data("--size", o->size, width, after, name, &spec->width));
    DN_TRY(given_or_data("--classes", o->classes, data->classes, "in", name, &spec->classes));
    return dn_spec_check(spec);
}

static float own_dropout(double chosen, double model)
{
    return (float)(chosen < 0 ? model : chosen);
}

dn_status dn_options_net(const dn_options *o, dn_net_use use, const dn_data_info *data,
                         const dn_transform *input, int virtual_ranks, dn_net **net)
{
    dn_spec spec;
    const dn_kernels *kernels;
    const int trains = use != DN_NET_EVALUATES, has_sets = data != NULL && data->label_sets > 0;
    DN_TRY(make_spec(&spec, o, data, input));
    DN_TRY(dn_kernels_select(&kernels, o->isa));
    return dn_net_create(
        net, &spec, kernels,
        &(dn_net_options){.batch = o->batch_size,
                          .train = trains,
                          .plan_only = use == DN_NET_IS_PLANNED,
                          .dtype = (dn_dtype)o->dtype,
                          .recompute = o->recompute,
                          .dropout = own_dropout(o->dropout, spec.dropout),
                          .channel_dropout = (float)o->channel_dropout,
                          .transition_dropout =
                              own_dropout(o->transition_dropout, spec.transition_dropout),
                          .head_dropout = (float)o->head_dropout,
                          .loss = has_sets ? &dn_binary_cross_entropy : &dn_cross_entropy,
                          .freeze = trains ? o->freeze : "",
                          .norm_group = o->sync_bn ? virtual_ranks : 1});
}
