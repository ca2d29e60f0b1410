/* dn_dist: starts MPI, parses the command line, finds the rank's cores, starts the watch, runs one
 * command. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "placement.h"
#include "watch.h"

static const struct {
    const char *name;
    dn_status (*run)(const dn_comm *comm, dn_options *options);
} commands[] = {{"train", dn_train},
                {"eval", dn_eval},
                {"info", dn_info_command},
                {"bench", dn_bench},
                {"plan", dn_plan_command}};

static dn_status run_command(const dn_comm *comm, const char *name, dn_options *options)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(comm, options);
    return dn_fail(DN_EINVAL, "command: found %s, expected train, eval, info, bench or plan", name);
}

static int wants_help(int argc, char **argv)
{
    return argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_place place;
    dn_options options = {0};
    dn_comm_init(&comm, &argc, &argv);
    if (comm.rank != 0)
        dn_log_set_level(DN_QUIET);
    dn_status status = DN_OK;
    if (wants_help(argc, argv)) {
        if (comm.rank == 0)
            dn_options_help(stdout, NULL);
    } else {
        status = dn_comm_agree(
            &comm, dn_options_parse(&options, argv[1], argc - 2, (const char *const *)argv + 2));
        if (status == DN_OK && options.help && comm.rank == 0)
            dn_options_help(stdout, argv[1]);
        if (status == DN_OK && !options.help)
            status = dn_place_create(&place, &comm, options.threads, options.pin);
        comm.place = &place;
        if (status == DN_OK && !options.help) {
            dn_watch_start(&comm.watch, &comm, options.deadline);
            status = run_command(&comm, argv[1], &options);
        }
    }
    if (status != DN_OK && comm.rank == 0)
        fprintf(stderr, "dn_dist: %s\n", dn_message());
    dn_watch_doing(comm.watch, DN_ENDING);
    dn_comm_finalize(&comm);
    dn_watch_stop(&comm.watch);
    return status == DN_OK ? DN_EXIT_DONE : status == DN_STOPPED ? DN_EXIT_AGAIN : DN_EXIT_FAILED;
}
