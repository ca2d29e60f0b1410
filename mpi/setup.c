/* The net of the options, which several commands begin with. */
#include "commands.h"

/* Takes the option's value where it is given, the data's otherwise; both must agree. */
static dn_status settle(const char *option, int given, int data, const char *dataset, int *value)
{
    DN_CHECK(given == 0 || data == 0 || given == data, DN_ESHAPE,
             "%s %d: found %d in data set %s, expected the same", option, given, data, dataset);
    if (given != 0 || data != 0)
        *value = given != 0 ? given : data;
    return DN_OK;
}

static dn_status make_spec(dn_spec *spec, const dn_options *options, const dn_shard_info *data)
{
    DN_TRY(dn_spec_parse(spec, options->model));
    spec->channels = data != NULL ? data->channels : options->channels;
    data = data != NULL ? data : &(dn_shard_info){0};
    DN_TRY(settle("--size", options->size, data->height, data->dataset, &spec->height));
    DN_TRY(settle("--size", options->size, data->width, data->dataset, &spec->width));
    DN_TRY(settle("--classes", options->classes, data->classes, data->dataset, &spec->classes));
    return dn_spec_check(spec);
}

dn_status dn_net_from_options(dn_net **net, const dn_options *o, const dn_shard_info *data,
                              int virtual_ranks)
{
    dn_spec spec;
    const dn_kernels *kernels;
    DN_TRY(make_spec(&spec, o, data));
    DN_TRY(dn_kernels_select(&kernels, o->isa));
    return dn_net_create(net, &spec, kernels,
                         &(dn_net_options){.batch = o->batch_size,
                                           .train = o->command != DN_COMMAND_EVAL,
                                           .plan_only = o->command == DN_COMMAND_INFO,
                                           .dtype = o->dtype,
                                           .recompute = o->recompute,
                                           .dropout = (float)o->dropout,
                                           .norm_group = o->sync_bn ? virtual_ranks : 1});
}
