/* The command line: defaults, values, precedence, errors, help, and the checkpoints' INI text. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/settings.h"
#include "job/preempt.h"
#include "unit.h"

enum { CONFIG_SIZE = 8192 };

static dn_options options;

/* The command of that name. */
static dn_command command_of(const char *name)
{
    static const char *const names[] = {"train", "eval",    "info",  "bench",
                                        "plan",  "predict", "export"};
    int i = 0;
    while (strcmp(names[i], name) != 0)
        i++;
    return (dn_command){name, "what it does", (dn_command_bit)(1 << i), NULL,
                        i == 1 || i > 4 ? "[RUN] WORD..." : NULL};
}

/* Parses a command and its arguments, NULL past the last. */
#define PARSE(command, ...) parse(command, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static dn_status parse(const char *command, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    const dn_command c = command_of(command);
    return dn_options_parse(&options, &c, argc, argv);
}

#define PARSE_WELL(...) assert_int_equal(PARSE(__VA_ARGS__), DN_OK)

static void expect_failure(dn_status status, const char *message)
{
    assert_int_equal(status, DN_EINVAL);
    assert_string_equal(dn_message(), message);
}

/* What ranks have to have in common. */
static void test_print(void **state)
{
    char *text;
    size_t size;
    PARSE_WELL("train", "--seed", "3", "--threads", "2", "--config", "/dev/null", "--pin", "off");
    FILE *const file = open_memstream(&text, &size);
    dn_options_print(file, &options);
    fclose(file);
    assert_non_null(strstr(text, "\n--seed 3\n"));
    assert_non_null(strstr(text, "\n--epochs 300 (not given)\n"));
    assert_null(strstr(text, "--steps ")); /* of other commands */
    static const char *const own[] = {"config", "data",  "io-threads", "isa",
                                      "pin",    "stage", "threads"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char line[32];
        snprintf(line, sizeof line, "\n--%s ", own[i]);
        assert_null(strstr(text, line));
    }
    free(text);
}

/* Words stand anywhere between options; the first is the checkpoint that was not given. */
static void test_words(void **state)
{
    PARSE_WELL("predict", "run", "--top", "3", "a.png", "--json", "b.png");
    assert_string_equal(options.checkpoint, "run");
    assert_int_equal(options.top, 3);
    assert_int_equal(options.word_count, 2);
    assert_string_equal(options.words[0], "a.png");
    assert_string_equal(options.words[1], "b.png");
    free(options.words);
    PARSE_WELL("export", "--checkpoint", "c.h5", "out.onnx");
    assert_string_equal(options.checkpoint, "c.h5");
    assert_int_equal(options.word_count, 1);
    assert_string_equal(options.words[0], "out.onnx");
    free(options.words);
}

static void test_defaults(void **state)
{
    char out[DN_PATH_SIZE];
    PARSE_WELL("train");
    assert_int_equal(options.command, DN_COMMAND_TRAIN);
    assert_string_equal(options.model, "densenet-bc-100-12");
    assert_string_equal(options.data, "data/cifar10");
    assert_string_equal(options.resume, "auto");
    assert_int_equal(options.epochs, 300);
    assert_int_equal(options.batch_size, 32);
    assert_int_equal(options.step.rule.nesterov, 1);
    assert_string_equal(options.augment, "auto");
    assert_int_equal(options.lr_scaling, DN_RATE_SCALING_LINEAR);
    assert_string_equal(dn_schedule_name(options.schedule), "step");
    assert_string_equal(dn_optimizer_name(options.step.optimizer), "sgd");
    assert_int_equal(options.init, DN_INIT_KAIMING);
    assert_true(options.lr == 0.1 && options.step.rule.momentum == 0.9 &&
                options.step.rule.weight_decay == 1e-4);
    assert_true(options.given == 0);
    assert_int_equal(dn_options_folder(&options, out, sizeof out), DN_OK);
    assert_string_equal(out, "runs/densenet-bc-100-12");
}

static void test_values(void **state)
{
    char out[DN_PATH_SIZE];
    PARSE_WELL("train", "--lr=0.05", "--seed", "77", "--schedule", "cosine", "--no-nesterov",
               "--init=xavier", "--model", "blocks=2,2:growth=8");
    assert_true(options.lr == 0.05 && options.step.seed == 77 && !options.step.rule.nesterov);
    assert_string_equal(dn_schedule_name(options.schedule), "cosine");
    assert_int_equal(options.init, DN_INIT_XAVIER);
    assert_true(dn_options_given(&options, "lr") && dn_options_given(&options, "nesterov"));
    assert_false(dn_options_given(&options, "epochs"));
    assert_int_equal(dn_options_folder(&options, out, sizeof out), DN_OK);
    assert_string_equal(out, "runs/blocks_2_2_growth_8");
    PARSE_WELL("train", "--optimizer", "adamw");
    assert_true(options.lr == 0.001 && options.step.rule.beta1 == 0.9 &&
                options.step.rule.beta2 == 0.999);
    PARSE_WELL("train", "--optimizer", "adamw", "--lr", "0.1");
    assert_true(options.lr == 0.1);
    PARSE_WELL("train", "--nesterov=off", "--out", "my run:1");
    assert_false(options.step.rule.nesterov);
    assert_int_equal(dn_options_folder(&options, out, sizeof out), DN_OK);
    assert_string_equal(out, "my run:1");
    PARSE_WELL("train", "--nesterov=off", "--nesterov");
    assert_true(options.step.rule.nesterov);
    PARSE_WELL("train", "--warmup-epochs", "-1");
    PARSE_WELL("bench", "--json", "--steps=3", "--threads", "2");
    assert_true(options.json && options.steps == 3 && options.threads == 2);
    PARSE_WELL("train", "--bucket-mb", "0.5", "--wire", "bf16", "--comm-thread", "off");
    assert_true(options.step.bucket_mb == 0.5 && options.step.wire == DN_BF16);
    assert_int_equal(options.step.comm_thread, DN_COMM_THREAD_OFF);
    PARSE_WELL("eval", "--checkpoint", "x.h5");
    assert_string_equal(options.checkpoint, "x.h5");
    PARSE_WELL("info", "--deadline", "5"); /* every command starts the heartbeat */
    assert_true(options.deadline == 5);
    PARSE_WELL("plan", "--deadline", "0");
    assert_true(options.deadline == 0);
}

static void test_errors(void **state)
{
    expect_failure(PARSE("train", "--frob", "1"),
                   "--frob: found an unknown option, expected one of 'dn_dist train --help'");
    expect_failure(
        PARSE("train", "--json"),
        "--json: found an option of other commands, expected one of 'dn_dist train --help'");
    expect_failure(PARSE("train", "--no-lr"),
                   "--no-lr: found an unknown option, expected one of 'dn_dist train --help'");
    expect_failure(PARSE("train", "--lr", "fast"),
                   "--lr: found 'fast', expected a number from 0 to 1000");
    expect_failure(PARSE("train", "--schedule", "linear"),
                   "--schedule: found 'linear', expected "
                   "step|cosine|constant|multi-step|polynomial|one-cycle|plateau");
    expect_failure(PARSE("train", "--optimizer", "lion"),
                   "--optimizer: found 'lion', expected sgd|adam|adamw|rmsprop|lars|lamb");
    expect_failure(PARSE("train", "--nesterov=maybe"),
                   "--nesterov: found 'maybe', expected true|yes|on|1 or false|no|off|0");
    expect_failure(PARSE("train", "--nesterov", "maybe"),
                   "--nesterov: found 'maybe', expected true|yes|on|1 or false|no|off|0");
    expect_failure(PARSE("train", "--nesterov="),
                   "--nesterov: found '', expected true|yes|on|1 or false|no|off|0");
    PARSE_WELL("train", "--no-decay", "bias,norm");
    assert_int_equal(options.step.rule.undecayed, DN_UNDECAYED_NORM | DN_UNDECAYED_BIAS);
    expect_failure(PARSE("train", "--no-decay", "bias,bias"),
                   "--no-decay: found 'bias,bias', expected none|norm|bias|norm,bias; did you mean "
                   "'bias'?");
    expect_failure(PARSE("train", "--lr"),
                   "--lr: found no value, expected a number from 0 to 1000");
    expect_failure(PARSE("train", "--data", "--lr", "1"), "--data: found no value, expected DIR");
    expect_failure(PARSE("train", "--data", ""), "--data: found '', expected DIR");
    expect_failure(PARSE("train", "cifar10"), "found 'cifar10', expected an option of 'dn_dist "
                                              "train' such as --model");
    expect_failure(PARSE("eval"),
                   "--checkpoint: found none, expected a checkpoint or the folder of a run");
}

/* Whole numbers are compared as such; numbers are decimal. */
static void test_numbers(void **state)
{
    static const char *const bad_seeds[] = {"1000000000000000001",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "18446744073709551617",
                                            "99999999999999999999",
                                            "-1",
                                            "-9223372036854775809",
                                            "1e3",
                                            " 5",
                                            "5 ",
                                            "+5",
                                            "0x10",
                                            "3.0",
                                            "-",
                                            "",
                                            "nan"};
    static const char *const bad_rates[] = {"nan", "inf", "-inf", "1e999", "-1", "1000.1", " 1",
                                            "1 ",  "+1",  "0x1",  "1e",    "",   "-",      "1,5"};
    char expected[128];
    for (size_t i = 0; i < sizeof bad_seeds / sizeof *bad_seeds; i++) {
        snprintf(expected, sizeof expected,
                 "--seed: found '%s', expected a whole number from 0 to 1000000000000000000",
                 bad_seeds[i]);
        expect_failure(PARSE("train", "--seed", bad_seeds[i]), expected);
    }
    for (size_t i = 0; i < sizeof bad_rates / sizeof *bad_rates; i++) {
        snprintf(expected, sizeof expected, "--lr: found '%s', expected a number from 0 to 1000",
                 bad_rates[i]);
        expect_failure(PARSE("train", "--lr", bad_rates[i]), expected);
    }
    PARSE_WELL("train", "--seed", "1000000000000000000", "--lr", "1e-3", "--max-steps", "0");
    assert_true(options.step.seed == 1000000000000000000 && options.lr == 1e-3);
    PARSE_WELL("train", "--seed", "999999999999999999", "--lr=.5", "--seed=007");
    assert_true(options.step.seed == 7 && options.lr == 0.5);
    PARSE_WELL("info", "--classes", "65535", "--batch-size", "65536");
    expect_failure(PARSE("info", "--classes", "65536"),
                   "--classes: found '65536', expected a whole number from 0 to 65535");
    expect_failure(PARSE("train", "--batch-size=0"),
                   "--batch-size: found '0', expected a whole number from 1 to 65536");
}

static void test_hints(void **state)
{
    static const struct {
        const char *const words[2];
        const char *hint;
    } cases[] = {
        {{"--epoch", "3"}, "; did you mean '--epochs'?"},
        {{"--dataset", "x"}, "; did you mean '--data'?"},
        {{"--isa", "generik"}, "; did you mean 'generic'?"},
        {{"--batch_sise=3"}, "; did you mean '--batch-size'?"},
        {{"--batch=3"}, "; did you mean '--batch-size'?"},
        {{"--Ir", "1"}, "; did you mean '--lr'?"},
        {{"--wd", "1"}, "; did you mean '--weight-decay'?"},
        {{"--num_workers=4"}, "; did you mean '--io-threads'?"},
        {{"--pretrained"}, "; did you mean '--init-from'?"},
        {{"--no-nestrov"}, "; did you mean '--no-nesterov'?"},
        {{"--no-nesterov=1"}, "; did you mean '--nesterov'?"},
        {{"--optimizer", "SGD"}, "; did you mean 'sgd'?"},
        {{"--optimizer", "adma"}, "; did you mean 'adam'?"},
        {{"--schedule", "cos"}, "; did you mean 'cosine'?"},
        {{"--model", "densenet-121"}, "; did you mean 'densenet121'?"},
        {{"--model", "DenseNet121"}, "; did you mean 'densenet121'?"},
        {{"--model", "blocks=3:grwoth=4"}, "; did you mean 'growth'?"},
        {{"--model", "blocks=3:stem=cifar10"}, "; did you mean 'cifar'?"},
        {{"--model", "blocks=3:width=4"}, ", compression, dropout, transition-dropout, stem"},
        {{"--model", "blocks=3:growth=12:growth=24"},
         "model: found growth twice, expected it once"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(PARSE("train", cases[i].words[0], cases[i].words[1]), DN_EINVAL);
        const size_t length = strlen(dn_message()), tail = strlen(cases[i].hint);
        assert_true(length > tail);
        assert_string_equal(dn_message() + length - tail, cases[i].hint);
    }
    expect_failure(PARSE("train", "--model", "resnet50"),
                   "--model: found 'resnet50', expected a known name (dn_dist models lists them) "
                   "or blocks=...:growth=...");
    expect_failure(PARSE("train", "--model", "blocks=\n6:growth=4"),
                   "--model: blocks=?6: expected whole numbers from 1 to 4096");
    assert_int_equal(PARSE("train", "--model", "blocks=6:compression=0x1p-1"), DN_EINVAL);
}

/* Writes `text` to a file and parses `dn_dist train --lr 0.7 --config FILE`. */
static dn_status parse_config(const char *text, char *path)
{
    strcpy(path, "/tmp/dn_options_XXXXXX");
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    const dn_status status = PARSE("train", "--lr", "0.7", "--config", path);
    unlink(path);
    return status;
}

static void expect_config_failure(const char *text, const char *message)
{
    char path[64], expected[256];
    const dn_status status = parse_config(text, path);
    snprintf(expected, sizeof expected, "%s%s", path, message);
    expect_failure(status, expected);
}

/* Every switch of every command, by any word, and where "on" and "off" are two of the choices. */
static void test_truth(void **state)
{
    static const char *const words[] = {"false", "TRUE", "No", "yes", "OFF", "On", "0", "1"};
    char argument[64], text[96], path[64];
    int switches = 0;
    for (int bit = 1; bit <= DN_COMMAND_REPORT; bit *= 2)
        for (const dn_option *o = dn_option_table; o->name; o++) {
            if (o->kind != DN_SWITCH || !(o->takers & bit))
                continue;
            const dn_command command = {
                .name = "command", .bit = (dn_command_bit)bit, .words = "RUN"};
            for (int i = 0; i < 8; i++) {
                snprintf(argument, sizeof argument, "--%s=%s", o->name, words[i]);
                const char *const argv[] = {argument, "run"};
                assert_int_equal(dn_options_parse(&options, &command, 2, argv), DN_OK);
                assert_int_equal(*(const int *)((const char *)&options + o->offset), i % 2);
                free(options.words);
                switches++;
            }
        }
    assert_true(switches > 8 * 12);
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "nesterov = %s\nsync-bn = %s\n", words[i], words[i]);
        assert_int_equal(parse_config(text, path), DN_OK);
        assert_true(options.step.rule.nesterov == i % 2 && options.sync_bn == i % 2);
        PARSE_WELL("train", "--nesterov", words[i], "--comm-thread", words[i]);
        assert_true(options.step.rule.nesterov == i % 2 &&
                    (int)options.step.comm_thread == 2 - i % 2);
    }
    PARSE_WELL("eval", "--json", "run", "--crops", "1");
    assert_true(options.json == 1 && options.crops == 0 && strcmp(options.checkpoint, "run") == 0);
    free(options.words);
    PARSE_WELL("train", "--help", "nesterov");
    assert_int_equal(options.help, 1);
}

static void test_config(void **state)
{
    char path[64], line[9000];
    assert_int_equal(parse_config("# comment\n[train]\nlr = 0.2\n  epochs = 7\nnesterov = off\n"
                                  "model = blocks=2,2:growth=8\n",
                                  path),
                     DN_OK);
    assert_true(options.lr == 0.7 && options.epochs == 7 && !options.step.rule.nesterov);
    assert_string_equal(options.model, "blocks=2,2:growth=8");
    assert_true(dn_options_given(&options, "epochs"));
    expect_config_failure("\nlearning = 1\n", ":2: found the key 'learning', expected an option of "
                                              "'dn_dist train'; did you mean 'lr'?");
    expect_config_failure("no-nesterov = 1\n",
                          ":1: found the key 'no-nesterov', expected an option "
                          "of 'dn_dist train'; did you mean 'nesterov'?");
    expect_config_failure("epoch = 1\n", ":1: found the key 'epoch', expected an option of "
                                         "'dn_dist train'; did you mean 'epochs'?");
    expect_config_failure("model = densenet-121\n",
                          ":1: model: found 'densenet-121', expected a known name (dn_dist models "
                          "lists them) or blocks=...:growth=...; did you mean "
                          "'densenet121'?");
    expect_config_failure("seed = 1000000000000000001\n",
                          ":1: seed: found '1000000000000000001', expected a whole number from 0 "
                          "to 1000000000000000000");
    expect_config_failure("version = 1\n", ":1: found the key 'version', expected an option of "
                                           "'dn_dist train'");
    expect_config_failure("epochs = x\n",
                          ":1: epochs: found 'x', expected a whole number from 1 to 1000000000");
    expect_config_failure("nesterov = nope\n", ":1: nesterov: found 'nope', expected true|yes|on|1 "
                                               "or false|no|off|0");
    expect_config_failure("epochs = 2\nnesterov\n",
                          ":2: found no value, expected a line of key = value");
    assert_int_equal(
        parse_config("\xef\xbb\xbf[x]\r\n;lr = 3\nepochs:8 ;nine\r\n\nfreeze = a;b\t; c ; d\n"
                     "data=  two words",
                     path),
        DN_OK);
    assert_true(options.epochs == 8);
    assert_string_equal(options.freeze, "a;b");
    assert_string_equal(options.data, "two words");
    expect_config_failure("epochs ; = 2\n", ":1: found no value, expected a line of key = value");
    expect_config_failure("= 2\n", ":1: found the key '', expected an option of 'dn_dist train'");
    memset(line, 'x', sizeof line);
    memcpy(line, "data = ", 7);
    line[7 + DN_PATH_SIZE - 1] = '\0';
    assert_int_equal(parse_config(line, path), DN_INI_LINES ? DN_OK : DN_EINVAL);
    assert_true(!DN_INI_LINES || strlen(options.data) == DN_PATH_SIZE - 1);
    line[7 + DN_PATH_SIZE - 1] = 'x';
    line[sizeof line - 1] = '\0';
    assert_int_equal(parse_config(line, path), DN_EINVAL);
    assert_non_null(strstr(dn_message(), ":1: found a longer line, expected at most "));
    assert_int_equal(PARSE("train", "--config", "/nowhere.ini"), DN_ENOENT);
    assert_string_equal(dn_message(),
                        "--config: cannot read /nowhere.ini: No such file or directory");
    assert_int_equal(PARSE("train", "--config", "/tmp"), DN_EIO);
}

/* Of a command line alone: a recipe's may be those of another optimizer than a user's. */
static void test_unread(void **state)
{
    char path[64], ini[CONFIG_SIZE];
    PARSE_WELL("train", "--milestones", "30,60");
    expect_failure(
        dn_options_check_reads(&options),
        "--milestones: found --schedule step, which does not read it, expected multi-step");
    PARSE_WELL("train", "--optimizer", "lars", "--beta2", "0.9");
    expect_failure(
        dn_options_check_reads(&options),
        "--beta2: found --optimizer lars, which does not read it, expected adam or adamw "
        "or rmsprop or lamb");
    expect_failure(PARSE("info", "--schedule", "cosine", "--gamma", "0.5"),
                   "--gamma: found --schedule cosine, which does not read it, expected step or "
                   "multi-step or plateau");
    PARSE_WELL("train", "--schedule", "plateau", "--lr-min", "0", "--gamma", "0.5", "--trust", "1",
               "--optimizer", "lars");
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    assert_int_equal(parse_config("optimizer = adam\nmomentum = 0.8\ngamma = 1\n", path), DN_OK);
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    assert_int_equal(dn_options_to_ini(&options, ini, sizeof ini), DN_OK);
    PARSE_WELL("train", "--beta1", "0.8"); /* what the checkpoint's optimizer reads */
    assert_int_equal(dn_options_resume_from_ini(&options, ini), DN_OK);
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    PARSE_WELL("train", "--momentum", "0.7");
    assert_int_equal(dn_options_resume_from_ini(&options, ini), DN_OK);
    expect_failure(dn_options_check_reads(&options),
                   "--momentum: found --optimizer adam, which does "
                   "not read it, expected sgd or rmsprop or lars");
}

/* As a word: "adamw" is not "adam". */
static int has_word(const char *text, const char *word)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz-";
    const size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length)
        if ((at == text || !strchr(letters, at[-1])) &&
            (at[length] == '\0' || !strchr(letters, at[length])))
            return 1;
    return 0;
}

static void expect_help(const char *const *options_read, const char *reader)
{
    for (; *options_read; options_read++) {
        const dn_option *const o =
            dn_option_find(dn_option_table, DN_COMMAND_TRAIN, *options_read, strlen(*options_read));
        assert_non_null(o);
        assert_true(has_word(o->help, reader));
    }
}

/* The help of an option names all that read it. */
static void test_readers_help(void **state)
{
    for (int i = 0; dn_schedule_get(i); i++)
        expect_help(dn_schedule_get(i)->reads, dn_schedule_name(i));
    for (int i = 0; dn_optimizer_name(i); i++)
        expect_help(dn_optimizer_get(dn_kernels_get(0), i)->reads, dn_optimizer_name(i));
}

static void test_together(void **state)
{
    char path[64];
    expect_failure(PARSE("train", "--init", "xavier", "--init-from", "run"),
                   "--init: found --init-from run, whose weights take the place of initial ones, "
                   "expected one of them");
    assert_int_equal(parse_config("init = xavier\ninit-from = run\n", path), DN_OK);
    expect_failure(PARSE("predict", "--csv", "run", "x.png", "--json"),
                   "--csv: found --json, expected one of them");
    free(options.words);
    PARSE_WELL("predict", "--csv", "run", "x.png", "--no-json");
    free(options.words);
}

static void test_ini_round_trip(void **state)
{
    char first[CONFIG_SIZE], second[CONFIG_SIZE], tiny[20];
    PARSE_WELL("train", "--lr", "0.1234567890123456789", "--weight-decay", "3e-5", "--no-nesterov",
               "--augment", "none", "--virtual-ranks", "8", "--model", "blocks=2,2:growth=8",
               "--threads", "3", "--seed", "12345678901");
    const double lr = options.lr;
    assert_int_equal(dn_options_to_ini(&options, first, sizeof first), DN_OK);
    assert_non_null(strstr(first, "\nmodel = blocks=2,2:growth=8\n"));
    assert_non_null(strstr(first, "\naugment = none\n"));
    assert_non_null(strstr(first, "\nweight-decay = 3e-05\n"));
    assert_null(strstr(first, "threads"));
    PARSE_WELL("train");
    assert_int_equal(dn_options_resume_from_ini(&options, first), DN_OK);
    assert_true(options.lr == lr && options.step.virtual_ranks == 8 && !options.step.rule.nesterov);
    assert_int_equal(dn_options_to_ini(&options, second, sizeof second), DN_OK);
    assert_string_equal(first, second);
    assert_false(dn_options_given(&options, "lr"));
    assert_int_equal(dn_options_to_ini(&options, tiny, sizeof tiny), DN_EINVAL);
    char weights[sizeof options.class_weights] = "1";
    while (strlen(weights) + 3 <= sizeof weights - 1)
        strcat(weights, ",.5");
    PARSE_WELL("train", "--class-weights", weights);
    if (!DN_INI_LINES) {
        size_t found, most;
        assert_int_equal(dn_options_to_ini(&options, first, sizeof first), DN_EINVAL);
        assert_int_equal(sscanf(dn_message(),
                                "--class-weights: found a value of %zu bytes, expected at most %zu",
                                &found, &most),
                         2);
        assert_true(found == strlen(weights) && most < found);
        weights[most] = '\0';
        PARSE_WELL("train", "--class-weights", weights);
    }
    assert_int_equal(dn_options_to_ini(&options, first, sizeof first), DN_OK);
    PARSE_WELL("train");
    assert_int_equal(dn_options_resume_from_ini(&options, first), DN_OK);
    assert_string_equal(options.class_weights, weights);
    assert_int_equal(dn_options_resume_from_ini(&options, ""), DN_OK);
}

static void test_resume(void **state)
{
    char text[CONFIG_SIZE];
    dn_log_set_level(DN_QUIET);
    PARSE_WELL("train", "--virtual-ranks", "8", "--lr", "0.3", "--epochs", "5");
    assert_int_equal(dn_options_to_ini(&options, text, sizeof text), DN_OK);
    PARSE_WELL("train", "--virtual-ranks=8", "--epochs", "9");
    assert_int_equal(dn_options_resume_from_ini(&options, text), DN_OK);
    assert_true(options.epochs == 9 && options.lr == 0.3);
    PARSE_WELL("train", "--init", "xavier"); /* that the run began with another stays true */
    assert_int_equal(dn_options_resume_from_ini(&options, text), DN_OK);
    assert_int_equal(options.init, DN_INIT_KAIMING);
    PARSE_WELL("train", "--virtual-ranks=4");
    expect_failure(dn_options_resume_from_ini(&options, text),
                   "--virtual-ranks: found 4, expected 8 as in the checkpoint (or another --out, "
                   "or --resume none)");
    assert_true(options.lr == 0.1);
    PARSE_WELL("train", "--optimizer", "adam");
    expect_failure(dn_options_resume_from_ini(&options, text),
                   "--optimizer: found adam, expected sgd as in the checkpoint (or another --out, "
                   "or --resume none)");
    PARSE_WELL("train", "--model", "densenet121");
    expect_failure(dn_options_resume_from_ini(&options, text),
                   "--model: found densenet121, expected densenet-bc-100-12 as in the checkpoint "
                   "(or another --out, or --resume none)");
    PARSE_WELL("eval", "--checkpoint", "x.h5", "--batch-size", "5");
    assert_int_equal(dn_options_resume_from_ini(&options, text), DN_OK);
    assert_true(options.batch_size == 5 && options.step.virtual_ranks == 8);
    expect_failure(dn_options_resume_from_ini(&options, "[train]\nflux = 1\n"),
                   "the checkpoint's configuration:2: found the key 'flux', expected an option of "
                   "'dn_dist train'");
}

/* The rate of what was parsed. */
static dn_rate rate_on(int virtual_ranks)
{
    dn_rate rate;
    assert_int_equal(dn_options_rate(&options, virtual_ranks, 100, &rate), DN_OK);
    return rate;
}

static void test_rate(void **state)
{
    PARSE_WELL("train");
    dn_rate rate = rate_on(8);
    assert_true(rate.base == 0.1 * 4 && rate.warmup_epochs == 5 && rate.epochs == 300);
    rate = rate_on(1);
    assert_true(rate.base == 0.1 / 2 && rate.warmup_epochs == 0);
    PARSE_WELL("train", "--lr-scaling", "none", "--epochs", "10");
    rate = rate_on(8);
    assert_true(rate.base == 0.1 && rate.warmup_epochs == 0);
    PARSE_WELL("train", "--lr-scaling", "sqrt", "--lr-min", "0.01");
    rate = rate_on(8);
    assert_true(rate.base == 0.1 * 2 && rate.least == 0.01 * 2);
    PARSE_WELL("train", "--epochs", "10");
    assert_true(rate_on(8).warmup_epochs == 1);
    PARSE_WELL("train", "--warmup-epochs", "2.5");
    assert_true(rate_on(1).warmup_epochs == 2.5);
}

static void test_milestones(void **state)
{
    static const char *const bad[] = {
        ",",  "1,", "2,1", "2,2",  "0",
        "-1", "a",  "1 2", "1,,2", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    dn_rate rate;
    PARSE_WELL("train", "--schedule", "multi-step", "--milestones", "150,225");
    rate = rate_on(1);
    assert_true(rate.settings.milestones == 2 && rate.settings.milestone[0] == 150 &&
                rate.settings.milestone[1] == 225);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        PARSE_WELL("train", "--milestones", bad[i]);
        assert_int_equal(dn_options_rate(&options, 1, 100, &rate), DN_EINVAL);
        assert_non_null(strstr(dn_message(), "--milestones: found '"));
    }
    PARSE_WELL("train", "--schedule", "multi-step");
    assert_int_equal(dn_options_rate(&options, 1, 100, &rate), DN_EINVAL);
}

/* A schedule does not fall to more than it begins with. */
static void test_least_rate(void **state)
{
    static const char *const takers[] = {"cosine", "polynomial", "plateau"};
    dn_rate rate;
    for (int i = 0; i < 3; i++) {
        PARSE_WELL("train", "--schedule", takers[i], "--optimizer", "adam", "--lr-min", "0.0011");
        assert_int_equal(dn_options_rate(&options, 8, 100, &rate), DN_EINVAL);
        assert_non_null(
            strstr(dn_message(), "--lr-min: found 0.0011, expected at most --lr, 0.001"));
        PARSE_WELL("train", "--schedule", takers[i], "--optimizer", "adam", "--lr-min", "0.001");
        assert_true(rate_on(8).least == rate_on(8).base);
    }
    PARSE_WELL("train", "--schedule", "step", "--lr-min", "1");
    assert_true(rate_on(1).least > rate_on(1).base);
}

/* What the user does not say is the optimizer's; what he says is his. */
static void test_balanced(void **state)
{
    static const uint16_t labels[] = {0, 2, 0, 0, 2, 3};
    static const float expected[] = {0.5F, 0, 0.75F, 1.5F}; /* 6 / (4 x images of the class) */
    const dn_source images = {.count = 6, .labels = labels, .info = {.classes = 4}};
    float weights[4];
    PARSE_WELL("train", "--class-weights", "balanced");
    assert_int_equal(dn_options_class_weights(&options, &images, weights), DN_OK);
    assert_memory_equal(weights, expected, sizeof expected);
}

static void test_optimizer_defaults(void **state)
{
    PARSE_WELL("train");
    assert_true(options.lr == 0.1 && options.step.rule.momentum == 0.9);
    PARSE_WELL("train", "--optimizer", "rmsprop");
    assert_true(options.lr == 0.01 && options.step.rule.momentum == 0 &&
                options.step.rule.beta2 == 0.99);
    PARSE_WELL("train", "--optimizer", "rmsprop", "--momentum", "0.5");
    assert_true(options.step.rule.momentum == 0.5);
    PARSE_WELL("train", "--optimizer", "lamb", "--lr", "0.1");
    assert_true(options.lr == 0.1 && options.step.rule.eps == 1e-6);
}

static void test_help(void **state)
{
    PARSE_WELL("train", "--lr", "0.1", "--help", "rubbish");
    assert_true(options.help);
    PARSE_WELL("eval", "-h");
    assert_true(options.help);
    PARSE_WELL("plan", "--version", "rubbish");
    assert_true(options.version);
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    const dn_command train = command_of("train");
    dn_options_help(file, &train);
    fclose(file);
    assert_ptr_equal(strstr(text, "Usage: dn_dist train [OPTIONS]\nwhat it does; defaults in"),
                     text);
    assert_non_null(
        strstr(text, "  --batch-size N          images per virtual rank, or in one pass [32]\n"));
    assert_non_null(strstr(text, "\n  --augment LIST "));
    assert_non_null(strstr(text, "\n  densenet121\n"));
    assert_null(strstr(text, "--json"));
    free(text);
}

static void test_time_limit(void **state)
{
    static const struct {
        const char *text;
        double seconds; /* 0: refused */
    } cases[] = {{"90", 5400},   {"2:03", 123}, {"02:03:04", 7384}, {"1-02:03:04", 93784},
                 {"1:2:3:4", 0}, {"1-2", 0},    {"-1", 0},          {"1-2-3:4:5", 0},
                 {" 1", 0},      {"1h", 0},     {"1:", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dn_preempt preempt;
        const dn_status status = dn_preempt_open(&preempt, cases[i].text, 5);
        if (cases[i].seconds > 0)
            assert_true(status == DN_OK && preempt.limit == 5 + cases[i].seconds);
        else
            assert_int_equal(status, DN_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_truth),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_readers_help),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_ini_round_trip),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_milestones),
        cmocka_unit_test(test_least_rate),
        cmocka_unit_test(test_balanced),
        cmocka_unit_test(test_optimizer_defaults),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_time_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
