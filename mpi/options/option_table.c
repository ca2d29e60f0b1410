/*
 * The table of options. A new option is a field of dn_options and a row here.
 *
 * A row: name, heading in --help, commands, field with its kind, limits and argument, default, what
 * it affects (dn_bearing), help. A choice lists its names in the order of its enum, or takes them
 * from the table of the module that it chooses from (CHOICE_OF); "" is a value that it does not
 * offer.
 */
#include "options/options.h"

#include "dn/monitor.h"
#include "dn/schedule.h"
#include "dn/scores.h"
#include "dn/spec.h"
#include "dn/weights.h"

enum {
    TRAIN = DN_COMMAND_TRAIN,
    EVAL = DN_COMMAND_EVAL,
    INFO = DN_COMMAND_INFO,
    BENCH = DN_COMMAND_STEPS,   /* without --reader */
    READER = DN_COMMAND_READER, /* with it */
    PLAN = DN_COMMAND_PLAN,
    MEASURE = DN_COMMAND_MEASURE, /* without --profile */
    PREDICT = DN_COMMAND_PREDICT,
    EXPORT = DN_COMMAND_EXPORT,
    REPORT = DN_COMMAND_REPORT,
    TRAINED = DN_COMMAND_TRAINED,
    STEP = TRAIN | INFO | BENCH | MEASURE, /* commands that run or describe training steps */
    COMPUTING = EVAL | PREDICT | STEP,
    ALL = TRAINED | STEP | READER | PLAN,
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

static const char *watched_score(int index)
{
    return index == DN_BEST_NONE ? "" : dn_score_choice(index);
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
     "model name or written form, see below; checkpoints record their own"},
    {"size", "Model", STEP | TRAINED | READER, WHOLE(size, 0, DN_MAX_SIDE, "N"), "0", DN_FIXED,
     "image height and width; 0: from the data, or the model's own"},
    {"classes", "Model", STEP, WHOLE(classes, 0, DN_MAX_CLASSES, "N"), "0", DN_FIXED,
     "number of classes; 0: from the data, or the model's own"},
    {"channels", "Model", INFO | BENCH | MEASURE, WHOLE(channels, 1, DN_MAX_IMAGE_CHANNELS, "N"), "3", DN_FREE,
     "channels of the input image"},
    {"dropout", "Model", TRAIN, REAL(dropout, -1, 0.99, "P"), "-1", DN_DECIDES,
     "probability of dropping a value after each dense layer; -1: the model's own"},
    {"channel-dropout", "Model", TRAIN, REAL(channel_dropout, 0, 0.99, "P"), "0", DN_DECIDES,
     "probability of dropping a whole channel after each dense layer"},
    {"transition-dropout", "Model", TRAIN, REAL(transition_dropout, -1, 0.99, "P"), "-1",
     DN_DECIDES, "probability of dropping a value between a transition's convolution and its pool; "
     "-1: the model's own"},
    {"head-dropout", "Model", TRAIN, REAL(head_dropout, 0, 0.99, "P"), "0", DN_DECIDES,
     "probability of dropping a pooled feature before the classifier"},
    {"sync-bn", "Model", TRAIN | BENCH, SWITCH(sync_bn), "0", DN_DECIDES,
     "batch statistics over the global batch instead of each virtual rank"},
    {"init", "Model", TRAIN, CHOICE(init, "kaiming", "xavier"), "kaiming", DN_BEGINS,
     "distribution of the initial weights"},
    {"init-from", "Model", TRAIN, TEXT(init_from, "FILE"), "", DN_BEGINS,
     "start from the weights of a checkpoint, a run's folder or a safetensors file, with its model "
     "unless --model is given; other classes: with a new linear layer"},
    {"checkpoint", "Model", TRAINED, TEXT(checkpoint, "FILE|RUN"), "", DN_FREE,
     "checkpoint, run's folder (its best.h5, or else the newest checkpoint), or safetensors file; "
     "default: the first argument"},
    {"weights", "Model", TRAINED, CHOICE(weights, "auto", "trained", "average"), "auto", DN_FREE,
     "which weights of the checkpoint; average: those of --ema, by which runs are judged; auto: the "
     "average if the checkpoint has it"},

    {"data", "Data", TRAIN, TEXT(data, "DIR"), "data/cifar10", DN_PLACE,
     "folder made by create_records; default of a resumed run: the one it was trained on"},
    {"data", "Data", TRAINED, TEXT(data, "DIR"), NULL, DN_PLACE,
     "folder made by create_records, with the classes of the net; default: the one it was trained on"},
    {"data", "Data", READER, TEXT(data, "DIR"), "data/cifar10", DN_PLACE,
     "for --reader: folder made by create_records"},
    {"data", "Data", INFO | PLAN, TEXT(data, "DIR"), NULL, DN_PLACE,
     "folder made by create_records, for its image size, classes and number of images"},
    {"batch-size", "Data", COMPUTING | READER, WHOLE(batch_size, 1, DN_MAX_BATCH, "N"), "32", DN_FIXED,
     "images per virtual rank, or per forward pass"},
    {"virtual-ranks", "Data", TRAIN | INFO | PLAN, WHOLE(step.virtual_ranks, 0, 65536, "N"), "0", DN_FIXED,
     "number of parts of a global batch; 0: one per rank"},
    {"val-fraction", "Data", TRAIN | INFO, REAL(run.val_fraction, 0, 0.9, "X"), "0", DN_FIXED,
     "fraction of each class's training images held out to judge the run, the same for every --seed"},
    {"augment", "Data", TRAIN | READER, TEXT(augment, "LIST"), "auto", DN_DECIDES,
     "transforms of the training images, see below; auto: random-resized-crop and hflip for encoded images; "
     "else resize and center-crop to another --size, then pad-crop and hflip, none for grey images"},
    {"eval-transform", "Data", TRAIN | EVAL | PREDICT, TEXT(eval_transform, "LIST"), "auto", DN_DECIDES,
     "transforms of images that are scored or predicted; auto: resize to 8/7 of --size and center-crop for "
     "encoded images; else resize and center-crop to another --size, or none"},
    {"normalize", "Data", TRAIN | TRAINED, TEXT(normalize, "MEAN/STD"), "auto", DN_DECIDES,
     "mean and std of pixels from 0 to 1, such as 0.5,0.4,0.4/0.2,0.2,0.3; imagenet; none; auto: those of "
     "the training images"},
    {"shuffle", "Data", TRAIN | READER, TEXT(shuffle, "full|window:N"), "full", DN_FIXED,
     "shuffle the whole data set, or within windows of N images from groups of neighbours; see "
     "docs/data.md"},
    {"io-threads", "Data", TRAIN | EVAL | PREDICT, WHOLE(reading.io_threads, 0, 1024, "N"), "0", DN_LOCAL,
     "threads per rank that read ahead; 0: 1, or a quarter of --threads for encoded images"},
    {"stage", "Data", TRAIN | EVAL | READER, TEXT(reading.stage, "DIR"), "", DN_PLACE,
     "folder on the node's own disk to which encoded shards are copied in the background"},
    {"seed", "Data", TRAIN, WHOLE(step.seed, 0, 1e18, "N"), "1", DN_FIXED,
     "seed of weights, shuffling, augmentation and dropout"},

    {"epochs", "Optimisation", TRAIN | INFO | PLAN, WHOLE(epochs, 1, 1e9, "N"), "300", DN_DECIDES,
     "length of the run and of the schedule"},
    {"max-steps", "Optimisation", TRAIN, WHOLE(run.max_steps, 0, 1e18, "N"), "0", DN_FREE,
     "end after N steps in total; 0: no limit"},
    {"lr", "Optimisation", TRAIN | INFO, REAL(lr, 0, 1000, "X"), "0.1", DN_DECIDES,
     "learning rate, before lr-scaling; default depends on --optimizer"},
    {"lr-head", "Optimisation", TRAIN, REAL(lr_head, 0, 1000, "X"), "0", DN_DECIDES,
     "learning rate of the linear layer, scaled and scheduled like lr; 0: lr"},
    {"freeze", "Optimisation", TRAIN, TEXT(freeze, "NAME,..."), "", DN_DECIDES,
     "parameters that are not trained: prefixes of names, such as features.denseblock1, or globs"},
    {"lr-scaling", "Optimisation", TRAIN | INFO, CHOICE(lr_scaling, "none", "linear", "sqrt"),
     "linear", DN_DECIDES, "linear: lr x global batch / 64; sqrt: lr x sqrt(global batch / 64); default "
     "depends on --optimizer"},
    {"lr-min", "Optimisation", TRAIN | INFO, REAL(lr_min, 0, 1000, "X"), "0", DN_DECIDES,
     "final rate, at most lr; scaled like lr"},
    {"schedule", "Optimisation", TRAIN | INFO, CHOICE_OF(schedule, dn_schedule_name), "step",
     DN_DECIDES, "learning rate schedule over --epochs"},
    {"gamma", "Optimisation", TRAIN | INFO, REAL(scheduling.gamma, 1e-6, 1, "X"), "0.1", DN_DECIDES,
     "the factor by which the rate falls"},
    {"step-epochs", "Optimisation", TRAIN | INFO, WHOLE(scheduling.step_epochs, 0, 1e9, "N"), "0",
     DN_DECIDES, "epochs between falls of the rate; 0: falls at 50 and 75 % of the run"},
    {"milestones", "Optimisation", TRAIN | INFO, TEXT(milestones, "N,N"), "", DN_DECIDES,
     "number of epochs before each fall of the rate"},
    {"power", "Optimisation", TRAIN | INFO, REAL(scheduling.power, 0, 100, "X"), "1", DN_DECIDES,
     "the exponent"},
    {"plateau-metric", "Optimisation", TRAIN | INFO, CHOICE_OF(scheduling.metric, watched_score), "auto", DN_DECIDES,
     "the score to watch; auto: loss, or for images of several classes that of --best"},
    {"plateau-patience", "Optimisation", TRAIN | INFO, WHOLE(scheduling.patience, 0, 1e9, "N"), "10",
     DN_DECIDES, "epochs without improvement before the rate falls"},
    {"plateau-threshold", "Optimisation", TRAIN | INFO, REAL(scheduling.threshold, 0, 0.5, "X"), "0.0001",
     DN_DECIDES, "the relative improvement that counts"},
    {"plateau-cooldown", "Optimisation", TRAIN | INFO, WHOLE(scheduling.cooldown, 0, 1e9, "N"), "0",
     DN_DECIDES, "epochs after a fall that do not count"},
    {"warmup-epochs", "Optimisation", TRAIN | INFO, REAL(warmup_epochs, -1, 1e6, "X"), "-1", DN_DECIDES,
     "epochs in which the rate rises to lr; -1: 5 (at most epochs / 10) if scaling raises lr, else 0"},
    {"optimizer", "Optimisation", STEP, CHOICE_OF(step.optimizer, dn_optimizer_name), "sgd",
     DN_FIXED, "adam adds weight decay to the gradient; adamw decouples it; 'dn_dist train --optimizer NAME "
     "--print' shows the defaults that depend on it"},
    {"momentum", "Optimisation", TRAIN, REAL(step.rule.momentum, 0, 0.9999, "X"), "0.9", DN_DECIDES,
     "momentum factor, 0: none; default depends on --optimizer"},
    {"nesterov", "Optimisation", TRAIN, SWITCH(step.rule.nesterov), "1", DN_DECIDES,
     "Nesterov momentum"},
    {"beta1", "Optimisation", TRAIN, REAL(step.rule.beta1, 0, 0.999999, "X"), "0.9", DN_DECIDES,
     "decay of the average gradient"},
    {"beta2", "Optimisation", TRAIN, REAL(step.rule.beta2, 0, 0.999999, "X"), "0.999", DN_DECIDES,
     "decay of the average squared gradient, the alpha of PyTorch's RMSprop; default depends on --optimizer"},
    {"eps", "Optimisation", TRAIN, REAL(step.rule.eps, 0, 1, "X"), "1e-08", DN_DECIDES,
     "added to the root of the average squared gradient; default depends on --optimizer"},
    {"trust", "Optimisation", TRAIN, REAL(step.rule.trust, 0, 1000, "X"), "0.001", DN_DECIDES,
     "trust coefficient; the rate of a tensor is X times its norm / the norm of its gradient"},
    {"weight-decay", "Optimisation", TRAIN, REAL(step.rule.weight_decay, 0, 1, "X"), "0.0001",
     DN_DECIDES, "weight decay of all parameters but those of --no-decay; default depends on --optimizer"},
    {"no-decay", "Optimisation", TRAIN,
     CHOICE(step.rule.undecayed, "none", "norm", "bias", "norm,bias"), "none", DN_DECIDES,
     "parameters without weight decay and, in lars and lamb, without a rate of their own"},
    {"clip-norm", "Optimisation", TRAIN, REAL(step.clip_norm, 0, 1e9, "X"), "0", DN_DECIDES,
     "scale the gradient down to this norm if it is greater; 0: off"},
    {"ema", "Optimisation", TRAIN, REAL(step.average_decay, 0, 0.9999999, "DECAY"), "0", DN_DECIDES,
     "keep an exponential moving average of the weights with this decay per step, or step / (9 + step) "
     "if that is less; 0: off"},
    {"label-smoothing", "Optimisation", TRAIN, REAL(step.label_smoothing, 0, 0.99, "X"), "0",
     DN_DECIDES, "label smoothing of the training loss"},
    {"mixup", "Optimisation", TRAIN, REAL(step.mixing.mixup, 0, 1000, "ALPHA"), "0", DN_DECIDES,
     "mix images and labels in pairs, in a ratio from Beta(ALPHA, ALPHA); 0: off"},
    {"cutmix", "Optimisation", TRAIN, REAL(step.mixing.cutmix, 0, 1000, "ALPHA"), "0", DN_DECIDES,
     "paste a box of one image into another; with --mixup: one of the two for each batch"},
    {"class-weights", "Optimisation", TRAIN, TEXT(class_weights, "W,W,..."), "none", DN_DECIDES,
     "weights in the loss, one per class in the order of 'create_records info'; balanced: images / "
     "(classes x images of the class), 0 for one without images, or for images of several classes "
     "images without / with the class (1 if none or all have it); none: all 1"},

    {"out", "Run", TRAIN, TEXT(out, "DIR"), "", DN_FREE,
     "folder of checkpoints and metrics; default runs/<recipe> or runs/<model>"},
    {"out", "Run", REPORT, TEXT(page, "FILE"), "report.html", DN_FREE, "the HTML page"},
    {"pictures", "Run", REPORT, SWITCH(pictures), "1", DN_FREE, "show the worst samples of an evaluation"},
    {"once", "Run", DN_COMMAND_TOP, SWITCH(once), "0", DN_FREE,
     "print the current state and exit; default if the output is not a terminal"},
    {"eval-every", "Run", TRAIN, WHOLE(run.eval_every, 0, 1e9, "N"), "1", DN_FREE,
     "epochs between evaluations; 0: none but those that a plateau schedule needs"},
    {"best", "Run", TRAIN, CHOICE_OF(run.best, dn_score_choice), "auto", DN_DECIDES,
     "score that chooses best.h5, on held-out images or else test images; the loss breaks ties; "
     "balanced: mean of the per-class accuracies; auroc: mean area under their ROC curves; auto: "
     "accuracy, or for images of several classes auroc, or loss if they have no curves"},
    {"early-stop", "Run", TRAIN, WHOLE(run.early_stop, 0, 1e9, "N"), "0", DN_DECIDES,
     "end after N evaluations without a new best epoch; 0: never"},
    {"checkpoint-every", "Run", TRAIN, WHOLE(run.checkpoint_every, 0, 1e18, "N"), "0", DN_FREE,
     "also save every N steps; always at the end of each epoch and of the run"},
    {"keep", "Run", TRAIN, WHOLE(run.keep, 0, 1e9, "N"), "3", DN_FREE,
     "number of newest checkpoints to keep; 0: all"},
    {"tensorboard", "Run", TRAIN, SWITCH(tensorboard), "0", DN_FREE,
     "also write the numbers of metrics.jsonl to TensorBoard event files in --out"},
    {"resume", "Run", TRAIN, TEXT(resume, "auto|FILE|RUN|none"), "auto", DN_FREE,
     "resume from a checkpoint, or the newest one of a run; auto: of --out; none: start anew"},
    {"time-limit", "Run", TRAIN | PREDICT, TEXT(time_limit, "TIME"), "", DN_FREE,
     "stop, and if training save, before this time is over: MINUTES, [HH:]MM:SS, D-HH[:MM[:SS]]; default: that of the Slurm job"},
    {"config", "Run", TRAIN, TEXT(config, "FILE"), "", DN_LOCAL,
     "INI file of these options; the command line overrides it"},
    {"recipe", "Run", TRAIN | INFO, TEXT(recipe, "NAME"), "", DN_FREE,
     "one of 'dn_dist recipes', or a file; --config and the command line override it, and so does the checkpoint of a resumed run"},
    {"layers", "Run", INFO, SWITCH(layers), "0", DN_FREE,
     "list the layers and the regions of the memory plan"},
    {"print", "Run", TRAIN, FLAG(print), "0", DN_FREE,
     "print the options in force, as --config reads them, and exit"},
    {"steps", "Run", BENCH | MEASURE, WHOLE(steps, 1, 1e9, "N"), "7", DN_FREE, "number of timed steps"},
    {"warmup", "Run", BENCH | MEASURE, WHOLE(warmup, 0, 1e9, "N"), "2", DN_FREE, "untimed steps before them"},
    {"reader", "Run", BENCH | READER, SWITCH(reader), "0", DN_FREE,
     "time the reading of the training images of --data with --threads"},
    {"seconds", "Run", READER, REAL(seconds, 0.01, 1e6, "X"), "10", DN_FREE, "duration of --reader"},
    {"split", "Run", EVAL, CHOICE(split, "train", "test", "val"), "test", DN_FREE,
     "images to score; val: the val split, or those held out by --val-fraction, which train then excludes"},
    {"crops", "Run", EVAL, CHOICE(crops, "1", "10"), "1", DN_FREE,
     "10: mean logits over four corners and the centre, each also mirrored, instead of center-crop"},
    {"per-class", "Run", EVAL, SWITCH(per_class), "0", DN_FREE,
     "print recall, precision, F1 and AUROC of each class, and the confusion matrix (always in --json)"},
    {"per-sample", "Run", EVAL, TEXT(per_sample, "FILE"), "", DN_FREE,
     "write a CSV of each image's label, prediction, loss, file name and probabilities"},
    {"top", "Run", PREDICT, WHOLE(top, 0, DN_MAX_CLASSES, "K"), "5", DN_FREE,
     "classes per image, the most likely first; 0: all"},
    {"skip", "Run", PREDICT, WHOLE(skip, 0, 1e15, "N"), "0", DN_FREE,
     "leave out the first N images, which a stopped prediction has done"},
    {"csv", "Run", PREDICT, SWITCH(csv), "0", DN_FREE, "print lines of file,rank,class,name,probability"},
    {"format", "Run", EXPORT, CHOICE(format, "auto", "safetensors", "onnx"), "auto", DN_FREE,
     "file format; auto: by the file name"},
    {"opset", "Run", EXPORT, WHOLE(opset, DN_ONNX_OPSET_LEAST, DN_ONNX_OPSET_MOST, "N"), "17", DN_FREE,
     "ONNX operator set"},
    {"fold-batch-norm", "Run", EXPORT, SWITCH(fold), "0", DN_FREE,
     "ONNX: fold a batch norm into the convolution whose output only it reads"},
    {"json", "Run", EVAL | PREDICT | BENCH | READER | PLAN, SWITCH(json), "0", DN_FREE, "print JSON"},
    {"roofline", "Run", BENCH, SWITCH(roofline), "0", DN_FREE,
     "measure the machine's peaks and compare phases and layers with them"},
    {"profile", "Run", BENCH | PLAN, TEXT(profile, "FILE"), "", DN_FREE,
     "times of a step by layer: written by bench, read by plan"},

    {"nodes", "Cluster", PLAN, WHOLE(nodes, 1, 4096, "N"), "16", DN_FREE,
     "plan for 1, 2, 4, ... N nodes"},
    {"ranks-per-node", "Cluster", PLAN, WHOLE(ranks_per_node, 0, 256, "N"), "0", DN_FREE,
     "ranks per node, each like the measured one; 0: as many as were measured"},
    {"latency", "Cluster", PLAN, REAL(latency, 0, 1e6, "US"), "30", DN_FREE,
     "latency of a message between nodes, in microseconds"},
    {"bandwidth", "Cluster", PLAN, REAL(bandwidth, 1e-6, 1e6, "GB/S"), "1.1", DN_FREE,
     "bandwidth of a node's link, each way, in 10^9 bytes/s"},
    {"node-latency", "Cluster", PLAN, REAL(inside_latency, 0, 1e6, "US"), "1", DN_FREE,
     "latency of a message between ranks of a node"},
    {"node-bandwidth", "Cluster", PLAN, REAL(inside_bandwidth, 1e-6, 1e6, "GB/S"), "8", DN_FREE,
     "bandwidth between two ranks of a node, each way"},

    {"threads", "Machine", COMPUTING | READER, WHOLE(threads, 0, 4096, "N"), "0", DN_LOCAL,
     "threads per rank; 0: automatic"},
    {"wire", "Machine", TRAIN | BENCH | PLAN, CHOICE_OF(step.wire, dn_dtype_name), "fp32", DN_DECIDES,
     "type of the gradients sent between ranks; bf16: sums of virtual ranks are rounded to it"},
    {"timeline", "Machine", TRAIN | BENCH, TEXT(timeline, "FILE"), "", DN_FREE,
     "write a Chrome trace (JSON) of all ranks"},
    {"pin", "Machine", COMPUTING | READER, CHOICE(pin, "auto", "off"), "auto", DN_LOCAL,
     "pin threads to cores; auto: unless OMP_PLACES or OMP_PROC_BIND does it, or there are too few cores"},
    {"comm-thread", "Machine", TRAIN | BENCH | PLAN, CHOICE(step.comm_thread, "auto", "on", "off"),
     "auto", DN_LOCAL, "one communication thread per rank; auto: if there is a spare core, in plan off; none with --sync-bn"},
    {"bucket-mb", "Machine", TRAIN | BENCH | PLAN, REAL(step.bucket_mb, 1e-5, 1024, "X"), "1",
     DN_FREE, "gradient bucket size in MiB; at most an eighth of all gradients or, if more, 64 KiB"},
    {"dtype", "Machine", COMPUTING, CHOICE_OF(dtype, dn_dtype_name), "fp32", DN_DECIDES,
     "type of stored maps and their gradients, and of products if the processor supports it; "
     "weights, sums and statistics are fp32"},
    {"recompute", "Machine", STEP, SWITCH(recompute), "0", DN_FREE,
     "save memory: recompute bottleneck and stem maps in the backward pass"},
    {"isa", "Machine", TRAIN | EVAL | PREDICT | BENCH | READER | MEASURE, CHECKED(isa, "NAME", check_isa), "", DN_LOCAL,
     "kernels: generic, avx2, avx512, avx512_bf16 or amx_bf16 (the last two multiply in bf16 "
     "with --dtype bf16); default: $DN_ISA, or the fastest"},
    {"deadline", "Machine", ALL, REAL(deadline, 0, 86400, "SECONDS"), "60", DN_FREE,
     "silence after which a rank counts as lost and the job ends; it also ends if all ranks wait that "
     "long, or if the start takes five times as long; at least 1, or 0: never"},
    {"help", "Machine", ALL | ALONE, FLAG(help), "0", DN_FREE, "print this text"},
    {"version", "Machine", ALL | ALONE, FLAG(version), "0", DN_FREE, "print the version of the program, its kernels, MPI and sources"},
    {0},
};
/* clang-format on */

_Static_assert(sizeof dn_option_table / sizeof *dn_option_table <= 8 * sizeof(dn_option_set) + 1,
               "dn_options.given has one bit for each option");
