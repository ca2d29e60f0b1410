/* Losses: what counts as right, values by their formulas, and gradients by central differences. */
#include <math.h>

#include "dn/loss.h"
#include "dn/math.h"
#include "layers/layer.h"
#include "unit.h"

static void test_ranks(void **state)
{
    enum { CLASSES = 8 };
    const dn_layer layer = {.outputs = CLASSES};
    const dn_spec spec = {.classes = CLASSES};
    float logits[CLASSES][CLASSES];
    int32_t labels[CLASSES];
    double losses[CLASSES];
    for (int i = 0; i < CLASSES; i++) { /* image i's label has rank i */
        for (int c = 0; c < CLASSES; c++)
            logits[i][c] = (float)-c;
        labels[i] = i;
    }
    const dn_view net = {.spec = &spec,
                         .loss = &dn_cross_entropy,
                         .batch = CLASSES,
                         .labels = labels,
                         .logits = logits[0]};
    dn_result result;
    dn_loss_score(&(dn_visit){.layer = &layer, .net = &net, .losses = losses}, &(dn_pass){0},
                  &result);
    assert_int_equal(result.correct, 1);
    for (int i = 0; i < CLASSES; i++)
        assert_int_equal(dn_label_rank(logits[i], CLASSES, i), i);
}

enum { CLASSES = 3, SETS = 5, UNKNOWN = 2 /* DN_UNKNOWN */ };

/* None, the last class, the first two, all; the first and perhaps the second. */
static const uint8_t sets[SETS * CLASSES] = {0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, UNKNOWN, 0};
static const float class_weights[CLASSES] = {0.5F, 3, 1.25F};

/* The logits of large magnitude overflow a naive exp. */
static const float logits[][CLASSES] = {{0.25F, -1.5F, 2}, {-120, 0, 90}, {3, 0.5F, -0.125F}};

/* The formula of PyTorch's binary_cross_entropy_with_logits, for logits of small magnitude. */
static double naive_value(const dn_target *t, const float *x)
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        const int label = sets[t->label * CLASSES + c], other = sets[t->other * CLASSES + c];
        if ((t->share > 0 && label == UNKNOWN) || (t->share < 1 && other == UNKNOWN))
            continue;
        const double hard = t->share * (label == 1) + (1 - t->share) * (other == 1);
        const double y = hard * (1 - t->smoothing) + t->smoothing / 2, p = 1 / (1 + exp(-x[c]));
        sum -= (t->weights ? t->weights[c] : 1) * y * log(p) + (1 - y) * log(1 - p);
    }
    return sum / CLASSES;
}

static const dn_target targets[] = {
    {.label = 0, .other = 3, .share = 1, .sets = sets},
    {.label = 2, .other = 1, .share = 1, .weights = class_weights, .sets = sets},
    {.label = 1, .other = 2, .share = 0.3, .smoothing = 0.1, .sets = sets},
    {.label = 3,
     .other = 0,
     .share = 0.75,
     .smoothing = 0.2,
     .weights = class_weights,
     .sets = sets},
    {.label = 4, .other = 2, .share = 1, .weights = class_weights, .sets = sets},
    {.label = 4, .other = 2, .share = 0, .sets = sets},
    {.label = 1, .other = 4, .share = 0.6, .smoothing = 0.1, .sets = sets},
};

enum { TARGETS = sizeof targets / sizeof *targets, ROWS = sizeof logits / sizeof *logits };

static void test_binary_values(void **state)
{
    for (int t = 0; t < TARGETS; t++) {
        for (int r = 0; r < ROWS; r += 2) {
            const double value = dn_binary_cross_entropy.value(&targets[t], logits[r], CLASSES);
            assert_true(fabs(value - naive_value(&targets[t], logits[r])) < 1e-12);
        }
        assert_true(isfinite(dn_binary_cross_entropy.value(&targets[t], logits[1], CLASSES)));
    }
    /* of set 0, none, with logits -120, 0 and 90: log 2 + 90, over 3 */
    assert_true(fabs(dn_binary_cross_entropy.value(&targets[0], logits[1], CLASSES) -
                     (log(2) + 90) / 3) < 1e-12);
}

/* The derivatives of both losses, with rows as labels of the softmax. */
static void test_gradients(void **state)
{
    const double h = 1.0 / 1024;
    for (int t = 0; t < TARGETS; t++)
        for (int r = 0; r < ROWS; r += 2)
            for (int has_sets = 0; has_sets < 2; has_sets++) {
                const dn_loss *const loss = has_sets ? &dn_binary_cross_entropy : &dn_cross_entropy;
                dn_target target = targets[t];
                target.label %= has_sets ? SETS : CLASSES;
                target.other %= has_sets ? SETS : CLASSES;
                float found[2 * CLASSES], x[CLASSES];
                loss->gradient(&target, logits[r], CLASSES, 4, found, 2);
                for (int c = 0; c < CLASSES; c++) {
                    memcpy(x, logits[r], sizeof x);
                    x[c] += (float)h;
                    const double above = loss->value(&target, x, CLASSES);
                    x[c] -= (float)(2 * h);
                    const double below = loss->value(&target, x, CLASSES);
                    assert_true(fabs(found[2 * c] - (above - below) / (2 * h) / 4) < 1e-6);
                }
            }
}

/* More classes than are computed at a time have the bits of the formula. */
static void test_many_classes(void **state)
{
    enum { MANY = 200, FIRST = 70 };
    float x[MANY], to[2 * MANY];
    double p[MANY - FIRST], largest;
    for (int c = 0; c < MANY; c++)
        x[c] = (float)(c * 37 % MANY) / 8;
    const dn_target t = {.label = 130, .share = 1};
    const double normal = dn_log_sum_exp(x, MANY, &largest);
    dn_cross_entropy.gradient(&t, x, MANY, 3, to, 2);
    dn_cross_entropy.probabilities(x, MANY, FIRST, MANY, p);
    for (int c = 0; c < MANY; c++) {
        const double expected = dn_exp(x[c] - largest - normal);
        assert_true(to[2 * c] == (float)((expected - (c == t.label)) / 3));
        assert_true(c < FIRST || p[c - FIRST] == expected);
    }
}

static void test_binary_decisions(void **state)
{
    double p[CLASSES];
    const float first_two[CLASSES] = {0.5F, 7, 0};
    for (int label = 0; label < SETS; label++) {
        const dn_target t = {.label = label, .other = 0, .share = 1, .sets = sets};
        assert_int_equal(dn_binary_cross_entropy.is_correct(&t, first_two, CLASSES),
                         label == 2 || label == 4);
    }
    const dn_target mixed = {.label = 0, .other = 2, .share = 0.4, .sets = sets};
    assert_true(dn_binary_cross_entropy.is_correct(&mixed, first_two, CLASSES));
    const dn_target other = {.label = 2, .share = 1, .sets = sets};
    assert_false(dn_binary_cross_entropy.is_correct(&other, (float[]){1, (float)NAN, -1}, CLASSES));
    dn_binary_cross_entropy.probabilities(logits[1], CLASSES, 0, CLASSES, p);
    assert_true(p[0] < 1e-50 && p[0] > 0 && p[1] == 0.5 && p[2] == 1);
}

/* Mixed images are right if their larger part is. */
static void test_decisions(void **state)
{
    const float second[CLASSES] = {0.5F, 7, 0};
    for (int label = 0; label < CLASSES; label++)
        for (int other = 0; other < CLASSES; other++)
            for (int i = 0; i < 3; i++) {
                const double share = (double[]){1, 0.6, 0.4}[i];
                const dn_target t = {.label = label, .other = other, .share = share};
                assert_int_equal(dn_cross_entropy.is_correct(&t, second, CLASSES),
                                 (i < 2 ? label : other) == 1);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),     cmocka_unit_test(test_binary_values),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_many_classes),
        cmocka_unit_test(test_decisions), cmocka_unit_test(test_binary_decisions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
