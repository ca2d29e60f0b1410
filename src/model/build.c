/*
 * From a specification to feature maps, layers and named tensors.
 *
 * Parameters are laid out in the order in which the backward pass finishes their gradients: the
 * head's first, the stem's last. Names and their order are torchvision's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

#define LAYER_NAME "features.denseblock%d.denselayer%d."

static int dense_layers(const dn_spec *spec)
{
    int layers = 0;
    for (int b = 0; b < spec->blocks; b++)
        layers += spec->layers[b];
    return layers;
}

static int add_map(dn_net *net, const char *name, int height, int width, int channels)
{
    dn_feature_map *map = &net->maps[net->map_count];
    *map = (dn_feature_map){.channels = channels,
                            .element = dn_dtype_size(net->options.dtype),
                            .statistics = net->statistics_count,
                            .written = -1};
    map->layout = dn_layout_create(net->options.batch, height, width);
    snprintf(map->name, sizeof map->name, "%s", name);
    net->statistics_count += 2 * (size_t)channels;
    return net->map_count++;
}

/* Appends a tensor; the parameters' offsets are given when all are known. */
static const dn_tensor *add_tensor(dn_net *net, const char *prefix, const char *suffix,
                                   dn_tensor_kind kind, int rank, const int shape[4])
{
    dn_tensor *tensor = &net->tensors[net->tensor_count++];
    *tensor = (dn_tensor){.kind = kind, .rank = rank, .count = 1};
    snprintf(tensor->name, sizeof tensor->name, "%s.%s", prefix, suffix);
    for (int i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->count *= (size_t)shape[i];
    }
    return tensor;
}

/* Appends a layer like `layer`, whose norm and convolution are named where they are given; by
 * default its weights are those of a gemm as its kind runs it. */
static dn_layer *add_layer(dn_net *net, dn_layer layer, const char *norm, const char *conv)
{
    dn_layer *l = &net->layers[net->layer_count];
    const int pixels = layer.kernel * layer.kernel, im2col = layer.kind->im2col;
    *l = layer;
    l->index = net->layer_count++;
    snprintf(l->name, sizeof l->name, "%s", conv ? conv : norm);
    if (norm != NULL) {
        const int shape[4] = {l->inputs};
        l->gamma = add_tensor(net, norm, "weight", DN_NORM_WEIGHT, 1, shape);
        l->beta = add_tensor(net, norm, "bias", DN_NORM_BIAS, 1, shape);
        l->running_mean = add_tensor(net, norm, "running_mean", DN_RUNNING_MEAN, 1, shape);
        l->running_var = add_tensor(net, norm, "running_var", DN_RUNNING_VAR, 1, shape);
    }
    if (conv != NULL) {
        const int shape[4] = {l->outputs, l->inputs, l->kernel, l->kernel};
        l->weight = add_tensor(net, conv, "weight", DN_CONV_WEIGHT, 4, shape);
        l->weights_in = im2col ? l->inputs * pixels : l->inputs;
        l->taps = im2col ? 1 : pixels;
    }
    if (l->out >= 0 && net->maps[l->out].written < 0)
        net->maps[l->out].written = l->index;
    if (l->in >= 0)
        net->maps[l->in].read = l->index;
    return l;
}

static int block_channels(const dn_spec *spec, int block, int channels)
{
    return channels + spec->layers[block] * spec->growth[block];
}

static int halved_up(int pixels)
{
    return (pixels + 1) / 2;
}

/* The stem; returns the first block's map. */
static int build_stem(dn_net *net)
{
    const dn_spec *spec = &net->spec;
    const int is_cifar = spec->stem == DN_STEM_CIFAR, is_pooled = spec->stem == DN_STEM_IMAGENET;
    const int width = spec->stem_channels, channels = block_channels(spec, 0, width);
    const int rows = is_cifar ? spec->height : halved_up(spec->height);
    const int columns = is_cifar ? spec->width : halved_up(spec->width);
    const int out = is_pooled ? add_map(net, "stem", rows, columns, width)
                              : add_map(net, "block 1", rows, columns, channels);
    const dn_layer stem = {.kind = is_cifar ? &dn_layer_stem3x3 : &dn_layer_stem7x7,
                           .in = -1,
                           .inputs = spec->channels,
                           .out = out,
                           .outputs = width,
                           .kernel = is_cifar ? 3 : 7};
    add_layer(net, stem, NULL, "features.conv0");
    if (!is_pooled)
        return out;
    const int block = add_map(net, "block 1", halved_up(rows), halved_up(columns), channels);
    const dn_layer pool = {.kind = &dn_layer_max_pool,
                           .in = out,
                           .inputs = width,
                           .out = block,
                           .outputs = width,
                           .kernel = 3};
    add_layer(net, pool, "features.norm0", NULL);
    return block;
}

/* Half `number` of dense layer `l` of block `b`, or the whole. */
static void add_half(dn_net *net, dn_layer layer, int b, int l, int number)
{
    char norm[64], conv[64];
    snprintf(norm, sizeof norm, LAYER_NAME "norm%d", b + 1, l + 1, number);
    snprintf(conv, sizeof conv, LAYER_NAME "conv%d", b + 1, l + 1, number);
    add_layer(net, layer, norm, conv);
}

/* Dense layer `l` of block `b`: after the map's first `channels` it writes its own. */
static void build_dense_layer(dn_net *net, int b, int l, int map, int channels)
{
    const dn_layout layout = net->maps[map].layout;
    const int growth = net->spec.growth[b], wide = net->spec.bottleneck * growth;
    const int has_transforms = net->kernels->products[net->options.dtype].winograd != NULL;
    dn_layer last = {.kind = has_transforms ? &dn_layer_winograd : &dn_layer_conv3x3,
                     .in = map,
                     .inputs = channels,
                     .out = map,
                     .outputs = growth,
                     .first = channels,
                     .kernel = 3,
                     .dropout = net->options.dropout > 0};
    if (wide > 0) {
        char name[48];
        snprintf(name, sizeof name, "bottleneck %d.%d", b + 1, l + 1);
        last.in = add_map(net, name, layout.height, layout.width, wide);
        last.inputs = wide;
        net->maps[last.in].bottleneck = 1;
        const dn_layer first = {.kind = &dn_layer_conv1x1,
                                .in = map,
                                .inputs = channels,
                                .out = last.in,
                                .outputs = wide,
                                .kernel = 1};
        add_half(net, first, b, l, 1);
    }
    add_half(net, last, b, l, wide > 0 ? 2 : 1);
}

/* The transition after block `b`; returns the next block's map and its channels so far. */
static int build_transition(dn_net *net, int b, int map, int *channels)
{
    const dn_spec *spec = &net->spec;
    const dn_layout layout = net->maps[map].layout;
    const int inputs = *channels, outputs = (int)(inputs * spec->compression);
    const int total = b + 1 < spec->blocks ? block_channels(spec, b + 1, outputs) : outputs;
    char name[48], norm[64], conv[64];
    snprintf(name, sizeof name, "block %d", b + 2);
    snprintf(norm, sizeof norm, "features.transition%d.norm", b + 1);
    snprintf(conv, sizeof conv, "features.transition%d.conv", b + 1);
    const int next = add_map(net, name, layout.height / 2, layout.width / 2, total);
    const dn_layer transition = {.kind = &dn_layer_transition,
                                 .in = map,
                                 .inputs = inputs,
                                 .out = next,
                                 .outputs = outputs,
                                 .kernel = 1};
    add_layer(net, transition, norm, conv);
    *channels = outputs;
    return next;
}

static void build_head(dn_net *net, int map, int channels)
{
    const int classes = net->spec.classes, shape[4] = {classes, channels};
    const dn_layer layer = {.kind = &dn_layer_head,
                            .in = map,
                            .inputs = channels,
                            .out = -1,
                            .outputs = classes,
                            .kernel = 1,
                            .weights_in = channels,
                            .taps = 1};
    char norm[64];
    snprintf(norm, sizeof norm, "features.norm%d", net->spec.blocks + 1);
    dn_layer *head = add_layer(net, layer, norm, NULL);
    snprintf(head->name, sizeof head->name, "classifier");
    head->weight = add_tensor(net, "classifier", "weight", DN_LINEAR_WEIGHT, 2, shape);
    head->bias = add_tensor(net, "classifier", "bias", DN_LINEAR_BIAS, 1, shape);
}

/* Parameters stand in reverse, running statistics in order; a leaf's statistics behind its
 * gradients. */
static void set_offsets(dn_net *net)
{
    for (int i = 0; i < net->tensor_count; i++)
        if (dn_tensor_is_running(&net->tensors[i])) {
            net->tensors[i].offset = net->running_count;
            net->running_count += net->tensors[i].count;
        }
    for (int i = net->tensor_count - 1; i >= 0; i--)
        if (!dn_tensor_is_running(&net->tensors[i])) {
            net->tensors[i].offset = net->parameter_count;
            net->parameter_count += net->tensors[i].count;
        }
    for (int i = 0; i < net->map_count; i++)
        net->maps[i].statistics += net->parameter_count;
}

/* Backward visits the layers in reverse: the last reader of a map writes its gradient first. */
static void mark_first_writers(dn_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i].in >= 0)
            net->layers[i].accumulate = net->maps[net->layers[i].in].read != i;
}

dn_status dn_build(dn_net *net)
{
    const dn_spec *spec = &net->spec;
    const size_t layers = (size_t)dense_layers(spec);
    const size_t most = 2 * layers + (size_t)spec->blocks + 3;
    net->maps = calloc(layers + (size_t)spec->blocks + 2, sizeof *net->maps);
    net->layers = calloc(most, sizeof *net->layers);
    net->tensors = calloc(5 * most + 2, sizeof *net->tensors);
    if (net->maps == NULL || net->layers == NULL || net->tensors == NULL)
        return dn_fail(DN_ENOMEM, "memory: found none to build %s", spec->name);
    int map = build_stem(net), channels = spec->stem_channels;
    for (int b = 0; b < spec->blocks; b++) {
        for (int l = 0; l < spec->layers[b]; l++, channels += spec->growth[b])
            build_dense_layer(net, b, l, map, channels);
        if (b + 1 < spec->blocks || spec->last_transition)
            map = build_transition(net, b, map, &channels);
    }
    build_head(net, map, channels);
    set_offsets(net);
    mark_first_writers(net);
    return DN_OK;
}
