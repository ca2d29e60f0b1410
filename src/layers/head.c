/*
 * Norm, ReLU, global average pool, linear, softmax cross-entropy.
 *
 * The pooled features are kept as rows of images, (channels, batch), and so are the logits: the
 * linear layer is then a 1x1 convolution whose pixels are images, with the same kernels.
 */
#include "dn/math.h"
#include "layers.h"

#include <math.h>
#include <string.h>

static size_t image_stride(const dn_net *net)
{
    return dn_round_lanes((size_t)net->options.batch);
}

/* Sum of a row in DN_LANES lanes merged pairwise. */
static float row_sum(const float *x, size_t n)
{
    float lane[DN_LANES] = {0};
    size_t p = 0;
    for (; p + DN_LANES <= n; p += DN_LANES)
        for (int l = 0; l < DN_LANES; l++)
            lane[l] += x[p + (size_t)l];
    for (int l = 0; p < n; p++, l++)
        lane[l] += x[p];
    for (int half = DN_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static void pool_channel(dn_net *net, const dn_node *node, int c)
{
    const dn_feature_map *in = &net->maps[node->in];
    const size_t pixels = dn_layout_pixels(&in->layout);
    const dn_padded run = dn_padded_none(pixels);
    float *x = dn_thread_scratch(net), *row = net->features + (size_t)c * image_stride(net);
    for (int i = 0; i < net->options.batch; i++) {
        net->on_maps->norm_relu(1, &run, dn_map_at(in, dn_map_plane_index(in, i, c, 0)), 0,
                                node->scale + c, node->shift + c, x, 0);
        row[i] = row_sum(x, pixels) / (float)pixels;
    }
}

void dn_head_forward(dn_net *net, const dn_node *node, const dn_pass *pass)
{
    const size_t ld = image_stride(net), images = (size_t)net->options.batch;
    const dn_taps one = {.count = 1};
    const float *bias = net->parameters + node->bias;
    dn_norm_prepare(net, node, pass);
#pragma omp parallel
    {
        dn_pack_forward(net, node, node->inputs);
#pragma omp for schedule(static)
        for (int c = 0; c < node->inputs; c++)
            pool_channel(net, node, c);
#pragma omp for schedule(static)
        for (int o = 0; o < node->outputs; o += DN_PACK_OUTPUTS) {
            const int rows =
                node->outputs - o < DN_PACK_OUTPUTS ? node->outputs - o : DN_PACK_OUTPUTS;
            const float *packed =
                net->packed + (o ? net->products->packed_floats(o, node->inputs, 1) : 0);
            net->products->gemm(packed, rows, node->inputs, &one, images, net->features, ld,
                                net->logit_rows + (size_t)o * ld, ld, 0);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < images; i++)
            for (size_t o = 0; o < (size_t)node->outputs; o++)
                net->logits[i * (size_t)node->outputs + o] = net->logit_rows[o * ld + i] + bias[o];
    }
}

/* Largest logit, and the logarithm of the sum of exp(logit - largest). */
static double log_sum(const float *logits, int classes, double *largest)
{
    *largest = logits[0];
    for (int o = 1; o < classes; o++)
        if (logits[o] > *largest)
            *largest = logits[o];
    double sum = 0;
    for (int o = 0; o < classes; o++)
        sum += dn_exp(logits[o] - *largest);
    return dn_log(sum);
}

/* Cross-entropy against (1 - smoothing) * label + smoothing / classes. */
static double image_loss(const float *logits, int classes, int label, float smoothing)
{
    double largest, mean = 0;
    const double normal = log_sum(logits, classes, &largest);
    for (int o = 0; o < classes && smoothing > 0; o++)
        mean += logits[o] - largest - normal;
    return -(1 - (double)smoothing) * (logits[label] - largest - normal) -
           (double)smoothing * mean / classes;
}

/* Classes that come before the label: larger logits, and equal ones of a lower number. */
static int label_rank(const float *logits, int classes, int label)
{
    int rank = isfinite(logits[label]) ? 0 : classes;
    for (int o = 0; o < classes; o++)
        rank += logits[o] > logits[label] || (logits[o] == logits[label] && o < label);
    return rank;
}

void dn_head_score(dn_net *net, int count, float label_smoothing, dn_result *result)
{
    const int classes = net->spec.classes;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++)
        net->image_loss[i] = image_loss(net->logits + (size_t)i * (size_t)classes, classes,
                                        net->labels[i], label_smoothing);
    *result = (dn_result){0};
    for (int i = 0; i < count; i++) {
        const int rank =
            label_rank(net->logits + (size_t)i * (size_t)classes, classes, net->labels[i]);
        result->loss += net->image_loss[i];
        result->correct1 += rank < 1;
        result->correct5 += rank < 5;
    }
}

/* logit_rows(classes, batch) = the gradient of the mean loss; pad 0. Inside a parallel region. */
static void logit_gradient(dn_net *net, float smoothing)
{
    const int classes = net->spec.classes, images = net->options.batch;
    const size_t ld = image_stride(net);
#pragma omp for schedule(static)
    for (int i = 0; i < (int)ld; i++) {
        const float *logits = net->logits + (size_t)i * (size_t)classes;
        double largest = 0, normal = 0;
        if (i < images)
            normal = log_sum(logits, classes, &largest);
        for (int o = 0; o < classes; o++) {
            float *to = net->logit_rows + (size_t)o * ld + (size_t)i;
            if (i >= images) {
                *to = 0;
                continue;
            }
            const double target =
                (o == net->labels[i] ? 1 - (double)smoothing : 0) + (double)smoothing / classes;
            *to = (float)((dn_exp(logits[o] - largest - normal) - target) / images);
        }
    }
}

/* Gradients of `rows` rows of the linear layer's weight and bias from class `o` on. The features
 * are the packed operand: there are more of them than rows. */
static void linear_gradient(dn_net *net, const dn_node *node, int o, int rows)
{
    const size_t ld = image_stride(net), images = (size_t)net->options.batch;
    const float *dy = net->logit_rows + (size_t)o * ld;
    const dn_taps one = {.count = 1};
    const size_t inputs = (size_t)node->inputs, padded = dn_round_lanes(inputs);
    float *to = net->leaf + node->weight + (size_t)o * inputs;
    float *dw = dn_thread_scratch(net), *features = dw + (size_t)rows * padded;
    memset(dw, 0, (size_t)rows * padded * sizeof *dw);
    net->products->pack_dy(features, node->inputs, images, net->features, ld);
    net->products->wgrad(node->inputs, rows, &one, images, features, dy, ld, dw);
    for (int r = 0; r < rows; r++)
        memcpy(to + (size_t)r * inputs, dw + (size_t)r * padded, inputs * sizeof *to);
    for (int r = 0; r < rows; r++)
        net->leaf[node->bias + (size_t)(o + r)] = row_sum(dy + (size_t)r * ld, images);
}

/* Spreads the features' gradient over one piece of the last map, channels from `c` on. */
static void unpool_piece(dn_net *net, const dn_node *node, int index, int c)
{
    const dn_feature_map *in = &net->maps[node->in];
    const dn_piece piece = dn_layout_piece(&in->layout, index);
    const size_t pixels = piece.pixels / (size_t)piece.images;
    const float share = 1 / (float)dn_layout_pixels(&in->layout);
    const int rows = dn_block_rows(node, c, DN_BACKWARD_BLOCK);
    float *g = dn_thread_scratch(net);
    for (int r = 0; r < rows; r++) {
        const float *from =
            net->feature_gradient + (size_t)(c + r) * image_stride(net) + piece.image;
        for (size_t p = 0; p < piece.pixels; p++)
            g[p] = from[p / pixels] * share;
        float sums[2];
        const size_t x = dn_map_index(in, &piece, c + r, 0);
        dn_norm_backward(net, node, c + r, 1, x, piece.pixels, g, 0, sums);
        double *partial = dn_norm_partial(net, node, index, c + r);
        partial[0] = sums[0];
        partial[1] = sums[1];
    }
}

void dn_head_backward(dn_net *net, const dn_node *node, float label_smoothing)
{
    const dn_feature_map *in = &net->maps[node->in];
    const size_t ld = image_stride(net);
    const size_t packed = dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK);
    const dn_taps one = {.count = 1};
#pragma omp parallel
    {
        logit_gradient(net, label_smoothing);
        dn_pack_transposed(net, node, DN_BACKWARD_BLOCK);
#pragma omp for schedule(static)
        for (int o = 0; o < node->outputs; o += DN_PACK_OUTPUTS)
            linear_gradient(net, node, o,
                            node->outputs - o < DN_PACK_OUTPUTS ? node->outputs - o
                                                                : DN_PACK_OUTPUTS);
#pragma omp for schedule(static)
        for (int c = 0; c < node->inputs; c += DN_BACKWARD_BLOCK)
            net->products->gemm(net->packed + (size_t)(c / DN_BACKWARD_BLOCK) * packed,
                                dn_block_rows(node, c, DN_BACKWARD_BLOCK), node->outputs, &one,
                                (size_t)net->options.batch, net->logit_rows, ld,
                                net->feature_gradient + (size_t)c * ld, ld, 0);
#pragma omp for schedule(dynamic) collapse(2)
        for (int p = 0; p < in->layout.pieces; p++)
            for (int c = 0; c < node->inputs; c += DN_BACKWARD_BLOCK)
                unpool_piece(net, node, p, c);
        dn_norm_merge_sums(net, node, in->layout.pieces);
    }
}

dn_needs dn_head_needs(const dn_net *net, const dn_node *node)
{
    const dn_feature_map *in = &net->maps[node->in];
    const dn_slices none = {0};
    const size_t image = dn_row_stride(dn_layout_pixels(&in->layout));
    const size_t piece = dn_row_stride(dn_layout_piece(&in->layout, 0).pixels);
    dn_needs needs = dn_weight_needs(net, node, node->inputs, &none);
    const size_t gradient =
        DN_PACK_OUTPUTS * dn_round_lanes((size_t)node->inputs) +
        net->products->packed_dy_floats(node->inputs, (size_t)net->options.batch);
    needs.scratch = image > piece ? image : piece;
    if (net->options.train && gradient > needs.scratch)
        needs.scratch = gradient;
    needs.partial = (size_t)in->layout.pieces * (size_t)node->inputs * 2;
    return needs;
}
