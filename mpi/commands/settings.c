/* What the options amount to: the settings of what the commands start. */
#include "commands/commands.h"

#include <ctype.h>
#include <string.h>

dn_status dn_options_folder(const dn_options *options, char *path, size_t size)
{
    const char *prefix = options->out[0] ? "" : "runs/";
    const char *folder = options->out[0] ? options->out : options->model;
    const int used = snprintf(path, size, "%s%s", prefix, folder);
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

dn_rate dn_options_rate(const dn_options *options, int virtual_ranks, int64_t steps_per_epoch)
{
    const double global_batch = (double)options->batch_size * virtual_ranks;
    const double scale = options->lr_scaling == DN_RATE_SCALING_LINEAR ? global_batch / 64 : 1;
    const double automatic = scale <= 1 ? 0 : options->epochs < 50 ? options->epochs * 0.1 : 5;
    return (dn_rate){
        .schedule = dn_schedule_get(options->schedule),
        .base = options->lr * scale,
        .steps_per_epoch = steps_per_epoch,
        .epochs = options->epochs,
        .warmup_epochs = options->warmup_epochs < 0 ? automatic : options->warmup_epochs,
    };
}

/* Takes the option's value where it is given, the data's otherwise; both must agree. */
static dn_status given_or_data(const char *option, int given, int data, const char *dataset,
                               int *value)
{
    DN_CHECK(given == 0 || data == 0 || given == data, DN_ESHAPE,
             "%s %d: found %d in data set %s, expected the same", option, given, data, dataset);
    if (given != 0 || data != 0)
        *value = given != 0 ? given : data;
    return DN_OK;
}

static dn_status make_spec(dn_spec *spec, const dn_options *o, const dn_shard_info *data)
{
    DN_TRY(dn_spec_parse(spec, o->model));
    spec->channels = data != NULL ? data->channels : o->channels;
    data = data != NULL ? data : &(dn_shard_info){0};
    DN_TRY(given_or_data("--size", o->size, data->height, data->dataset, &spec->height));
    DN_TRY(given_or_data("--size", o->size, data->width, data->dataset, &spec->width));
    DN_TRY(given_or_data("--classes", o->classes, data->classes, data->dataset, &spec->classes));
    return dn_spec_check(spec);
}

dn_status dn_options_net(const dn_options *o, const dn_shard_info *data, int virtual_ranks,
                         dn_net **net)
{
    dn_spec spec;
    const dn_kernels *kernels;
    DN_TRY(make_spec(&spec, o, data));
    DN_TRY(dn_kernels_select(&kernels, o->isa));
    return dn_net_create(net, &spec, kernels,
                         &(dn_net_options){.batch = o->batch_size,
                                           .train = o->command != DN_COMMAND_EVAL,
                                           .plan_only = o->command == DN_COMMAND_INFO,
                                           .dtype = (dn_dtype)o->dtype,
                                           .recompute = o->recompute,
                                           .dropout = (float)o->dropout,
                                           .norm_group = o->sync_bn ? virtual_ranks : 1});
}
