/* Held-out images, and the best epoch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/monitor.h"
#include "dn/subset.h"
#include "unit.h"

enum { IMAGES = 1000, CLASSES = 7 };

/* The image's number, as its first value. */
static dn_status read_number(const dn_source *source, const dn_request *request,
                             const dn_transform *transform, dn_transform_memory *memory,
                             float *image)
{
    (void)source;
    (void)transform;
    (void)memory;
    *image = (float)request->index;
    return DN_OK;
}

/* Class c has about twice as many images as class c - 1. */
static dn_source make_source(uint16_t labels[IMAGES])
{
    for (int i = 0; i < IMAGES; i++)
        for (labels[i] = 0; labels[i] + 1 < CLASSES && (i * 37 % IMAGES) >> (labels[i] + 3) > 0;)
            labels[i]++;
    return (dn_source){
        .info = {.classes = CLASSES}, .count = IMAGES, .labels = labels, .read = read_number};
}

/* Each image is in one of both, under its label; each class within one image of its part. */
static void check_split(const dn_subset *kept, const dn_subset *held, const dn_source *whole,
                        double fraction)
{
    int seen[IMAGES] = {0}, all[CLASSES] = {0}, out[CLASSES] = {0};
    const dn_subset *const parts[] = {kept, held};
    assert_int_equal(kept->images.count + held->images.count, IMAGES);
    for (int p = 0; p < 2; p++)
        for (int64_t i = 0; i < parts[p]->images.count; i++) {
            float number;
            const dn_request request = {.index = i};
            assert_int_equal(
                parts[p]->images.read(&parts[p]->images, &request, NULL, NULL, &number), DN_OK);
            seen[(int)number]++;
            assert_int_equal(parts[p]->images.labels[i], whole->labels[(int)number]);
            all[parts[p]->images.labels[i]]++;
            out[parts[p]->images.labels[i]] += p;
        }
    for (int i = 0; i < IMAGES; i++)
        assert_int_equal(seen[i], 1);
    for (int c = 0; c < CLASSES; c++)
        assert_true(fabs(out[c] - fraction * all[c]) <= 1 && out[c] < all[c]);
    assert_true(fabs((double)held->images.count - fraction * IMAGES) < 1);
    double mean = 0; /* about the middle: they are drawn from the whole split */
    for (int64_t i = 0; i < held->images.count; i++)
        mean += (double)held->index[i] / (double)held->images.count;
    assert_true(fabs(mean - IMAGES / 2.0) < IMAGES / 10.0);
}

static void test_split(void **state)
{
    static const double fractions[] = {0.1, 0.25, 0.5};
    uint16_t labels[IMAGES];
    const dn_source whole = make_source(labels);
    for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
        dn_subset kept, held, same_kept, same;
        assert_int_equal(dn_subset_split(&kept, &held, &whole, fractions[f]), DN_OK);
        assert_int_equal(dn_subset_split(&same_kept, &same, &whole, fractions[f]), DN_OK);
        check_split(&kept, &held, &whole, fractions[f]);
        const size_t bytes = (size_t)held.images.count * sizeof *held.index;
        assert_memory_equal(held.index, same.index, bytes);
        dn_subset_destroy(&kept);
        dn_subset_destroy(&held);
        dn_subset_destroy(&same_kept);
        dn_subset_destroy(&same);
    }
}

static void test_nothing_to_hold_out(void **state)
{
    static const uint16_t labels[] = {0, 1, 2};
    const dn_source whole = {.info = {.classes = 4}, .count = 3, .labels = labels};
    dn_subset kept, held;
    assert_int_equal(dn_subset_split(&kept, &held, &whole, 0.5), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "--val-fraction 0.5: found 3 training images"));
    dn_subset_destroy(&kept);
    dn_subset_destroy(&held);
}

/* Of sets of classes, many may have one image. */
static void test_sets_of_one(void **state)
{
    static const uint16_t labels[] = {0, 1, 2};
    const dn_source whole = {.info = {.classes = 4, .label_sets = 4}, .count = 3, .labels = labels};
    dn_subset kept, held;
    assert_int_equal(dn_subset_split(&kept, &held, &whole, 0.5), DN_OK);
    assert_int_equal(held.images.count, 2);
    dn_subset_destroy(&kept);
    dn_subset_destroy(&held);
}

static void test_monitor(void **state)
{
    const double losses[] = {3, (double)NAN, 2, 2, 2.5, (double)INFINITY};
    const int best[] = {1, 0, 1, 0, 0, 0};
    dn_monitor m = {.metric = DN_BEST_LOSS, .patience = 3};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(dn_monitor_is_over(&m), 0);
        assert_int_equal(dn_monitor_awaits(&m, i + 1), 1);
        assert_int_equal(dn_monitor_observe(&m, i + 1, losses[i], losses[i]), best[i]);
        assert_int_equal(dn_monitor_awaits(&m, i + 1), 0);
    }
    assert_int_equal(dn_monitor_is_over(&m), 1);
    assert_true(m.state.best == 2 && m.state.best_epoch == 3);
    /* Observing an epoch again changes nothing; another metric starts from scratch. */
    assert_int_equal(dn_monitor_observe(&m, 6, 0, 0), 0);
    dn_monitor other = {.metric = DN_BEST_ACCURACY, .patience = 3};
    dn_monitor_resume(&other, &m.state);
    assert_int_equal(dn_monitor_is_over(&other), 0);
    assert_int_equal(dn_monitor_observe(&other, 6, 20, 1), 0);
    assert_int_equal(dn_monitor_observe(&other, 7, 20, 1), 1);
    assert_int_equal(dn_monitor_observe(&other, 8, 21, 2), 1);
    dn_monitor none = {.metric = DN_BEST_NONE, .patience = 1};
    assert_int_equal(dn_monitor_awaits(&none, 1), 0);
}

/* Epochs of the same accuracy, such as those of a net that predicts only the largest class. */
static void test_ties(void **state)
{
    static const struct {
        double accuracy, loss;
        int is_best;
    } epochs[] = {{80, (double)NAN, 1}, {80, 0.7, 1}, {80, 0.7, 0},         {80, 0.5, 1},
                  {80, 0.6, 0},         {79, 0.1, 0}, {80, (double)NAN, 0}, {81, 0.9, 1}};
    dn_monitor m = {.metric = DN_BEST_ACCURACY, .patience = 4};
    for (int i = 0; i < 8; i++)
        assert_int_equal(dn_monitor_observe(&m, i + 1, epochs[i].accuracy, epochs[i].loss),
                         epochs[i].is_best);
    assert_true(m.state.best == 81 && m.state.best_loss == 0.9 && m.state.worse == 0);
    /* The state of an older checkpoint has no loss. */
    m.state.best_loss = 0;
    assert_int_equal(dn_monitor_observe(&m, 9, 81, 0.2), 0);
}

static void test_first_not_finite(void **state)
{
    dn_monitor m = {.metric = DN_BEST_LOSS};
    assert_int_equal(dn_monitor_observe(&m, 1, (double)NAN, 1), 0);
    assert_int_equal(dn_monitor_observe(&m, 2, 5, 5), 1);
    assert_true(isfinite(m.state.best));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split),
                                       cmocka_unit_test(test_nothing_to_hold_out),
                                       cmocka_unit_test(test_sets_of_one),
                                       cmocka_unit_test(test_monitor),
                                       cmocka_unit_test(test_first_not_finite),
                                       cmocka_unit_test(test_ties)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
