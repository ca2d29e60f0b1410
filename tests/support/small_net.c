/* Small nets with drawn contents; see small_net.h. */
#include "small_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"
#include "layers/scratch.h"
#include "unit.h"

enum { IMAGES = 1 << 20, LABELS }; /* draws that are no tensor */

dn_net *net_of(const char *model, net_images images, const dn_kernels *kernels,
               const dn_net_options *options)
{
    dn_spec spec;
    dn_net *net = NULL;
    if (dn_spec_parse(&spec, model) != DN_OK)
        fail_msg("%s", dn_message());
    spec.channels = images.channels;
    spec.height = images.height;
    spec.width = images.width;
    spec.classes = images.classes;
    if (dn_net_create(&net, &spec, kernels, options) != DN_OK)
        fail_msg("%s", dn_message());
    return net;
}

dn_net *net_make_grouped(const net_case *c, const dn_kernels *kernels, int norm_group)
{
    const dn_net_options options = {.batch = c->batch,
                                    .train = 1,
                                    .dtype = c->dtype,
                                    .recompute = c->recompute,
                                    .dropout = c->dropout,
                                    .channel_dropout = c->dropout,
                                    .transition_dropout = c->dropout,
                                    .head_dropout = c->dropout,
                                    .norm_group = norm_group};
    return net_of(c->model, (net_images){c->channels, c->height, c->width, c->classes}, kernels,
                  &options);
}

dn_net *net_make(const net_case *c, const dn_kernels *kernels)
{
    return net_make_grouped(c, kernels, 1);
}

static void draw_norm(float *x, const dn_tensor *tensor, net_draw draw)
{
    const int weight = tensor->kind == DN_NORM_WEIGHT;
    for (size_t i = 0; i < tensor->count; i++)
        if (draw == DRAW_SMOOTH)
            x[i] = weight ? 0.15f + 0.1f * x[i] : i % 8 == 7 ? -1 : 1;
        else
            x[i] += (float)weight;
}

static void draw_tensor(dn_net *net, const dn_tensor *tensor, net_draw draw, uint64_t seed,
                        uint64_t a)
{
    float *x = dn_net_view(net).parameters + tensor->offset;
    const double fan_in = (double)tensor->count / tensor->shape[0];
    double bound = 0.5;
    if (tensor->kind == DN_CONV_WEIGHT)
        bound = sqrt(6 / fan_in);
    else if (tensor->kind == DN_LINEAR_WEIGHT)
        bound = sqrt(3 / fan_in);
    dn_random_uniform(x, tensor->count, bound, seed, DN_STREAM_SYNTHETIC, a);
    if (tensor->kind == DN_NORM_WEIGHT || tensor->kind == DN_NORM_BIAS)
        draw_norm(x, tensor, draw);
}

/* Each image has a brightness of its own: averages over many pixels would hardly tell images of
 * noise apart, and their gradients would drown in rounding. */
void net_draw_batch(dn_net *net, uint64_t seed)
{
    const dn_spec *spec = dn_net_view(net).spec;
    const size_t batch = (size_t)dn_net_view(net).batch;
    const size_t pixels = dn_spec_values(spec);
    float *images = dn_net_view(net).images;
    dn_random_uniform(images, batch * pixels, 1, seed, DN_STREAM_SYNTHETIC, IMAGES);
    for (size_t i = 0; i < batch; i++) {
        const dn_random4 r = dn_random(seed, DN_STREAM_SYNTHETIC, LABELS, i);
        const float brightness = 2 * dn_random_unit(r.word[1]) - 1;
        for (size_t p = 0; p < pixels; p++)
            images[i * pixels + p] += brightness;
        dn_net_view(net).labels[i] = (int32_t)dn_random_below(r.word[0], (uint32_t)spec->classes);
    }
}

void net_draw_all(dn_net *net, net_draw draw, uint64_t seed)
{
    const dn_tensor *tensors = dn_net_view(net).tensors;
    const int count = dn_net_view(net).tensor_count;
    for (int t = 0; t < count; t++) {
        const int running = !dn_is_parameter(&tensors[t]);
        for (size_t i = 0; running && i < tensors[t].count; i++)
            dn_net_view(net).running[tensors[t].offset + i] = tensors[t].kind == DN_RUNNING_VAR;
        if (!running)
            draw_tensor(net, &tensors[t], draw, seed, (uint64_t)t);
    }
    net_draw_batch(net, seed);
}

void net_spoil(dn_net *net, int time)
{
    const dn_region_info *regions = dn_net_view(net).regions;
    const int count = dn_net_view(net).region_count;
    unsigned char *arena = NULL;
    for (int i = 0; i < count; i++)
        if (strcmp(regions[i].name, "parameters") == 0)
            arena = (unsigned char *)dn_net_view(net).parameters - regions[i].offset;
    assert_non_null(arena);
    for (int i = 0; i < count; i++)
        if (time < 0 ? strcmp(regions[i].name, "parameters") != 0 : regions[i].last == time) {
            dn_memory_open(arena + regions[i].offset, regions[i].bytes);
            dn_memory_spoil(arena + regions[i].offset, regions[i].bytes);
        }
}

void net_forward(dn_net *net, const dn_pass *pass, dn_result *result)
{
    dn_team_forward(&(dn_team){.nets = &net, .count = 1}, pass, result);
}

void net_backward(dn_net *net, const dn_pass *pass)
{
    dn_team_backward(&(dn_team){.nets = &net, .count = 1}, pass);
}

dn_result net_step(dn_net *net, const dn_pass *pass)
{
    dn_result result;
    net_forward(net, pass, &result);
    net_backward(net, pass);
    dn_net_update_running(net, dn_net_view(net).leaf, DN_NORM_MOMENTUM);
    return result;
}

net_outcome net_outcome_create(const dn_net *net, int nets)
{
    const dn_view view = dn_net_view(net);
    net_outcome o = {.leaf_count = view.leaf_count,
                     .logit_count = (size_t)(nets * view.batch) * (size_t)view.spec->classes,
                     .running_count = view.running_count};
    o.leaf = calloc(o.leaf_count + o.logit_count + o.running_count, sizeof *o.leaf);
    assert_non_null(o.leaf);
    o.logits = o.leaf + o.leaf_count;
    o.running = o.logits + o.logit_count;
    return o;
}

net_outcome net_run(dn_net *net, const dn_pass passes[2], uint64_t seed)
{
    const dn_view view = dn_net_view(net);
    net_outcome o = net_outcome_create(net, 1);
    net_draw_all(net, DRAW_PLAIN, seed);
    net_step(net, &passes[0]);
    net_draw_batch(net, seed + 1000);
    o.loss = net_step(net, &passes[1]).loss;
    memcpy(o.leaf, view.leaf, o.leaf_count * sizeof *o.leaf);
    memcpy(o.logits, view.logits, o.logit_count * sizeof *o.logits);
    memcpy(o.running, view.running, o.running_count * sizeof *o.running);
    return o;
}

double net_distance(const float *a, const float *b, size_t count)
{
    double squares = 0, differences = 0;
    for (size_t i = 0; i < count; i++) {
        const double delta = (double)a[i] - (double)b[i];
        squares += (double)a[i] * (double)a[i];
        differences += delta * delta;
    }
    return sqrt(differences / squares);
}

double net_largest_distance(const dn_net *net, const float *a, const float *b)
{
    const dn_view view = dn_net_view(net);
    double worst = 0;
    for (const dn_tensor *t = view.tensors; t < view.tensors + view.tensor_count; t++)
        if (dn_is_parameter(t))
            worst = fmax(worst, net_distance(a + t->offset, b + t->offset, t->count));
    return worst;
}
