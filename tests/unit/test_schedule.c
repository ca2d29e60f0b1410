/* Learning rates against PyTorch's schedulers (golden/make_optimizer.py), and at the ends. */
#include <math.h>
#include <string.h>

#include "dn/monitor.h"
#include "dn/schedule.h"
#include "golden_cases.h"

/* PyTorch's schedulers multiply the last rate by a ratio, so their rounding grows over the steps;
 * its cosine ends at a ratio of zero, hence the absolute part. */
#define RELATIVE_TOLERANCE 1e-12
#define ABSOLUTE_TOLERANCE 1e-15

static double setting(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key)); /* 0 where there is none */
}

static dn_rate read_rate(const json_t *golden)
{
    const char *name = json_string_value(json_object_get(golden, "schedule"));
    const json_t *milestone = json_object_get(golden, "milestone");
    const json_t *gamma = json_object_get(golden, "gamma");
    dn_rate rate = {
        .settings = {.gamma = gamma ? json_number_value(gamma) : 0.1,
                     .step_epochs = (int)setting(golden, "step_epochs"),
                     .milestones = (int)json_array_size(milestone),
                     .power = setting(golden, "power"),
                     .metric = setting(golden, "metric") > 0 ? DN_BEST_ACCURACY : DN_BEST_LOSS,
                     .patience = (int)setting(golden, "patience"),
                     .cooldown = (int)setting(golden, "cooldown"),
                     .threshold = setting(golden, "threshold")},
        .base = setting(golden, "base"),
        .least = setting(golden, "least"),
        .steps_per_epoch = (int64_t)setting(golden, "steps_per_epoch"),
        .epochs = (int64_t)setting(golden, "epochs"),
        .warmup_epochs = setting(golden, "warmup_epochs"),
    };
    for (int i = 0; i < rate.settings.milestones; i++)
        rate.settings.milestone[i] = json_integer_value(json_array_get(milestone, (size_t)i));
    for (int i = 0; dn_schedule_name(i); i++)
        if (strcmp(name, dn_schedule_name(i)) == 0)
            rate.schedule = dn_schedule_get(i);
    assert_non_null(rate.schedule);
    return rate;
}

static void check_case(const json_t *golden)
{
    const json_t *rates = json_object_get(golden, "rates");
    const json_t *metrics = json_object_get(golden, "metrics");
    dn_rate rate = read_rate(golden);
    for (size_t step = 0; step < json_array_size(rates); step++) {
        const int64_t epoch = (int64_t)step / rate.steps_per_epoch;
        if (metrics && epoch > 0) {
            const double metric = json_number_value(json_array_get(metrics, (size_t)epoch - 1));
            dn_rate_observe(&rate, epoch, metric);
        }
        const double expected = json_number_value(json_array_get(rates, step));
        const double found = dn_learning_rate(&rate, (int64_t)step);
        if (!(fabs(found - expected) <= RELATIVE_TOLERANCE * expected + ABSOLUTE_TOLERANCE))
            fail_msg("%s, step %zu: found %.17g, expected %.17g", rate.schedule->name, step, found,
                     expected);
    }
}

static void test_pytorch(void **state)
{
    json_error_t error;
    json_t *golden = json_load_file(DN_GOLDEN_DIR "/optimizer.json", 0, &error);
    assert_non_null(golden);
    const json_t *cases = json_object_get(golden, "rates");
    expect_case_of_each(cases, "schedule", dn_schedule_name);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i));
    json_decref(golden);
}

static void test_ends(void **state)
{
    dn_rate rate = {
        .schedule = dn_schedule_get(1), .base = 0.1, .steps_per_epoch = 10, .epochs = 2};
    assert_string_equal(rate.schedule->name, "cosine");
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    assert_true(dn_learning_rate(&rate, 20) < 1e-16);
    assert_true(dn_learning_rate(&rate, 1000) == dn_learning_rate(&rate, 20));
    rate.warmup_epochs = 0.05; /* less than one step: none */
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    rate.warmup_epochs = 0.25; /* two and a half steps: two */
    assert_true(dn_learning_rate(&rate, 1) == 0.1);
    rate.warmup_epochs = 5; /* longer than the run */
    for (int schedule = 1; schedule <= 2; schedule++) {
        rate.schedule = dn_schedule_get(schedule);
        assert_true(dn_learning_rate(&rate, 0) == 0.1 / 50);
        assert_true(dn_learning_rate(&rate, 49) == 0.1);
    }
    rate = (dn_rate){.schedule = dn_schedule_get(4),
                     .settings = {.power = 1},
                     .base = 0.3,
                     .least = 0.1,
                     .steps_per_epoch = 10,
                     .epochs = 2};
    assert_string_equal(rate.schedule->name, "polynomial");
    assert_true(dn_learning_rate(&rate, 20) == 0.1);
}

/* ---- a schedule with a state ---- */

static void test_state(void **state)
{
    static const double losses[] = {3, 2, 2.5, 1, 1, 2, 1.5, 0.5};
    static const double factors[] = {1, 1, 1, 1, 1, 0.5, 0.5, 0.5}; /* of the base rate */
    dn_rate rate = {.settings = {.gamma = 0.5, .metric = DN_BEST_LOSS, .patience = 1},
                    .base = 0.1,
                    .steps_per_epoch = 10,
                    .epochs = 8};
    for (int i = 0; dn_schedule_name(i); i++)
        if (strcmp(dn_schedule_name(i), "plateau") == 0)
            rate.schedule = dn_schedule_get(i);
    assert_non_null(rate.schedule);
    dn_rate resumed = rate;
    for (int epoch = 1; epoch <= 8; epoch++) {
        assert_true(dn_rate_awaits(&rate, epoch));
        dn_rate_observe(&rate, epoch, losses[epoch - 1]);
        assert_false(dn_rate_awaits(&rate, epoch));
        dn_rate_observe(&rate, epoch, 1e9); /* it knows of that epoch */
        assert_true(dn_learning_rate(&rate, 10 * epoch) == 0.1 * factors[epoch - 1]);
        resumed.state = rate.state; /* all that a checkpoint keeps of it */
        assert_true(dn_learning_rate(&resumed, 10 * epoch) == 0.1 * factors[epoch - 1]);
        rate = resumed;
    }
    rate.state = (dn_schedule_state){.epochs = 3}; /* of another schedule before */
    for (int epoch = 4; epoch <= 8; epoch++) {
        assert_true(dn_learning_rate(&rate, 10 * epoch - 10) == 0.1);
        dn_rate_observe(&rate, epoch, losses[epoch - 4]);
    }
    assert_true(dn_learning_rate(&rate, 80) == 0.1);
    dn_rate_observe(&rate, 9, 3);
    assert_true(dn_learning_rate(&rate, 90) == 0.1 * 0.5);
    rate.state = (dn_schedule_state){0};
    rate.settings.threshold = 0.1;
    for (int epoch = 1; epoch <= 3; epoch++) /* better, but by less than the threshold */
        dn_rate_observe(&rate, epoch, epoch == 1 ? 3 : 2.8);
    assert_true(dn_learning_rate(&rate, 30) == 0.1 * 0.5);
    rate.state = (dn_schedule_state){0};
    for (int epoch = 1; epoch <= 3; epoch++) /* any number is better than NaN */
        dn_rate_observe(&rate, epoch, epoch == 1 ? (double)NAN : 2 - 0.5 * epoch);
    assert_true(dn_learning_rate(&rate, 30) == 0.1);
    rate.schedule = dn_schedule_get(0); /* one without a state awaits nothing, and keeps nothing */
    rate.state = (dn_schedule_state){0};
    assert_false(dn_rate_awaits(&rate, 1));
    dn_rate_observe(&rate, 1, 1);
    assert_true(rate.state.epochs == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch), cmocka_unit_test(test_ends),
                                       cmocka_unit_test(test_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
