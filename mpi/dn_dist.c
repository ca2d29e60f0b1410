/* dn_dist: parses the command line and runs one command. If the command needs MPI, it first
 * re-executes itself once, to change how OpenMP waits and to undo mpirun's default binding, unless
 * the user has chosen both; then it starts MPI and the heartbeat, finds the rank's cores, and opens
 * the timeline. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "commands/commands.h"
#include "commands/consistency.h"
#include "commands/from_options.h"
#include "dn/program.h"
#include "dn/words.h"
#include "job/heartbeat.h"
#include "job/launcher.h"
#include "job/placement.h"
#include "job/preempt.h"
#include "job/start_watch.h"
#include "job/timeline.h"

enum { START_DEADLINES = 5 }; /* times --deadline: longest start of all ranks */

static const dn_command commands[] = {
    {"train", "train a DenseNet, or resume a run", DN_COMMAND_TRAIN, dn_train, NULL},
    {"eval", "score a checkpoint on labelled images: accuracy, loss, calibration", DN_COMMAND_EVAL,
     dn_eval, "[RUN]"},
    {"predict", "print the most likely classes of images", DN_COMMAND_PREDICT, dn_predict,
     "[RUN] IMAGE|FOLDER..."},
    {"export", "write a checkpoint's weights for other programs", DN_COMMAND_EXPORT, dn_export,
     "[RUN] OUT"},
    {"report", "write an HTML page of runs: curves, configurations, evaluations", DN_COMMAND_REPORT,
     dn_report_command, "RUN..."},
    {"top", "follow a run in a terminal: progress, curves, late ranks", DN_COMMAND_TOP,
     dn_top_command, "RUN"},
    {"info", "print a model's parameters, work and memory, and the rate by epoch", DN_COMMAND_INFO,
     dn_info_command, NULL},
    {"bench", "time training steps on synthetic images", DN_COMMAND_BENCH, dn_bench, NULL},
    {"plan", "predict a step's time and what limits it on a cluster", DN_COMMAND_PLAN,
     dn_plan_command, NULL},
    {"models", "list the known models with their parameters", DN_COMMAND_MODELS, dn_models_command,
     NULL},
    {"recipes", "list the recipes of train --recipe", DN_COMMAND_RECIPES, dn_recipes_command, NULL},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static dn_status show_help(const dn_command *command)
{
    if (command != NULL) {
        dn_options_help(stdout, command);
        return DN_OK;
    }
    printf("Usage: dn_dist COMMAND [OPTIONS]\n       dn_dist --version\n\ncommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-9s%s\n", commands[i].name, commands[i].help);
    printf("\n'dn_dist COMMAND --help' lists the options of a command. To begin with:\n\n"
           "  $ create_records FASHION_MNIST --download\n"
           "  $ dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --epochs 5 \\\n"
           "        --out runs/first\n"
           "  $ dn_dist eval runs/first\n"
           "\nExit status:\n"
           "  0   finished\n"
           "  1   an error, named in one line\n"
           "  75  train or predict was stopped by a signal or the time limit: the same\n"
           "      command resumes, predict with --skip\n"
           "  76  a rank was lost: the same command resumes, perhaps without its host\n"
           "\nEnvironment:\n"
           "  DN_ISA              default of --isa\n"
           "  DN_RECIPES          folder of recipes, searched before the installed ones\n"
           "  OMP_NUM_THREADS     threads per rank, unless --threads is given\n"
           "  OMP_PLACES, OMP_PROC_BIND\n"
           "                      pin threads to cores, in place of --pin\n"
           "  OMP_THREAD_LIMIT    most threads per rank, also of --threads\n"
           "  OMP_WAIT_POLICY, GOMP_SPINCOUNT\n"
           "                      how long idle threads spin\n"
           "  SLURM_JOB_END_TIME  when to stop, unless --time-limit is given\n");
    return DN_OK;
}

static dn_status show_version(void)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    const dn_kernels *kernels;
    int length;
    DN_TRY(dn_kernels_select(&kernels, ""));
    DN_MPI(MPI_Get_library_version(mpi, &length));
    printf("dn_dist %s\nkernels %s, %.*s\nsources %s\n", dn_version(), kernels->name,
           (int)strcspn(mpi, ",\n"), mpi, dn_sources);
    return DN_OK;
}

static int asks_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* *command = the one with that name; NULL for help or version. */
static dn_status find_command(const dn_command **command, const char *name)
{
    *command = NULL;
    if (name == NULL || asks_help(name) || strcmp(name, "--version") == 0)
        return DN_OK;
    dn_nearest nearest = {.word = name};
    dn_nearest_try(&nearest, "--help");
    dn_nearest_try(&nearest, "--version");
    for (int i = 0; i < COMMANDS; i++)
        if (dn_nearest_try(&nearest, commands[i].name)) {
            *command = &commands[i];
            return DN_OK;
        }
    char names[128];
    int used = snprintf(names, sizeof names, "%s", commands[0].name);
    for (int i = 1; i < COMMANDS && used < (int)sizeof names; i++)
        used += snprintf(names + used, sizeof names - (size_t)used, "%s%s",
                         i < COMMANDS - 1 ? ", " : " or ", commands[i].name);
    return dn_fail(DN_EINVAL, "found the command '%s', expected %s%s", name, names,
                   dn_nearest_hint(&nearest, ""));
}

/* Runs the command with the services that every command has. */
static dn_status run_command(const dn_command *command, dn_comm *comm, dn_options *options)
{
    dn_place place;
    DN_TRY(dn_place_create(&place, comm, options->threads, (dn_pin)options->pin));
    comm->place = &place;
    dn_status status = dn_timeline_create(&comm->timeline, comm, options->timeline);
    if (status == DN_OK)
        status = command->run(comm, options);
    status = dn_timeline_close(&comm->timeline, status);
    comm->place = NULL;
    return status;
}

/* Checks that the ranks are alike, then runs the command. Missing kernels are reported first,
 * before another function fails for want of them. */
static dn_status run_on_ranks(const dn_command *command, dn_comm *comm, dn_options *options)
{
    const dn_kernels *kernels;
    DN_TRY(dn_comm_agree(comm, dn_kernels_select(&kernels, options->isa)));
    DN_TRY(dn_same_options(comm, command, options));
    const dn_status status = run_command(command, comm, options);
    if (command->bit == DN_COMMAND_TRAIN) /* its results are in files */
        return status;
    return dn_comm_agree(comm, status == DN_OK ? dn_output_flush() : status);
}

static void end_as_stopped(int signal)
{
    (void)signal;
    _exit(DN_EXIT_AGAIN);
}

/* Ends MPI. After an urgent signal everything is saved, and a launcher that got the signal too may
 * no longer answer and kill its ranks soon: the process then ends after 0.3 s at most. */
static void end_mpi(dn_comm *comm, dn_status status)
{
    if (status == DN_STOPPED && dn_preempt_is_urgent()) {
        const struct itimerval moment = {.it_value.tv_usec = 300000};
        dn_heartbeat_stop(&comm->heartbeat);
        signal(SIGALRM, end_as_stopped);
        setitimer(ITIMER_REAL, &moment, NULL);
    }
    dn_comm_finalize(comm);
}

/* --print, for scripts: prints the options, and the run's folder if they determine it. */
static dn_status print_options(dn_options *o)
{
    char folder[sizeof o->out];
    if (o->out[0] || o->recipe[0] || dn_options_given(o, "model")) {
        DN_TRY(dn_options_folder(o, folder, sizeof folder));
        strcpy(o->out, folder);
    }
    dn_options_print(o);
    return DN_OK;
}

/* Runs what needs no MPI (help, version and some commands), and so works where MPI does not start.
 * `status` is that of the command line. */
static int run_alone(const dn_command *command, dn_options *options, dn_status status)
{
    if (strcmp(dn_launched_rank(), "0") != 0)
        return DN_EXIT_DONE;
    if (status == DN_OK)
        status = options->version ? show_version()
                 : options->help  ? show_help(command)
                 : options->print ? print_options(options)
                                  : command->run(NULL, options);
    if (status == DN_OK)
        status = dn_output_flush();
    if (status != DN_OK)
        fprintf(stderr, "dn_dist: %s\n", dn_message());
    free(options->words);
    return status == DN_OK ? DN_EXIT_DONE : DN_EXIT_FAILED;
}

/* Under a launcher an error needs MPI, as other ranks may have none. */
static int needs_no_mpi(const dn_command *command, const dn_options *options, dn_status status)
{
    if (options->print || (command != NULL && command->bit & DN_COMMAND_ALONE))
        return 1;
    return status == DN_OK ? options->help || options->version : !dn_is_launched();
}

int main(int argc, char **argv)
{
    dn_comm comm;
    dn_start_watch watch;
    dn_options options = {0};
    const dn_command *command;
    dn_streams_open();
    const int is_help_of = argc > 2 && asks_help(argv[1]); /* "dn_dist help train" */
    dn_status status = find_command(&command, argv[1 + is_help_of]);
    if (command && !is_help_of)
        status = dn_options_parse(&options, command, argc - 2, (const char *const *)argv + 2);
    else if (argc > 1 && strcmp(argv[1], "--version") == 0)
        options.version = 1;
    else
        options.help = 1;
    if (needs_no_mpi(command, &options, status))
        return run_alone(command, &options, status);
    dn_preempt_keep_hangup();
    dn_place_restart(argv, options.threads);
    if (command != NULL &&
        command->bit == DN_COMMAND_TRAIN) /* a signal may come while MPI starts */
        dn_preempt_catch();
    dn_start_watch_begin(&watch, dn_launched_rank(), START_DEADLINES * options.deadline);
    dn_comm_init(&comm, &argc, &argv);
    if (comm.rank != 0)
        dn_log_set_level(DN_WARN_HERE);
    dn_heartbeat_start(&comm.heartbeat, &comm, options.deadline);
    dn_start_watch_end(&watch);
    status = dn_comm_agree(&comm, status);
    if (status == DN_OK)
        status = run_on_ranks(command, &comm, &options);
    if (comm.rank == 0)
        fflush(stdout); /* keeps the order if both go to one file */
    if (status != DN_OK && comm.rank == 0)
        fprintf(stderr, "dn_dist: %s\n", dn_message());
    else if (comm.rank == 0 && dn_output_flush() != DN_OK)
        dn_warn("%s", dn_message());
    dn_note_operation(comm.activity, DN_ENDING);
    fflush(NULL);
    end_mpi(&comm, status);
    dn_heartbeat_stop(&comm.heartbeat);
    free(options.words);
    return status == DN_OK ? DN_EXIT_DONE : status == DN_STOPPED ? DN_EXIT_AGAIN : DN_EXIT_FAILED;
}
