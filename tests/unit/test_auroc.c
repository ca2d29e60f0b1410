/* Areas under ROC curves, compared with the count of all pairs of images. */
#include <math.h>

#include "training/auroc.h"
#include "unit.h"

enum { IMAGES = 60, CLASSES = 4 };

/* Pairs of an image of the class and one known not to have it: the former's is greater, half if
 * equal. */
static double count_pairs(const dn_source *images, const double *p, int class)
{
    double sum = 0, pairs = 0;
    for (int i = 0; i < IMAGES; i++)
        for (int k = 0; k < IMAGES; k++) {
            const double a = p[i * CLASSES + class], b = p[k * CLASSES + class];
            if (dn_image_presence(images, i, class) != DN_PRESENT ||
                dn_image_presence(images, k, class) != DN_ABSENT)
                continue;
            pairs++;
            sum += a > b ? 1 : a == b ? 0.5 : 0;
        }
    return sum / pairs;
}

/* Few different values, so that many are equal; class 3 has no image. Or, in sets, label c has
 * class c, and whether it has the next one is unknown; no image is known not to have class 3. */
static void check_pairs(const uint8_t *sets)
{
    uint16_t labels[IMAGES];
    double p[IMAGES * CLASSES], auroc[CLASSES];
    const dn_source images = {.info = {.classes = CLASSES, .label_sets = sets ? 3 : 0},
                              .count = IMAGES,
                              .labels = labels,
                              .label_sets = sets};
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = (uint16_t)(i * i % 3);
        for (int c = 0; c < CLASSES; c++)
            p[i * CLASSES + c] = (double)((i * 7 + c * 5 + labels[i] * c) % 11) / 11;
    }
    labels[7] = 2;
    assert_int_equal(dn_class_auroc(&images, p, auroc), DN_OK);
    for (int c = 0; c < 3; c++)
        assert_true(auroc[c] == count_pairs(&images, p, c));
    assert_true(isnan(auroc[3]));
    assert_true(fabs(dn_mean_auroc(auroc, CLASSES) - (auroc[0] + auroc[1] + auroc[2]) / 3) < 1e-15);
    p[5] = (double)NAN;
    assert_int_equal(dn_class_auroc(&images, p, auroc), DN_OK);
    assert_true(isfinite(auroc[0]) && isnan(auroc[1]));
    p[5] = 0;
    p[1] = (double)NAN; /* of image 0, whose label is 0, and class 1 */
    assert_int_equal(dn_class_auroc(&images, p, auroc), DN_OK);
    assert_int_equal(isnan(auroc[1]), sets == NULL);
}

static void test_pairs(void **state)
{
    static const uint8_t sets[3][CLASSES] = {{1, 2, 0, 1}, {0, 1, 2, 1}, {2, 0, 1, 2}};
    check_pairs(NULL);
    check_pairs(*sets);
}

static void test_extremes(void **state)
{
    static const uint16_t labels[] = {0, 0, 1, 1}, same[] = {1, 1, 1, 1};
    static const double right[] = {0.9, 0.1, 0.8, 0.2, 0.3, 0.7, 0.4, 0.6};
    static const double wrong[] = {0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.6, 0.4};
    static const double equal[] = {0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5};
    const dn_source images = {.info = {.classes = 2}, .count = 4, .labels = labels};
    const dn_source one = {.info = {.classes = 2}, .count = 4, .labels = same};
    double auroc[2];
    assert_int_equal(dn_class_auroc(&images, right, auroc), DN_OK);
    assert_true(auroc[0] == 1 && auroc[1] == 1);
    assert_int_equal(dn_class_auroc(&images, wrong, auroc), DN_OK);
    assert_true(auroc[0] == 0 && auroc[1] == 0);
    assert_int_equal(dn_class_auroc(&images, equal, auroc), DN_OK);
    assert_true(auroc[0] == 0.5 && auroc[1] == 0.5);
    assert_int_equal(dn_class_auroc(&one, right, auroc), DN_OK);
    assert_true(isnan(auroc[0]) && isnan(auroc[1]) && isnan(dn_mean_auroc(auroc, 2)));
}

static void test_bound(void **state)
{
    assert_true(dn_has_auroc(&(dn_source){.info = {.classes = 100}, .count = 10000}));
    assert_false(dn_has_auroc(&(dn_source){.info = {.classes = 1000}, .count = 50000}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs),
                                       cmocka_unit_test(test_extremes),
                                       cmocka_unit_test(test_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
