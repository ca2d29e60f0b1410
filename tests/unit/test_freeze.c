/* Frozen parameters: the rest of the leaf has the same bits as without freezing; gradients of
 * weights, and whole layers, are skipped. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "small_net.h"
#include "unit.h"

enum { BATCH = 3 };

static const char *const models[] = {
    "blocks=2,2:growth=4:stem-channels=8",
    "blocks=2,1:growth=3:bottleneck=0:compression=1:stem=imagenet:stem-channels=5",
};

static const char *const lists[] = {
    "features.conv0",
    "features.conv0,features.norm0",
    "features.conv0,features.norm0,features.denseblock1,features.transition1",
    "features.conv0,features.denseblock1,features.transition1",
    "features",
    "*norm*",
    "*conv?.weight",
};

static const dn_kernels *kernels;

static dn_net *make_net(const char *model, const char *freeze)
{
    const dn_net_options options = {.batch = BATCH, .train = 1, .freeze = freeze, .recompute = 1};
    dn_spec spec;
    dn_net *net;
    assert_int_equal(dn_spec_parse(&spec, model), DN_OK);
    spec.height = spec.width = 16;
    if (dn_net_create(&net, &spec, kernels, &options) != DN_OK)
        return NULL;
    dn_net_init(net, DN_INIT_KAIMING, 1);
    const dn_view view = dn_net_view(net);
    for (int i = 0; i < BATCH * 3 * 16 * 16; i++)
        view.images[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int i = 0; i < BATCH; i++)
        view.labels[i] = i;
    return net;
}

static void note_end(void *user, size_t end)
{
    size_t *const last = user;
    assert_true(end >= *last);
    *last = end;
}

static void backward(dn_net *net)
{
    size_t end = 0;
    dn_pass pass = {.ready = note_end, .user = &end};
    dn_result result;
    net_forward(net, &pass, &result);
    net_backward(net, &pass);
    assert_int_equal(end, dn_net_view(net).leaf_count);
}

static void compare(const char *model, const char *freeze)
{
    dn_net *whole = make_net(model, NULL), *part = make_net(model, freeze);
    if (part == NULL) { /* a CIFAR stem has no norm */
        assert_ptr_equal(model, models[0]);
        assert_non_null(strstr(dn_message(), "found 'features.norm0', which no parameter"));
        return dn_net_destroy(&whole);
    }
    const dn_view all = dn_net_view(whole), left = dn_net_view(part);
    backward(whole);
    backward(part);
    assert_memory_equal(left.leaf + left.gradient_count, all.leaf + all.gradient_count,
                        (left.leaf_count - left.gradient_count) * sizeof *left.leaf);
    for (int i = 0; i < left.tensor_count; i++) {
        const dn_tensor *const t = &left.tensors[i];
        const int has_gradient = dn_is_parameter(t) && t->offset < left.gradient_count;
        assert_true(has_gradient || !dn_is_parameter(t) || t->frozen);
        if (has_gradient && !t->frozen)
            assert_memory_equal(left.leaf + t->offset, all.leaf + t->offset,
                                t->count * sizeof *left.leaf);
        else if (has_gradient && t->kind == DN_CONV_WEIGHT)
            for (size_t x = 0; x < t->count; x++)
                assert_true(left.leaf[t->offset + x] == 0); /* not computed */
    }
    dn_net_destroy(&whole);
    dn_net_destroy(&part);
}

static void test_gradients_that_are_left_are_the_same(void **state)
{
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
            compare(models[m], lists[l]);
}

static void test_frozen_layers_have_no_gradients(void **state)
{
    dn_net *net = make_net(models[0], "features");
    const dn_view view = dn_net_view(net);
    size_t expected = 0;
    for (int i = 0; i < view.tensor_count; i++) {
        const dn_tensor *const t = &view.tensors[i];
        assert_int_equal(t->frozen, dn_is_parameter(t) && !t->is_head);
        if (t->is_head ||
            strncmp(t->name, "features.norm", 13) == 0) /* what the head's layer has */
            expected += dn_is_parameter(t) ? t->count : 0;
    }
    assert_int_equal(view.gradient_count, expected);
    dn_net_destroy(&net);
}

static void test_lists_that_make_no_sense(void **state)
{
    assert_null(make_net(models[0], "feature"));
    assert_non_null(strstr(dn_message(), "--freeze: found 'feature', which no parameter"));
    assert_null(make_net(models[0], "features,head"));
    assert_non_null(strstr(dn_message(), "found 'head'"));
    assert_null(make_net(models[0], "*"));
    assert_non_null(strstr(dn_message(), "found all parameters"));
}

/* The plain kernels, and the fastest: with Winograd's products, where there are such. */
static int choose_kernels(void **state)
{
    return dn_kernels_select(&kernels, kernels ? "" : "generic") == DN_OK ? 0 : -1;
}

/* Weights begin with the deviation of their kind, no two tensors with the same draws. */
static void test_init(void **state)
{
    dn_net *net = make_net("densenet-bc-100-12", NULL);
    const dn_view v = dn_net_view(net);
    for (int is_xavier = 0; is_xavier < 2; is_xavier++) {
        double last = 0;
        dn_net_init(net, is_xavier ? DN_INIT_XAVIER : DN_INIT_KAIMING, 1);
        for (const dn_tensor *t = v.tensors; t < v.tensors + v.tensor_count; t++) {
            const int is_linear = t->kind == DN_LINEAR_WEIGHT;
            if (!is_linear && t->kind != DN_CONV_WEIGHT)
                continue;
            const double taps = is_linear ? 1 : (double)(t->shape[2] * t->shape[3]);
            const double in = (double)t->shape[1] * taps, out = (double)t->shape[0] * taps;
            const double variance = is_linear ? 1 / (3 * in) : is_xavier ? 2 / (in + out) : 2 / in;
            const float *const x = v.parameters + t->offset;
            double squares = 0;
            for (size_t i = 0; i < t->count; i++)
                squares += (double)x[i] * (double)x[i] / (double)t->count;
            assert_true(fabs(squares / variance - 1) < 6 * sqrt(2.0 / (double)t->count));
            assert_true(fabs((double)x[0] / sqrt(variance) - last) > 1e-5);
            last = (double)x[0] / sqrt(variance);
        }
    }
    dn_net_destroy(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_gradients_that_are_left_are_the_same),
        cmocka_unit_test(test_frozen_layers_have_no_gradients),
        cmocka_unit_test(test_lists_that_make_no_sense),
    };
    const int failed = cmocka_run_group_tests(tests, choose_kernels, NULL);
    return cmocka_run_group_tests(tests, choose_kernels, NULL) + failed;
}
