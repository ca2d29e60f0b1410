/* Options of a run: those in a checkpoint's INI text, those that nothing reads, and derived
 * settings: the learning rate, class weights, an optimizer's defaults. */
#include <stdio.h>
#include <string.h>

#include "parsed.h"
#include "trial_files.h"

enum { CONFIG_SIZE = 8192 };

/* The status is DN_EINVAL, with a message that begins so. */
static void expect_start(dn_status status, const char *start)
{
    assert_int_equal(status, DN_EINVAL);
    assert_int_equal(strncmp(dn_message(), start, strlen(start)), 0);
}

/* Of a command line alone: a recipe's may be those of another optimizer than a user's. */
static void test_unread(void **state)
{
    char ini[CONFIG_SIZE];
    PARSE_WELL("train", "--milestones", "30,60");
    expect_failure(
        dn_options_check_reads(&options),
        "--milestones: found --schedule step, which does not read it, expected multi-step");
    PARSE_WELL("train", "--optimizer", "lars", "--beta2", "0.9");
    expect_start(dn_options_check_reads(&options),
                 "--beta2: found --optimizer lars, which does not read it, expected adam or adamw");
    expect_start(PARSE("info", "--schedule", "cosine", "--gamma", "0.5"),
                 "--gamma: found --schedule cosine, which does not read it, expected step or ");
    PARSE_WELL("train", "--schedule", "plateau", "--lr-min", "0", "--gamma", "0.5", "--trust", "1",
               "--optimizer", "lars");
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    assert_int_equal(parse_config("optimizer = adam\nmomentum = 0.8\ngamma = 1\n"), DN_OK);
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    assert_int_equal(dn_options_to_ini(&options, ini, sizeof ini), DN_OK);
    PARSE_WELL("train", "--beta1", "0.8"); /* what the checkpoint's optimizer reads */
    assert_int_equal(dn_options_resume_from_ini(&options, ini), DN_OK);
    assert_int_equal(dn_options_check_reads(&options), DN_OK);
    PARSE_WELL("train", "--momentum", "0.7");
    assert_int_equal(dn_options_resume_from_ini(&options, ini), DN_OK);
    expect_start(dn_options_check_reads(&options),
                 "--momentum: found --optimizer adam, which does not read it, expected sgd or ");
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
    trial_write("mine.ini", "lr = 0.2\nvirtual-ranks = 4\ndata = there\nepochs = 7\n");
    PARSE_WELL("train", "--recipe", "./mine.ini", "--epochs", "9");
    assert_true(options.lr == 0.2 && options.epochs == 9);
    assert_int_equal(dn_options_resume_from_ini(&options, text), DN_OK);
    assert_true(options.epochs == 9 && options.lr == 0.3 && options.step.virtual_ranks == 8);
    assert_false(dn_options_given(&options, "lr") || dn_options_given(&options, "data"));
    assert_true(dn_options_given(&options, "epochs"));
    trial_write("auto.ini", "augment = auto\nbest = auto\nplateau-metric = auto\n");
    const char *const settled = "[train]\naugment = hflip\nbest = auroc\nplateau-metric = auroc\n";
    for (int i = 0; i < 2; i++) { /* what a file leaves to the run the checkpoint has */
        PARSE_WELL("train", i ? "--recipe" : "--config", "./auto.ini");
        assert_int_equal(options.run.best, DN_BEST_AUTO);
        assert_int_equal(dn_options_resume_from_ini(&options, settled), DN_OK);
        assert_true(options.run.best == DN_BEST_AUROC &&
                    options.scheduling.metric == DN_BEST_AUROC);
        assert_string_equal(options.augment, "hflip");
    }
    PARSE_WELL("train", "--best", "auto");
    assert_int_equal(dn_options_resume_from_ini(&options, settled), DN_OK);
    assert_true(options.run.best == DN_BEST_AUTO && options.scheduling.metric == DN_BEST_AUROC);
    PARSE_WELL("train", "--init-from", "a\nb");
    expect_failure(dn_options_to_ini(&options, text, sizeof text),
                   "--init-from: found a line break, expected a text that can be read back");
    PARSE_WELL("train", "--virtual-ranks", "8", "--lr", "0.3", "--epochs", "5");
    assert_int_equal(dn_options_to_ini(&options, text, sizeof text), DN_OK);
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
    PARSE_WELL("train", "--shuffle", "window:5"); /* the text is older than the option */
    expect_failure(dn_options_resume_from_ini(&options, "[train]\nlr = 0.1\n"),
                   "--shuffle: found window:5, expected full as in the checkpoint (or another "
                   "--out, or --resume none)");
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
    assert_int_equal(parse_config("schedule = one-cycle\nwarmup-epochs = 3\n"), DN_OK);
    assert_true(rate_on(8).warmup_epochs == 0); /* it begins with a rise of its own */
    PARSE_WELL("train", "--schedule", "one-cycle");
    assert_true(rate_on(8).warmup_epochs == 0);
    expect_start(
        PARSE("info", "--schedule", "one-cycle", "--warmup-epochs", "1"),
        "--warmup-epochs: found --schedule one-cycle, which does not read it, expected step or ");
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

/* Of sets of classes: images without the class / images with it, 1 if all or none have it. Those of
 * which it is unknown do not count. */
static void test_balanced_sets(void **state)
{
    static const uint8_t sets[] = {1, 0, 0, 1, 1, 0, 2, 2, 2}; /* (3, 3) */
    static const uint16_t labels[] = {0, 0, 1, 0, 2};
    static const float expected[] = {1, 3, 1};
    const dn_source images = {
        .count = 5, .labels = labels, .label_sets = sets, .info = {.classes = 3, .label_sets = 3}};
    float weights[3];
    PARSE_WELL("train", "--class-weights", "balanced");
    assert_int_equal(dn_options_class_weights(&options, &images, weights), DN_OK);
    assert_memory_equal(weights, expected, sizeof expected);
}

/* What the user does not say is the optimizer's; what he says is his. */
static void test_optimizer_defaults(void **state)
{
    static const struct {
        const char *optimizer;
        double lr, weight_decay;
        int scaling;
    } rows[] = {
        {"sgd", 0.1, 1e-4, DN_RATE_SCALING_LINEAR},  {"lars", 1, 1e-4, DN_RATE_SCALING_LINEAR},
        {"adam", 0.001, 0, DN_RATE_SCALING_NONE},    {"adamw", 0.001, 0.01, DN_RATE_SCALING_NONE},
        {"lamb", 0.001, 0.01, DN_RATE_SCALING_NONE}, {"rmsprop", 0.01, 0, DN_RATE_SCALING_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        PARSE_WELL("train", "--optimizer", rows[i].optimizer);
        assert_true(options.lr == rows[i].lr && options.lr_scaling == rows[i].scaling &&
                    options.step.rule.weight_decay == rows[i].weight_decay);
    }
    PARSE_WELL("train", "--optimizer", "adamw", "--lr-scaling", "sqrt", "--weight-decay", "0");
    assert_true(options.lr_scaling == DN_RATE_SCALING_SQRT && options.step.rule.weight_decay == 0);
    assert_int_equal(parse_config("optimizer = adam\n"), DN_OK);
    assert_true(options.lr_scaling == DN_RATE_SCALING_NONE && rate_on(32).base == options.lr);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_ini_round_trip),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_milestones),
        cmocka_unit_test(test_least_rate),
        cmocka_unit_test(test_balanced),
        cmocka_unit_test(test_balanced_sets),
        cmocka_unit_test(test_optimizer_defaults),
    };
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
