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
    static const char *const names[] = {"step", "cosine", "constant"};
    const char *name = json_string_value(json_object_get(golden, "schedule"));
    const json_t *rates = json_object_get(golden, "rates");
    dn_rate rate = {
        .base = json_number_value(json_object_get(golden, "base")),
        .steps_per_epoch = json_integer_value(json_object_get(golden, "steps_per_epoch")),
        .epochs = json_integer_value(json_object_get(golden, "epochs")),
        .warmup_epochs = json_number_value(json_object_get(golden, "warmup_epochs")),
    };
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            rate.schedule = (dn_schedule)i;
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
        .schedule = DN_SCHEDULE_COSINE, .base = 0.1, .steps_per_epoch = 10, .epochs = 2};
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    assert_true(dn_learning_rate(&rate, 20) < 1e-16);
    assert_true(dn_learning_rate(&rate, 1000) == dn_learning_rate(&rate, 20));
    rate.warmup_epochs = 0.05; /* less than one step: none */
    assert_true(dn_learning_rate(&rate, 0) == 0.1);
    rate.warmup_epochs = 5; /* longer than the run */
    rate.schedule = DN_SCHEDULE_CONSTANT;
    assert_true(dn_learning_rate(&rate, 0) == 0.1 / 50);
    assert_true(dn_learning_rate(&rate, 49) == 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch), cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
