/* The command line: defaults, values, precedence, errors, help. */
#include <stdlib.h>
#include <string.h>

#include "job/preempt.h"
#include "parsed.h"
#include "trial_files.h"

/* What ranks have to have in common. */
static void test_print(void **state)
{
    char *text;
    size_t size;
    trial_write("own.ini", "epochs = 7\ndata = b\n");
    trial_write("recipe.ini", "lr = 0.5\nepochs = 9\n");
    PARSE_WELL("train", "--seed", "3", "--threads", "2", "--config", "own.ini", "--recipe",
               "recipe.ini", "--pin", "off", "--stage", "a");
    FILE *const file = open_memstream(&text, &size);
    dn_options_print_comparable(file, &options);
    fclose(file);
    assert_non_null(strstr(text, "\n--seed 3\n"));
    assert_non_null(strstr(text, "\n--epochs 7 (in --config)\n"));
    assert_non_null(strstr(text, "\n--lr 0.5 (in --recipe)\n"));
    assert_non_null(strstr(text, "\n--ema 0 (not given)\n"));
    assert_non_null(strstr(text, "\n--data DIR (in --config)\n"));
    assert_non_null(strstr(text, "\n--stage DIR\n"));
    assert_null(strstr(text, "--steps ")); /* of other commands */
    static const char *const own[] = {"comm-thread", "config", "io-threads",
                                      "isa",         "pin",    "threads"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        char line[32];
        snprintf(line, sizeof line, "\n--%s ", own[i]);
        assert_null(strstr(text, line));
    }
    free(text);
}

/* Options that look alike set the field of their own, and no two options share one. */
static void test_fields(void **state)
{
#define FIELD(name) offsetof(dn_options, name)
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"dropout", FIELD(dropout)},
        {"channel-dropout", FIELD(channel_dropout)},
        {"transition-dropout", FIELD(transition_dropout)},
        {"head-dropout", FIELD(head_dropout)},
        {"mixup", FIELD(step.mixing.mixup)},
        {"cutmix", FIELD(step.mixing.cutmix)},
        {"lr", FIELD(lr)},
        {"lr-head", FIELD(lr_head)},
        {"lr-min", FIELD(lr_min)},
        {"beta1", FIELD(step.rule.beta1)},
        {"beta2", FIELD(step.rule.beta2)},
        {"eps", FIELD(step.rule.eps)},
        {"clip-norm", FIELD(step.clip_norm)},
        {"label-smoothing", FIELD(step.label_smoothing)},
        {"step-epochs", FIELD(scheduling.step_epochs)},
        {"plateau-patience", FIELD(scheduling.patience)},
        {"plateau-cooldown", FIELD(scheduling.cooldown)},
        {"latency", FIELD(latency)},
        {"node-latency", FIELD(inside_latency)},
        {"bandwidth", FIELD(bandwidth)},
        {"node-bandwidth", FIELD(inside_bandwidth)},
    };
#undef FIELD
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        assert_int_equal(
            dn_option_find(dn_option_table, -1, fields[i].name, strlen(fields[i].name))->offset,
            fields[i].offset);
    for (const dn_option *a = dn_option_table; a->name; a++)
        for (const dn_option *b = dn_option_table; b < a; b++)
            if (strcmp(a->name, b->name) != 0 && a->offset < b->offset + b->size &&
                b->offset < a->offset + a->size)
                fail_msg("--%s and --%s share a field", a->name, b->name);
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
    expect_failure(PARSE("train", "--deadline", "0.001"),
                   "--deadline: found 0.001, expected 0 (never) or 1 to 86400 seconds");
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
    expect_failure(PARSE("train", "--wire", "fp8"), "--wire: found 'fp8', expected fp32|bf16");
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
    expect_failure(PARSE("train", "--out", ""), "--out: found '', expected DIR");
    expect_failure(PARSE("train", "--recipe="), "--recipe: found '', expected NAME");
    PARSE_WELL("train", "--freeze", ""); /* as a recipe's is overridden */
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
        {{"--learning-rate", "1"}, "; did you mean '--lr'?"},
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

static void expect_config_failure(const char *text, const char *message)
{
    char expected[256];
    const dn_status status = parse_config(text);
    snprintf(expected, sizeof expected, "%s%s", CONFIG, message);
    expect_failure(status, expected);
}

/* Every switch of every command, by any word, and where "on" and "off" are two of the choices. */
static void test_truth(void **state)
{
    static const char *const words[] = {"false", "TRUE", "No", "yes", "OFF", "On", "0", "1"};
    char argument[64], text[96];
    int switches = 0;
    for (unsigned bit = 1; bit; bit *= 2)
        for (const dn_option *o = dn_option_table; o->name; o++) {
            if (o->kind != DN_SWITCH || !((unsigned)o->takers & bit))
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
        assert_int_equal(parse_config(text), DN_OK);
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
    char line[9000];
    assert_int_equal(parse_config("# comment\n[train]\nlr = 0.2\n  epochs = 7\nnesterov = off\n"
                                  "model = blocks=2,2:growth=8\n"),
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
                     "data=  two words"),
        DN_OK);
    assert_true(options.epochs == 8);
    assert_string_equal(options.freeze, "a;b");
    assert_string_equal(options.data, "two words");
    expect_config_failure("epochs ; = 2\n", ":1: found no value, expected a line of key = value");
    expect_config_failure("= 2\n", ":1: found the key '', expected an option of 'dn_dist train'");
    memset(line, 'x', sizeof line);
    memcpy(line, "data = ", 7);
    line[7 + DN_PATH_SIZE - 1] = '\0';
    assert_int_equal(parse_config(line), DN_INI_LINES ? DN_OK : DN_EINVAL);
    assert_true(!DN_INI_LINES || strlen(options.data) == DN_PATH_SIZE - 1);
    line[7 + DN_PATH_SIZE - 1] = 'x';
    line[sizeof line - 1] = '\0';
    assert_int_equal(parse_config(line), DN_EINVAL);
    assert_non_null(strstr(dn_message(), ":1: found a longer line, expected at most "));
    assert_int_equal(PARSE("train", "--config", "/nowhere.ini"), DN_ENOENT);
    assert_string_equal(dn_message(),
                        "--config: cannot read /nowhere.ini: No such file or directory");
    assert_int_equal(PARSE("train", "--config", "/tmp"), DN_EIO);
}

static void test_together(void **state)
{
    expect_failure(PARSE("train", "--init", "xavier", "--init-from", "run"),
                   "--init: found --init-from run, whose weights take the place of initial ones, "
                   "expected one of them");
    assert_int_equal(parse_config("init = xavier\ninit-from = run\n"), DN_OK);
    expect_failure(PARSE("predict", "--csv", "run", "x.png", "--json"),
                   "--csv: found --json, expected one of them");
    free(options.words);
    PARSE_WELL("predict", "--csv", "run", "x.png", "--no-json");
    free(options.words);
}

/* The caller frees it. */
static char *help_of(const char *name)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    const dn_command command = command_of(name);
    dn_options_help(file, &command);
    fclose(file);
    return text;
}

static void test_help(void **state)
{
    PARSE_WELL("train", "--lr", "0.1", "--help", "rubbish");
    assert_true(options.help);
    PARSE_WELL("eval", "-h");
    assert_true(options.help);
    PARSE_WELL("plan", "--version", "rubbish");
    assert_true(options.version);
    char *text = help_of("bench");
    assert_non_null(strstr(text, "see below"));
    assert_non_null(strstr(text, "\nsteps of --augment"));
    free(text);
    text = help_of("train");
    assert_ptr_equal(strstr(text, "Usage: dn_dist train [OPTIONS]\nwhat it does; defaults in"),
                     text);
    assert_non_null(strstr(
        text, "  --batch-size N          images per virtual rank, or per forward pass [32]\n"));
    assert_non_null(strstr(text, "\n  --augment LIST "));
    assert_non_null(strstr(text, "\n  densenet121\n"));
    assert_non_null(strstr(text, "for sgd: Nesterov momentum"));
    assert_null(strstr(text, "--json"));
    free(text);
}

static void test_time_limit(void **state)
{
    static const struct {
        const char *text;
        double seconds; /* 0: refused */
    } cases[] = {{"90", 5400},   {"2:03", 123},    {"02:03:04", 7384}, {"1-02:03:04", 93784},
                 {"1-2", 93600}, {"1-2:3", 93780}, {"1:2:3:4", 0},     {"1-2:", 0},
                 {"1-", 0},      {"-1", 0},        {"1-2-3:4:5", 0},   {" 1", 0},
                 {"1h", 0},      {"1:", 0}};
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
        TRIAL_TEST(test_print),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_truth),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_time_limit),
    };
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
