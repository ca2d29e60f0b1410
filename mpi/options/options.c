/*
 * The command line: commands, options, help, and what the options amount to.
 */
#include "options/options.h"

#include <ctype.h>
#include <string.h>

#include "dn/optimizer.h"
#include "dn/spec.h"
#include "options/option_table.h"

static const struct {
    const char *name, *help;
    dn_command command;
} commands[] = {
    {"train", "train a DenseNet, or go on with a run", DN_COMMAND_TRAIN},
    {"eval", "top-1, top-5 and loss of a checkpoint on a test set", DN_COMMAND_EVAL},
    {"info", "a model's layers, parameters, multiply-adds and memory plan", DN_COMMAND_INFO},
    {"bench", "time training steps on synthetic images", DN_COMMAND_BENCH},
    {"plan", "predict a step's time and what limits it on a cluster", DN_COMMAND_PLAN},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int find_command(const char *name)
{
    for (int i = 0; name && i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return i;
    return -1;
}

/* Takes the option at argv[*at], moves *at past it and its value. */
static dn_status parse_argument(dn_options *options, const char *command, int argc,
                                const char *const *argv, int *at)
{
    const char *argument = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    DN_CHECK(strncmp(argument, "--", 2) == 0 && argument[2], DN_EINVAL,
             "found '%s', expected an option of 'dn_dist %s' such as --%s", argument, command,
             options->command == DN_COMMAND_EVAL ? "data" : "model");
    const char *name = argument + 2, *value = strchr(name, '=');
    const size_t length = value ? (size_t)(value++ - name) : strlen(name);
    const int no = !value && strncmp(name, "no-", 3) == 0;
    int index = dn_option_find((int)options->command, name, length);
    if (index < 0 && no) {
        index = dn_option_find((int)options->command, name + 3, length - 3);
        index = index >= 0 && dn_option_table[index].kind == DN_SWITCH ? index : -1;
        value = "0";
    }
    DN_CHECK(index >= 0, DN_EINVAL,
             "--%.*s: found an unknown option, expected one of 'dn_dist %s --help'", (int)length,
             name, command);
    if (!value && dn_option_table[index].kind == DN_SWITCH)
        value = "1";
    if (!value && *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0)
        value = argv[++*at];
    DN_CHECK(value, DN_EINVAL, "--%s: found no value, expected %s", dn_option_table[index].name,
             dn_option_argument(&dn_option_table[index], (char[64]){0}));
    ++*at;
    options->given |= dn_option_bit(index);
    return dn_option_set(options, index, value, "--");
}

dn_status dn_options_parse(dn_options *options, const char *command, int argc,
                           const char *const *argv)
{
    const int c = find_command(command);
    DN_CHECK(c >= 0, DN_EINVAL, "found the command '%s', expected train, eval, info, bench or plan",
             command);
    memset(options, 0, sizeof *options);
    for (int i = 0; i < dn_option_count; i++)
        DN_TRY(dn_option_set(options, i, dn_option_table[i].initial, "default of --"));
    options->command = commands[c].command;
    for (int i = 0; i < argc && !options->help;)
        DN_TRY(parse_argument(options, command, argc, argv, &i));
    if (options->help)
        return DN_OK;
    if (options->config[0])
        DN_TRY(dn_options_read_config(options));
    if (!dn_options_given(options, "lr"))
        options->lr = dn_kernels_get(0)->optimizers[options->optimizer]->rate;
    DN_CHECK(options->command != DN_COMMAND_EVAL || options->checkpoint[0], DN_EINVAL,
             "--checkpoint: found none, expected a checkpoint FILE to evaluate");
    return DN_OK;
}

int dn_options_given(const dn_options *options, const char *name)
{
    const int index = dn_option_find((int)options->command, name, strlen(name));
    return index >= 0 && (options->given & dn_option_bit(index)) != 0;
}

static void print_option(FILE *file, const dn_option *o)
{
    char left[80], argument[64];
    snprintf(left, sizeof left, "--%s %s", o->name, dn_option_argument(o, argument));
    fprintf(file, "  %-34s", left);
    if (strlen(left) > 33)
        fprintf(file, "\n  %34s", "");
    fprintf(file, "%s", o->help);
    if (o->kind == DN_SWITCH)
        fprintf(file, "%s", o->initial[0] == '1' ? " [on]" : "");
    else if (o->initial[0])
        fprintf(file, " [%s]", o->initial);
    fprintf(file, "\n");
}

void dn_options_help(FILE *file, const char *command)
{
    const int c = find_command(command);
    fprintf(file, "usage: dn_dist %s [OPTIONS]\n", c >= 0 ? commands[c].name : "COMMAND");
    for (int i = 0; c < 0 && i < COMMANDS; i++)
        fprintf(file, "%s  %-8s%s\n", i ? "" : "\ncommands:\n", commands[i].name, commands[i].help);
    if (c < 0) {
        fprintf(file, "\n'dn_dist COMMAND --help' lists the options of a command.\n");
        return;
    }
    fprintf(file, "%s; defaults in [brackets]\n", commands[c].help);
    const char *group = "";
    for (int i = 0; i < dn_option_count; i++) {
        if (!(dn_option_table[i].commands & (int)commands[c].command))
            continue;
        if (strcmp(group, dn_option_table[i].group) != 0)
            fprintf(file, "\n%s\n", dn_option_table[i].group);
        group = dn_option_table[i].group;
        print_option(file, &dn_option_table[i]);
    }
    if (commands[c].command == DN_COMMAND_EVAL)
        return;
    fprintf(file, "\nmodels\n");
    for (int i = 0; dn_spec_name(i); i++)
        fprintf(file, "  %s\n", dn_spec_name(i));
    fprintf(file, "  or blocks=6,12,24:growth=32:bottleneck=4:compression=0.5:stem=imagenet|cifar|"
                  "7x7:\n     stem-channels=64:last-transition=0\n");
}

dn_status dn_options_out(const dn_options *options, char *path, size_t size)
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

/* ---- the net of the options ---- */

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
                                           .dtype = o->dtype,
                                           .recompute = o->recompute,
                                           .dropout = (float)o->dropout,
                                           .norm_group = o->sync_bn ? virtual_ranks : 1});
}
