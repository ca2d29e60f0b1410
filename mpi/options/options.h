/*
 * The command line of dn_dist. One table of options (option_table.c) drives parsing, --help, the
 * configuration file and the configuration text in checkpoints. Only dn_dist.c and the commands
 * (mpi/commands) see options; the other modules have settings of their own, which are parts of
 * dn_options. Not collective: every rank parses the same command line, with the same result.
 */
#ifndef DN_OPTIONS_H
#define DN_OPTIONS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/option.h"
#include "dn/schedule.h"
#include "training/settings.h"

/* The commands, as bits: a row of the table has those of the commands that take the option. `bench`
 * and `plan` have a bit for each of their two uses. */
typedef enum dn_command_bit {
    DN_COMMAND_TRAIN = 1,
    DN_COMMAND_EVAL = 2,
    DN_COMMAND_INFO = 4,
    DN_COMMAND_STEPS = 8,
    DN_COMMAND_READER = 2048,
    DN_COMMAND_BENCH = DN_COMMAND_STEPS | DN_COMMAND_READER, /* without and with --reader */
    DN_COMMAND_MEASURE = 16,
    DN_COMMAND_PROFILED = 4096,
    DN_COMMAND_PLAN = DN_COMMAND_MEASURE | DN_COMMAND_PROFILED, /* without and with --profile */
    DN_COMMAND_PREDICT = 32,
    DN_COMMAND_EXPORT = 64,
    DN_COMMAND_TRAINED = DN_COMMAND_EVAL | DN_COMMAND_PREDICT | DN_COMMAND_EXPORT, /* use a net */
    DN_COMMAND_MODELS = 128,
    DN_COMMAND_RECIPES = 256,
    DN_COMMAND_REPORT = 512,
    DN_COMMAND_TOP = 1024,
    DN_COMMAND_ALONE = DN_COMMAND_MODELS | DN_COMMAND_RECIPES | DN_COMMAND_REPORT |
                       DN_COMMAND_TOP /* without MPI, in a job's first process: no dn_comm */
} dn_command_bit;

typedef enum dn_rate_scaling {
    DN_RATE_SCALING_NONE,
    DN_RATE_SCALING_LINEAR,
    DN_RATE_SCALING_SQRT
} dn_rate_scaling;

/* Which weights of a checkpoint; automatic: the averaged ones if it has them. */
typedef enum dn_weights_choice {
    DN_WEIGHTS_AUTO,
    DN_WEIGHTS_TRAINED,
    DN_WEIGHTS_AVERAGE
} dn_weights_choice;

/* File format of weights; automatic: by the file name. */
typedef enum dn_format { DN_FORMAT_AUTO, DN_FORMAT_SAFETENSORS, DN_FORMAT_ONNX } dn_format;

enum { DN_PATH_SIZE = PATH_MAX };

/* All options of all commands; those of other commands have their defaults. A choice is the index
 * of its name, an int with the values of the enum in its comment. */
typedef struct dn_options {
    dn_command_bit command;
    int help, version; /* --help or --version was given: the words after it were not checked */
    int print;         /* of train: print the options and exit */

    char model[160];             /* dn/spec.h */
    int size, classes, channels; /* size, classes: 0: from the data, or the model's own */
    int batch_size;              /* images per virtual rank */
    int init;                    /* dn_init */
    int weights;                 /* dn_weights_choice; resolved by dn_trained_open */
    double dropout, channel_dropout, transition_dropout, head_dropout; /* < 0: the model's own */
    int sync_bn;
    int dtype; /* dn_dtype, of maps */
    int recompute;
    char isa[32]; /* kernel table; empty: the fastest */

    dn_step_settings step; /* virtual ranks, 0: number of ranks; `load` is not set */
    dn_run_settings run;

    int epochs;
    char freeze[256];     /* dn_net_options */
    double lr_head;       /* 0: lr */
    double lr, lr_min;    /* for a global batch of 64 unless lr_scaling is none; lr defaults to the
                             optimizer's */
    int lr_scaling;       /* dn_rate_scaling; defaults to the optimizer's */
    int schedule;         /* dn_schedule_get */
    char milestones[128]; /* ascending epochs, separated by commas; or empty */
    dn_schedule_settings scheduling; /* milestones are not set */
    double warmup_epochs;            /* < 0: dn_options_rate decides */

    char class_weights[4096]; /* none, balanced, or numbers separated by commas */

    char data[DN_PATH_SIZE];
    dn_reading reading; /* io_threads 0: dn_split_open decides */
    char shuffle[32];   /* full, or window:N */
    char augment[512], eval_transform[512], normalize[256]; /* dn/transform.h, or auto */
    char page[DN_PATH_SIZE];                                /* of report */
    int pictures;                                           /* of report */
    char out[DN_PATH_SIZE];                                 /* empty: dn_options_folder decides */
    char resume[DN_PATH_SIZE]; /* auto, none, a file or a run's folder */
    char init_from[DN_PATH_SIZE], checkpoint[DN_PATH_SIZE], config[DN_PATH_SIZE]; /* or empty */
    char recipe[DN_PATH_SIZE]; /* recipes.h; or empty */
    char time_limit[32];       /* job/preempt.h */

    int threads;                 /* 0: automatic */
    int pin;                     /* dn_pin */
    char timeline[DN_PATH_SIZE]; /* or empty */
    int tensorboard;             /* event files beside metrics.jsonl */
    double deadline;             /* seconds; job/heartbeat.h */
    int steps, warmup, json, roofline;
    int once;                      /* of top */
    int layers;                    /* of info: list them */
    int reader;                    /* of bench: time reading, not steps, */
    double seconds;                /* for this time */
    int split;                     /* of eval: a dn_split_id */
    int crops, per_class;          /* of eval; crops: 0 is one, 1 is ten */
    char per_sample[DN_PATH_SIZE]; /* or empty */
    int top, csv;                  /* of predict; top: 0 is all */
    int64_t skip;                  /* of predict: images */
    int format, opset, fold;       /* of export; dn_format */
    char profile[DN_PATH_SIZE];    /* file to write or to read; or empty */

    int nodes, ranks_per_node;                                   /* of the cluster to plan for */
    double latency, bandwidth, inside_latency, inside_bandwidth; /* us, GB/s */

    const char **words; /* (word_count) operands of the command line */
    int word_count;

    dn_option_set given;     /* options given on the command line, in --config or in --recipe */
    dn_option_set typed;     /* options given on the command line */
    dn_option_set of_recipe; /* options given in --recipe only */
} dn_options;

struct dn_comm;

/* A command of dn_dist; the table of commands is in dn_dist.c. */
typedef struct dn_command {
    const char *name, *help;
    dn_command_bit bit;
    dn_status (*run)(const struct dn_comm *comm, dn_options *options);
    const char *words; /* its operands, as --help shows them, or NULL */
} dn_command;

/* Sets the defaults, then the options of the --recipe, the --config file and argv(argc), the words
 * after the command's name; the last of these, and the last of repeated options, take precedence.
 * For commands that use a trained net the first operand is --checkpoint if that is not given.
 * DN_EINVAL names the option (or file:line), what was found and what was expected. The caller frees
 * the words. */
dn_status dn_options_parse(dn_options *options, const dn_command *command, int argc,
                           const char *const *argv);

/* DN_EINVAL with "--NAME: REASON" if an option was given that this use of the command does not
 * take. */
dn_status dn_options_check_use(const dn_options *options, dn_command_bit use, const char *reason);

/* 0 if the chosen schedule or optimizer does not read the option of that name. */
int dn_options_reads(const dn_options *options, const char *name);

/* DN_EINVAL if the command line has an option that the chosen schedule or optimizer does not read.
 * dn_options_parse checks this except for training, where a checkpoint may choose them. Options of
 * files are not checked: the command line may override a recipe's choice. */
dn_status dn_options_check_reads(const dn_options *options);

/* A dn_option_note: "for adam, lamb: ", the schedules or optimizers that read the option. */
void dn_options_note_readers(const dn_option *o, char *text, size_t size);

/* Prints a description of the command, and its options with their defaults. */
void dn_options_help(FILE *file, const dn_command *command);

/* Prints what must be the same on all ranks of a job: the command's options and operands, one per
 * line, and where each option was given: in a file, on the command line or not at all. A checkpoint
 * replaces some values by their origin, and collective calls depend on --data and --stage being
 * given; of these only the origin is printed. Leaves out DN_LOCAL options. */
void dn_options_print_comparable(FILE *file, const dn_options *options);

/* Prints the command's options as lines "name = value" that --config reads: those in force, so not
 * those that the schedule or optimizer does not read, nor --config and --recipe. */
void dn_options_print(const dn_options *options);

/* 1 if the user gave the option, named without its dashes. */
int dn_options_given(const dn_options *options, const char *name);

/* text(size) = the options that determine the trained weights, as INI text in a stable order that
 * reads back to the same bits. Automatic options must have been resolved. DN_EINVAL if the text
 * does not fit, or a line is longer than inih can read back. */
dn_status dn_options_to_ini(const dn_options *options, char *text, size_t size);

/* Takes options that the user did not give, or only by --recipe, from a checkpoint's text; those of
 * the recipe count as not given afterwards. A different value that the user gave takes precedence,
 * with a warning for a training run; options that only affect a run's start are ignored, with a
 * warning. DN_EINVAL, naming both values, if the net or the position in the data would not fit. On
 * failure the options are unchanged. */
dn_status dn_options_resume_from_ini(dn_options *options, const char *text);

/* The name of the first option that was given, is recorded in checkpoints and differs from its
 * value in `before`; or NULL. */
const char *dn_options_other(const dn_options *options, const dn_options *before);

/* ---- the table ---- */

/* What an option affects, the tag of its row; the recorded ones are last. All but DN_LOCAL and the
 * values of DN_PLACE are the same on all ranks (dn_options_print_comparable). */
typedef enum dn_bearing {
    DN_LOCAL,   /* not the weights, and may differ between ranks; checked otherwise: the options in
                   --config, the net's kernels */
    DN_PLACE,   /* a folder of the node: may differ, but all ranks or none are given one; the
                   contents of --data are compared */
    DN_FREE,    /* not the weights: not recorded */
    DN_DECIDES, /* the weights: recorded, may be changed when a run resumes */
    DN_BEGINS,  /* the initial weights: recorded, ignored when a run resumes */
    DN_FIXED    /* the net or the position in the data: recorded, must not be changed */
} dn_bearing;

/* The table; a row without a name ends it. Its `takers` are bits of dn_command_bit. */
extern const dn_option dn_option_table[];

#endif
