/*
 * Writes a net as an ONNX graph, encoded by protobuf-c; see include/dn/weights.h.
 *
 * The graph follows the net's layers, so every specification can be written: a layer reads the
 * value that holds its input map so far, and its outputs are concatenated to the value of its
 * output map. All operators used are identical in opsets 13 to 17.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"
#include "dn/program.h"
#include "model/model.h"
#include "onnx.pb-c.h"
#include "weights_file.h"

enum {
    NODE_INPUTS = 5,
    NODE_ATTRIBUTES = 4,
    LAYER_NODES = 6, /* most nodes of a layer */
    FLOAT_DATA = 1   /* TensorProto's FLOAT */
};

typedef struct attribute {
    Onnx__AttributeProto proto;
    int64_t ints[4];
} attribute;

/* A message with storage for what it points to. */
typedef struct node {
    Onnx__NodeProto proto;
    char name[128], *input[NODE_INPUTS], *output[1];
    attribute attribute[NODE_ATTRIBUTES];
    Onnx__AttributeProto *attributes[NODE_ATTRIBUTES];
} node;

typedef struct tensor {
    Onnx__TensorProto proto;
    char name[96];
    int64_t dims[4];
    float *own; /* values not owned by the net, or NULL */
} tensor;

typedef struct graph {
    const dn_net *net;
    int fold;
    node *nodes;
    int node_count;
    tensor *tensors;
    int tensor_count;
    char **map;       /* (maps) name of the value that holds each map so far */
    dn_status status; /* DN_OK or DN_ENOMEM */
} graph;

/* ---- parts ---- */

static node *add_node(graph *g, const char *op, const char *layer, const char *suffix, char *input)
{
    assert(g->node_count < LAYER_NODES * g->net->layer_count);
    node *const n = &g->nodes[g->node_count++];
    onnx__node_proto__init(&n->proto);
    snprintf(n->name, sizeof n->name, "%s%s", layer, suffix);
    n->input[0] = input;
    n->output[0] = n->name;
    n->proto.name = n->name;
    n->proto.op_type = (char *)op;
    n->proto.n_input = n->proto.n_output = 1;
    n->proto.input = n->input;
    n->proto.output = n->output;
    n->proto.attribute = n->attributes;
    return n;
}

static void add_input(node *n, const char *value)
{
    assert(n->proto.n_input < NODE_INPUTS);
    n->input[n->proto.n_input++] = (char *)value;
}

static Onnx__AttributeProto *add_attribute(node *n, const char *name,
                                           Onnx__AttributeProto__AttributeType type)
{
    assert(n->proto.n_attribute < NODE_ATTRIBUTES);
    const size_t i = n->proto.n_attribute++;
    Onnx__AttributeProto *const a = n->attributes[i] = &n->attribute[i].proto;
    onnx__attribute_proto__init(a);
    a->name = (char *)name;
    a->has_type = 1;
    a->type = type;
    a->ints = n->attribute[i].ints;
    return a;
}

static void add_integer(node *n, const char *name, int64_t value)
{
    Onnx__AttributeProto *const a =
        add_attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = value;
}

static void add_integers(node *n, const char *name, int count, int64_t value)
{
    Onnx__AttributeProto *const a =
        add_attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    for (int i = 0; i < count; i++)
        a->ints[a->n_ints++] = value;
}

static void add_window(node *n, int kernel, int stride, int pad)
{
    add_integers(n, "kernel_shape", 2, kernel);
    add_integers(n, "strides", 2, stride);
    add_integers(n, "pads", 4, pad);
}

/* Adds an initializer of t's shape and name; values(t->count) are not copied. */
static const char *add_tensor(graph *g, const dn_tensor *t, const float *values)
{
    assert(g->tensor_count < g->net->view.tensor_count);
    tensor *const x = &g->tensors[g->tensor_count++];
    onnx__tensor_proto__init(&x->proto);
    snprintf(x->name, sizeof x->name, "%s", t->name);
    x->proto.name = x->name;
    x->proto.has_data_type = x->proto.has_raw_data = 1;
    x->proto.data_type = FLOAT_DATA;
    x->proto.raw_data.data = (uint8_t *)values;
    x->proto.raw_data.len = t->count * sizeof *values;
    x->proto.dims = x->dims;
    for (int i = 0; i < t->dims; i++)
        x->dims[x->proto.n_dims++] = t->shape[i];
    return x->name;
}

static const char *add_own(graph *g, const dn_tensor *t)
{
    return add_tensor(
        g, t, (dn_is_parameter(t) ? g->net->view.parameters : g->net->view.running) + t->offset);
}

/* As add_tensor, with zeroed values owned by the graph, to be set by the caller; NULL: out of
 * memory. */
static float *add_new(graph *g, const dn_tensor *t, const char **name)
{
    float *const values = calloc(t->count, sizeof *values);
    *name = add_tensor(g, t, values);
    g->tensors[g->tensor_count - 1].own = values;
    if (values == NULL)
        g->status = DN_ENOMEM;
    return values;
}

/* ---- layers ---- */

/* The layer whose batch norm is the only reader of the output of `writer`, a convolution that is
 * its only writer; or NULL. An average pool may be in between, since batch norm commutes with
 * averages. */
static const dn_layer *folded_reader(const graph *g, const dn_layer *writer)
{
    const dn_layer *reader = NULL;
    if (!g->fold || writer->weight == NULL || writer->out < 0)
        return NULL;
    for (const dn_layer *l = g->net->layers; l < g->net->layers + g->net->layer_count; l++) {
        if (l != writer && (l->out == writer->out || (l->in == writer->out && reader != NULL)))
            return NULL;
        reader = l->in == writer->out ? l : reader;
    }
    return reader && reader->gamma ? reader : NULL;
}

static int is_folded(const graph *g, const dn_layer *reader)
{
    for (int i = 0; i < reader->index; i++)
        if (folded_reader(g, &g->net->layers[i]) == reader)
            return 1;
    return 0;
}

/* Adds the convolution's weight and bias with the reader's batch norm folded in. */
static void add_folded(graph *g, node *conv, const dn_layer *l, const dn_layer *norm)
{
    const float *p = g->net->view.parameters, *r = g->net->view.running;
    const size_t row = l->weight->count / (size_t)l->outputs;
    const char *weight_name, *bias_name;
    float *const weight = add_new(g, l->weight, &weight_name);
    float *const bias = add_new(g, norm->beta, &bias_name);
    for (int o = 0; weight && bias && o < l->outputs; o++) {
        const double scale = p[norm->gamma->offset + (size_t)o] /
                             sqrt(r[norm->running_var->offset + (size_t)o] + DN_NORM_EPSILON);
        bias[o] = (float)(p[norm->beta->offset + (size_t)o] -
                          scale * r[norm->running_mean->offset + (size_t)o]);
        for (size_t i = o * row; i < (o + 1) * row; i++)
            weight[i] = (float)(scale * p[l->weight->offset + i]);
    }
    add_input(conv, weight_name);
    add_input(conv, bias_name);
}

static char *add_norm(graph *g, const dn_layer *l, char *x)
{
    const dn_tensor *const tensors[] = {l->gamma, l->beta, l->running_mean, l->running_var};
    const char *const gamma = l->gamma->name;
    char name[sizeof l->gamma->name];
    snprintf(name, sizeof name, "%.*s", (int)(strrchr(gamma, '.') - gamma), gamma);
    if (!is_folded(g, l)) {
        node *const n = add_node(g, "BatchNormalization", name, "", x);
        Onnx__AttributeProto *const epsilon =
            add_attribute(n, "epsilon", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
        epsilon->has_f = 1;
        epsilon->f = (float)DN_NORM_EPSILON;
        for (int i = 0; i < 4; i++)
            add_input(n, add_own(g, tensors[i]));
        x = n->name;
    }
    return add_node(g, "Relu", name, ".relu", x)->name;
}

static char *add_conv(graph *g, const dn_layer *l, int kernel, int stride, char *x)
{
    const dn_layer *const norm = folded_reader(g, l);
    node *const n = add_node(g, "Conv", l->name, "", x);
    add_window(n, kernel, stride, kernel / 2);
    if (norm)
        add_folded(g, n, l, norm);
    else
        add_input(n, add_own(g, l->weight));
    return n->name;
}

static char *add_pool(graph *g, const char *op, const dn_layer *l, int kernel, int stride, int pad,
                      char *x)
{
    node *const n = add_node(g, op, l->name, ".pool", x);
    add_window(n, kernel, stride, pad);
    return n->name;
}

static char *add_head(graph *g, const dn_layer *l, char *x)
{
    const int side = g->net->spec.head_pool;
    x = side > 0 ? add_pool(g, "AveragePool", l, side, side, 0, x)
                 : add_node(g, "GlobalAveragePool", l->name, ".pool", x)->name;
    x = add_node(g, "Flatten", l->name, ".flatten", x)->name;
    node *const n = add_node(g, "Gemm", "logits", "", x);
    add_integer(n, "transB", 1);
    add_input(n, add_own(g, l->weight));
    add_input(n, add_own(g, l->bias));
    add_node(g, g->net->view.loss->onnx, "probabilities", "", n->name);
    return n->name;
}

/* The value that the layer computes from x; NULL: an unknown kind. */
static char *add_operation(graph *g, const dn_layer *l, char *x)
{
    const dn_layer_kind *const kind = l->kind;
    if (kind == &dn_layer_stem7x7)
        return add_conv(g, l, 7, 2, x);
    if (kind == &dn_layer_stem3x3 || kind == &dn_layer_conv1x1 || kind == &dn_layer_conv3x3 ||
        kind == &dn_layer_winograd)
        return add_conv(g, l, kind->kernel, 1, x);
    if (kind == &dn_layer_max_pool)
        return add_pool(g, "MaxPool", l, 3, 2, 1, x);
    if (kind == &dn_layer_pool)
        return add_pool(g, "AveragePool", l, 2, 2, 0, x);
    if (kind == &dn_layer_transition)
        return add_conv(g, l, 1, 1, add_pool(g, "AveragePool", l, 2, 2, 0, x));
    return kind == &dn_layer_head ? add_head(g, l, x) : NULL;
}

static dn_status add_layer(graph *g, const dn_layer *l)
{
    char *x = l->in >= 0 ? g->map[l->in] : "images";
    if (l->gamma)
        x = add_norm(g, l, x);
    x = add_operation(g, l, x);
    DN_CHECK(x, DN_EINVAL,
             "%s: found a layer of kind %s, which the export to ONNX does not support", l->name,
             l->kind->name);
    if (l->out >= 0 && g->map[l->out]) {
        node *const n = add_node(g, "Concat", l->name, ".concat", g->map[l->out]);
        add_input(n, x);
        add_integer(n, "axis", 1);
        x = n->name;
    }
    if (l->out >= 0)
        g->map[l->out] = x;
    return g->status == DN_OK ? DN_OK : dn_fail(g->status, "out of memory for an ONNX graph");
}

/* ---- the file ---- */

typedef struct value {
    Onnx__ValueInfoProto proto;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dim[4], *dims[4];
} value;

/* A float tensor (N, side[0], ...), whose other sides are free if they are 0: "H", "W". */
static void make_value(value *v, const char *name, int sides, const int *side)
{
    static const char *const free_name[] = {"N", "C", "H", "W"};
    onnx__value_info_proto__init(&v->proto);
    onnx__type_proto__init(&v->type);
    onnx__type_proto__tensor__init(&v->tensor);
    onnx__tensor_shape_proto__init(&v->shape);
    v->proto.name = (char *)name;
    v->proto.type = &v->type;
    v->type.tensor_type = &v->tensor;
    v->tensor.has_elem_type = 1;
    v->tensor.elem_type = FLOAT_DATA;
    v->tensor.shape = &v->shape;
    v->shape.n_dim = (size_t)sides + 1;
    v->shape.dim = v->dims;
    for (int i = 0; i <= sides; i++) {
        v->dims[i] = &v->dim[i];
        onnx__tensor_shape_proto__dimension__init(v->dims[i]);
        v->dim[i].has_dim_value = i > 0 && side[i - 1] > 0;
        v->dim[i].dim_value = v->dim[i].has_dim_value ? side[i - 1] : 0;
        v->dim[i].dim_param = v->dim[i].has_dim_value ? NULL : (char *)free_name[i];
    }
}

static dn_status write_model(const char *path, const Onnx__ModelProto *model)
{
    const size_t size = onnx__model_proto__get_packed_size(model);
    uint8_t *const bytes = malloc(size);
    DN_CHECK(bytes, DN_ENOMEM, "out of memory for %zu bytes", size);
    onnx__model_proto__pack(model, bytes);
    const dn_status status = dn_file_write(path, bytes, size);
    free(bytes);
    return status;
}

enum { TEXTS = 16 };

/* The file's message, with storage for what it points to. */
typedef struct model {
    Onnx__ModelProto proto;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto set, *sets[1];
    Onnx__StringStringEntryProto text[TEXTS], *texts[TEXTS];
    value images, logits, probabilities;
    Onnx__ValueInfoProto *in[1], *out[2];
} model;

/* `nodes` and `tensors` receive the addresses of the graph's. */
static void set_graph(model *m, graph *g, Onnx__NodeProto **nodes, Onnx__TensorProto **tensors)
{
    const dn_spec *spec = &g->net->spec;
    onnx__graph_proto__init(&m->graph);
    const int any = spec->head_pool == 0; /* the average is of a map of any size */
    make_value(&m->images, "images", 3,
               (int[]){spec->channels, any ? 0 : spec->height, any ? 0 : spec->width});
    make_value(&m->logits, "logits", 1, &spec->classes);
    make_value(&m->probabilities, "probabilities", 1, &spec->classes);
    m->in[0] = &m->images.proto;
    m->out[0] = &m->logits.proto;
    m->out[1] = &m->probabilities.proto;
    for (int i = 0; i < g->node_count; i++)
        nodes[i] = &g->nodes[i].proto;
    for (int i = 0; i < g->tensor_count; i++)
        tensors[i] = &g->tensors[i].proto;
    m->graph.name = "densenet";
    m->graph.n_node = (size_t)g->node_count;
    m->graph.node = nodes;
    m->graph.n_initializer = (size_t)g->tensor_count;
    m->graph.initializer = tensors;
    m->graph.n_input = 1;
    m->graph.n_output = 2;
    m->graph.input = m->in;
    m->graph.output = m->out;
}

static void set_operators(model *m, int opset)
{
    onnx__operator_set_id_proto__init(&m->set);
    m->sets[0] = &m->set;
    m->set.domain = "";
    m->set.has_version = m->proto.has_ir_version = 1;
    m->set.version = opset;
    m->proto.ir_version = opset < 15 ? 7 : 8; /* released with these opsets */
    m->proto.n_opset_import = 1;
    m->proto.opset_import = m->sets;
}

/* Sets the metadata to the members of `texts`. */
static void set_texts(model *m, json_t *texts)
{
    const char *key;
    json_t *member;
    assert(json_object_size(texts) <= TEXTS);
    m->proto.metadata_props = m->texts;
    json_object_foreach(texts, key, member)
    {
        const size_t i = m->proto.n_metadata_props++;
        m->texts[i] = &m->text[i];
        onnx__string_string_entry_proto__init(&m->text[i]);
        m->text[i].key = (char *)key;
        m->text[i].value = (char *)json_string_value(member);
    }
}

/* Writes the graph as a model, with the members of `texts` as metadata. */
static dn_status save_graph(const char *path, graph *g, json_t *texts, int opset)
{
    model m = {.proto = ONNX__MODEL_PROTO__INIT};
    Onnx__NodeProto **const nodes = calloc((size_t)g->node_count + 1, sizeof *nodes);
    Onnx__TensorProto **const tensors = calloc((size_t)g->tensor_count + 1, sizeof *tensors);
    dn_status status = DN_ENOMEM;
    if (nodes && tensors && texts) {
        set_graph(&m, g, nodes, tensors);
        set_operators(&m, opset);
        set_texts(&m, texts);
        m.proto.producer_name = "dn_dist";
        m.proto.producer_version = (char *)dn_version();
        m.proto.graph = &m.graph;
        status = write_model(path, &m.proto);
    } else {
        dn_fail(status, "out of memory for an ONNX graph");
    }
    free(nodes);
    free(tensors);
    return status;
}

static dn_status make_graph(graph *g)
{
    DN_CHECK(g->nodes && g->tensors && g->map, DN_ENOMEM, "out of memory for an ONNX graph");
    for (int i = 0; i < g->net->layer_count; i++)
        DN_TRY(add_layer(g, &g->net->layers[i]));
    return DN_OK;
}

dn_status dn_onnx_save(const char *path, const dn_net *net, const dn_weights_about *about,
                       int opset, int fold)
{
    const size_t layers = (size_t)net->layer_count;
    graph g = {.net = net,
               .fold = fold,
               .nodes = calloc(LAYER_NODES * layers, sizeof *g.nodes),
               .tensors = calloc((size_t)net->view.tensor_count, sizeof *g.tensors),
               .map = calloc((size_t)net->map_count + 1, sizeof *g.map)};
    dn_status status = make_graph(&g);
    json_t *const texts = dn_weights_describe(net, about);
    status = status == DN_OK ? save_graph(path, &g, texts, opset)
                             : dn_fail(status, "%s: %s", path, dn_message());
    json_decref(texts);
    for (int i = 0; i < g.tensor_count; i++)
        free(g.tensors[i].own);
    free(g.nodes);
    free(g.tensors);
    free(g.map);
    return status;
}
