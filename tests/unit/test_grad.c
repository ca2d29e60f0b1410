/*
 * Gradients against central differences of the loss: layer kind by layer kind in small nets, for
 * every tensor as a whole and for single elements, and for three DenseNets as a whole.
 *
 * The derivative along a direction d, (L(w + h d) - L(w - h d)) / 2h, has three errors: h^2 of
 * curvature, rounding of the loss divided by h, and kinks, since a ReLU (or a max pool's choice)
 * that changes sides between the two points bends the loss; the number of such ReLUs falls with h,
 * too. No one step suits all tensors, so several are tried and the best agreement counts: a wrong
 * gradient disagrees at all of them. A tensor's direction has its gradient's signs and random
 * magnitudes, so that every element takes part and none cancels another.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"
#include "model/model.h"
#include "small_net.h"
#include "unit.h"

/*
 * Errors relative to the derivative (for an element: to the largest of its tensor), minus
 * LOSS_NOISE. Measured, for the worst table: 4e-4 if no ReLU changes sides (DRAW_SMOOTH);
 * otherwise, because of kinks, 1e-2 for a tensor and 2e-2 for an element, but 6e-4 for half of the
 * tensors of any net; 7e-4 for a whole DenseNet, whose many kinks average out.
 */
#define SMOOTH_TOLERANCE 2e-3
#define PLAIN_TOLERANCE  5e-2
#define MEDIAN_TOLERANCE 2e-3
#define WHOLE_TOLERANCE  5e-3

/* The loss is about 2 and comes from fp32 logits: some 3e-7 of rounding, or 5e-6 of a derivative at
 * the widest step. It matters where batch norm makes the true derivative nearly 0. */
#define LOSS_NOISE 1e-5

/* Evaluation folds the same statistics into the same scale and shift, but the running ones have
 * been through fp32 averages: a few roundings of logits of magnitude 1, amplified by the layers. */
#define EVAL_TOLERANCE 2e-5

/* Each times the change of the loss that is asked for, or less where the direction is weak. */
static const double steps[] = {0x1p-5, 0x1p-7, 0x1p-9, 0x1p-11, 0x1p-13};
enum {
    STEPS = sizeof steps / sizeof steps[0],
    ELEMENTS = CASE_STEP == 1 ? 4 : 1, /* of a tensor */
    MOST_TENSORS = 1024,
    MOST_LOGITS = 128
};

static const dn_pass the_pass = {.seed = 7, .step = 3, .virtual_rank = 1, .label_smoothing = 0.1F};

typedef struct differences {
    dn_net *net;
    size_t count;
    float *weights, *gradient; /* (count) where the net stands */
    float *direction;          /* (count) */
} differences;

static differences differences_create(const net_case *c, const dn_kernels *table, net_draw draw)
{
    differences d = {.net = net_make(c, table)};
    d.count = dn_net_view(d.net).parameter_count;
    d.weights = malloc(d.count * sizeof(float));
    d.gradient = malloc(d.count * sizeof(float));
    d.direction = calloc(d.count, sizeof(float));
    assert_true(d.weights && d.gradient && d.direction);
    net_draw_all(d.net, draw, 1);
    memcpy(d.weights, dn_net_view(d.net).parameters, d.count * sizeof(float));
    net_step(d.net, &the_pass);
    memcpy(d.gradient, dn_net_view(d.net).leaf, d.count * sizeof(float));
    return d;
}

static void differences_destroy(differences *d)
{
    dn_net_destroy(&d->net);
    free(d->weights);
    free(d->gradient);
    free(d->direction);
}

static double root_mean_square(const float *x, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares / (double)count);
}

/* A direction for a tensor: signs of the gradient, magnitudes of 1/2 to 3/2 of its weights'. */
static void direct(differences *d, const dn_tensor *tensor)
{
    const float scale = (float)root_mean_square(d->weights + tensor->offset, tensor->count);
    float *to = d->direction + tensor->offset;
    dn_random_uniform(to, tensor->count, 0.5, 99, DN_STREAM_SYNTHETIC, tensor->offset);
    for (size_t i = 0; i < tensor->count; i++)
        to[i] = copysignf((1 + to[i]) * scale, d->gradient[tensor->offset + i]);
}

/* The loss at weights + h * direction, where only elements [first, end) differ. */
static double loss_at(differences *d, size_t first, size_t end, double h)
{
    float *w = dn_net_view(d->net).parameters;
    dn_result result;
    for (size_t i = first; i < end; i++)
        w[i] = (float)(d->weights[i] + h * d->direction[i]);
    net_forward(d->net, &the_pass, &result);
    return result.loss;
}

/* Least error over the steps of the derivative along the direction's elements [first, end), of
 * which *expected is what the gradient says. */
static double least_error(differences *d, size_t first, size_t end, double *expected)
{
    double least = INFINITY;
    *expected = 0;
    for (size_t i = first; i < end; i++)
        *expected += (double)d->gradient[i] * d->direction[i];
    for (int s = 0; s < STEPS; s++) {
        const double h = steps[s] / fmax(1, *expected);
        const double found = (loss_at(d, first, end, h) - loss_at(d, first, end, -h)) / (2 * h);
        least = fmin(least, fabs(found - *expected));
    }
    memcpy(dn_net_view(d->net).parameters + first, d->weights + first,
           (end - first) * sizeof(float));
    return least;
}

/* Some single elements; errors are relative to the tensor's largest gradient. */
static void check_elements(differences *d, const dn_tensor *tensor, double tolerance)
{
    const size_t end = tensor->offset + tensor->count;
    const float scale = (float)root_mean_square(d->weights + tensor->offset, tensor->count);
    float largest = 0;
    for (size_t i = tensor->offset; i < end; i++)
        largest = fmaxf(largest, fabsf(d->gradient[i]));
    for (size_t k = 0; k < ELEMENTS && k < tensor->count; k++) {
        const size_t i = tensor->offset + k * tensor->count / ELEMENTS % tensor->count;
        double expected;
        d->direction[i] = scale;
        const double error = least_error(d, i, i + 1, &expected);
        if (!(error <= tolerance * scale * largest + LOSS_NOISE))
            fail_msg("%s, %s[%zu]: expected %g, error %.2g of the largest",
                     dn_net_view(d->net).spec->name, tensor->name, i - tensor->offset, expected,
                     error / (scale * largest));
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void check_tensors(const net_case *c, const dn_kernels *table, net_draw draw)
{
    const double tolerance = draw == DRAW_SMOOTH ? SMOOTH_TOLERANCE : PLAIN_TOLERANCE;
    differences d = differences_create(c, table, draw);
    const dn_tensor *tensors = dn_net_view(d.net).tensors;
    const int count = dn_net_view(d.net).tensor_count;
    double errors[MOST_TENSORS];
    size_t checked = 0;
    assert_true(count <= MOST_TENSORS);
    for (int t = 0; t < count; t++) {
        if (!dn_is_parameter(&tensors[t]))
            continue;
        double expected;
        direct(&d, &tensors[t]);
        const double error =
            least_error(&d, tensors[t].offset, tensors[t].offset + tensors[t].count, &expected);
        if (!(error <= tolerance * expected + LOSS_NOISE))
            fail_msg("%s, %s, %s: expected %g, error %.2g", table->name, c->model, tensors[t].name,
                     expected, error / expected);
        errors[checked++] = fmax(0, error - LOSS_NOISE) / (expected + LOSS_NOISE);
        check_elements(&d, &tensors[t], tolerance);
    }
    qsort(errors, checked, sizeof errors[0], ascending);
    if (!(errors[checked / 2] <= MEDIAN_TOLERANCE))
        fail_msg("%s, %s: half of the tensors err by more than %.2g", table->name, c->model,
                 errors[checked / 2]);
    differences_destroy(&d);
}

static const net_case small_nets[] = {
    /* 3x3 stem and one plain layer: map and image sizes that no vector divides */
    {"blocks=1:growth=4:bottleneck=0:stem-channels=4", 3, 6, 7, 5, 3, 0, 0, DN_FP32},
    {"blocks=1:growth=3:bottleneck=0:stem-channels=5", 1, 33, 35, 3, 2, 0, 0, DN_FP32}, /* bands */
    {"blocks=1:growth=4:bottleneck=0:stem=7x7:stem-channels=4", 2, 13, 11, 5, 3, 0, 0, DN_FP32},
    {"blocks=1:growth=4:bottleneck=0:stem=imagenet:stem-channels=4", 3, 21, 19, 5, 3, 0, 0,
     DN_FP32},
    /* a stem, a max pool and a transition whose outputs are cut into bands */
    {"blocks=1:growth=3:bottleneck=0:stem=imagenet:stem-channels=3", 1, 139, 133, 3, 2, 0, 0,
     DN_FP32},
    {"blocks=1,1:growth=3:bottleneck=0:stem-channels=3", 1, 73, 69, 3, 2, 0, 0, DN_FP32},
    /* plain and bottleneck layers that read each other: the deferred correction */
    {"blocks=3:growth=4:bottleneck=0:stem-channels=6", 3, 5, 7, 5, 3, 0, 0, DN_FP32},
    {"blocks=3:growth=4:stem-channels=6", 3, 5, 7, 5, 3, 0, 0, DN_FP32},
    {"blocks=2:growth=13:bottleneck=2:stem-channels=26", 3, 4, 5, 5, 17, 0, 0,
     DN_FP32}, /* several panels */
    /* transitions, of even and odd maps, and after the last block */
    {"blocks=1,1:growth=4:bottleneck=0:stem-channels=6", 3, 8, 6, 5, 3, 0, 0, DN_FP32},
    {"blocks=1,2:growth=4,2:bottleneck=0:stem-channels=6", 3, 7, 9, 5, 3, 0, 0, DN_FP32},
    {"blocks=1,1:growth=4:compression=1:stem-channels=6:last-transition=1", 3, 9, 11, 5, 3, 0, 0,
     DN_FP32},
    /* dropout: the same pass draws the same masks */
    {"blocks=2,1:growth=4:bottleneck=0:stem-channels=6", 3, 9, 8, 5, 3, 0.25F, 0, DN_FP32},
    {"blocks=2,1:growth=4:stem-channels=6", 3, 8, 9, 5, 3, 0.25F, 0, DN_FP32},
    {"blocks=1,1:growth=6:stem-channels=6", 3, 9, 10, 5, 5, 0.2F, 0, DN_FP32},
    /* heads without a norm, and with windows */
    {"blocks=1:growth=4:stem-channels=4:head-norm=0", 3, 6, 7, 5, 3, 0, 0, DN_FP32},
    {"blocks=1:growth=4:stem-channels=4:head-norm=0:head-pool=3", 3, 6, 7, 5, 3, 0.2F, 0, DN_FP32},
    {"blocks=1,1:growth=4:stem-channels=4:head-pool=2", 3, 11, 12, 5, 3, 0, 0, DN_FP32},
};

static void test_layers(void **state)
{
    const net_draw draw = *(const net_draw *)*state;
    for (int i = 0; dn_kernels_get(i); i++)
        for (size_t c = 0; c < sizeof small_nets / sizeof small_nets[0]; c += CASE_STEP)
            check_tensors(&small_nets[c], dn_kernels_get(i), draw);
}

static void test_whole(void **state)
{
    const net_case *c = *state;
    if (CASE_STEP > 1)
        skip(); /* sanitizers meet whole nets in test_golden.c */
    for (int i = 0; dn_kernels_get(i); i++) {
        differences d = differences_create(c, dn_kernels_get(i), DRAW_PLAIN);
        const dn_tensor *tensors = dn_net_view(d.net).tensors;
        const int count = dn_net_view(d.net).tensor_count;
        double expected;
        for (int t = 0; t < count; t++)
            if (dn_is_parameter(&tensors[t]))
                direct(&d, &tensors[t]);
        const double error = least_error(&d, 0, d.count, &expected);
        if (!(error <= WHOLE_TOLERANCE * expected))
            fail_msg("%s, %s: expected %g, error %.2g", dn_kernels_get(i)->name, c->model, expected,
                     error / expected);
        differences_destroy(&d);
    }
}

/* Running statistics = the last batch's, with the biased variance that training normalises by. */
static void settle_running(dn_net *net)
{
    float *leaf = dn_net_view(net).leaf;
    for (int m = 0; m < net->map_count; m++) {
        const dn_feature_map *map = &net->maps[m];
        const double pixels = dn_map_pixels(map);
        float *variance = leaf + map->statistics + map->channels;
        for (int c = 0; c < map->channels; c++)
            variance[c] = (float)(variance[c] * ((pixels - 1) / pixels));
    }
    for (int i = 0; i < 400; i++) /* what was there before is left by a factor of 0.9^400 = 5e-19 */
        dn_net_update_running(net, leaf, DN_NORM_MOMENTUM);
}

static void test_evaluation(void **state)
{
    for (size_t k = 0; k < sizeof small_nets / sizeof small_nets[0]; k++) {
        const net_case *c = &small_nets[k];
        const int logits = c->batch * c->classes;
        if (c->dropout > 0) /* the masks are training's alone */
            continue;
        dn_net *net = net_make(c, dn_kernels_get(0));
        float trained[MOST_LOGITS];
        dn_result result;
        const dn_pass pass = {0};
        assert_true(logits <= MOST_LOGITS);
        net_draw_all(net, DRAW_PLAIN, 2);
        net_forward(net, &pass, &result);
        memcpy(trained, dn_net_view(net).logits, (size_t)logits * sizeof(float));
        settle_running(net);
        dn_net_forward_eval(net);
        for (int i = 0; i < logits; i++)
            if (!(fabsf(dn_net_view(net).logits[i] - trained[i]) <= EVAL_TOLERANCE))
                fail_msg("%s: logit %d: train %.9g, evaluation %.9g", c->model, i,
                         (double)trained[i], (double)dn_net_view(net).logits[i]);
        dn_net_destroy(&net);
    }
}

/* The loss of label sets is a mean over images, whatever the weights: it is linear in one weight of
 * all classes. */
static void test_label_sets(void **state)
{
    enum { CLASSES = 3 };
    static const uint8_t sets[CLASSES][CLASSES] = {{0}, {1, 0, 1}, {0, 1, 0}};
    dn_net *net =
        net_of(BOTTLENECK, (net_images){3, 8, 8, CLASSES}, dn_kernels_get(0),
               &(dn_net_options){.batch = 5, .train = 1, .loss = &dn_binary_cross_entropy});
    dn_result result[3];
    net_draw_all(net, DRAW_PLAIN, 2);
    for (int i = 0; i < 3; i++) {
        const float weight = (float)(1 + i), weights[CLASSES] = {weight, weight, weight};
        net_forward(net, &(dn_pass){.class_weights = weights, .label_sets = *sets}, &result[i]);
    }
    const double once = result[1].loss - result[0].loss, twice = result[2].loss - result[0].loss;
    assert_true(once > 0.01 && fabs(twice - 2 * once) < 1e-6);
    dn_net_destroy(&net);
}

int main(void)
{
    static net_draw smooth = DRAW_SMOOTH, plain = DRAW_PLAIN;
    static net_case whole[] = {
        {"densenet-bc-100-12", 3, 16, 16, 10, 4, 0, 0, DN_FP32},
        {"densenet-40-12", 3, 16, 16, 10, 4, 0, 0, DN_FP32},
        {"densenet121", 3, 64, 64, 100, 4, 0, 0, DN_FP32},
    };
    omp_set_num_threads(1); /* threads change no bit (test_bits.c), and small nets are faster so */
    const struct CMUnitTest tests[] = {
        {"layers, no kinks", test_layers, NULL, NULL, &smooth},
        {"layers", test_layers, NULL, NULL, &plain},
        {"densenet-bc-100-12", test_whole, NULL, NULL, &whole[0]},
        {"densenet-40-12", test_whole, NULL, NULL, &whole[1]},
        {"densenet121", test_whole, NULL, NULL, &whole[2]},
        {"evaluation with training's statistics", test_evaluation, NULL, NULL, NULL},
        cmocka_unit_test(test_label_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
