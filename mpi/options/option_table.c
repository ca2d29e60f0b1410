/*
 * The table of options. A new option is a field of dn_options and a row here.
 *
 * A row: name, heading in --help, commands, field with its kind, limits and argument, default, what
 * it affects (dn_bearing), help. A choice lists its names in the order of its enum, or takes them
 * from the table of the module that it chooses from (CHOICE_OF).
 */
#include "options/options.h"

#include "dn/schedule.h"
#include "dn/spec.h"
#include "dn/weights.h"

enum {
    TRAIN = DN_COMMAND_TRAIN,
    EVAL = DN_COMMAND_EVAL,
    INFO = DN_COMMAND_INFO,
    BENCH = DN_COMMAND_BENCH,
    PLAN = DN_COMMAND_PLAN,
    PREDICT = DN_COMMAND_PREDICT,
    EXPORT = DN_COMMAND_EXPORT,
    REPORT = DN_COMMAND_REPORT,
    TRAINED = DN_COMMAND_TRAINED,
    STEP = TRAIN | INFO | BENCH | PLAN, /* commands that run or describe training steps */
    ALL = TRAINED | STEP,
    COMPUTING = ALL & ~DN_COMMAND_EXPORT, /* export runs no net */
    ALONE = DN_COMMAND_ALONE
};

/* These look up model and kernels only to report errors in them before those of the data. */
static dn_status check_model(const char *text)
{
    dn_spec spec;
    return dn_spec_parse(&spec, text);
}

static dn_status check_isa(const char *text)
{
    const dn_kernels *kernels;
    return dn_kernels_select(&kernels, text);
}

/* clang-format off */
#define FIELD(name) offsetof(dn_options, name), sizeof((dn_options *)NULL)->name
#define CHECKED(field, argument, check) DN_TEXT, FIELD(field), 0, 0, argument, NULL, NULL, NULL, check
#define TEXT(field, argument) CHECKED(field, argument, NULL)
#define NUMBER(min, max, argument) min, max, argument, NULL, NULL, NULL, NULL
#define WHOLE(field, min, max, argument) DN_WHOLE, FIELD(field), NUMBER(min, max, argument)
#define REAL(field, min, max, argument) DN_REAL, FIELD(field), NUMBER(min, max, argument)
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SWITCH(field) DN_SWITCH, FIELD(field), 0, 0, NULL, "1", NULL, NULL, NULL
#define FLAG(field) DN_FLAG, FIELD(field), 0, 0, NULL, "1", NULL, NULL, NULL
#define CHOICE(field, ...) DN_CHOICE, FIELD(field), 0, 0, NULL, NULL, NAMES(__VA_ARGS__), NULL, NULL
#define CHOICE_OF(field, name) DN_CHOICE, FIELD(field), 0, 0, NULL, NULL, NULL, name, NULL

const dn_option dn_option_table[] = {
    {"model", "Model", STEP | TRAINED, CHECKED(model, "NAME", check_model), "densenet-bc-100-12", DN_FIXED,
     "a model's name or written form, see below; checkpoints know their own"},
    {"size", "Model", STEP | TRAINED, WHOLE(size, 0, DN_MAX_SIDE, "N"), "0", DN_FIXED,
     "image height and width; 0: from the data, or the model's own"},
    {"classes", "Model", STEP, WHOLE(classes, 0, DN_MAX_CLASSES, "N"), "0", DN_FIXED,
     "0: from the data, or the model's own"},
    {"channels", "Model", INFO | BENCH | PLAN, WHOLE(channels, 1, DN_MAX_IMAGE_CHANNELS, "N"), "3", DN_FREE,
     "channels of the input image"},
    {"dropout", "Model", TRAIN, REAL(dropout, -1, 0.99, "P"), "-1", DN_DECIDES,
     "probability that a value is dropped, after each dense layer; -1: the model's own"},
    {"channel-dropout", "Model", TRAIN, REAL(channel_dropout, 0, 0.99, "P"), "0", DN_DECIDES,
     "probability that a whole channel is dropped, after each dense layer"},
    {"transition-dropout", "Model", TRAIN, REAL(transition_dropout, -1, 0.99, "P"), "-1",
     DN_DECIDES, "probability that a value is dropped, between a transition's convolution and its pool; "
     "-1: the model's own"},
    {"head-dropout", "Model", TRAIN, REAL(head_dropout, 0, 0.99, "P"), "0", DN_DECIDES,
     "probability that a pooled feature is dropped, before the classifier"},
    {"sync-bn", "Model", TRAIN | BENCH, SWITCH(sync_bn), "0", DN_DECIDES,
     "batch statistics of the global batch, not of each virtual rank"},
    {"init", "Model", TRAIN, CHOICE(init, "kaiming", "xavier"), "kaiming", DN_BEGINS,
     "initial weights"},
    {"init-from", "Model", TRAIN, TEXT(init_from, "FILE"), "", DN_FREE,
     "start from the weights of a checkpoint, a run's folder or a safetensors file, and with its "
     "model where none is given; of other classes, with a fresh head"},
    {"checkpoint", "Model", TRAINED, TEXT(checkpoint, "FILE|RUN"), "", DN_FREE,
     "a checkpoint, a run's folder (its best.h5, else the newest), or safetensors; "
     "default: the first word"},
    {"weights", "Model", TRAINED, CHOICE(weights, "auto", "trained", "average"), "auto", DN_FREE,
     "of the checkpoint; average: those of --ema; auto: these where it has them, as runs are judged "
     "by them"},

    {"data", "Data", TRAIN, TEXT(data, "DIR"), "data/cifar10", DN_LOCAL,
     "folder made by create_records; of a run that goes on, the one that it learnt from"},
    {"data", "Data", TRAINED, TEXT(data, "DIR"), NULL, DN_LOCAL,
     "folder made by create_records, of the classes that the net learnt; default: the one that it "
     "learnt from"},
    {"data", "Data", BENCH, TEXT(data, "DIR"), "data/cifar10", DN_LOCAL,
     "of --reader: folder made by create_records"},
    {"data", "Data", PLAN, TEXT(data, "DIR"), NULL, DN_LOCAL,
     "folder made by create_records, for its number of images"},
    {"batch-size", "Data", EVAL | PREDICT | STEP, WHOLE(batch_size, 1, DN_MAX_BATCH, "N"), "32", DN_FIXED,
     "images per virtual rank, or in one pass"},
    {"virtual-ranks", "Data", TRAIN | INFO | PLAN, WHOLE(step.virtual_ranks, 0, 65536, "N"), "0", DN_FIXED,
     "parts of a global batch; 0: number of ranks"},
    {"val-fraction", "Data", TRAIN, REAL(run.val_fraction, 0, 0.9, "X"), "0", DN_FIXED,
     "part of each class's training images that is held out, the same for every --seed, and judges the "
     "run"},
    {"augment", "Data", TRAIN | BENCH, TEXT(augment, "LIST"), "auto", DN_DECIDES,
     "transforms of the training images, see below; auto: pad-crop and hflip, none for grey ones, or "
     "random-resized-crop and hflip where sizes differ"},
    {"eval-transform", "Data", TRAIN | EVAL | PREDICT, TEXT(eval_transform, "LIST"), "auto", DN_DECIDES,
     "transforms of all but the training images; auto: none, or resize by 8/7 and center-crop where sizes differ"},
    {"normalize", "Data", TRAIN | TRAINED, TEXT(normalize, "MEAN/STD"), "auto", DN_DECIDES,
     "mean and deviation of the pixels, 0 to 1, such as 0.5,0.4,0.4/0.2,0.2,0.3; imagenet; none; auto: the training "
     "images'"},
    {"shuffle", "Data", TRAIN | BENCH, TEXT(shuffle, "full|window:N"), "full", DN_FIXED,
     "order of an epoch: any, or among N images from groups of neighbours; see docs/data.md"},
    {"io-threads", "Data", TRAIN | EVAL | PREDICT, WHOLE(reading.io_threads, 0, 1024, "N"), "0", DN_LOCAL,
     "threads per rank that read ahead; 0: 1, or a quarter of --threads where images are decoded"},
    {"stage", "Data", TRAIN | EVAL | BENCH, TEXT(reading.stage, "DIR"), "", DN_LOCAL,
     "folder on the node's own disk that encoded shards are copied to meanwhile"},
    {"seed", "Data", TRAIN, WHOLE(step.seed, 0, 1e18, "N"), "1", DN_FIXED,
     "of weights, shuffling, augmentation and dropout"},

    {"epochs", "Optimisation", TRAIN | INFO | PLAN, WHOLE(epochs, 1, 1e9, "N"), "300", DN_DECIDES,
     "length of the run, and of the schedule"},
    {"max-steps", "Optimisation", TRAIN, WHOLE(run.max_steps, 0, 1e18, "N"), "0", DN_FREE,
     "end after so many steps in all; 0: no limit"},
    {"lr", "Optimisation", TRAIN | INFO, REAL(lr, 0, 1000, "X"), "0.1", DN_DECIDES,
     "learning rate, for a global batch of 64; adam, adamw, lamb: 0.001, rmsprop: 0.01, lars: 1"},
    {"lr-head", "Optimisation", TRAIN, REAL(lr_head, 0, 1000, "X"), "0", DN_DECIDES,
     "the learning rate of the linear layer, scaled and scheduled as lr; 0: lr"},
    {"freeze", "Optimisation", TRAIN, TEXT(freeze, "NAME,..."), "", DN_DECIDES,
     "parameters that are not learnt, by the beginnings of their names, as features.denseblock1, or "
     "globs"},
    {"lr-scaling", "Optimisation", TRAIN | INFO, CHOICE(lr_scaling, "none", "linear", "sqrt"),
     "linear", DN_DECIDES, "linear: lr x global batch / 64; sqrt: lr x the root of that"},
    {"lr-min", "Optimisation", TRAIN | INFO, REAL(lr_min, 0, 1000, "X"), "0", DN_DECIDES,
     "what cosine, polynomial and plateau fall to, at most lr; scaled as lr"},
    {"schedule", "Optimisation", TRAIN | INFO, CHOICE_OF(schedule, dn_schedule_name), "step",
     DN_DECIDES, "of the learning rate, over --epochs"},
    {"gamma", "Optimisation", TRAIN | INFO, REAL(falls.gamma, 1e-6, 1, "X"), "0.1", DN_DECIDES,
     "of step, multi-step, plateau: the factor of a fall of the rate"},
    {"step-epochs", "Optimisation", TRAIN | INFO, WHOLE(falls.step_epochs, 0, 1e9, "N"), "0", DN_DECIDES,
     "of step: epochs between falls of the rate; 0: falls at 50 and 75 % of the run"},
    {"milestones", "Optimisation", TRAIN | INFO, TEXT(milestones, "N,N"), "", DN_DECIDES,
     "of multi-step: epochs done at each fall of the rate"},
    {"power", "Optimisation", TRAIN | INFO, REAL(falls.power, 0, 100, "X"), "1", DN_DECIDES,
     "of polynomial: the exponent"},
    {"plateau-metric", "Optimisation", TRAIN | INFO, CHOICE(falls.metric, "loss", "accuracy"), "loss",
     DN_DECIDES, "of plateau: what has to get better on the images that judge the run"},
    {"plateau-patience", "Optimisation", TRAIN | INFO, WHOLE(falls.patience, 0, 1e9, "N"), "10",
     DN_DECIDES, "of plateau: epochs without improvement before the rate falls"},
    {"plateau-threshold", "Optimisation", TRAIN | INFO, REAL(falls.threshold, 0, 0.5, "X"), "0.0001",
     DN_DECIDES, "of plateau: the relative improvement that counts"},
    {"plateau-cooldown", "Optimisation", TRAIN | INFO, WHOLE(falls.cooldown, 0, 1e9, "N"), "0",
     DN_DECIDES, "of plateau: epochs after a fall that do not count"},
    {"warmup-epochs", "Optimisation", TRAIN | INFO, REAL(warmup_epochs, -1, 1e6, "X"), "-1", DN_DECIDES,
     "in which the rate rises to lr; -1: 5 (at most epochs / 10) where scaling raises lr, else 0"},
    {"optimizer", "Optimisation", STEP, CHOICE_OF(step.optimizer, dn_optimizer_name), "sgd",
     DN_FIXED, "adam: weight decay in the gradient; adamw: beside it"},
    {"momentum", "Optimisation", TRAIN, REAL(step.rule.momentum, 0, 0.9999, "X"), "0.9", DN_DECIDES,
     "of sgd, lars and rmsprop (there 0 unless given)"},
    {"nesterov", "Optimisation", TRAIN, SWITCH(step.rule.nesterov), "1", DN_DECIDES,
     "of sgd: Nesterov's momentum"},
    {"beta1", "Optimisation", TRAIN, REAL(step.rule.beta1, 0, 0.999999, "X"), "0.9", DN_DECIDES,
     "of adam, adamw, lamb: decay of the average gradient"},
    {"beta2", "Optimisation", TRAIN, REAL(step.rule.beta2, 0, 0.999999, "X"), "0.999", DN_DECIDES,
     "of adam, adamw, lamb, rmsprop (its alpha, 0.99): decay of the average squared gradient"},
    {"eps", "Optimisation", TRAIN, REAL(step.rule.eps, 0, 1, "X"), "1e-08", DN_DECIDES,
     "of adam, adamw, lamb (there 1e-06), rmsprop: added to the root of the average squared gradient"},
    {"trust", "Optimisation", TRAIN, REAL(step.rule.trust, 0, 1000, "X"), "0.001", DN_DECIDES,
     "of lars: a tensor's rate is this times its norm over its gradient's"},
    {"weight-decay", "Optimisation", TRAIN, REAL(step.rule.weight_decay, 0, 1, "X"), "0.0001",
     DN_DECIDES, "of all parameters"},
    {"no-decay", "Optimisation", TRAIN,
     CHOICE(step.rule.undecayed, "none", "norm", "bias", "norm,bias"), "none", DN_DECIDES,
     "parameters without weight decay, and without lars' or lamb's rate of their own"},
    {"clip-norm", "Optimisation", TRAIN, REAL(step.clip_norm, 0, 1e9, "X"), "0", DN_DECIDES,
     "the norm that the gradient is scaled down to where it is greater; 0: none"},
    {"ema", "Optimisation", TRAIN, REAL(step.average_decay, 0, 0.9999999, "DECAY"), "0", DN_DECIDES,
     "average the weights: DECAY of the average stays in each step; 0: not"},
    {"label-smoothing", "Optimisation", TRAIN, REAL(step.label_smoothing, 0, 0.99, "X"), "0",
     DN_DECIDES, "of the training loss"},
    {"mixup", "Optimisation", TRAIN, REAL(step.mixing.mixup, 0, 1000, "ALPHA"), "0", DN_DECIDES,
     "mix images and labels in pairs, in a ratio from Beta(ALPHA, ALPHA); 0: off"},
    {"cutmix", "Optimisation", TRAIN, REAL(step.mixing.cutmix, 0, 1000, "ALPHA"), "0", DN_DECIDES,
     "put a box of one image into another; with --mixup: either, batch by batch"},
    {"class-weights", "Optimisation", TRAIN, TEXT(class_weights, "W,W,..."), "none", DN_DECIDES,
     "of the loss, one a class in the order of 'create_records info'; balanced: images / (classes x "
     "images of each); none: all 1"},

    {"out", "Run", TRAIN, TEXT(out, "DIR"), "", DN_FREE,
     "checkpoints and metrics; default runs/<recipe>, else runs/<model>"},
    {"out", "Run", REPORT, TEXT(page, "FILE"), "report.html", DN_FREE, "the page"},
    {"once", "Run", DN_COMMAND_TOP, SWITCH(once), "0", DN_FREE,
     "print how the run stands now, and end; so it does where the output is no terminal"},
    {"eval-every", "Run", TRAIN, WHOLE(run.eval_every, 0, 1e9, "N"), "1", DN_FREE,
     "epochs between evaluations; 0: none"},
    {"best", "Run", TRAIN, CHOICE(run.best, "accuracy", "loss", "none", "balanced"), "accuracy", DN_DECIDES,
     "of which epoch best.h5 is the checkpoint, by held-out images, else test images; balanced: the "
     "mean of the classes' accuracies"},
    {"early-stop", "Run", TRAIN, WHOLE(run.early_stop, 0, 1e9, "N"), "0", DN_DECIDES,
     "end after N evaluations without a better one; 0: never"},
    {"checkpoint-every", "Run", TRAIN, WHOLE(run.checkpoint_every, 0, 1e18, "N"), "0", DN_FREE,
     "steps, besides every epoch's and the run's end"},
    {"keep", "Run", TRAIN, WHOLE(run.keep, 0, 1e9, "N"), "3", DN_FREE,
     "newest checkpoints kept; 0: all"},
    {"tensorboard", "Run", TRAIN, SWITCH(tensorboard), "0", DN_FREE,
     "the numbers of metrics.jsonl as TensorBoard's event files, in --out as well"},
    {"resume", "Run", TRAIN, TEXT(resume, "auto|FILE|RUN|none"), "auto", DN_FREE,
     "from a checkpoint, or the newest of a run's folder; auto: of --out; none: start anew"},
    {"time-limit", "Run", TRAIN, TEXT(time_limit, "TIME"), "", DN_FREE,
     "save and stop in time: MINUTES, [[D-]HH:]MM:SS; default: the Slurm job's"},
    {"config", "Run", TRAIN, TEXT(config, "FILE"), "", DN_LOCAL,
     "INI file of these keys; the command line wins"},
    {"recipe", "Run", TRAIN | INFO, TEXT(recipe, "NAME"), "", DN_LOCAL,
     "one of 'dn_dist recipes', or such a file; options that are given otherwise win"},
    {"layers", "Run", INFO, SWITCH(layers), "0", DN_FREE,
     "list the layers, and the regions of the memory plan"},
    {"print", "Run", TRAIN, FLAG(print), "0", DN_FREE,
     "print what all options come to, files of them included, and end"},
    {"steps", "Run", BENCH | PLAN, WHOLE(steps, 1, 1e9, "N"), "7", DN_FREE, "steps timed"},
    {"warmup", "Run", BENCH | PLAN, WHOLE(warmup, 0, 1e9, "N"), "2", DN_FREE, "steps before those"},
    {"reader", "Run", BENCH, SWITCH(reader), "0", DN_FREE,
     "time reading, by --threads, of the training images of --data"},
    {"seconds", "Run", BENCH, REAL(seconds, 0.01, 1e6, "X"), "10", DN_FREE, "length of --reader"},
    {"split", "Run", EVAL, CHOICE(split, "train", "test", "val"), "test", DN_FREE,
     "whose images; val: of the data set, or that --val-fraction held out, which train then lacks"},
    {"crops", "Run", EVAL, CHOICE(crops, "1", "10"), "1", DN_FREE,
     "10: the mean logits of four corners and the centre, each mirrored too, in place of "
     "center-crop"},
    {"per-class", "Run", EVAL, SWITCH(per_class), "0", DN_FREE,
     "print each class's recall, precision and F1, and the confusion matrix (--json has them always)"},
    {"per-sample", "Run", EVAL, TEXT(per_sample, "FILE"), "", DN_FREE,
     "CSV of each image's label, prediction, probability, loss and file"},
    {"top", "Run", PREDICT, WHOLE(top, 1, 1000, "K"), "5", DN_FREE, "classes an image"},
    {"csv", "Run", PREDICT, SWITCH(csv), "0", DN_FREE, "print lines of file,rank,class,name,probability"},
    {"format", "Run", EXPORT, CHOICE(format, "auto", "safetensors", "onnx"), "auto", DN_FREE,
     "of the file; auto: by its name"},
    {"opset", "Run", EXPORT, WHOLE(opset, DN_ONNX_OPSET_LEAST, DN_ONNX_OPSET_MOST, "N"), "17", DN_FREE,
     "of ONNX"},
    {"fold-batch-norm", "Run", EXPORT, SWITCH(fold), "0", DN_FREE,
     "ONNX: a batch norm that alone reads a convolution's output becomes part of it"},
    {"json", "Run", EVAL | PREDICT | BENCH | PLAN, SWITCH(json), "0", DN_FREE, "print JSON"},
    {"roofline", "Run", BENCH, SWITCH(roofline), "0", DN_FREE,
     "measure the machine's peaks, and compare phases and layers"},
    {"profile", "Run", BENCH | PLAN, TEXT(profile, "FILE"), "", DN_FREE,
     "a step's times by layer: written by bench, read by plan"},

    {"nodes", "Cluster", PLAN, WHOLE(nodes, 1, 4096, "N"), "16", DN_FREE,
     "plan for 1, 2, 4, ... N nodes"},
    {"ranks-per-node", "Cluster", PLAN, WHOLE(ranks_per_node, 0, 256, "N"), "0", DN_FREE,
     "each as the one measured; 0: as many as ran when measured"},
    {"latency", "Cluster", PLAN, REAL(latency, 0, 1e6, "US"), "30", DN_FREE,
     "of a message between nodes, in microseconds"},
    {"bandwidth", "Cluster", PLAN, REAL(bandwidth, 1e-6, 1e6, "GB/S"), "1.1", DN_FREE,
     "of a node's link, each way, in 10^9 bytes a second"},
    {"node-latency", "Cluster", PLAN, REAL(inside_latency, 0, 1e6, "US"), "1", DN_FREE,
     "of a message between ranks of a node"},
    {"node-bandwidth", "Cluster", PLAN, REAL(inside_bandwidth, 1e-6, 1e6, "GB/S"), "8", DN_FREE,
     "between two ranks of a node, each way"},

    {"threads", "Machine", COMPUTING, WHOLE(threads, 0, 4096, "N"), "0", DN_LOCAL,
     "per rank; 0: automatic"},
    {"wire", "Machine", TRAIN | BENCH, CHOICE(step.wire, "fp32", "bf16"), "fp32", DN_DECIDES,
     "gradients between ranks; bf16: sums of virtual ranks are rounded to it"},
    {"timeline", "Machine", TRAIN | BENCH, TEXT(timeline, "FILE"), "", DN_FREE,
     "what every rank does when, as a Chrome trace (JSON)"},
    {"pin", "Machine", COMPUTING, CHOICE(pin, "auto", "off"), "auto", DN_LOCAL,
     "threads to cores; auto: unless OMP_PLACES or too few cores forbid"},
    {"comm-thread", "Machine", TRAIN | BENCH | PLAN, CHOICE(step.comm_thread, "auto", "on", "off"),
     "auto", DN_LOCAL, "a thread a rank that only communicates; auto: on a spare core"},
    {"bucket-mb", "Machine", TRAIN | BENCH | PLAN, REAL(step.bucket_mb, 1e-5, 1024, "X"), "1",
     DN_FREE, "gradients that travel together, MiB; at most an eighth of all"},
    {"dtype", "Machine", COMPUTING, CHOICE(dtype, "fp32", "bf16"), "fp32", DN_DECIDES,
     "of the stored maps and their gradients, and of products where the processor has such; "
     "weights, sums and statistics are fp32"},
    {"recompute", "Machine", STEP, SWITCH(recompute), "0", DN_FREE,
     "least memory: bottleneck and stem maps are recomputed in the backward pass"},
    {"isa", "Machine", TRAIN | EVAL | PREDICT | BENCH | PLAN, CHECKED(isa, "NAME", check_isa), "", DN_LOCAL,
     "kernels: generic, avx2, avx512, avx512_bf16 or amx_bf16 (the last two multiply in bf16 "
     "with --dtype bf16); default: $DN_ISA, or the fastest"},
    {"deadline", "Machine", ALL, REAL(deadline, 0, 86400, "SECONDS"), "60", DN_FREE,
     "of silence after which a rank counts as lost and the job ends; so does a wait of all ranks for "
     "that long, or a start of five times that; 0: never"},
    {"help", "Machine", ALL | ALONE, FLAG(help), "0", DN_FREE, "this text"},
    {"version", "Machine", ALL | ALONE, FLAG(version), "0", DN_FREE, "of the program, its kernels, MPI and sources"},
    {0},
};
/* clang-format on */

_Static_assert(sizeof dn_option_table / sizeof *dn_option_table <= 8 * sizeof(dn_option_set) + 1,
               "dn_options.given has one bit for each option");
