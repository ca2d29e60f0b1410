/* SGD against PyTorch's torch.optim.SGD (golden/make_optimizer.py), and its bits over threads. */
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "dn/kernels.h"
#include "dn/rng.h"

/* Both compute in fp32 but may contract or order the few operations differently: some roundings
 * of 2^-24 of values near 1, over five steps. */
#define TOLERANCE 1e-6

enum { MOST = 64 };

static size_t read_floats(const json_t *array, float *x)
{
    assert_true(json_array_size(array) <= MOST);
    for (size_t i = 0; i < json_array_size(array); i++)
        x[i] = (float)json_number_value(json_array_get(array, i));
    return json_array_size(array);
}

static void check_case(const json_t *golden)
{
    float parameters[MOST], momentum[MOST] = {0}, gradients[MOST], expected[MOST];
    const dn_sgd settings = {
        .rate = (float)json_number_value(json_object_get(golden, "rate")),
        .momentum = (float)json_number_value(json_object_get(golden, "momentum")),
        .weight_decay = (float)json_number_value(json_object_get(golden, "weight_decay")),
        .nesterov = json_is_true(json_object_get(golden, "nesterov")),
    };
    const size_t count = read_floats(json_object_get(golden, "start"), parameters);
    const json_t *steps = json_object_get(golden, "gradients");
    assert_true(json_array_size(steps) > 1);
    for (size_t s = 0; s < json_array_size(steps); s++) {
        read_floats(json_array_get(steps, s), gradients);
        read_floats(json_array_get(json_object_get(golden, "parameters"), s), expected);
        for (size_t i = 0; i < count; i++)
            gradients[i] *= 4; /* as the sum over four virtual ranks; exact */
        dn_sgd_update(dn_kernels_get(0), parameters, momentum, gradients, count, 0.25F, &settings);
        for (size_t i = 0; i < count; i++)
            if (!(fabs((double)parameters[i] - (double)expected[i]) <= TOLERANCE))
                fail_msg("step %zu, element %zu: found %.9g, expected %.9g", s, i,
                         (double)parameters[i], (double)expected[i]);
    }
}

static void test_pytorch(void **state)
{
    (void)state;
    json_error_t error;
    json_t *golden = json_load_file(DN_GOLDEN_DIR "/optimizer.json", 0, &error);
    assert_non_null(golden);
    const json_t *cases = json_object_get(golden, "sgd");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_case(json_array_get(cases, i));
    json_decref(golden);
}

static void test_threads(void **state)
{
    (void)state;
    enum { COUNT = 1009, THREADS = 4 };
    static float parameters[THREADS][COUNT], momentum[THREADS][COUNT], gradients[COUNT];
    const dn_sgd settings = {.rate = 0.1F, .momentum = 0.9F, .weight_decay = 1e-4F, .nesterov = 1};
    dn_random_normal(gradients, COUNT, 1, 1, DN_STREAM_SYNTHETIC, 0);
    const int before = omp_get_max_threads();
    for (int t = 0; t < THREADS; t++) {
        omp_set_num_threads(t + 1);
        dn_random_normal(parameters[t], COUNT, 1, 1, DN_STREAM_SYNTHETIC, 1);
        for (int step = 0; step < 3; step++)
            dn_sgd_update(dn_kernels_get(0), parameters[t], momentum[t], gradients, COUNT, 1 / 3.0F,
                          &settings);
        assert_memory_equal(parameters[t], parameters[0], sizeof parameters[0]);
        assert_memory_equal(momentum[t], momentum[0], sizeof momentum[0]);
    }
    omp_set_num_threads(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
