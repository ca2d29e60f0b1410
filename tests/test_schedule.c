/* Learning rates against PyTorch's schedulers (golden/make_optimizer.py), and at the ends. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "dn/schedule.h"

/* PyTorch's schedulers multiply the last rate by a ratio, so their rounding grows over the steps;
 * its cosine ends at a ratio of zero, hence the absolute part. */
#define RELATIVE_TOLERANCE 1e-12
#define ABSOLUTE_TOLERANCE 1e-15

static void check_case(const json_t *golden)
{
    const char *name = json_string_value(json_object_get(golden, "schedule"));
    const json_t *rates = json_object_get(golden, "rates");
    dn_rate rate = {
        .base = json_number_value(json_object_get(golden, "base")),
        .steps_per_epoch = json_integer_value(json_object_get(golden, "steps_per_epoch")),
        .epochs = json_integer_value(json_object_get(golden, "epochs")),
        .warmup_epochs = json_number_value(json_object_get(golden, "warmup_epochs")),
    };
    for (int i = 0; dn_schedule_name(i); i++)
        if (strcmp(name, dn_schedule_name(i)) == 0)
            rate.schedule = dn_schedule_get(i);
    assert_non_null(rate.schedule);
    for (size_t step = 0; step < json_array_size(rates); step++) {
        const double expected = json_number_value(json_array_get(rates, step));
        const double found = dn_learning_rate(&rate, (int64_t)step);
        if (!(fabs(found - expected) <= RELATIVE_TOLERANCE * expected + ABSOLUTE_TOLERANCE))
            fail_msg("%s, step %zu: found %.17g, expected %.17g", name, step, found, expected);
    }
}

static void test_pytorch(void **state)
{
    (void)state;
    json_error_t error;
    json_t *golden = json_load_file(DN_GOLDEN_DIR "/optimizer.json", 0, &error);
    assert_non_null(golden);
    const json_t *cases = json_object_get(golden, "rates");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i));
    json_decref(golden);
}

static void test_ends(void **state)
{
    (void)state;
    dn_rate rate = {
        .schedule = dn_schedule_get(1), .base = 0.1, .steps_per_epoch = 10, .epochs = 2};
    assert_string_equal(rate.schedule->name, "cosine");
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    assert_true(dn_learning_rate(&rate, 20) < 1e-16);
    assert_true(dn_learning_rate(&rate, 1000) == dn_learning_rate(&rate, 20));
    rate.warmup_epochs = 0.05; /* less than one step: none */
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    rate.warmup_epochs = 5; /* longer than the run */
    rate.schedule = dn_schedule_get(2);
    assert_true(dn_learning_rate(&rate, 0) == 0.1 / 50);
    assert_true(dn_learning_rate(&rate, 49) == 0.1);
}

/* ---- a schedule with a state ---- */

enum { BEST, BAD, FACTOR }; /* the least loss, epochs since, 1 - factor */

static double plateau_factor(double progress, const dn_schedule_state *state)
{
    (void)progress;
    return 1 - state->value[FACTOR];
}

/* Halves the rate when two epochs have brought nothing. */
static void plateau_observe(dn_schedule_state *state, double loss)
{
    double *value = state->value;
    const int is_better = state->epochs == 0 || loss < value[BEST];
    value[BEST] = is_better ? loss : value[BEST];
    value[BAD] = is_better ? 0 : value[BAD] + 1;
    if (value[BAD] == 2) {
        value[FACTOR] = (1 + value[FACTOR]) / 2;
        value[BAD] = 0;
    }
}

static const dn_schedule plateau = {"plateau", plateau_factor, plateau_observe};

static void test_state(void **state)
{
    (void)state;
    static const double losses[] = {3, 2, 2.5, 1, 1, 2, 1.5, 0.5};
    static const double factors[] = {1, 1, 1, 1, 1, 0.5, 0.5, 0.5};
    dn_rate rate = {.schedule = &plateau, .base = 0.1, .steps_per_epoch = 10, .epochs = 8};
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
