/* Optimizers against PyTorch's (golden/make_optimizer.py), and their bits over tables and threads.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "dn/optimizer.h"
#include "dn/rng.h"
#include "golden_cases.h"
#include "kernel_tables.h"

/* Both compute in fp32 but may contract or order the few operations differently: some roundings
 * of 2^-24 of values near 1, over five or fifty steps. */
#define TOLERANCE 1e-6

enum { MOST = 64 };

/* The row of that name. */
static const dn_optimizer *find_row(const dn_kernels *kernels, const char *name)
{
    for (int i = 0; dn_optimizer_name(i); i++)
        if (strcmp(dn_optimizer_name(i), name) == 0)
            return dn_optimizer_get(kernels, i);
    fail_msg("no optimizer %s", name);
    return NULL;
}

/* ---- PyTorch ---- */

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key)); /* 0 where there is none */
}

static size_t read_floats(const json_t *array, float *x)
{
    assert_true(json_array_size(array) <= MOST);
    for (size_t i = 0; i < json_array_size(array); i++)
        x[i] = (float)json_number_value(json_array_get(array, i));
    return json_array_size(array);
}

static void check_case(const json_t *golden, const dn_kernels *kernels)
{
    float parameters[MOST], states[DN_OPTIMIZER_STATES * MOST] = {0}, gradients[MOST],
                                                         expected[MOST];
    const char *name = json_string_value(json_object_get(golden, "optimizer"));
    const json_t *settings = json_object_get(golden, "settings");
    const json_t *steps = json_object_get(golden, "gradients");
    const size_t count = read_floats(json_object_get(golden, "start"), parameters);
    const dn_tensor tensor = {.kind = DN_CONV_WEIGHT, .count = count};
    dn_update update = {
        .settings = {.rate = number(settings, "rate"),
                     .weight_decay = number(settings, "weight_decay"),
                     .momentum = number(settings, "momentum"),
                     .nesterov = json_is_true(json_object_get(settings, "nesterov")),
                     .beta1 = number(settings, "beta1"),
                     .beta2 = number(settings, "beta2"),
                     .eps = number(settings, "eps"),
                     .trust = number(settings, "trust")},
        .count = count,
        .parameters = parameters,
        .states = states,
        .gradients = gradients,
        .gradient_scale = 0.25F,
        .tensors = &tensor,
        .tensor_count = 1};
    assert_true(json_array_size(steps) > 1);
    for (size_t s = 0; s < json_array_size(steps); s++) {
        read_floats(json_array_get(steps, s), gradients);
        read_floats(json_array_get(json_object_get(golden, "parameters"), s), expected);
        for (size_t i = 0; i < count; i++)
            gradients[i] *= 4; /* as the sum over four virtual ranks; exact */
        update.step = (int64_t)s + 1;
        dn_optimizer_update(find_row(kernels, name), &update);
        for (size_t i = 0; i < count; i++)
            if (!(fabs((double)parameters[i] - (double)expected[i]) <= TOLERANCE))
                fail_msg("%s, step %zu, element %zu: found %.9g, expected %.9g", name, s, i,
                         (double)parameters[i], (double)expected[i]);
    }
}

static void test_pytorch(void **state)
{
    json_error_t error;
    json_t *golden = json_load_file(DN_GOLDEN_DIR "/optimizer.json", 0, &error);
    assert_non_null(golden);
    const json_t *cases = json_object_get(golden, "optimizers");
    expect_case_of_each(cases, "optimizer", dn_optimizer_name);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i), dn_kernels_get(0));
    json_decref(golden);
}

static void test_average(void **state)
{
    json_error_t error;
    json_t *golden = json_load_file(DN_GOLDEN_DIR "/optimizer.json", 0, &error);
    const json_t *c = json_object_get(golden, "average");
    const json_t *steps = json_object_get(c, "parameters");
    float parameters[MOST], expected[MOST];
    dn_optimizer_state s;
    const size_t count = read_floats(json_object_get(c, "start"), parameters);
    assert_true(count > 0 && json_array_size(steps) == 50);
    assert_int_equal(
        dn_optimizer_state_create(&s, find_row(dn_kernels_get(0), "adam"), count, count), DN_OK);
    memcpy(s.average, parameters, count * sizeof *parameters);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        read_floats(json_array_get(steps, i), parameters);
        read_floats(json_array_get(json_object_get(c, "averages"), i), expected);
        dn_optimizer_average(&s, parameters, number(c, "decay"), (int64_t)i + 1);
        for (size_t k = 0; k < count; k++)
            assert_true(fabs((double)s.average[k] - (double)expected[k]) <= TOLERANCE);
    }
    for (size_t k = 0; k < 2 * count; k++) /* the optimizer's own vectors stand before */
        assert_true(s.vectors[k] == 0);
    dn_optimizer_state_destroy(&s);
    json_decref(golden);
}

/* ---- bits ---- */

/* Parameters as a net has them: not in the order of their places. */
enum { COUNT = 100 + 12 + 5000 + 17, STATES = DN_OPTIMIZER_STATES };
static const dn_tensor tensors[] = {
    {.kind = DN_CONV_WEIGHT, .offset = 5029, .count = 100},
    {.kind = DN_NORM_WEIGHT, .offset = 5017, .count = 12},
    {.kind = DN_LINEAR_WEIGHT, .offset = 17, .count = 5000},
    {.kind = DN_LINEAR_BIAS, .offset = 0, .count = 17},
};

/* Three steps from the same start; result(1 + STATES, COUNT). */
static void step_thrice(const dn_optimizer *row, float *result)
{
    static float gradients[COUNT];
    dn_update update = {.settings = {.rate = 0.1,
                                     .weight_decay = 0.3,
                                     .undecayed = DN_UNDECAYED_NORM | DN_UNDECAYED_BIAS,
                                     .momentum = 0.9,
                                     .nesterov = 1,
                                     .beta1 = 0.9,
                                     .beta2 = 0.99,
                                     .eps = 1e-8,
                                     .trust = 0.01},
                        .count = COUNT,
                        .parameters = result,
                        .states = result + COUNT,
                        .gradients = gradients,
                        .gradient_scale = 1 / 3.0F,
                        .tensors = tensors,
                        .tensor_count = sizeof tensors / sizeof *tensors};
    dn_random_normal(gradients, COUNT, 1, 1, DN_STREAM_SYNTHETIC, 0);
    dn_random_normal(result, COUNT, 1, 1, DN_STREAM_SYNTHETIC, 1);
    memset(update.states, 0, STATES * COUNT * sizeof *result);
    for (update.step = 1; update.step <= 3; update.step++)
        dn_optimizer_update(row, &update);
}

static void test_bits(void **state)
{
    static float expected[(1 + STATES) * COUNT], found[(1 + STATES) * COUNT];
    const int before = omp_get_max_threads();
    for (int r = 0; dn_optimizer_name(r); r++) {
        const dn_optimizer *row = dn_optimizer_get(dn_kernels_get(0), r);
        for (int i = 0; row->states[i]; i++) /* by PyTorch's names */
            assert_int_equal(row->squares >> i & 1, strstr(row->states[i], "sq") != NULL);
        omp_set_num_threads(1);
        step_thrice(row, expected);
        for (int i = 0; dn_test_table_name(i); i++) {
            const dn_kernels *kernels = dn_test_table(dn_test_table_name(i));
            for (int threads = 1; kernels && threads <= 5; threads++) {
                omp_set_num_threads(threads);
                step_thrice(dn_optimizer_get(kernels, r), found);
                if (memcmp(found, expected, sizeof found) != 0)
                    fail_msg("%s: other bits on %d threads with %s", row->name, threads,
                             kernels->name);
            }
        }
    }
    omp_set_num_threads(before);
}

/* Tensors of undecayed kinds end as without weight decay, all others otherwise. */
static void test_groups(void **state)
{
    for (int r = 0; dn_optimizer_name(r) != NULL; r++) {
        float parameters[2][6] = {{1, 1, 1, 1, 0, 2}, {1, 1, 1, 1, 0, 2}}, states[STATES * 6];
        const float gradients[6] = {0.5F, -0.5F, 0.5F, 0, 0.5F, 0.5F};
        const dn_tensor kinds[] = {{.kind = DN_CONV_WEIGHT, .offset = 0, .count = 2},
                                   {.kind = DN_NORM_BIAS, .offset = 2, .count = 1},
                                   {.kind = DN_CONV_WEIGHT, .offset = 3, .count = 1},
                                   {.kind = DN_CONV_WEIGHT, .offset = 4, .count = 1},
                                   {.kind = DN_NORM_BIAS, .offset = 5, .count = 1}};
        for (int decay = 0; decay < 2; decay++) {
            memset(states, 0, sizeof states);
            dn_optimizer_update(dn_optimizer_get(dn_kernels_get(0), r),
                                &(dn_update){.settings = {.rate = 0.1,
                                                          .weight_decay = decay,
                                                          .undecayed = DN_UNDECAYED_BIAS,
                                                          .beta1 = 0.9,
                                                          .beta2 = 0.99,
                                                          .eps = 1,
                                                          .trust = 0.1},
                                             .step = 1,
                                             .count = 6,
                                             .parameters = parameters[decay],
                                             .states = states,
                                             .gradients = gradients,
                                             .gradient_scale = 1,
                                             .tensors = kinds,
                                             .tensor_count = 5});
        }
        assert_true(parameters[0][0] + parameters[0][1] > parameters[1][0] + parameters[1][1]);
        assert_true(parameters[0][2] == parameters[1][2]);
        const float step = 1 - parameters[0][2]; /* of any parameter: no trust ratio */
        assert_true(step > 0.01F && fabsf(2 - parameters[0][5] - step) < 1e-6F);
        assert_true(parameters[0][3] == 1);     /* no gradient, no step */
        assert_true(parameters[0][4] < -0.01F); /* a tensor of zeros learns */
    }
}

static void test_norm(void **state)
{
    static float x[100003];
    const int before = omp_get_max_threads();
    double expected = 0;
    dn_random_normal(x, 100003, 1, 1, DN_STREAM_SYNTHETIC, 0);
    for (int i = 0; i < 100003; i++)
        expected += (double)x[i] * (double)x[i];
    omp_set_num_threads(1);
    const double norm = dn_gradient_norm(x, 100003);
    assert_true(fabs(norm - sqrt(expected)) < 1e-9);
    for (int threads = 2; threads <= 5; threads++) {
        omp_set_num_threads(threads);
        assert_true(dn_gradient_norm(x, 100003) == norm);
    }
    omp_set_num_threads(before);
    assert_true(dn_gradient_norm(x, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch), cmocka_unit_test(test_bits),
                                       cmocka_unit_test(test_groups), cmocka_unit_test(test_norm),
                                       cmocka_unit_test(test_average)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
