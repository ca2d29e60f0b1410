/*
 * The command line of dn_dist. One table of options (option_table.c) drives parsing, --help, the
 * configuration file and the configuration text in checkpoints. Not collective: every rank parses
 * the same command line and comes to the same result.
 */
#ifndef DN_OPTIONS_H
#define DN_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/net.h"
#include "dn/schedule.h"
#include "dn/shard.h"
#include "dn/status.h"

typedef enum dn_command {
    DN_COMMAND_TRAIN = 1,
    DN_COMMAND_EVAL = 2,
    DN_COMMAND_INFO = 4,
    DN_COMMAND_BENCH = 8,
    DN_COMMAND_PLAN = 16
} dn_command;

/* Automatic: pad, crop and flip for images in colour, none for others. */
typedef enum dn_augment { DN_AUGMENT_AUTO, DN_AUGMENT_NONE, DN_AUGMENT_PAD_CROP_FLIP } dn_augment;

typedef enum dn_rate_scaling { DN_RATE_SCALING_NONE, DN_RATE_SCALING_LINEAR } dn_rate_scaling;

/* Of threads to cores; placement.h. */
typedef enum dn_pin { DN_PIN_AUTO, DN_PIN_OFF } dn_pin;
/* Automatic: where a rank may use more cores than it runs threads. */
typedef enum dn_comm_thread {
    DN_COMM_THREAD_AUTO,
    DN_COMM_THREAD_ON,
    DN_COMM_THREAD_OFF
} dn_comm_thread;

enum { DN_PATH_SIZE = 1024 };

/* Every option of every command; those of other commands hold their defaults. */
typedef struct dn_options {
    dn_command command;
    int help; /* --help was given: nothing else was checked */

    char model[160];             /* dn/spec.h */
    int size, classes, channels; /* size, classes: 0 = from the data, or the model's own */
    int batch_size;              /* images per virtual rank */
    dn_init init;
    double dropout;
    int sync_bn;

    char data[DN_PATH_SIZE];
    dn_augment augment;

    int epochs;
    int64_t max_steps; /* in all, those before a resumption counted; 0 = no limit */
    int virtual_ranks; /* 0 = number of ranks */
    int64_t seed;
    double lr; /* for a global batch of 64 where lr_scaling is linear; its default is the
                  optimizer's */
    dn_rate_scaling lr_scaling;
    int schedule;         /* dn_schedule_get */
    int optimizer;        /* dn_optimizer_name */
    double warmup_epochs; /* < 0: dn_options_rate decides */
    double momentum, beta1, beta2, eps, weight_decay, label_smoothing;
    int nesterov;

    char out[DN_PATH_SIZE];    /* empty: dn_options_out decides */
    char resume[DN_PATH_SIZE]; /* auto, none or a file */
    char init_from[DN_PATH_SIZE], checkpoint[DN_PATH_SIZE], config[DN_PATH_SIZE]; /* or empty */
    int eval_every, keep;
    int64_t checkpoint_every;
    char time_limit[32]; /* mpi/preempt.h */

    int threads; /* 0 = automatic */
    dn_pin pin;
    dn_comm_thread comm_thread;
    dn_dtype wire;
    char timeline[DN_PATH_SIZE]; /* or empty */
    double bucket_mb;            /* MiB of gradients that travel together */
    dn_dtype dtype;
    int recompute;
    char isa[32];    /* kernel table; empty: the fastest */
    double deadline; /* seconds; mpi/heartbeat.h */
    int steps, warmup, json, roofline;
    char profile[DN_PATH_SIZE]; /* to write or to read; or empty */

    int nodes, ranks_per_node;                                   /* of the cluster to plan for */
    double latency, bandwidth, inside_latency, inside_bandwidth; /* us, GB/s */

    uint64_t given; /* bit i: option i of the table was given, by command line or --config */
} dn_options;

/* Sets the defaults, then what `argv` (argc strings, those behind the command's name) and the
 * --config file say; the command line wins. DN_EINVAL names the option (or file:line), what was
 * found and what was expected. */
dn_status dn_options_parse(dn_options *options, const char *command, int argc,
                           const char *const *argv);

/* Prints the options of one command, or the commands where `command` is NULL or unknown. */
void dn_options_help(FILE *file, const char *command);

/* 1 where the user gave the option, named without its dashes. */
int dn_options_given(const dn_options *options, const char *name);

/* text(size) = the options that decide the trained weights, as INI text in a stable order that
 * reads back to the same bits. Those that stand for "automatic" must have been resolved before.
 * DN_EINVAL where the text does not fit. */
dn_status dn_options_to_ini(const dn_options *options, char *text, size_t size);

/* Takes from a checkpoint's text what the user did not give. Where the user gave another value, it
 * holds: for a training run with a warning, but with DN_EINVAL naming both values where the net or
 * the position in the data would not fit. On failure the options are as they were. */
dn_status dn_options_resume_from_ini(dn_options *options, const char *text);

/* path(size) = the run's folder: --out, or runs/<model> with all but letters, digits, '.', '-'
 * and '_' turned into '_'. */
dn_status dn_options_out(const dn_options *options, char *path, size_t size);

/* The learning rate's settings for a run on `virtual_ranks`. Linear scaling makes the base rate
 * lr * global batch / 64 (Goyal et al. 2017). The automatic warm-up is 5 epochs, but at most a
 * tenth of the run, where scaling raises the rate, and none elsewhere. */
dn_rate dn_options_rate(const dn_options *options, int virtual_ranks, int64_t steps_per_epoch);

/* *net = the net for their command, which the caller owns. What they leave open of its images and
 * classes is taken from `data` (or NULL); DN_ESHAPE where both are given and differ. DN_EINVAL,
 * DN_ENOMEM. */
dn_status dn_options_net(const dn_options *options, const dn_shard_info *data, int virtual_ranks,
                         dn_net **net);

#endif
