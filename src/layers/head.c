/*
 * Batch norm and ReLU, or neither; average pool, dropout, linear. The loss is in loss.c.
 *
 * The pool is global, or has several windows (cells), whose means are features in PyTorch's order,
 * (channels, cells). Features are kept as rows of images, (features, batch), and so are the logits:
 * the linear layer is then a 1x1 convolution whose pixels are images, with the same kernels.
 */
#include <string.h>

#include "layers/dropout.h"
#include "layers/gemm.h"
#include "layers/norm.h"

static const dn_taps one_tap = {.count = 1};

static size_t image_stride(const dn_visit *v)
{
    return dn_round_lanes((size_t)v->net->batch);
}

/* Kept: rows (batch and pad) of the features, later of their gradients; and of the logits per
 * class, later of their gradients. */
static size_t head_kept(const dn_layer *l, int batch)
{
    return (size_t)(2 * l->weights_in + l->outputs) * dn_round_lanes((size_t)batch);
}

static float *features(const dn_visit *v, int feature)
{
    return v->layer->kept + (size_t)feature * image_stride(v);
}

static float *feature_gradient(const dn_visit *v, int feature)
{
    return features(v, v->layer->weights_in + feature);
}

static float *logit_row(const dn_visit *v, int class)
{
    return features(v, 2 * v->layer->weights_in + class);
}

/* ---- the pool ---- */

/* The windows of the pool, `height` x `width` pixels each; pixels beyond the last window are in
 * none. */
typedef struct pool_cells {
    int height, width, rows, columns;
} pool_cells;

static pool_cells cells_of(const dn_visit *v)
{
    const dn_layout *in = &v->in->layout;
    const int side = v->net->spec->head_pool;
    const pool_cells cells = {.height = side > 0 ? side : in->height,
                              .width = side > 0 ? side : in->width};
    return (pool_cells){cells.height, cells.width, in->height / cells.height,
                        in->width / cells.width};
}

static int cell_count(const pool_cells *cells)
{
    return cells->rows * cells->columns;
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

static float cell_mean(const pool_cells *cells, int cell, const float *x, int width)
{
    const int row = cell / cells->columns * cells->height;
    const int column = cell % cells->columns * cells->width;
    float sum = 0;
    if (cells->width == width)
        sum = row_sum(x + (size_t)row * (size_t)width, (size_t)(cells->height * width));
    else
        for (int y = row; y < row + cells->height; y++)
            sum += row_sum(x + (size_t)y * (size_t)width + column, (size_t)cells->width);
    return sum / (float)(cells->height * cells->width);
}

/* Drops features in the forward pass, and their gradients in the backward pass. */
static void drop_feature(const dn_visit *v, const dn_pass *pass, int feature, float *row)
{
    const pool_cells shape = cells_of(v);
    const int cells = cell_count(&shape);
    for (int i = 0; i < v->net->batch && v->layer->channel_dropout > 0; i++)
        row[i] *=
            dn_dropout_channel(v, pass, (int64_t)i * cells + feature % cells, feature / cells);
}

static void pool_channel(const dn_visit *v, const dn_pass *pass, int c)
{
    const size_t pixels = dn_layout_pixels(&v->in->layout);
    const dn_padded compact = dn_padded_none(pixels);
    const pool_cells shape = cells_of(v);
    const int cells = cell_count(&shape);
    dn_carver carver = dn_thread_scratch(v);
    float *x = dn_carve_floats(&carver, dn_round_lanes(pixels));
    for (int i = 0; i < v->net->batch; i++) {
        const size_t at = dn_map_plane_index(v->in, i, c, 0);
        if (v->layer->gamma != NULL)
            v->on_maps->norm_relu(1, &compact, dn_map_at(v->in, v->x, at), 0, v->layer->scale + c,
                                  v->layer->shift + c, x, 0);
        else
            dn_map_load(v->in, v->x, at, pixels, x);
        for (int cell = 0; cell < cells; cell++)
            features(v, c * cells + cell)[i] = cell_mean(&shape, cell, x, v->in->layout.width);
    }
    for (int cell = 0; cell < cells && pass != NULL; cell++)
        drop_feature(v, pass, c * cells + cell, features(v, c * cells + cell));
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
    v->products->gemm(packed, outputs, inputs, &one_tap, (size_t)v->net->batch, from, ld, to, ld,
                      0);
}

/* Rows of logits, without the bias, starting at class `o`. */
static void multiply_features(const dn_visit *v, int o)
{
    const dn_layer *l = v->layer;
    const float *packed = v->packed + (o ? v->products->packed_floats(o, l->weights_in, 1) : 0);
    multiply_images(v, packed, rows_from(o, l->outputs), l->weights_in, features(v, 0),
                    logit_row(v, o));
}

static void head_forward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const float *bias = v->net->parameters + l->bias->offset;
#pragma omp parallel
    {
        if (l->gamma != NULL)
            dn_norm_prepare(v, pass);
        dn_pack_weights(v);
#pragma omp for schedule(static)
        for (int c = 0; c < l->inputs; c++)
            pool_channel(v, pass, c);
#pragma omp for schedule(static)
        for (int o = 0; o < l->outputs; o += DN_PACK_OUTPUTS)
            multiply_features(v, o);
#pragma omp for schedule(static)
        for (int i = 0; i < v->net->batch; i++)
            for (int o = 0; o < l->outputs; o++)
                v->net->logits[(size_t)i * (size_t)l->outputs + (size_t)o] =
                    logit_row(v, o)[i] + bias[o];
    }
}

/* ---- backward ---- */

typedef struct linear_scratch {
    float *dw, *features; /* rows of the weight's gradient, and the features packed */
} linear_scratch;

static linear_scratch carve_linear(const dn_visit *v, dn_carver *c)
{
    const size_t images = (size_t)v->net->batch;
    const int inputs = v->layer->weights_in, rows = rows_from(0, v->layer->outputs);
    linear_scratch s = {0};
    s.dw = dn_carve_floats(c, (size_t)rows * dn_round_lanes((size_t)inputs));
    s.features = dn_carve_floats(c, v->products->packed_dy_floats(inputs, images));
    return s;
}

/* Gradients of rows of the linear layer's weight and bias, starting at class `o`. The features are
 * the packed operand, because there are more of them than rows. */
static void linear_gradient(const dn_visit *v, int o)
{
    const dn_layer *l = v->layer;
    const int rows = rows_from(o, l->outputs);
    const size_t ld = image_stride(v), images = (size_t)v->net->batch;
    const size_t inputs = (size_t)l->weights_in, padded = dn_round_lanes(inputs);
    float *weight = v->net->leaf + l->weight->offset, *bias = v->net->leaf + l->bias->offset;
    dn_carver carver = dn_thread_scratch(v);
    const linear_scratch s = carve_linear(v, &carver);
    memset(s.dw, 0, (size_t)rows * padded * sizeof *s.dw);
    v->products->pack_dy(s.features, l->weights_in, images, features(v, 0), ld);
    v->products->wgrad(l->weights_in, rows, &one_tap, images, s.features, logit_row(v, o), ld,
                       s.dw);
    for (int r = 0; r < rows; r++) {
        memcpy(weight + (size_t)(o + r) * inputs, s.dw + (size_t)r * padded,
               inputs * sizeof *weight);
        bias[o + r] = row_sum(logit_row(v, o + r), images);
    }
}

/* g(piece) = the gradient of channel `c`: each pixel's share of its cell's gradient. */
static void spread_cells(const dn_visit *v, const pool_cells *cells, const dn_piece *piece, int c,
                         float *g)
{
    const int width = v->in->layout.width, count = cell_count(cells);
    const float share = 1 / (float)(cells->height * cells->width);
    for (int i = 0; i < piece->images; i++)
        for (int y = piece->row; y < piece->row + piece->rows; y++)
            for (int x = 0; x < width; x++) {
                const int row = y / cells->height, column = x / cells->width;
                const int cell = row * cells->columns + column;
                const int is_inside = row < cells->rows && column < cells->columns;
                *g++ =
                    is_inside ? feature_gradient(v, c * count + cell)[piece->image + i] * share : 0;
            }
}

/* Distributes the features' gradient over one piece of the last map, `rows` channels starting at
 * `first`. */
static void spread_gradient(const dn_visit *v, int index, int first, int rows)
{
    const dn_piece piece = dn_layout_piece(&v->in->layout, index);
    const pool_cells cells = cells_of(v);
    dn_carver carver = dn_thread_scratch(v);
    float *g = dn_carve_floats(&carver, dn_round_lanes(piece.pixels));
    for (int c = first; c < first + rows; c++) {
        const size_t at = dn_map_index(v->in, &piece, c, 0);
        spread_cells(v, &cells, &piece, c, g);
        if (v->layer->gamma == NULL) {
            dn_plain_grad(v, c, at, piece.pixels, g);
            continue;
        }
        double *sums = dn_partial(v, index, c);
        sums[0] = sums[1] = 0;
        dn_norm_relu_grad(v, c, at, piece.pixels, g, sums);
    }
}

static void head_backward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer *l = v->layer;
    const int block = v->channel_block;
#pragma omp parallel
    {
        dn_loss_gradient(v, pass, logit_row(v, 0), image_stride(v));
        dn_pack_weights(v);
#pragma omp for schedule(static)
        for (int o = 0; o < l->outputs; o += DN_PACK_OUTPUTS)
            linear_gradient(v, o);
#pragma omp for schedule(static)
        for (int f = 0; f < l->weights_in; f += block) {
            multiply_images(v, dn_packed_at(v, f), dn_block_rows(v, f), l->outputs, logit_row(v, 0),
                            feature_gradient(v, f));
            for (int d = f; d < f + dn_block_rows(v, f); d++)
                drop_feature(v, pass, d, feature_gradient(v, d));
        }
#pragma omp for schedule(dynamic) collapse(2)
        for (int p = 0; p < v->in->layout.pieces; p++)
            for (int c = 0; c < l->inputs; c += block)
                spread_gradient(v, p, c, l->inputs - c < block ? l->inputs - c : block);
        if (l->gamma != NULL)
            dn_norm_sums_merge(v);
        else
            dn_plain_sums(v);
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
