/*
 * One training step of DenseNets against PyTorch's float64 result, for every kernel table
 * (kernel_tables.h): logits, loss, every parameter's gradient, the running statistics, and the
 * logits in evaluation. tests/golden/make_golden.py made the files and says what a summary is;
 * weights and images are drawn here by the same generator.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"
#include "small_net.h"
#include "kernel_tables.h"
#include "unit.h"

/* Largest relative errors: logits, losses, running statistics, gradients by kind of tensor. */
typedef struct tolerances {
    double logits, loss, running, conv, norm, linear;
} tolerances;

enum { OPERANDS = DN_DTYPES }; /* bf16 maps, and products that round their operands to bf16 */

static const tolerances allowed[] = {
    /* At least ten times what PyTorch's float32 differs from its float64 in the worst tensor of the
     * nets (the float32_error fields: 4.2e-7 of the largest logit, 1.2e-7 of the loss, 4.2e-6 of a
     * gradient's norm, 2.8e-7 of a running statistic's), since another order of summation rounds
     * differently. The seeds keep every ReLU input away from zero, so no gradient jumps. */
    [DN_FP32] = {5e-6, 2e-6, 3e-6, 5e-5, 5e-5, 5e-5},
    /* One and a half to three times what was seen. A stored value is off by up to 2^-9 of itself;
     * with these weights the gradients of batch norms are small sums of large terms, so theirs are
     * far off in relative terms, and the layers below inherit that (half of the convolutions of
     * densenet121 by less than 0.2, the worst by 0.5; zeros would be off by 1). Those of an
     * ImageNet stem cancel altogether, since the norms behind it undo it, and are not compared: see
     * compare_tensors. */
    [DN_BF16] = {1e-2, 2e-3, 1e-2, 0.75, 2, 0.015},
    /* The same; weights and gradients are then off by up to 2^-9, too. */
    [OPERANDS] = {1e-2, 5e-3, 1e-2, 0.75, 2, 0.015},
};

/* What both generators draw is summed in double, but the file keeps nine digits. */
#define INPUTS_TOLERANCE 1e-8

enum { PROJECTIONS = 8, SHOWN_MISMATCHES = 10 };

typedef struct golden {
    json_t *json;
    dn_net *net;
    const char *table;
    const tolerances *allowed;
    uint64_t seed;
    int batch, classes, learnable; /* images, logits an image, learnable tensors */
    uint8_t *signs;                /* bit p: sign of the element in dot product p */
    int mismatches;
} golden;

static json_t *member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (!value)
        fail_msg("the golden file has no \"%s\"", key);
    return value;
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(member(object, key));
}

/* Compares and reports; the test continues, so that one run shows which tensors are right. */
static void expect(golden *g, const char *what, const char *part, double expected, double found,
                   double error, double tolerance)
{
    if (error <= tolerance) /* false for NaN */
        return;
    if (g->mismatches++ < SHOWN_MISMATCHES)
        print_error("%s, %s: %s: expected %.9g, found %.9g, error %.2g > %.2g\n", g->table, what,
                    part, expected, found, error, tolerance);
}

/* Fills parameter tensor `a` as make_golden.py does and returns the sum of its absolute values. */
static double draw_parameter(const golden *g, const dn_tensor *tensor, uint64_t a)
{
    float *x = dn_net_view(g->net).parameters + tensor->offset;
    const double fan_in = (double)tensor->count / tensor->shape[0];
    double bound = 1, total = 0;
    if (tensor->kind == DN_CONV_WEIGHT)
        bound = sqrt(6 / fan_in);
    else if (tensor->kind == DN_LINEAR_WEIGHT)
        bound = 1 / sqrt(fan_in);
    else if (tensor->kind == DN_NORM_WEIGHT)
        bound = 0.5;
    dn_random_uniform(x, tensor->count, bound, g->seed, DN_STREAM_SYNTHETIC, a);
    for (size_t i = 0; i < tensor->count; i++) {
        if (tensor->kind == DN_NORM_WEIGHT)
            x[i] += 1;
        else if (tensor->kind == DN_NORM_BIAS)
            x[i] += copysignf(1, x[i]);
        total += fabs(x[i]);
    }
    return total;
}

static double draw_images(const golden *g)
{
    const int size = (int)number(g->json, "size");
    const size_t count = (size_t)g->batch * 3 * (size_t)size * (size_t)size;
    float *images = dn_net_view(g->net).images;
    dn_random_uniform(images, count, 2, g->seed, DN_STREAM_SYNTHETIC, (uint64_t)g->learnable);
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += fabs(images[i]);
    return total;
}

static void draw_labels(const golden *g)
{
    for (int i = 0; i < g->batch; i++) {
        const dn_random4 r =
            dn_random(g->seed, DN_STREAM_SYNTHETIC, (uint64_t)g->learnable + 1, (uint64_t)i);
        dn_net_view(g->net).labels[i] = (int32_t)dn_random_below(r.word[0], (uint32_t)g->classes);
    }
}

static void draw_signs(golden *g, size_t count)
{
    g->signs = malloc(count);
    assert_non_null(g->signs);
    for (size_t i = 0; i < count; i++)
        g->signs[i] =
            (uint8_t)dn_random(g->seed, DN_STREAM_SYNTHETIC, (uint64_t)g->learnable + 2, i).word[0];
}

/* Fills weights, fresh running statistics, images and labels, and proves that both sides drew the
 * same. */
static void draw_inputs(golden *g)
{
    const dn_tensor *tensors = dn_net_view(g->net).tensors;
    const int count = dn_net_view(g->net).tensor_count;
    double total = 0;
    size_t largest = 0;
    g->learnable = 0;
    for (int t = 0; t < count; t++) {
        if (!dn_is_parameter(&tensors[t])) {
            for (size_t i = 0; i < tensors[t].count; i++)
                dn_net_view(g->net).running[tensors[t].offset + i] =
                    tensors[t].kind == DN_RUNNING_VAR;
            continue;
        }
        total += draw_parameter(g, &tensors[t], (uint64_t)g->learnable++);
        largest = tensors[t].count > largest ? tensors[t].count : largest;
    }
    total += draw_images(g);
    draw_labels(g);
    draw_signs(g, largest);
    const double expected = number(g->json, "inputs_abs_sum");
    if (!(fabs(total - expected) <= INPUTS_TOLERANCE * expected))
        fail_msg("inputs: expected a sum of %.9g, found %.9g: another generator", expected, total);
    for (int i = 0; i < g->batch; i++)
        assert_int_equal(dn_net_view(g->net).labels[i],
                         json_integer_value(json_array_get(member(g->json, "labels"), (size_t)i)));
}

static void compare_outputs(golden *g, const char *logits_key, const char *loss_key, double loss)
{
    const json_t *rows = member(g->json, logits_key);
    const float *logits = dn_net_view(g->net).logits;
    double largest = 0;
    for (int pass = 0; pass < 2; pass++) { /* the largest first, which scales the errors */
        for (int i = 0; i < g->batch * g->classes; i++) {
            const json_t *row = json_array_get(rows, (size_t)(i / g->classes));
            const double x = json_number_value(json_array_get(row, (size_t)(i % g->classes)));
            if (pass == 0)
                largest = fmax(largest, fabs(x));
            else
                expect(g, logits_key, "one logit", x, logits[i], fabs(logits[i] - x) / largest,
                       g->allowed->logits);
        }
    }
    const double expected = number(g->json, loss_key);
    expect(g, loss_key, "value", expected, loss, fabs(loss - expected) / expected,
           g->allowed->loss);
}

/* sums(PROJECTIONS) = dot products of x(count) with the random signs; returns the L2 norm. */
static double project(const golden *g, const float *x, size_t count, double *sums)
{
    double squares = 0;
    memset(sums, 0, PROJECTIONS * sizeof *sums);
    for (size_t i = 0; i < count; i++) {
        squares += (double)x[i] * x[i];
        for (int p = 0; p < PROJECTIONS; p++)
            sums[p] += g->signs[i] >> p & 1 ? (double)x[i] : -(double)x[i];
    }
    return sqrt(squares);
}

static void compare_shape(const json_t *summary, const dn_tensor *tensor)
{
    const json_t *shape = member(summary, "shape");
    assert_string_equal(tensor->name, json_string_value(member(summary, "name")));
    assert_int_equal(tensor->dims, json_array_size(shape));
    for (int i = 0; i < tensor->dims; i++)
        assert_int_equal(tensor->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
}

/* Errors are relative to the L2 norm. */
static void compare_tensor(golden *g, const json_t *summary, const dn_tensor *tensor,
                           const float *x, double tolerance)
{
    compare_shape(summary, tensor);
    const double norm = number(summary, "norm");
    const json_t *projections = member(summary, "projections");
    double sums[PROJECTIONS], squares = 0;
    const double found = project(g, x, tensor->count, sums);
    for (int p = 0; p < PROJECTIONS; p++) {
        const double error = sums[p] - json_number_value(json_array_get(projections, (size_t)p));
        squares += error * error / PROJECTIONS;
    }
    expect(g, tensor->name, "norm, and all values by 8 projections", norm, found,
           fmax(sqrt(squares), fabs(found - norm)) / norm, tolerance);
}

/* 1: a parameter of the stem whose effect the batch norms behind it undo. */
static int cancels(const dn_tensor *tensor)
{
    return strncmp(tensor->name, "features.norm0.", 15) == 0 ||
           strcmp(tensor->name, "features.conv0.weight") == 0;
}

static double tolerance_of(const tolerances *limits, const dn_tensor *tensor)
{
    if (tensor->kind == DN_CONV_WEIGHT)
        return limits->conv;
    if (tensor->is_head)
        return limits->linear;
    return dn_is_parameter(tensor) ? limits->norm : limits->running;
}

/* Compares the tensors that are running statistics (or those that are not) with the file's list;
 * `values` is the flat array that they stand in. */
static void compare_tensors(golden *g, const char *key, int running, const float *values)
{
    const json_t *summaries = member(g->json, key);
    const dn_tensor *tensors = dn_net_view(g->net).tensors;
    const int count = dn_net_view(g->net).tensor_count;
    size_t next = 0;
    for (int t = 0; t < count; t++) {
        if (dn_is_parameter(&tensors[t]) == running)
            continue;
        const json_t *summary = json_array_get(summaries, next++);
        if (!summary)
            fail_msg("%s: the golden file has no tensor %s", key, tensors[t].name);
        if (g->allowed != &allowed[DN_FP32] && !running && cancels(&tensors[t]))
            continue;
        compare_tensor(g, summary, &tensors[t], values + tensors[t].offset,
                       tolerance_of(g->allowed, &tensors[t]));
    }
    assert_int_equal(next, json_array_size(summaries));
}

/* 0 where the file has none. */
static double setting(const golden *g, const char *key)
{
    return json_number_value(json_object_get(g->json, key));
}

enum { MOST_WEIGHTS = 8, MOST_SETS = 8 };

/* has(sets, classes) = the file's label sets; returns it, or NULL if there are none. */
static const uint8_t *label_sets(const golden *g, uint8_t has[MOST_SETS * MOST_WEIGHTS])
{
    const json_t *const sets = json_object_get(g->json, "label_sets");
    for (size_t s = 0; s < json_array_size(sets); s++)
        for (int c = 0; c < g->classes; c++)
            has[s * (size_t)g->classes + (size_t)c] =
                (uint8_t)json_integer_value(json_array_get(json_array_get(sets, s), (size_t)c));
    return sets ? has : NULL;
}

/* The softmax cross-entropy of the images, whatever the training's loss. */
static double sum_losses(const golden *g)
{
    const dn_view net = dn_net_view(g->net);
    double sum = 0;
    for (int i = 0; i < g->batch; i++)
        sum += dn_cross_entropy.value(&(dn_target){.label = net.labels[i], .share = 1},
                                      net.logits + (size_t)i * (size_t)g->classes, g->classes);
    return sum;
}

/* One training step without the optimizer, then the same images in evaluation. */
static void run_step(golden *g)
{
    const json_t *weights = json_object_get(g->json, "class_weights");
    float class_weights[MOST_WEIGHTS];
    uint8_t sets[MOST_SETS * MOST_WEIGHTS];
    dn_pass pass = {.seed = 1,
                    .label_smoothing = (float)setting(g, "label_smoothing"),
                    .class_weights = weights ? class_weights : NULL,
                    .label_sets = label_sets(g, sets),
                    .mixing = {.mixup = setting(g, "mixup")}};
    dn_result result;
    for (size_t i = 0; weights && i < MOST_WEIGHTS; i++)
        class_weights[i] = (float)json_number_value(json_array_get(weights, i));
    if (pass.mixing.mixup > 0) {
        const dn_mix mix = dn_mix_draw(&pass.mixing, 1, 0, 0, 1, 1);
        assert_true(fabs((double)mix.share - setting(g, "share")) < 1e-7);
    }
    net_forward(g->net, &pass, &result);
    compare_outputs(g, "logits", "loss", result.loss);
    net_backward(g->net, &pass);
    compare_tensors(g, "gradients", 0, dn_net_view(g->net).leaf);
    dn_net_update_running(g->net, dn_net_view(g->net).leaf, DN_NORM_MOMENTUM);
    compare_tensors(g, "running", 1, dn_net_view(g->net).running);
    dn_net_forward_eval(g->net);
    compare_outputs(g, "eval_logits", "eval_loss", sum_losses(g));
}

static void make_net(golden *g, const char *model, const dn_kernels *kernels, dn_dtype dtype,
                     float transition_dropout)
{
    const dn_net_options options = {
        .batch = g->batch,
        .train = 1,
        .dtype = dtype,
        .transition_dropout = transition_dropout,
        .loss = json_object_get(g->json, "label_sets") ? &dn_binary_cross_entropy : NULL};
    const int size = (int)number(g->json, "size");
    g->net = net_of(model, (net_images){3, size, size, g->classes}, kernels, &options);
    assert_int_equal(dn_net_view(g->net).parameter_count, (int)number(g->json, "parameters"));
}

/* Of a rate so small that nothing is dropped, but transitions are a convolution and then a pool. */
#define DROPS_NOTHING 1e-9F

enum { SMALL = 10000 }; /* parameters of nets that are run this way, too */

static void run_net(golden *g, const char *model, const dn_kernels *kernels, dn_dtype dtype,
                    float transition_dropout)
{
    make_net(g, model, kernels, dtype, transition_dropout);
    draw_inputs(g);
    run_step(g);
    free(g->signs);
    dn_net_destroy(&g->net);
}

static void test_model(void **state)
{
    const char *file = *state;
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s.json", DN_GOLDEN_DIR, file);
    golden g = {.json = json_load_file(path, 0, &error)};
    if (!g.json)
        fail_msg("%s: %s", path, error.text);
    g.seed = (uint64_t)number(g.json, "seed");
    g.batch = (int)number(g.json, "batch");
    g.classes = (int)number(g.json, "classes");
    const char *model = json_string_value(member(g.json, "model"));
    for (dn_dtype dtype = DN_FP32; dtype < DN_DTYPES; dtype++) {
        const dn_kernels *kernels;
        for (int i = 0; (kernels = dn_test_kernels(i, dtype)) != NULL; i++) {
            g.table = kernels->name;
            g.allowed = &allowed[dn_test_rounds(kernels) ? OPERANDS : (int)dtype];
            run_net(&g, model, kernels, dtype, 0);
            if (number(g.json, "parameters") < SMALL)
                run_net(&g, model, kernels, dtype, DROPS_NOTHING);
        }
    }
    json_decref(g.json);
    if (g.mismatches)
        fail_msg("%s: %d values are not PyTorch's", file, g.mismatches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"densenet121", test_model, NULL, NULL, "densenet121"},
        {"no norm before the head", test_model, NULL, NULL, "head-plain"},
        {"2x2 pool before the head", test_model, NULL, NULL, "head-pool"},
        {"label sets", test_model, NULL, NULL, "label-sets"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
