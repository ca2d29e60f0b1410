/*
 * Norm, ReLU, global average pool, linear, softmax cross-entropy.
 *
 * The pooled features are kept as rows of images, (channels, batch), and so are the logits: the
 * linear layer is then a 1x1 convolution whose pixels are images, with the same kernels.
 */
#include <math.h>
#include <string.h>

#include "dn/math.h"
#include "layers/norm.h"
#include "layers/gemm.h"

static const dn_taps one_tap = {.count = 1};

static size_t image_stride(const dn_visit *v)
{
    return dn_round_lanes((size_t)v->options->batch);
}

/* What is kept are rows (batch and pad): of channels the features, then their gradients; of classes
 * the logits, which their gradients replace. */
static size_t head_kept(const dn_layer *l, int batch)
{
    return (size_t)(2 * l->inputs + l->outputs) * dn_round_lanes((size_t)batch);
}

static float *features(const dn_visit *v, int channel)
{
    return v->layer->kept + (size_t)channel * image_stride(v);
}

static float *feature_gradient(const dn_visit *v, int channel)
{
    return features(v, v->layer->inputs + channel);
}

static float *logit_row(const dn_visit *v, int class)
{
    return features(v, 2 * v->layer->inputs + class);
}

/* ---- forward ---- */

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

static void pool_channel(const dn_visit *v, int c)
{
    const size_t pixels = dn_layout_pixels(&v->in->layout);
    const dn_padded compact = dn_padded_none(pixels);
    dn_carver carver = dn_thread_scratch(v);
    float *x = dn_carve_floats(&carver, dn_round_lanes(pixels));
    float *row = features(v, c);
    for (int i = 0; i < v->options->batch; i++) {
        const size_t at = dn_map_plane_index(v->in, i, c, 0);
        v->on_maps->norm_relu(1, &compact, dn_map_at(v->in, v->x, at), 0, v->layer->scale + c,
                              v->layer->shift + c, x, 0);
        row[i] = row_sum(x, pixels) / (float)pixels;
    }
}

static int rows_from(int o, int outputs)
{
    return outputs - o < DN_PACK_OUTPUTS ? outputs - o : DN_PACK_OUTPUTS;
}

/* to(outputs, batch) = weights(outputs, inputs) * from(inputs, batch). */
static void multiply_images(const dn_visit *v, const float *packed, int outputs, int inputs,
                            const float *from, float *to)
{
    const size_t ld = image_stride(v);
    v->products->gemm(packed, outputs, inputs, &one_tap, (size_t)v->options->batch, from, ld, to,
                      ld, 0);
}

/* Rows of logits, without the bias, from class `o` on. */
static void multiply_features(const dn_visit *v, int o)
{
    const dn_layer *l = v->layer;
    const float *packed = v->packed + (o ? v->products->packed_floats(o, l->inputs, 1) : 0);
    multiply_images(v, packed, rows_from(o, l->outputs), l->inputs, features(v, 0),
                    logit_row(v, o));
}

static float *image_logits(const dn_visit *v, int image)
{
    return v->logits + (size_t)image * (size_t)v->layer->outputs;
}

static void head_forward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const float *bias = v->parameters + l->bias->offset;
    dn_norm_prepare(v, pass);
#pragma omp parallel
    {
        dn_pack_weights(v);
#pragma omp for schedule(static)
        for (int c = 0; c < l->inputs; c++)
            pool_channel(v, c);
#pragma omp for schedule(static)
        for (int o = 0; o < l->outputs; o += DN_PACK_OUTPUTS)
            multiply_features(v, o);
#pragma omp for schedule(static)
        for (int i = 0; i < v->options->batch; i++)
            for (int o = 0; o < l->outputs; o++)
                image_logits(v, i)[o] = logit_row(v, o)[i] + bias[o];
    }
}

/* ---- loss ---- */

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

void dn_head_score(const dn_visit *v, int count, float label_smoothing, dn_result *result)
{
    const int classes = v->layer->outputs;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i++)
        v->losses[i] = image_loss(image_logits(v, i), classes, v->labels[i], label_smoothing);
    *result = (dn_result){0};
    for (int i = 0; i < count; i++) {
        const int rank = label_rank(image_logits(v, i), classes, v->labels[i]);
        result->loss += v->losses[i];
        result->correct1 += rank < 1;
        result->correct5 += rank < 5;
    }
}

/* ---- backward ---- */

/* The logits' rows become the gradient of the mean loss; pad 0. Inside a parallel region. */
static void logit_gradient(const dn_visit *v, float smoothing)
{
    const int classes = v->layer->outputs, images = v->options->batch;
#pragma omp for schedule(static)
    for (int i = 0; i < images; i++) {
        const float *logits = image_logits(v, i);
        double largest;
        const double normal = log_sum(logits, classes, &largest);
        for (int o = 0; o < classes; o++) {
            const double target =
                (o == v->labels[i] ? 1 - (double)smoothing : 0) + (double)smoothing / classes;
            logit_row(v, o)[i] = (float)((dn_exp(logits[o] - largest - normal) - target) / images);
        }
    }
#pragma omp for schedule(static)
    for (int o = 0; o < classes; o++)
        memset(logit_row(v, o) + images, 0, (image_stride(v) - (size_t)images) * sizeof(float));
}

typedef struct linear_scratch {
    float *dw, *features; /* rows of the weight's gradient, and the features packed */
} linear_scratch;

static linear_scratch carve_linear(const dn_visit *v, dn_carver *c)
{
    const size_t images = (size_t)v->options->batch;
    const int inputs = v->layer->inputs, rows = rows_from(0, v->layer->outputs);
    linear_scratch s = {0};
    s.dw = dn_carve_floats(c, (size_t)rows * dn_round_lanes((size_t)inputs));
    s.features = dn_carve_floats(c, v->products->packed_dy_floats(inputs, images));
    return s;
}

/* Gradients of rows of the linear layer's weight and bias from class `o` on. The features are the
 * packed operand: there are more of them than rows. */
static void linear_gradient(const dn_visit *v, int o)
{
    const dn_layer *l = v->layer;
    const int rows = rows_from(o, l->outputs);
    const size_t ld = image_stride(v), images = (size_t)v->options->batch;
    const size_t inputs = (size_t)l->inputs, padded = dn_round_lanes(inputs);
    float *weight = v->leaf + l->weight->offset, *bias = v->leaf + l->bias->offset;
    dn_carver carver = dn_thread_scratch(v);
    const linear_scratch s = carve_linear(v, &carver);
    memset(s.dw, 0, (size_t)rows * padded * sizeof *s.dw);
    v->products->pack_dy(s.features, l->inputs, images, features(v, 0), ld);
    v->products->wgrad(l->inputs, rows, &one_tap, images, s.features, logit_row(v, o), ld, s.dw);
    for (int r = 0; r < rows; r++) {
        memcpy(weight + (size_t)(o + r) * inputs, s.dw + (size_t)r * padded,
               inputs * sizeof *weight);
        bias[o + r] = row_sum(logit_row(v, o + r), images);
    }
}

/* Spreads the features' gradient over one piece of the last map, channels from `first` on. */
static void spread_gradient(const dn_visit *v, int index, int first)
{
    const dn_piece piece = dn_layout_piece(&v->in->layout, index);
    const size_t pixels = piece.pixels / (size_t)piece.images;
    const float share = 1 / (float)dn_layout_pixels(&v->in->layout);
    dn_carver carver = dn_thread_scratch(v);
    float *g = dn_carve_floats(&carver, dn_round_lanes(piece.pixels));
    for (int c = first; c < first + dn_block_rows(v, first); c++) {
        const float *from = feature_gradient(v, c) + piece.image;
        double *sums = dn_partial(v, index, c);
        for (size_t p = 0; p < piece.pixels; p++)
            g[p] = from[p / pixels] * share;
        sums[0] = sums[1] = 0;
        dn_norm_relu_grad(v, c, dn_map_index(v->in, &piece, c, 0), piece.pixels, g, sums);
    }
}

static void head_backward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const int block = dn_visit_block(v);
#pragma omp parallel
    {
        logit_gradient(v, pass->label_smoothing);
        dn_pack_weights(v);
#pragma omp for schedule(static)
        for (int o = 0; o < l->outputs; o += DN_PACK_OUTPUTS)
            linear_gradient(v, o);
#pragma omp for schedule(static)
        for (int c = 0; c < l->inputs; c += block)
            multiply_images(v, dn_packed_at(v, c), dn_block_rows(v, c), l->outputs, logit_row(v, 0),
                            feature_gradient(v, c));
#pragma omp for schedule(dynamic) collapse(2)
        for (int p = 0; p < v->in->layout.pieces; p++)
            for (int c = 0; c < l->inputs; c += block)
                spread_gradient(v, p, c);
        dn_norm_sums_merge(v);
    }
}

/* Pixels of a channel, of an image or of a piece; then what the linear layer's gradient takes. */
static void head_scratch(const dn_visit *v, dn_carver *c)
{
    const dn_layout *in = &v->in->layout;
    const size_t pixels = v->backward ? dn_layout_piece(in, 0).pixels : dn_layout_pixels(in);
    dn_carve_floats(c, dn_round_lanes(pixels));
    if (!v->backward)
        return;
    dn_carve_anew(c);
    carve_linear(v, c);
}

const dn_layer_kind dn_layer_head = {
    .name = "linear",
    .phase = "head",
    .kernel = 1,
    .forward = head_forward,
    .backward = head_backward,
    .scratch = head_scratch,
    .kept = head_kept,
    .backward_block = 24,
};
