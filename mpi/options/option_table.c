/*
 * The table of options, and reading and writing of values by its rows. A new option is a field of
 * dn_options and a row here.
 */
#include "options/option_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dn/optimizer.h"

enum {
    TRAIN = DN_COMMAND_TRAIN,
    EVAL = DN_COMMAND_EVAL,
    INFO = DN_COMMAND_INFO,
    BENCH = DN_COMMAND_BENCH,
    PLAN = DN_COMMAND_PLAN,
    STEP = TRAIN | INFO | BENCH | PLAN, /* what makes or describes training steps */
    ALL = EVAL | STEP
};

#define FIELD(name) offsetof(dn_options, name), sizeof((dn_options *)NULL)->name

/* clang-format off */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* most rows have no `choice` */
const dn_option dn_option_table[] = {
    {"model", STEP, "Model", DN_TEXT, FIELD(model), "densenet-bc-100-12", 0, 0,
     "NAME", DN_FIXED, "a model's name or written form, see below"},
    {"size", STEP, "Model", DN_INT, FIELD(size), "0", 0, 4096, "N",
     DN_FIXED, "image height and width; 0: from the data, or the model's own"},
    {"classes", STEP, "Model", DN_INT, FIELD(classes), "0", 0, 65536, "N",
     DN_FIXED, "0: from the data, or the model's own"},
    {"channels", INFO | BENCH | PLAN, "Model", DN_INT, FIELD(channels), "3", 1, 4, "N",
     DN_FREE, "of the input image"},
    {"dropout", TRAIN, "Model", DN_REAL, FIELD(dropout), "0", 0, 0.99, "P",
     DN_DECIDES, "probability, after each dense layer"},
    {"sync-bn", TRAIN | BENCH, "Model", DN_SWITCH, FIELD(sync_bn), "0", 0, 1, NULL,
     DN_DECIDES, "batch statistics of the global batch, not of each virtual rank"},
    {"init", TRAIN, "Model", DN_CHOICE, FIELD(init), "kaiming", 0, 0, "kaiming|xavier",
     DN_DECIDES, "initial weights"},
    {"init-from", TRAIN, "Model", DN_TEXT, FIELD(init_from), "", 0, 0, "FILE",
     DN_FREE, "start from a checkpoint's weights"},
    {"checkpoint", EVAL, "Model", DN_TEXT, FIELD(checkpoint), "", 0, 0, "FILE",
     DN_FREE, "the checkpoint to evaluate (required)"},

    {"data", TRAIN | EVAL, "Data", DN_TEXT, FIELD(data), "data/cifar10", 0, 0, "DIR",
     DN_FREE, "folder made by create_records"},
    {"batch-size", ALL, "Data", DN_INT, FIELD(batch_size), "32", 1, 65536, "N",
     DN_FIXED, "images per virtual rank, or in one pass"},
    {"virtual-ranks", TRAIN | PLAN, "Data", DN_INT, FIELD(virtual_ranks), "0", 0, 65536, "N",
     DN_FIXED, "parts of a global batch; 0: number of ranks"},
    {"augment", TRAIN, "Data", DN_CHOICE, FIELD(augment), "auto", 0, 0,
     "auto|none|pad-crop-flip", DN_DECIDES, "of the training images; auto: none for grey ones"},
    {"seed", TRAIN, "Data", DN_LONG, FIELD(seed), "1", 0, 1e18, "N",
     DN_FIXED, "of weights, shuffling, augmentation and dropout"},

    {"epochs", TRAIN, "Optimisation", DN_INT, FIELD(epochs), "300", 1, 1e9, "N",
     DN_DECIDES, "length of the run, and of the schedule"},
    {"max-steps", TRAIN, "Optimisation", DN_LONG, FIELD(max_steps), "0", 0, 1e18, "N",
     DN_FREE, "end after so many steps in all; 0: no limit"},
    {"lr", TRAIN, "Optimisation", DN_REAL, FIELD(lr), "0.1", 0, 1000, "X",
     DN_DECIDES, "learning rate, for a global batch of 64; adam, adamw: 0.001"},
    {"lr-scaling", TRAIN, "Optimisation", DN_CHOICE, FIELD(lr_scaling), "linear", 0, 0,
     "none|linear", DN_DECIDES, "linear: lr x global batch / 64"},
    {"schedule", TRAIN, "Optimisation", DN_CHOICE, FIELD(schedule), "step", 0, 0, NULL,
     DN_DECIDES, "step: a tenth from 50 %, a hundredth from 75 %", dn_schedule_name},
    {"warmup-epochs", TRAIN, "Optimisation", DN_REAL, FIELD(warmup_epochs), "-1", -1, 1e6, "X",
     DN_DECIDES, "-1: 5 (at most epochs / 10) when scaling raises lr"},
    {"optimizer", STEP, "Optimisation", DN_CHOICE, FIELD(optimizer), "sgd", 0, 0, NULL,
     DN_FIXED, "adam: weight decay in the gradient; adamw: beside it", dn_optimizer_name},
    {"momentum", TRAIN, "Optimisation", DN_REAL, FIELD(momentum), "0.9", 0, 0.9999, "X",
     DN_DECIDES, "of SGD"},
    {"nesterov", TRAIN, "Optimisation", DN_SWITCH, FIELD(nesterov), "1", 0, 1, NULL,
     DN_DECIDES, "Nesterov's momentum; --no-nesterov: off"},
    {"beta1", TRAIN, "Optimisation", DN_REAL, FIELD(beta1), "0.9", 0, 0.999999, "X",
     DN_DECIDES, "of Adam: decay of the average gradient"},
    {"beta2", TRAIN, "Optimisation", DN_REAL, FIELD(beta2), "0.999", 0, 0.999999, "X",
     DN_DECIDES, "of Adam: decay of the average squared gradient"},
    {"eps", TRAIN, "Optimisation", DN_REAL, FIELD(eps), "1e-08", 1e-30, 1, "X",
     DN_DECIDES, "of Adam: added to the root of that average"},
    {"weight-decay", TRAIN, "Optimisation", DN_REAL, FIELD(weight_decay), "0.0001", 0, 1, "X",
     DN_DECIDES, "of all parameters"},
    {"label-smoothing", TRAIN, "Optimisation", DN_REAL, FIELD(label_smoothing), "0", 0, 0.99, "X",
     DN_DECIDES, "of the training loss"},

    {"out", TRAIN, "Run", DN_TEXT, FIELD(out), "", 0, 0, "DIR",
     DN_FREE, "checkpoints and metrics; default runs/<model>"},
    {"eval-every", TRAIN, "Run", DN_INT, FIELD(eval_every), "1", 0, 1e9, "N",
     DN_FREE, "epochs between evaluations; 0: none"},
    {"checkpoint-every", TRAIN, "Run", DN_LONG, FIELD(checkpoint_every), "0", 0, 1e18, "N",
     DN_FREE, "steps, besides every epoch's and the run's end"},
    {"keep", TRAIN, "Run", DN_INT, FIELD(keep), "3", 0, 1e9, "N",
     DN_FREE, "newest checkpoints kept; 0: all"},
    {"resume", TRAIN, "Run", DN_TEXT, FIELD(resume), "auto", 0, 0, "auto|FILE|none",
     DN_FREE, "auto: from the newest checkpoint in --out"},
    {"time-limit", TRAIN, "Run", DN_TEXT, FIELD(time_limit), "", 0, 0, "TIME",
     DN_FREE, "save and stop in time: MINUTES, [[D-]HH:]MM:SS; default: the Slurm job's"},
    {"config", TRAIN, "Run", DN_TEXT, FIELD(config), "", 0, 0, "FILE",
     DN_FREE, "INI file of these keys; the command line wins"},
    {"steps", BENCH | PLAN, "Run", DN_INT, FIELD(steps), "7", 1, 1e9, "N",
     DN_FREE, "steps timed"},
    {"warmup", BENCH | PLAN, "Run", DN_INT, FIELD(warmup), "2", 0, 1e9, "N",
     DN_FREE, "steps before those"},
    {"json", EVAL | BENCH | PLAN, "Run", DN_SWITCH, FIELD(json), "0", 0, 1, NULL,
     DN_FREE, "print one JSON object"},
    {"roofline", BENCH, "Run", DN_SWITCH, FIELD(roofline), "0", 0, 1, NULL,
     DN_FREE, "measure the machine's peaks, and compare phases and layers"},
    {"profile", BENCH | PLAN, "Run", DN_TEXT, FIELD(profile), "", 0, 0, "FILE",
     DN_FREE, "a step's times by layer: written by bench, read by plan"},

    {"nodes", PLAN, "Cluster", DN_INT, FIELD(nodes), "16", 1, 4096, "N",
     DN_FREE, "plan for 1, 2, 4, ... N nodes"},
    {"ranks-per-node", PLAN, "Cluster", DN_INT, FIELD(ranks_per_node), "0", 0, 256, "N",
     DN_FREE, "each as the one measured; 0: as many as ran when measured"},
    {"latency", PLAN, "Cluster", DN_REAL, FIELD(latency), "30", 0, 1e6, "US",
     DN_FREE, "of a message between nodes, in microseconds"},
    {"bandwidth", PLAN, "Cluster", DN_REAL, FIELD(bandwidth), "1.1", 1e-6, 1e6, "GB/S",
     DN_FREE, "of a node's link, each way, in 10^9 bytes a second"},
    {"node-latency", PLAN, "Cluster", DN_REAL, FIELD(inside_latency), "1", 0, 1e6, "US",
     DN_FREE, "of a message between ranks of a node"},
    {"node-bandwidth", PLAN, "Cluster", DN_REAL, FIELD(inside_bandwidth), "8", 1e-6, 1e6, "GB/S",
     DN_FREE, "between two ranks of a node, each way"},

    {"threads", ALL, "Machine", DN_INT, FIELD(threads), "0", 0, 4096, "N",
     DN_FREE, "per rank; 0: automatic"},
    {"wire", TRAIN | BENCH, "Machine", DN_CHOICE, FIELD(wire), "fp32", 0, 0, "fp32|bf16",
     DN_DECIDES, "gradients between ranks; bf16: sums of virtual ranks are rounded to it"},
    {"timeline", TRAIN | BENCH, "Machine", DN_TEXT, FIELD(timeline), "", 0, 0, "FILE",
     DN_FREE, "what every rank does when, as a Chrome trace (JSON)"},
    {"pin", ALL, "Machine", DN_CHOICE, FIELD(pin), "auto", 0, 0, "auto|off",
     DN_FREE, "threads to cores; auto: unless OMP_PLACES or too few cores forbid"},
    {"comm-thread", TRAIN | BENCH | PLAN, "Machine", DN_CHOICE, FIELD(comm_thread), "auto", 0, 0,
     "auto|on|off", DN_FREE, "a thread a rank that only communicates; auto: on a spare core"},
    {"bucket-mb", TRAIN | BENCH | PLAN, "Machine", DN_REAL, FIELD(bucket_mb), "1", 1e-5, 1024, "X",
     DN_FREE, "gradients that travel together, MiB; at most an eighth of all"},
    {"dtype", ALL, "Machine", DN_CHOICE, FIELD(dtype), "fp32", 0, 0,
     "fp32|bf16", DN_DECIDES, "of the stored maps, and of products where the processor has such; "
     "weights, sums and statistics are fp32"},
    {"recompute", STEP, "Machine", DN_SWITCH, FIELD(recompute), "0", 0, 1, NULL,
     DN_FREE, "least memory: all bottleneck maps are made again in the backward pass"},
    {"isa", TRAIN | EVAL | BENCH | PLAN, "Machine", DN_TEXT, FIELD(isa), "", 0, 0, "NAME",
     DN_FREE, "kernels: generic, avx2, avx512, avx512_bf16 or amx_bf16 (the last two multiply in "
     "bf16 with --dtype bf16); default: $DN_ISA, or the fastest"},
    {"deadline", ALL, "Machine", DN_REAL, FIELD(deadline), "60", 0, 86400, "SECONDS",
     DN_FREE, "a rank silent for so long is lost and ends the job; 0: wait for ever"},
    {"help", ALL, "Machine", DN_SWITCH, FIELD(help), "0", 0, 1, NULL,
     DN_FREE, "this text"},
};
/* clang-format on */

const int dn_option_count = sizeof dn_option_table / sizeof *dn_option_table;
_Static_assert(sizeof dn_option_table / sizeof *dn_option_table <= 64,
               "dn_options.given has one bit for each option");

int dn_option_find(int command_set, const char *name, size_t length)
{
    for (int i = 0; i < dn_option_count; i++)
        if ((dn_option_table[i].commands & command_set) &&
            strlen(dn_option_table[i].name) == length &&
            strncmp(dn_option_table[i].name, name, length) == 0)
            return i;
    return -1;
}

const char *dn_option_argument(const dn_option *option, char *text)
{
    int used = 0;
    if (option->choice == NULL)
        return option->argument ? option->argument : "";
    for (int i = 0; option->choice(i); i++)
        used += snprintf(text + used, 64 - (size_t)used, "%s%s", i ? "|" : "", option->choice(i));
    return text;
}

/* The index of `text` among names as "none|linear", or -1. */
static int find_choice(const char *names, const char *text)
{
    const size_t length = strlen(text);
    for (int i = 0;; i++) {
        const size_t candidate = strcspn(names, "|");
        if (candidate == length && memcmp(names, text, length) == 0)
            return i;
        if (names[candidate] == '\0')
            return -1;
        names += candidate + 1;
    }
}

static dn_status set_text(char *field, size_t size, const char *text, const char *where,
                          const char *name)
{
    const size_t length = strlen(text);
    DN_CHECK(length < size, DN_EINVAL, "%s%s: found %zu characters, expected at most %zu", where,
             name, length, size - 1);
    memcpy(field, text, length + 1);
    return DN_OK;
}

static dn_status set_choice(int *field, const char *names, const char *text, const char *where,
                            const char *name)
{
    int value = find_choice(names ? names : "0|1", text);
    if (!names && value < 0)
        value = find_choice("off|on", text);
    DN_CHECK(value >= 0, DN_EINVAL, "%s%s: found '%s', expected %s", where, name, text,
             names ? names : "0|1|off|on");
    *field = value;
    return DN_OK;
}

static dn_status set_number(void *field, const dn_option *o, const char *text, const char *where)
{
    char *end;
    errno = 0;
    const double real = o->kind == DN_REAL ? strtod(text, &end) : 0;
    const int64_t whole = o->kind == DN_REAL ? 0 : strtoll(text, &end, 10);
    const double value = o->kind == DN_REAL ? real : (double)whole;
    const int in_range = value >= o->min && value <= o->max; /* not so for NaN */
    DN_CHECK(end != text && *end == '\0' && !errno && in_range, DN_EINVAL,
             "%s%s: found '%s', expected a %s from %.15g to %.15g", where, o->name, text,
             o->kind == DN_REAL ? "number" : "whole number", o->min, o->max);
    if (o->kind == DN_REAL)
        *(double *)field = real;
    else if (o->kind == DN_LONG)
        *(int64_t *)field = whole;
    else
        *(int *)field = (int)whole;
    return DN_OK;
}

dn_status dn_option_set(dn_options *options, int index, const char *text, const char *where)
{
    const dn_option *o = &dn_option_table[index];
    void *field = (char *)options + o->offset;
    char names[64];
    if (o->kind == DN_TEXT)
        return set_text(field, o->size, text, where, o->name);
    if (o->kind == DN_CHOICE || o->kind == DN_SWITCH)
        return set_choice(field, o->kind == DN_SWITCH ? NULL : dn_option_argument(o, names), text,
                          where, o->name);
    return set_number(field, o, text, where);
}

/* The shortest decimal number that reads back to the same bits. */
static void real_text(double value, char *text, size_t size)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

void dn_option_text(const dn_options *options, int index, char text[DN_PATH_SIZE])
{
    const dn_option *o = &dn_option_table[index];
    const void *field = (const char *)options + o->offset;
    char names[64];
    const char *name = dn_option_argument(o, names);
    if (o->kind == DN_TEXT) {
        snprintf(text, DN_PATH_SIZE, "%s", (const char *)field);
    } else if (o->kind == DN_REAL) {
        real_text(*(const double *)field, text, DN_PATH_SIZE);
    } else if (o->kind == DN_CHOICE) {
        for (int i = *(const int *)field; i > 0; i--)
            name = strchr(name, '|') + 1;
        snprintf(text, DN_PATH_SIZE, "%.*s", (int)strcspn(name, "|"), name);
    } else {
        const int64_t value =
            o->kind == DN_LONG ? *(const int64_t *)field : (int64_t) * (const int *)field;
        snprintf(text, DN_PATH_SIZE, "%lld", (long long)value);
    }
}
