/* A net's creation, initial weights, running statistics, hash and public view; see
 * include/dn/net.h. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "dn/rng.h"
#include "model/model.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A batch norm over a single value cannot train: its output is its bias, whatever the input. */
static dn_status check_norms(const dn_net *net)
{
    for (int i = 0; i < net->layer_count; i++) {
        const dn_tensor *gamma = net->layers[i].gamma;
        if (gamma == NULL)
            continue;
        const double pixels = dn_map_pixels(&net->maps[net->layers[i].in]);
        DN_CHECK(pixels * net->view.norm_group > 1, DN_ESHAPE,
                 "model %s, %.*s: found a batch norm over one value, expected several: a larger "
                 "--batch-size, or --sync-bn with more virtual ranks",
                 net->spec.name, (int)(strrchr(gamma->name, '.') - gamma->name), gamma->name);
    }
    return DN_OK;
}

static dn_status create(dn_net **out, const dn_spec *spec, const dn_kernels *kernels,
                        const dn_net_options *options, const dn_net *from)
{
    assert(options->batch >= 1 && options->batch <= DN_MAX_BATCH);
    *out = NULL;
    DN_TRY(dn_spec_check(spec));
    dn_net *net = calloc(1, sizeof *net);
    DN_CHECK(net != NULL, DN_ENOMEM, "out of memory for a net");
    net->spec = *spec;
    net->options = *options;
    net->view = (dn_view){.spec = &net->spec,
                          .kernels = kernels,
                          .loss = options->loss != NULL ? options->loss : &dn_cross_entropy,
                          .batch = options->batch,
                          .norm_group = options->norm_group > 1 ? options->norm_group : 1};
    net->lead = from != NULL ? from : net;
    net->threads = omp_get_max_threads();
    dn_status status = dn_build(net);
    if (status == DN_OK && options->train && !options->plan_only)
        status = check_norms(net);
    if (status == DN_OK)
        status = dn_memory_create(net);
    if (status != DN_OK)
        dn_net_destroy(&net);
    *out = net;
    return status;
}

dn_status dn_net_create(dn_net **net, const dn_spec *spec, const dn_kernels *kernels,
                        const dn_net_options *options)
{
    return create(net, spec, kernels, options, NULL);
}

dn_status dn_net_create_sharing(dn_net **net, const dn_net *first)
{
    return create(net, &first->spec, first->view.kernels, &first->options, first);
}

size_t dn_net_planned_bytes(const dn_net *net, int batch)
{
    dn_net *other;
    dn_net_options options = net->options;
    options.batch = batch;
    options.plan_only = 1;
    const dn_status status = create(&other, &net->spec, net->view.kernels, &options, NULL);
    const size_t bytes = status == DN_OK ? other->view.arena_bytes : 0;
    dn_net_destroy(&other);
    return bytes;
}

void dn_net_destroy(dn_net **net)
{
    if (*net == NULL)
        return;
    dn_memory_destroy(*net);
    free((*net)->maps);
    free((*net)->layers);
    free((*net)->tensors);
    free(*net);
    *net = NULL;
}

/* ---- running statistics and weights ---- */

void dn_net_update_running(dn_net *net, const float *leaf, float momentum)
{
    for (int i = 0; i < net->layer_count; i++) {
        const dn_layer *l = &net->layers[i];
        if (l->gamma == NULL)
            continue;
        const dn_feature_map *map = &net->maps[l->in];
        const float *mean = leaf + map->statistics;
        const float *variance = mean + map->channels;
        float *running_mean = net->view.running + l->running_mean->offset;
        float *running_var = net->view.running + l->running_var->offset;
        for (int c = 0; c < l->inputs; c++) {
            running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
            running_var[c] = (1 - momentum) * running_var[c] + momentum * variance[c];
        }
    }
}

static void init_tensor(dn_net *net, const dn_tensor *tensor, uint64_t index, dn_init init,
                        uint64_t seed)
{
    const dn_tensor_kind kind = tensor->kind;
    const int is_conv = kind == DN_CONV_WEIGHT;
    const double kernel = is_conv ? (double)tensor->shape[2] * tensor->shape[3] : 1;
    const double fan_in = tensor->shape[1] * kernel, fan_out = tensor->shape[0] * kernel;
    const double glorot = sqrt(6 / (fan_in + fan_out));
    float *x =
        (dn_is_parameter(tensor) ? net->view.parameters : net->view.running) + tensor->offset;
    if (is_conv && init == DN_INIT_KAIMING)
        dn_random_normal(x, tensor->count, sqrt(2 / fan_in), seed, DN_STREAM_INIT, index);
    else if (is_conv || kind == DN_LINEAR_WEIGHT)
        dn_random_uniform(x, tensor->count, is_conv ? glorot : 1 / sqrt(fan_in), seed,
                          DN_STREAM_INIT, index);
    else
        for (size_t i = 0; i < tensor->count; i++)
            x[i] = kind == DN_NORM_WEIGHT || kind == DN_RUNNING_VAR;
}

void dn_net_init(dn_net *net, dn_init init, uint64_t seed)
{
    for (int i = 0; i < net->view.tensor_count; i++)
        init_tensor(net, &net->tensors[i], (uint64_t)i, init, seed);
}

uint64_t dn_net_hash(const dn_net *net)
{
    const uint64_t parameters =
        XXH3_64bits(net->view.parameters, net->view.parameter_count * sizeof(float));
    return XXH3_64bits_withSeed(net->view.running, net->view.running_count * sizeof(float),
                                parameters);
}

dn_view dn_net_view(const dn_net *net)
{
    return net->view;
}
