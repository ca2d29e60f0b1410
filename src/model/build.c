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

/* Dense layers of all blocks. */
static int layer_count(const dn_spec *spec)
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

static void add_tensor(dn_net *net, const char *prefix, const char *suffix, dn_tensor_kind kind,
                       int rank, const int shape[4])
{
    dn_tensor *tensor = &net->tensors[net->tensor_count++];
    *tensor = (dn_tensor){.kind = kind, .rank = rank, .count = 1};
    snprintf(tensor->name, sizeof tensor->name, "%s.%s", prefix, suffix);
    for (int i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        tensor->count *= (size_t)shape[i];
    }
    if (kind == DN_RUNNING_MEAN || kind == DN_RUNNING_VAR) {
        tensor->offset = net->running_count;
        net->running_count += tensor->count;
    } else {
        tensor->offset = net->parameter_count; /* counted from the end: see reverse_offsets */
        net->parameter_count += tensor->count;
    }
}

static size_t last_offset(const dn_net *net)
{
    return net->tensors[net->tensor_count - 1].offset;
}

static void add_norm(dn_net *net, dn_layer *layer, const char *name)
{
    const int shape[4] = {layer->inputs};
    layer->norm = 1;
    add_tensor(net, name, "weight", DN_NORM_WEIGHT, 1, shape);
    layer->gamma = last_offset(net);
    add_tensor(net, name, "bias", DN_NORM_BIAS, 1, shape);
    layer->beta = last_offset(net);
    add_tensor(net, name, "running_mean", DN_RUNNING_MEAN, 1, shape);
    layer->running_mean = last_offset(net);
    add_tensor(net, name, "running_var", DN_RUNNING_VAR, 1, shape);
    layer->running_var = last_offset(net);
}

static void add_conv(dn_net *net, dn_layer *layer, const char *name)
{
    const int shape[4] = {layer->outputs, layer->inputs, layer->kernel, layer->kernel};
    snprintf(layer->name, sizeof layer->name, "%s", name);
    add_tensor(net, name, "weight", DN_CONV_WEIGHT, 4, shape);
    layer->weight = last_offset(net);
}

/* Appends a layer of `kind` that reads `inputs` channels of map `in` and writes `outputs` channels
 * of map `out`; its norm and convolution are named where `norm` and `conv` are given. */
static dn_layer *add_layer(dn_net *net, const dn_layer_kind *kind, int in, int inputs, int out,
                           int outputs, int kernel, const char *norm, const char *conv)
{
    dn_layer *l = &net->layers[net->layer_count];
    *l = (dn_layer){.kind = kind, .index = net->layer_count, .kernel = kernel};
    l->in = in;
    l->inputs = inputs;
    l->out = out;
    l->outputs = outputs;
    l->taps = kind->im2col ? 1 : kernel * kernel;
    l->weights_in = conv == NULL ? 0 : kind->im2col ? inputs * kernel * kernel : inputs;
    snprintf(l->name, sizeof l->name, "%s", norm ? norm : conv);
    if (norm != NULL)
        add_norm(net, l, norm);
    if (conv != NULL)
        add_conv(net, l, conv);
    if (out >= 0 && net->maps[out].written < 0)
        net->maps[out].written = l->index;
    if (in >= 0)
        net->maps[in].read = l->index;
    net->layer_count++;
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
    add_layer(net, is_cifar ? &dn_layer_stem3x3 : &dn_layer_stem7x7, -1, spec->channels, out, width,
              is_cifar ? 3 : 7, NULL, "features.conv0");
    if (!is_pooled)
        return out;
    const int block = add_map(net, "block 1", halved_up(rows), halved_up(columns), channels);
    add_layer(net, &dn_layer_max_pool, out, width, block, width, 3, "features.norm0", NULL);
    return block;
}

static const dn_layer_kind *kind_of_3x3(const dn_net *net)
{
    const int has_transforms = net->kernels->products[net->options.dtype].winograd != NULL;
    return has_transforms ? &dn_layer_winograd : &dn_layer_conv3x3;
}

/* Dense layer `l` of block `b`: after the map's first `channels` it writes its own. */
static void build_dense_layer(dn_net *net, int b, int l, int map, int channels)
{
    const dn_layout layout = net->maps[map].layout;
    const int growth = net->spec.growth[b], wide = net->spec.bottleneck * growth;
    char name[48], norm[64], conv[64];
    int in = map, inputs = channels, number = 1;
    if (wide > 0) {
        snprintf(name, sizeof name, "bottleneck %d.%d", b + 1, l + 1);
        in = add_map(net, name, layout.height, layout.width, wide);
        snprintf(norm, sizeof norm, LAYER_NAME "norm1", b + 1, l + 1);
        snprintf(conv, sizeof conv, LAYER_NAME "conv1", b + 1, l + 1);
        add_layer(net, &dn_layer_conv1x1, map, channels, in, wide, 1, norm, conv);
        inputs = wide;
        number = 2;
    }
    snprintf(norm, sizeof norm, LAYER_NAME "norm%d", b + 1, l + 1, number);
    snprintf(conv, sizeof conv, LAYER_NAME "conv%d", b + 1, l + 1, number);
    dn_layer *last = add_layer(net, kind_of_3x3(net), in, inputs, map, growth, 3, norm, conv);
    last->first = channels;
    last->dropout = net->options.dropout > 0;
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
    add_layer(net, &dn_layer_transition, map, inputs, next, outputs, 1, norm, conv);
    *channels = outputs;
    return next;
}

static void build_head(dn_net *net, int map, int channels)
{
    const int classes = net->spec.classes, shape[4] = {classes, channels};
    char norm[64];
    snprintf(norm, sizeof norm, "features.norm%d", net->spec.blocks + 1);
    dn_layer *head = add_layer(net, &dn_layer_head, map, channels, -1, classes, 1, norm, NULL);
    snprintf(head->name, sizeof head->name, "classifier");
    head->weights_in = channels;
    add_tensor(net, "classifier", "weight", DN_LINEAR_WEIGHT, 2, shape);
    head->weight = last_offset(net);
    add_tensor(net, "classifier", "bias", DN_LINEAR_BIAS, 1, shape);
    head->bias = last_offset(net);
}

/* Turns forward offsets of the parameters into backward ones; statistics stand behind them. */
static void reverse_offsets(dn_net *net)
{
    const size_t total = net->parameter_count;
    for (int i = 0; i < net->layer_count; i++) {
        dn_layer *layer = &net->layers[i];
        const size_t channels = (size_t)layer->inputs;
        layer->weight = total - layer->weight - dn_layer_weights(layer);
        layer->gamma = total - layer->gamma - channels;
        layer->beta = total - layer->beta - channels;
        layer->bias = total - layer->bias - (size_t)layer->outputs;
    }
    for (int i = 0; i < net->tensor_count; i++) {
        dn_tensor *tensor = &net->tensors[i];
        if (tensor->kind != DN_RUNNING_MEAN && tensor->kind != DN_RUNNING_VAR)
            tensor->offset = total - tensor->offset - tensor->count;
    }
    for (int i = 0; i < net->map_count; i++)
        net->maps[i].statistics += total;
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
    const size_t layers = (size_t)layer_count(spec);
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
    reverse_offsets(net);
    mark_first_writers(net);
    return DN_OK;
}
