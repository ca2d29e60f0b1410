/* What counts as right: a label of rank 0; ranks are those of the logits. */
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
    const dn_view net = {.spec = &spec, .batch = CLASSES, .labels = labels, .logits = logits[0]};
    dn_result result;
    dn_loss_score(&(dn_visit){.layer = &layer, .net = &net, .losses = losses}, CLASSES, NULL,
                  &result);
    assert_int_equal(result.correct, 1);
    for (int i = 0; i < CLASSES; i++)
        assert_int_equal(dn_label_rank(logits[i], CLASSES, i), i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
