/* `dn_dist models` and `dn_dist recipes`: lists of both. */
#include "commands/commands.h"

#include <stdio.h>

#include "options/recipes.h"

static dn_status print_model(const char *name)
{
    const dn_net_options options = {.batch = 1, .train = 1, .plan_only = 1};
    dn_spec spec;
    dn_net *net;
    DN_TRY(dn_spec_parse(&spec, name));
    DN_TRY(dn_net_create(&net, &spec, dn_kernels_get(0), &options));
    printf("  %-20s %10zu  %dx%dx%-4d %7d  %s\n", name, dn_net_view(net).parameter_count,
           spec.channels, spec.height, spec.width, spec.classes, dn_spec_form(name));
    dn_net_destroy(&net);
    return DN_OK;
}

dn_status dn_models_command(const dn_comm *comm, dn_options *options)
{
    (void)comm, (void)options;
    printf("%-22s %10s  %-9s %8s  %s\n", "model", "parameters", "images", "classes",
           "written form");
    for (int i = 0; dn_spec_name(i) != NULL; i++)
        DN_TRY(print_model(dn_spec_name(i)));
    return DN_OK;
}

dn_status dn_recipes_command(const dn_comm *comm, dn_options *options)
{
    (void)comm, (void)options;
    return dn_recipes_print();
}
