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

/* The array with room for one more after its `count` elements; NULL: out of memory, and the array
 * is as before. */
static void *grown(void *array, int count, size_t size)
{
    const int is_full = (count & (count - 1)) == 0; /* the room is a power of two */
    return is_full ? realloc(array, (count > 0 ? 2 * (size_t)count : 1) * size) : array;
}

static dn_status check_memory(const dn_net *net, const void *array)
{
    return array ? DN_OK : dn_fail(DN_ENOMEM, "out of memory for the model %s", net->spec.name);
}

/* Appends a map; its number of channels grows with the layers that write into it. */
static dn_status add_map(dn_net *net, const char *name, int height, int width, int *index)
{
    dn_feature_map *const maps = grown(net->maps, net->map_count, sizeof *maps);
    DN_TRY(check_memory(net, maps));
    net->maps = maps;
    *index = net->map_count++;
    maps[*index] = (dn_feature_map){.element = dn_dtype_size(net->options.dtype), .written = -1};
    maps[*index].layout = dn_layout_create(net->options.batch, height, width);
    snprintf(maps[*index].name, sizeof maps->name, "%s", name);
    return DN_OK;
}

static dn_layer *last_layer(const dn_net *net)
{
    return &net->layers[net->layer_count - 1];
}

/* Appends a tensor of the last layer, of which kind, is_head, dims and shape are given. Offsets are
 * set later, when all are known. */
static dn_status add_tensor(dn_net *net, const char *prefix, const char *suffix, dn_tensor tensor)
{
    dn_tensor *const tensors = grown(net->tensors, net->view.tensor_count, sizeof *tensors);
    DN_TRY(check_memory(net, tensors));
    net->tensors = tensors;
    tensor.count = 1;
    for (int i = 0; i < tensor.dims; i++)
        tensor.count *= (size_t)tensor.shape[i];
    snprintf(tensor.name, sizeof tensor.name, "%s.%s", prefix, suffix);
    tensors[net->view.tensor_count++] = tensor;
    last_layer(net)->tensor_count++;
    return DN_OK;
}

static dn_status add_norm(dn_net *net, const char *name)
{
    dn_tensor t = {.dims = 1, .shape = {last_layer(net)->inputs}};
    t.kind = DN_NORM_WEIGHT;
    DN_TRY(add_tensor(net, name, "weight", t));
    t.kind = DN_NORM_BIAS;
    DN_TRY(add_tensor(net, name, "bias", t));
    t.kind = DN_RUNNING_MEAN;
    DN_TRY(add_tensor(net, name, "running_mean", t));
    t.kind = DN_RUNNING_VAR;
    return add_tensor(net, name, "running_var", t);
}

static dn_status add_conv(dn_net *net, const char *name)
{
    dn_layer *const l = last_layer(net);
    const int kernel = l->kind->kernel;
    l->weights_in = l->kind->im2col ? l->inputs * kernel * kernel : l->inputs;
    l->taps = l->kind->im2col ? 1 : kernel * kernel;
    return add_tensor(net, name, "weight",
                      (dn_tensor){.kind = DN_CONV_WEIGHT,
                                  .dims = 4,
                                  .shape = {l->outputs, l->inputs, kernel, kernel}});
}

/* Appends a layer that reads what is in map `in` so far and adds `outputs` channels to map `out`.
 * `norm` and `conv` are the names of its batch norm and convolution, if it has them. */
static dn_status add_layer(dn_net *net, const dn_layer_kind *kind, int in, int out, int outputs,
                           const char *norm, const char *conv)
{
    dn_layer *const layers = grown(net->layers, net->layer_count, sizeof *layers);
    DN_TRY(check_memory(net, layers));
    net->layers = layers;
    dn_layer *const l = &layers[net->layer_count];
    *l = (dn_layer){.kind = kind, .index = net->layer_count++, .in = in, .out = out};
    l->inputs = in >= 0 ? net->maps[in].channels : net->spec.channels;
    l->outputs = outputs;
    net->most_outputs = outputs > net->most_outputs ? outputs : net->most_outputs;
    snprintf(l->name, sizeof l->name, "%s", conv ? conv : norm ? norm : "");
    if (in >= 0)
        net->maps[in].read = l->index;
    if (out >= 0) {
        dn_feature_map *map = &net->maps[out];
        map->written = map->channels == 0 ? l->index : map->written;
        l->first = map->channels;
        map->channels += outputs;
    }
    if (norm != NULL)
        DN_TRY(add_norm(net, norm));
    return conv != NULL ? add_conv(net, conv) : DN_OK;
}

static int after_stride(int pixels)
{
    return (pixels + 1) / 2;
}

/* Builds the stem; *block = the first block's map. */
static dn_status build_stem(dn_net *net, int *block)
{
    const dn_spec *spec = &net->spec;
    const int is_cifar = spec->stem == DN_STEM_CIFAR, is_pooled = spec->stem == DN_STEM_IMAGENET;
    const int rows = is_cifar ? spec->height : after_stride(spec->height);
    const int columns = is_cifar ? spec->width : after_stride(spec->width);
    int out;
    DN_TRY(add_map(net, is_pooled ? "stem" : "block 1", rows, columns, &out));
    DN_TRY(add_layer(net, is_cifar ? &dn_layer_stem3x3 : &dn_layer_stem7x7, -1, out,
                     spec->stem_channels, NULL, "features.conv0"));
    *block = out;
    if (!is_pooled)
        return DN_OK;
    net->maps[out].recomputable = 1;
    DN_TRY(add_map(net, "block 1", after_stride(rows), after_stride(columns), block));
    return add_layer(net, &dn_layer_max_pool, out, *block, spec->stem_channels, "features.norm0",
                     NULL);
}

/* Builds half `number` of dense layer `l` of block `b`, or the whole layer. */
static dn_status add_half(dn_net *net, int b, int l, int number, const dn_layer_kind *kind, int in,
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

static dn_status build_dense_layer(dn_net *net, int b, int l, int map)
{
    const dn_layout layout = net->maps[map].layout;
    const int growth = net->spec.growth[b], wide = net->spec.bottleneck * growth;
    int in = map;
    if (wide > 0) {
        char name[48];
        snprintf(name, sizeof name, "bottleneck %d.%d", b + 1, l + 1);
        DN_TRY(add_map(net, name, layout.height, layout.width, &in));
        net->maps[in].recomputable = 1;
        DN_TRY(add_half(net, b, l, 1, &dn_layer_conv1x1, map, in, wide));
    }
    DN_TRY(add_half(net, b, l, wide > 0 ? 2 : 1,
                    is_transformed(net, &layout) ? &dn_layer_winograd : &dn_layer_conv3x3, in, map,
                    growth));
    last_layer(net)->dropout = net->options.dropout;
    last_layer(net)->channel_dropout = net->options.channel_dropout;
    return DN_OK;
}

/* Builds the transition after block `b`, which reads and then sets *map: the map of a block. With
 * dropout, which comes between convolution and pool, these are two layers. */
static dn_status build_transition(dn_net *net, int b, int *map)
{
    const dn_layout layout = net->maps[*map].layout;
    const int block = *map, outputs = (int)(net->maps[block].channels * net->spec.compression);
    const int is_split = net->options.transition_dropout > 0;
    int dropped;
    char name[48], norm[64], conv[64];
    snprintf(norm, sizeof norm, "features.transition%d.norm", b + 1);
    snprintf(conv, sizeof conv, "features.transition%d.conv", b + 1);
    if (is_split) {
        snprintf(name, sizeof name, "transition %d", b + 1);
        DN_TRY(add_map(net, name, layout.height, layout.width, &dropped));
        DN_TRY(add_layer(net, &dn_layer_conv1x1, block, dropped, outputs, norm, conv));
        last_layer(net)->dropout = net->options.transition_dropout;
    }
    snprintf(name, sizeof name, "block %d", b + 2);
    DN_TRY(add_map(net, name, layout.height / 2, layout.width / 2, map));
    if (!is_split)
        return add_layer(net, &dn_layer_transition, block, *map, outputs, norm, conv);
    DN_TRY(add_layer(net, &dn_layer_pool, dropped, *map, outputs, NULL, NULL));
    snprintf(last_layer(net)->name, sizeof name, "features.transition%d.pool", b + 1);
    return DN_OK;
}

static dn_status build_head(dn_net *net, int map)
{
    char norm[64];
    const dn_layout *layout = &net->maps[map].layout;
    const int side = net->spec.head_pool, classes = net->spec.classes;
    const int cells = side > 0 ? (layout->height / side) * (layout->width / side) : 1;
    snprintf(norm, sizeof norm, "features.norm%d", net->spec.blocks + 1);
    DN_TRY(
        add_layer(net, &dn_layer_head, map, -1, classes, net->spec.head_norm ? norm : NULL, NULL));
    dn_layer *const head = last_layer(net);
    head->weights_in = head->inputs * cells;
    head->taps = 1;
    head->channel_dropout = net->options.head_dropout;
    snprintf(head->name, sizeof head->name, "classifier");
    DN_TRY(add_tensor(net, head->name, "weight",
                      (dn_tensor){.kind = DN_LINEAR_WEIGHT,
                                  .is_head = 1,
                                  .dims = 2,
                                  .shape = {classes, head->weights_in}}));
    return add_tensor(
        net, head->name, "bias",
        (dn_tensor){.kind = DN_LINEAR_BIAS, .is_head = 1, .dims = 1, .shape = {classes}});
}

static dn_status build_layers(dn_net *net)
{
    const dn_spec *spec = &net->spec;
    int map;
    DN_TRY(build_stem(net, &map));
    for (int b = 0; b < spec->blocks; b++) {
        for (int l = 0; l < spec->layers[b]; l++)
            DN_TRY(build_dense_layer(net, b, l, map));
        if (b + 1 < spec->blocks || spec->last_transition)
            DN_TRY(build_transition(net, b, &map));
    }
    return build_head(net, map);
}

/* Points the layers to their tensors, once these have their final addresses. */
static void link_tensors(dn_net *net)
{
    const dn_tensor *t = net->tensors;
    for (dn_layer *l = net->layers; l < net->layers + net->layer_count; l++) {
        const dn_tensor **const role[] = {
            [DN_CONV_WEIGHT] = &l->weight,     [DN_LINEAR_WEIGHT] = &l->weight,
            [DN_LINEAR_BIAS] = &l->bias,       [DN_NORM_WEIGHT] = &l->gamma,
            [DN_NORM_BIAS] = &l->beta,         [DN_RUNNING_MEAN] = &l->running_mean,
            [DN_RUNNING_VAR] = &l->running_var};
        l->tensors = t;
        for (const dn_tensor *const end = t + l->tensor_count; t < end; t++)
            if (role[t->kind] != NULL && *role[t->kind] == NULL)
                *role[t->kind] = t;
        if (l->weights_in == 0) /* no gemm: the kind alone knows what its tensors are */
            l->weight = l->bias = NULL;
    }
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
    int learnt = 0;
    for (const dn_tensor *t = l->tensors; t < l->tensors + l->tensor_count; t++)
        learnt |= dn_is_parameter(t) && !t->frozen;
    return learnt;
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

/* Running statistics are stored in order, parameters in reverse. In a leaf, the gradients of the
 * first trained layer and those after it are followed by the maps' statistics. */
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
    const dn_tensor *const last = net->layers[net->first_learnt].tensors;
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
    DN_TRY(build_layers(net));
    link_tensors(net);
    DN_TRY(freeze_all(net));
    set_offsets(net);
    mark_first_writers(net);
    net->view.tensors = net->tensors;
    net->view.layers = net->layer_count;
    return DN_OK;
}
