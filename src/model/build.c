/*
 * Builds feature maps, layers and named tensors from a specification.
 *
 * Parameters are stored in the order in which the backward pass finishes their gradients: the
 * head's first, the stem's last. Tensors have the names and order of torchvision's state_dict.
 */
#include <fnmatch.h>
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

/* Appends a map; its number of channels grows with the layers that write into it. */
static int add_map(dn_net *net, const char *name, int height, int width)
{
    dn_feature_map *map = &net->maps[net->map_count];
    *map = (dn_feature_map){.element = dn_dtype_size(net->options.dtype), .written = -1};
    map->layout = dn_layout_create(net->options.batch, height, width);
    snprintf(map->name, sizeof map->name, "%s", name);
    return net->map_count++;
}

/* Appends a tensor; offsets are set later, when all are known. */
static const dn_tensor *add_tensor(dn_net *net, const char *prefix, const char *suffix,
                                   dn_tensor_kind kind, int dims, const int shape[4])
{
    dn_tensor *tensor = &net->tensors[net->view.tensor_count++];
    *tensor = (dn_tensor){.kind = kind, .dims = dims, .count = 1};
    snprintf(tensor->name, sizeof tensor->name, "%s.%s", prefix, suffix);
    for (int i = 0; i < dims; i++) {
        tensor->shape[i] = shape[i];
        tensor->count *= (size_t)shape[i];
    }
    return tensor;
}

static void add_norm(dn_net *net, dn_layer *l, const char *name)
{
    const int shape[4] = {l->inputs};
    l->gamma = add_tensor(net, name, "weight", DN_NORM_WEIGHT, 1, shape);
    l->beta = add_tensor(net, name, "bias", DN_NORM_BIAS, 1, shape);
    l->running_mean = add_tensor(net, name, "running_mean", DN_RUNNING_MEAN, 1, shape);
    l->running_var = add_tensor(net, name, "running_var", DN_RUNNING_VAR, 1, shape);
}

static void add_conv(dn_net *net, dn_layer *l, const char *name)
{
    const int kernel = l->kind->kernel, shape[4] = {l->outputs, l->inputs, kernel, kernel};
    l->weight = add_tensor(net, name, "weight", DN_CONV_WEIGHT, 4, shape);
    l->weights_in = l->kind->im2col ? l->inputs * kernel * kernel : l->inputs;
    l->taps = l->kind->im2col ? 1 : kernel * kernel;
}

/* Appends a layer that reads what is in map `in` so far and adds `outputs` channels to map `out`.
 * `norm` and `conv` are the names of its batch norm and convolution, if it has them. */
static dn_layer *add_layer(dn_net *net, const dn_layer_kind *kind, int in, int out, int outputs,
                           const char *norm, const char *conv)
{
    dn_layer *l = &net->layers[net->layer_count];
    *l = (dn_layer){.kind = kind, .index = net->layer_count++, .in = in, .out = out};
    l->inputs = in >= 0 ? net->maps[in].channels : net->spec.channels;
    l->outputs = outputs;
    net->most_outputs = outputs > net->most_outputs ? outputs : net->most_outputs;
    snprintf(l->name, sizeof l->name, "%s", conv ? conv : norm ? norm : "");
    if (norm != NULL)
        add_norm(net, l, norm);
    if (conv != NULL)
        add_conv(net, l, conv);
    if (in >= 0)
        net->maps[in].read = l->index;
    if (out >= 0) {
        dn_feature_map *map = &net->maps[out];
        map->written = map->channels == 0 ? l->index : map->written;
        l->first = map->channels;
        map->channels += outputs;
    }
    return l;
}

static int after_stride(int pixels)
{
    return (pixels + 1) / 2;
}

/* Builds the stem; returns the first block's map. */
static int build_stem(dn_net *net)
{
    const dn_spec *spec = &net->spec;
    const int is_cifar = spec->stem == DN_STEM_CIFAR, is_pooled = spec->stem == DN_STEM_IMAGENET;
    const int rows = is_cifar ? spec->height : after_stride(spec->height);
    const int columns = is_cifar ? spec->width : after_stride(spec->width);
    const int out = add_map(net, is_pooled ? "stem" : "block 1", rows, columns);
    add_layer(net, is_cifar ? &dn_layer_stem3x3 : &dn_layer_stem7x7, -1, out, spec->stem_channels,
              NULL, "features.conv0");
    if (!is_pooled)
        return out;
    const int block = add_map(net, "block 1", after_stride(rows), after_stride(columns));
    net->maps[out].recomputable = 1;
    add_layer(net, &dn_layer_max_pool, out, block, spec->stem_channels, "features.norm0", NULL);
    return block;
}

/* Builds half `number` of dense layer `l` of block `b`, or the whole layer. */
static dn_layer *add_half(dn_net *net, int b, int l, int number, const dn_layer_kind *kind, int in,
                          int out, int outputs)
{
    char norm[64], conv[64];
    snprintf(norm, sizeof norm, LAYER_NAME "norm%d", b + 1, l + 1, number);
    snprintf(conv, sizeof conv, LAYER_NAME "conv%d", b + 1, l + 1, number);
    return add_layer(net, kind, in, out, outputs, norm, conv);
}

/* Whether a 3x3 uses Winograd transforms, whose tiles are mostly empty on the smallest maps. */
static int is_transformed(const dn_net *net, const dn_layout *layout)
{
    enum { SMALLEST = 3 };
    return net->view.kernels->winograd != NULL &&
           !net->view.kernels->products[net->options.dtype].by_taps && layout->width >= SMALLEST &&
           layout->height >= SMALLEST;
}

static void build_dense_layer(dn_net *net, int b, int l, int map)
{
    const dn_layout layout = net->maps[map].layout;
    const int growth = net->spec.growth[b], wide = net->spec.bottleneck * growth;
    int in = map;
    if (wide > 0) {
        char name[48];
        snprintf(name, sizeof name, "bottleneck %d.%d", b + 1, l + 1);
        in = add_map(net, name, layout.height, layout.width);
        net->maps[in].recomputable = 1;
        add_half(net, b, l, 1, &dn_layer_conv1x1, map, in, wide);
    }
    dn_layer *last = add_half(net, b, l, wide > 0 ? 2 : 1,
                              is_transformed(net, &layout) ? &dn_layer_winograd : &dn_layer_conv3x3,
                              in, map, growth);
    last->dropout = net->options.dropout;
    last->channel_dropout = net->options.channel_dropout;
}

/* Builds the transition after block `b`; returns the next block's map. With dropout, which comes
 * between convolution and pool, these are two layers. */
static int build_transition(dn_net *net, int b, int map)
{
    const dn_layout layout = net->maps[map].layout;
    const int outputs = (int)(net->maps[map].channels * net->spec.compression);
    char name[48], norm[64], conv[64];
    snprintf(name, sizeof name, "block %d", b + 2);
    snprintf(norm, sizeof norm, "features.transition%d.norm", b + 1);
    snprintf(conv, sizeof conv, "features.transition%d.conv", b + 1);
    if (net->options.transition_dropout <= 0) {
        const int next = add_map(net, name, layout.height / 2, layout.width / 2);
        add_layer(net, &dn_layer_transition, map, next, outputs, norm, conv);
        return next;
    }
    char pool[48];
    snprintf(pool, sizeof pool, "transition %d", b + 1);
    const int dropped = add_map(net, pool, layout.height, layout.width);
    add_layer(net, &dn_layer_conv1x1, map, dropped, outputs, norm, conv)->dropout =
        net->options.transition_dropout;
    const int next = add_map(net, name, layout.height / 2, layout.width / 2);
    snprintf(pool, sizeof pool, "features.transition%d.pool", b + 1);
    add_layer(net, &dn_layer_pool, dropped, next, outputs, NULL, NULL);
    snprintf(net->layers[net->layer_count - 1].name, sizeof pool, "%s", pool);
    return next;
}

static void build_head(dn_net *net, int map)
{
    char norm[64];
    const dn_layout *layout = &net->maps[map].layout;
    const int side = net->spec.head_pool;
    const int cells = side > 0 ? (layout->height / side) * (layout->width / side) : 1;
    snprintf(norm, sizeof norm, "features.norm%d", net->spec.blocks + 1);
    dn_layer *head = add_layer(net, &dn_layer_head, map, -1, net->spec.classes,
                               net->spec.head_norm ? norm : NULL, NULL);
    head->weights_in = head->inputs * cells;
    head->channel_dropout = net->options.head_dropout;
    const int shape[4] = {head->outputs, head->weights_in};
    snprintf(head->name, sizeof head->name, "classifier");
    head->weight = add_tensor(net, head->name, "weight", DN_LINEAR_WEIGHT, 2, shape);
    head->bias = add_tensor(net, head->name, "bias", DN_LINEAR_BIAS, 1, shape);
    head->taps = 1;
}

/* Whether the glob (length characters) matches the name, or a prefix of it that ends before a dot.
 */
static int is_named(const char *name, const char *glob, int length)
{
    char whole[sizeof((dn_tensor *)NULL)->name], part[sizeof whole + 2];
    snprintf(whole, sizeof whole, "%.*s", length, glob);
    snprintf(part, sizeof part, "%s.*", whole);
    return fnmatch(whole, name, 0) == 0 || fnmatch(part, name, 0) == 0;
}

static dn_status freeze(dn_net *net, const char *glob, int length)
{
    int found = 0;
    for (dn_tensor *t = net->tensors; t < net->tensors + net->view.tensor_count; t++)
        if (dn_is_parameter(t) && is_named(t->name, glob, length))
            t->frozen = found = 1;
    DN_CHECK(found, DN_EINVAL,
             "--freeze: found '%.*s', which no parameter of model %s is named by, expected such as "
             "features.denseblock1 or *norm*",
             length, glob, net->spec.name);
    return DN_OK;
}

static int learns(const dn_layer *l)
{
    return (l->gamma && !(l->gamma->frozen && l->beta->frozen)) ||
           (l->weight && !l->weight->frozen) || (l->bias && !l->bias->frozen);
}

static dn_status freeze_all(dn_net *net)
{
    const char *at = net->options.freeze ? net->options.freeze : "";
    if (strcmp(at, "none") == 0) /* what a resumed run froze learns again */
        at = "";
    while (*at) {
        const int length = (int)strcspn(at, ",");
        DN_TRY(freeze(net, at, length));
        at += length + (at[length] == ',');
    }
    while (net->first_learnt < net->layer_count && !learns(&net->layers[net->first_learnt]))
        net->first_learnt++;
    DN_CHECK(net->first_learnt < net->layer_count, DN_EINVAL,
             "--freeze %s: found all parameters of model %s, expected some to be left",
             net->options.freeze, net->spec.name);
    return DN_OK;
}

/* Running statistics are stored in order, parameters in reverse. In a leaf, the gradients of all
 * layers that are not frozen are followed by the maps' statistics. */
static void set_offsets(dn_net *net)
{
    for (int i = 0; i < net->view.tensor_count; i++)
        if (!dn_is_parameter(&net->tensors[i])) {
            net->tensors[i].offset = net->view.running_count;
            net->view.running_count += net->tensors[i].count;
        }
    for (int i = net->view.tensor_count - 1; i >= 0; i--)
        if (dn_is_parameter(&net->tensors[i])) {
            net->tensors[i].offset = net->view.parameter_count;
            net->view.parameter_count += net->tensors[i].count;
        }
    const dn_layer *const first = &net->layers[net->first_learnt];
    const dn_tensor *const last = first->gamma ? first->gamma : first->weight;
    net->view.gradient_count = net->view.leaf_count = last->offset + last->count;
    for (int i = 0; i < net->map_count; i++) {
        net->maps[i].statistics = net->view.leaf_count;
        net->view.leaf_count += 2 * (size_t)net->maps[i].channels;
    }
}

/* The backward pass visits layers in reverse: the last reader of a map is the first to write its
 * gradient. */
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
    const size_t most = 2 * (layers + (size_t)spec->blocks) + 3;
    net->maps = calloc(layers + 2 * (size_t)spec->blocks + 2, sizeof *net->maps);
    net->layers = calloc(most, sizeof *net->layers);
    net->tensors = calloc(5 * most + 2, sizeof *net->tensors);
    if (net->maps == NULL || net->layers == NULL || net->tensors == NULL)
        return dn_fail(DN_ENOMEM, "out of memory for the model %s", spec->name);
    int map = build_stem(net);
    for (int b = 0; b < spec->blocks; b++) {
        for (int l = 0; l < spec->layers[b]; l++)
            build_dense_layer(net, b, l, map);
        if (b + 1 < spec->blocks || spec->last_transition)
            map = build_transition(net, b, map);
    }
    build_head(net, map);
    DN_TRY(freeze_all(net));
    set_offsets(net);
    mark_first_writers(net);
    net->view.tensors = net->tensors;
    net->view.layers = net->layer_count;
    return DN_OK;
}
