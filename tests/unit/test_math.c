/* Elementary functions against the C library, Philox against its published vectors, and random
 * draws. */
#include <math.h>
#include <stdlib.h>

#include "dn/math.h"
#include "dn/rng.h"
#include "unit.h"

/* Promised by dn/math.h; the C library's own error is below 1e-16. */
#define RELATIVE_TOLERANCE 1e-15

/* Absolute, for sine and cosine: the reduction of the argument leaves an error near the zeros. */
#define CIRCLE_TOLERANCE 1e-15

/* Five standard deviations of a mean of COUNT draws, in standard deviations of one. */
#define MEAN_TOLERANCE (5 / sqrt((double)COUNT))

enum { COUNT = 100000, SOME = 1001 };

static void expect_close(const char *what, double x, double expected, double found,
                         double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) /* true for NaN */
        fail_msg("%s(%.17g): expected %.17g, found %.17g", what, x, expected, found);
}

static void test_exp(void **state)
{
    for (double x = -700; x <= 700; x += 0.0137)
        expect_close("exp", x, exp(x), dn_exp(x), RELATIVE_TOLERANCE * exp(x));
    assert_true(dn_exp(0) == 1);
    assert_true(dn_exp(-1e4) == 0);
    assert_true(dn_exp(-INFINITY) == 0);
    assert_true(dn_exp(1e4) == INFINITY);
}

/* Many exponentials, and the sum of them, have the bits of one at a time. */
static void test_exps(void **state)
{
    static const float scales[] = {1, 30, 700, 2000};
    float x[SOME];
    double found[SOME], largest;
    for (int s = 0; s < 4; s++)
        for (int count = 1; count < SOME; count += 37) {
            dn_random_uniform(x, (size_t)count, scales[s], 42, DN_STREAM_INIT, (uint64_t)count);
            if (s == 3 && count > 40) {
                x[3] = -INFINITY;
                x[30] = count % 2 ? (float)NAN : x[30];
            }
            const double log_sum = dn_log_sum_exp(x, count, &largest);
            double sum = 0;
            for (int i = 0; i < count; i++)
                sum += dn_exp(x[i] - largest);
            const double expected_log = dn_log(sum);
            assert_memory_equal(&log_sum, &expected_log, sizeof log_sum);
            dn_exps(x, count, largest / 2, 0.1, found);
            for (int i = 0; i < count; i++) {
                const double expected = dn_exp(x[i] - largest / 2 - 0.1);
                assert_memory_equal(&found[i], &expected, sizeof expected);
            }
        }
}

static void test_log(void **state)
{
    for (double x = 1e-300; x < 1e300; x *= 1.0173)
        expect_close("log", x, log(x), dn_log(x), RELATIVE_TOLERANCE * fabs(log(x)));
    for (double x = 1 - 1e-3; x < 1 + 1e-3; x += 1.7e-6) /* where the logarithm is small */
        expect_close("log", x, log(x), dn_log(x), RELATIVE_TOLERANCE * fabs(log(x)));
    assert_true(dn_log(1) == 0);
}

static void test_power(void **state)
{
    for (int64_t n = 1; n < 2000; n++)
        expect_close("0.999^", (double)n, pow(0.999, (double)n), dn_power(0.999, n),
                     (double)n * 0x1p-52 * pow(0.999, (double)n));
    assert_true(dn_power(3, 0) == 1 && dn_power(-3, 3) == -27);
    assert_true(dn_power(0.9, INT64_MAX) == 0 && dn_power(0, 1) == 0);
}

static void test_sin_cos(void **state)
{
    for (double x = -3000; x <= 3000; x += 0.0417) {
        expect_close("sin", x, sin(x), dn_sin(x), CIRCLE_TOLERANCE);
        expect_close("cos", x, cos(x), dn_cos(x), CIRCLE_TOLERANCE);
    }
    for (double x = -1; x <= 1; x += 0.00113)
        expect_close("sin", x, sin(x), dn_sin(x), RELATIVE_TOLERANCE * fabs(sin(x)));
    assert_true(dn_sin(0) == 0 && dn_cos(0) == 1);
}

/* kat_vectors of Random123 for philox4x32 with 10 rounds. The counter's four words are b, a and,
 * in the upper half of the last, the stream; so every counter can be written as a draw. */
static void test_philox(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const uint32_t *c = vectors[i].counter, *key = vectors[i].key;
        const dn_random4 found =
            dn_random((uint64_t)key[1] << 32 | key[0], (dn_stream)(c[3] >> 16),
                      (uint64_t)(c[3] & 0xffff) << 32 | c[2], (uint64_t)c[1] << 32 | c[0]);
        assert_memory_equal(found.word, vectors[i].expected, sizeof found.word);
    }
}

/* Draws differ if any of their arguments does. */
static void test_draws_differ(void **state)
{
    const dn_random4 x[] = {
        dn_random(1, DN_STREAM_INIT, 2, 3),
        dn_random(2, DN_STREAM_INIT, 2, 3),
        dn_random(1, DN_STREAM_SHUFFLE, 2, 3),
        dn_random(1, DN_STREAM_INIT, 3, 3),
        dn_random(1, DN_STREAM_INIT, 2, 4),
        dn_random(1 + (1ULL << 32), DN_STREAM_INIT, 2, 3),
        dn_random(1, DN_STREAM_INIT, 2 + (1ULL << 47), 3),
        dn_random(1, DN_STREAM_INIT, 2, 3 + (1ULL << 63)),
    };
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&x[i], &x[j], sizeof x[i]);
}

static void test_words(void **state)
{
    assert_int_equal(dn_random_below(0, 10), 0);
    assert_int_equal(dn_random_below(UINT32_MAX, 10), 9);
    assert_int_equal(dn_random_below(UINT32_MAX, 1), 0);
    assert_true(dn_random_unit(0) == 0);
    assert_true(dn_random_unit(UINT32_MAX) == 1 - 0x1p-24F);
}

static void test_normal(void **state)
{
    float *x = malloc(COUNT * sizeof *x), some[SOME];
    assert_non_null(x);
    dn_random_normal(x, COUNT, 0.5, 42, DN_STREAM_INIT, 7);
    dn_random_normal(some, SOME, 0.5, 42, DN_STREAM_INIT, 7);
    assert_memory_equal(x, some, sizeof some); /* element i depends on i alone */
    double sum = 0, squares = 0, pairs = 0;
    int beyond = 0;
    for (int i = 0; i < COUNT; i++) {
        const double z = (double)x[i] / 0.5;
        sum += z;
        squares += z * z;
        pairs += i % 2 ? z * (double)x[i - 1] / 0.5 : 0;
        beyond += fabs(z) > 2;
    }
    assert_true(fabs(sum / COUNT) <= MEAN_TOLERANCE);
    assert_true(fabs(squares / COUNT - 1) <= MEAN_TOLERANCE * sqrt(2));
    assert_true(fabs(pairs / COUNT) <= MEAN_TOLERANCE);
    assert_true(fabs((double)beyond / COUNT - 0.0455) <= MEAN_TOLERANCE * 0.21); /* sqrt(p(1-p)) */
    free(x);
}

static void test_uniform(void **state)
{
    float *x = malloc(COUNT * sizeof *x), some[SOME];
    assert_non_null(x);
    dn_random_uniform(x, COUNT, 3, 42, DN_STREAM_INIT, 7);
    dn_random_uniform(some, SOME, 3, 42, DN_STREAM_INIT, 7);
    assert_memory_equal(x, some, sizeof some);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(x[i] >= -3 && x[i] <= 3); /* the bound itself by rounding to float alone */
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sum / COUNT) <= MEAN_TOLERANCE * sqrt(3.0));
    assert_true(fabs(squares / COUNT - 3) <= MEAN_TOLERANCE * 3 * sqrt(0.8));
    free(x);
}

static void test_permutation(void **state)
{
    uint32_t first[SOME], again[SOME], other[SOME];
    unsigned char seen[SOME] = {0};
    size_t fixed = 0, same = 0;
    dn_random_permutation(first, SOME, 5, 1);
    dn_random_permutation(again, SOME, 5, 1);
    dn_random_permutation(other, SOME, 5, 2);
    for (size_t i = 0; i < SOME; i++) {
        assert_true(first[i] < SOME && !seen[first[i]]);
        seen[first[i]] = 1;
        fixed += first[i] == i;
        same += first[i] == other[i];
    }
    assert_memory_equal(first, again, sizeof first);
    assert_true(fixed < 10 && same < 10); /* one on average */
    int turned = 0;                       /* permutations of two that exchange them */
    for (uint64_t epoch = 0; epoch < 20; epoch++) {
        dn_random_permutation(first, 2, 5, epoch);
        turned += first[0] == 1;
    }
    assert_true(turned > 0 && turned < 20);
    dn_random_permutation(first, 1, 5, 1);
    assert_int_equal(first[0], 0);
    dn_random_permutation(first, 0, 5, 1);
}

/* A windowed order: every element once; a window consists of whole runs, except for its first and
 * last, in random order. */
static void test_windows(void **state)
{
    enum { ALL = 10 * DN_NEIGHBOURS + 7, WINDOW = 3 * DN_NEIGHBOURS };
    uint32_t order[ALL], again[ALL];
    unsigned char seen[ALL] = {0};
    dn_random_order(order, ALL, WINDOW, 5, 1);
    dn_random_order(again, ALL, WINDOW, 5, 1);
    assert_memory_equal(order, again, sizeof order);
    dn_random_order(again, ALL, WINDOW, 5, 2);
    assert_memory_not_equal(order, again, sizeof order);
    int stay = 0; /* images of the first window that are in it in the next epoch, too */
    for (int i = 0; i < WINDOW; i++)
        for (int j = 0; j < WINDOW; j++)
            stay += order[i] == again[j];
    assert_true(stay < WINDOW);
    for (int at = 0; at < ALL; at += WINDOW) {
        const int end = at + WINDOW < ALL ? at + WINDOW : ALL;
        int of_run[ALL / DN_NEIGHBOURS + 1] = {0}, cut = 0, neighbours = 0;
        for (int i = at; i < end; i++) {
            assert_true(order[i] < ALL && !seen[order[i]]);
            seen[order[i]] = 1;
            of_run[order[i] / DN_NEIGHBOURS]++;
            neighbours += i > at && order[i] == order[i - 1] + 1;
        }
        for (int r = 0; r <= ALL / DN_NEIGHBOURS; r++) {
            const int run = r < ALL / DN_NEIGHBOURS ? DN_NEIGHBOURS : ALL % DN_NEIGHBOURS;
            cut += of_run[r] != 0 && of_run[r] != run;
        }
        assert_true(cut <= 2 && neighbours < 10);
    }
    int alike = 0; /* equal places of a run in two windows */
    for (int i = 0; i < 2 * WINDOW; i++)
        alike += order[i] % DN_NEIGHBOURS == order[i + WINDOW] % DN_NEIGHBOURS;
    assert_true(alike < WINDOW / 4);
    dn_random_order(order, ALL, 0, 5, 1);
    dn_random_permutation(again, ALL, 5, 1);
    assert_memory_equal(order, again, sizeof order);
    dn_random_order(order, 3, 2 * DN_NEIGHBOURS, 5, 1); /* less than a run */
    assert_int_equal(order[0] + order[1] + order[2], 3);
    dn_random_order(order, 0, DN_NEIGHBOURS, 5, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows), cmocka_unit_test(test_exp),
        cmocka_unit_test(test_exps),    cmocka_unit_test(test_log),
        cmocka_unit_test(test_power),   cmocka_unit_test(test_sin_cos),
        cmocka_unit_test(test_philox),  cmocka_unit_test(test_draws_differ),
        cmocka_unit_test(test_words),   cmocka_unit_test(test_normal),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
