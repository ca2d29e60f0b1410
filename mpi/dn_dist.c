/* dn_dist: parses the command line, begins again with other environment variables where too many
 * ranks would spin, starts MPI, finds the rank's cores, starts the watch and the timeline, runs one
 * command. */
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "job/placement.h"
#include "job/timeline.h"
#include "job/heartbeat.h"

static dn_status run_command(const dn_comm *comm, dn_options *options)
{
    switch (options->command) {
    case DN_COMMAND_TRAIN:
        return dn_train(comm, options);
    case DN_COMMAND_EVAL:
        return dn_eval(comm, options);
    case DN_COMMAND_INFO:
        return dn_info_command(comm, options);
    case DN_COMMAND_BENCH:
        return dn_bench(comm, options);
    case DN_COMMAND_PLAN:
        break;
    }
    return dn_plan_command(comm, options);
}

static int wants_help(int argc, char **argv)
{
    return argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_place place;
    dn_options options = {.help = wants_help(argc, argv)};
    const char *command = options.help ? NULL : argv[1];
    dn_status status = DN_OK;
    if (command)
        status = dn_options_parse(&options, command, argc - 2, (const char *const *)argv + 2);
    dn_place_restart_if_crowded(argv, options.threads);
    dn_comm_init(&comm, &argc, &argv);
    if (comm.rank != 0)
        dn_log_set_level(DN_QUIET);
    status = dn_comm_agree(&comm, status);
    if (status == DN_OK && options.help && comm.rank == 0)
        dn_options_help(stdout, command);
    if (status == DN_OK && !options.help)
        status = dn_place_create(&place, &comm, options.threads, options.pin);
    comm.place = &place;
    if (status == DN_OK && !options.help) {
        dn_heartbeat_start(&comm.heartbeat, &comm, options.deadline);
        status = dn_timeline_create(&comm.timeline, &comm, options.timeline);
        if (status == DN_OK)
            status = run_command(&comm, &options);
        const dn_status closed = dn_timeline_close(&comm.timeline);
        status = status != DN_OK ? status : closed;
    }
    if (status != DN_OK && comm.rank == 0)
        fprintf(stderr, "dn_dist: %s\n", dn_message());
    dn_heartbeat_doing(comm.heartbeat, DN_ENDING);
    dn_comm_finalize(&comm);
    dn_heartbeat_stop(&comm.heartbeat);
    return status == DN_OK ? DN_EXIT_DONE : status == DN_STOPPED ? DN_EXIT_AGAIN : DN_EXIT_FAILED;
}
