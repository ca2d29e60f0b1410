/* Packing of weights, and sums of their gradients; see weights.h. */
#include "layers/weights.h"

#include <assert.h>
#include <string.h>

static int is_transformed(const dn_visit *v)
{
    return v->layer->kind->matrices == DN_WINOGRAD;
}

/* Weight matrices (outputs, inputs) that the layer's gemms take. */
static int matrices_of(const dn_visit *v)
{
    return is_transformed(v) ? DN_WINOGRAD : v->layer->taps;
}

/* ---- packing ---- */

/* Floats of a block of so many input channels. */
static size_t packed_block(const dn_visit *v, int channels)
{
    const int outputs = v->layer->outputs;
    const int rows = v->backward ? channels : outputs, columns = v->backward ? outputs : channels;
    if (is_transformed(v))
        return DN_WINOGRAD * v->products->packed_floats(rows, columns, 1);
    return v->products->packed_floats(rows, columns, v->layer->taps);
}

size_t dn_packed_size(const dn_visit *v)
{
    const int block = dn_visit_block(v), inputs = v->layer->weights_in;
    if (inputs == 0)
        return 0;
    const int last = (inputs - 1) / block * block;
    return (size_t)(last / block) * packed_block(v, block) + packed_block(v, inputs - last);
}

const float *dn_packed_at(const dn_visit *v, int first)
{
    const int block = dn_visit_block(v);
    return v->packed + (size_t)(first / block) * packed_block(v, block);
}

/* The weights of the channel block that begins at input `first`, as a matrix (outputs, rows). */
static dn_weights block_weights(const dn_visit *v, int first)
{
    const dn_layer *l = v->layer;
    return (dn_weights){.w = v->parameters + l->weight + (size_t)first * (size_t)l->taps,
                        .outputs = l->outputs,
                        .inputs = dn_block_rows(v, first),
                        .taps = l->taps,
                        .out_step = (ptrdiff_t)l->weights_in * l->taps,
                        .in_step = l->taps};
}

/* u(4, 4) = G w G' of a 3x3 kernel, or of the kernel turned by half a circle. */
static void transform_weights(const float *w, int turned, float *u)
{
    float half[4][3]; /* G w */
    for (int c = 0; c < 3; c++) {
        const float a = w[turned ? 8 - c : c], b = w[turned ? 5 - c : 3 + c];
        const float d = w[turned ? 2 - c : 6 + c];
        half[0][c] = a;
        half[1][c] = 0.5f * (a + b + d);
        half[2][c] = 0.5f * (a - b + d);
        half[3][c] = d;
    }
    for (int r = 0; r < 4; r++, u += 4) {
        u[0] = half[r][0];
        u[1] = 0.5f * (half[r][0] + half[r][1] + half[r][2]);
        u[2] = 0.5f * (half[r][0] - half[r][1] + half[r][2]);
        u[3] = half[r][2];
    }
}

/* dw(3, 3) = G' m G of a gradient in the transformed domain. */
static void transform_weight_gradient(const float *m, float *dw)
{
    float half[3][4]; /* G' m */
    for (int c = 0; c < 4; c++) {
        const float sum = m[4 + c] + m[8 + c], difference = m[4 + c] - m[8 + c];
        half[0][c] = m[c] + 0.5f * sum;
        half[1][c] = 0.5f * difference;
        half[2][c] = 0.5f * sum + m[12 + c];
    }
    for (int r = 0; r < 3; r++, dw += 3) {
        const float sum = half[r][1] + half[r][2], difference = half[r][1] - half[r][2];
        dw[0] = half[r][0] + 0.5f * sum;
        dw[1] = 0.5f * difference;
        dw[2] = 0.5f * sum + half[r][3];
    }
}

void dn_pack_scratch(const dn_visit *v, dn_carver *c)
{
    const int outputs = v->layer->outputs;
    const int rows = v->backward || outputs < DN_PACK_OUTPUTS ? outputs : DN_PACK_OUTPUTS;
    if (is_transformed(v))
        dn_carve_floats(c, (size_t)(rows * dn_visit_block(v)) * DN_WINOGRAD);
}

/* Packs weights(outputs, inputs) as 16 matrices, `step` floats apart. */
static void pack_transformed(const dn_visit *v, float *to, size_t step, const dn_weights *weights)
{
    const ptrdiff_t row = (ptrdiff_t)weights->inputs * DN_WINOGRAD;
    dn_carver scratch = dn_thread_scratch(v);
    float *u = dn_carve_floats(&scratch, (size_t)(weights->outputs * row));
    for (int o = 0; o < weights->outputs; o++)
        for (int c = 0; c < weights->inputs; c++)
            transform_weights(weights->w + o * weights->out_step + c * weights->in_step,
                              v->backward, u + o * row + c * DN_WINOGRAD);
    for (int e = 0; e < DN_WINOGRAD; e++)
        v->products->pack(to + (size_t)e * step, &(dn_weights){.w = u + e,
                                                               .outputs = weights->outputs,
                                                               .inputs = weights->inputs,
                                                               .taps = 1,
                                                               .out_step = row,
                                                               .in_step = DN_WINOGRAD});
}

/* Packs some rows of a block's matrix. `whole` is the block's number of rows. */
static void pack_rows(const dn_visit *v, float *to, const dn_weights *weights, int whole)
{
    if (is_transformed(v))
        pack_transformed(v, to, v->products->packed_floats(whole, weights->inputs, 1), weights);
    else
        v->products->pack(to, weights);
}

/* Forward, in parts of a block's outputs: there may be few blocks. */
static void pack_forward(const dn_visit *v)
{
    const dn_layer *l = v->layer;
    const int block = dn_visit_block(v), blocks = (l->weights_in + block - 1) / block;
    const int parts = (l->outputs + DN_PACK_OUTPUTS - 1) / DN_PACK_OUTPUTS;
#pragma omp for schedule(static)
    for (int i = 0; i < blocks * parts; i++) {
        const int first = i / parts * block, o = i % parts * DN_PACK_OUTPUTS;
        const int left = l->outputs - o;
        dn_weights w = block_weights(v, first);
        float *to = v->packed + (size_t)(i / parts) * packed_block(v, block);
        if (o > 0)
            to += v->products->packed_floats(o, w.inputs, is_transformed(v) ? 1 : w.taps);
        w.w += o * w.out_step;
        w.outputs = left < DN_PACK_OUTPUTS ? left : DN_PACK_OUTPUTS;
        pack_rows(v, to, &w, l->outputs);
    }
}

static void pack_transposed(const dn_visit *v)
{
    const int block = dn_visit_block(v);
#pragma omp for schedule(static)
    for (int first = 0; first < v->layer->weights_in; first += block) {
        const dn_weights w = block_weights(v, first);
        const dn_weights transposed = {.w = w.w,
                                       .outputs = w.inputs,
                                       .inputs = w.outputs,
                                       .taps = w.taps,
                                       .out_step = w.in_step,
                                       .in_step = w.out_step};
        pack_rows(v, v->packed + (size_t)(first / block) * packed_block(v, block), &transposed,
                  w.inputs);
    }
}

void dn_pack_weights(const dn_visit *v)
{
    if (v->backward)
        pack_transposed(v);
    else
        pack_forward(v);
}

/* ---- weight gradients ---- */

/* Floats of a partial gradient that belong to one input channel. */
static size_t wgrad_column(const dn_visit *v)
{
    return dn_round_lanes((size_t)v->layer->outputs) * (size_t)matrices_of(v);
}

size_t dn_wgrad_size(const dn_visit *v)
{
    return (size_t)v->layer->weights_in * wgrad_column(v);
}

float *dn_wgrad_at(const dn_visit *v, int slice, int first)
{
    return v->wgrad + (size_t)slice * dn_wgrad_size(v) + (size_t)first * wgrad_column(v);
}

void dn_wgrad_clear(const dn_visit *v, const dn_task *task)
{
    const int block = dn_visit_block(v), inputs = v->layer->weights_in;
    const int first = task->block * block, end = task->block_end * block;
    const size_t rows = (size_t)((end < inputs ? end : inputs) - first);
    memset(dn_wgrad_at(v, task->slice, first), 0, rows * wgrad_column(v) * sizeof(float));
}

/* sums(products * rows, DN_LANES) = the slices' partial gradients of so many outputs, added in
 * order; `ld` floats lie between rows and `slice_floats` between slices. */
static void sum_slices(const float *partial, int rows, size_t ld, int slices, size_t slice_floats,
                       float (*sums)[DN_LANES])
{
    for (int r = 0; r < rows; r++)
        memcpy(sums[r], partial + (size_t)r * ld, sizeof sums[r]);
    for (int s = 1; s < slices; s++)
        for (int r = 0; r < rows; r++) {
            const float *from = partial + (size_t)s * slice_floats + (size_t)r * ld;
            for (int o = 0; o < DN_LANES; o++)
                sums[r][o] += from[o];
        }
}

/* The gradient of one output's weights of `rows` inputs, from column `o` of its sums. */
static void turn_sums(float (*sums)[DN_LANES], int o, int products, int rows, int taps, float *to)
{
    for (int c = 0; c < rows; c++, to += taps) {
        float turned[DN_WINOGRAD];
        for (int p = 0; p < products; p++)
            turned[p] = sums[p * rows + c][o];
        if (products == DN_WINOGRAD)
            transform_weight_gradient(turned, to);
        else
            memcpy(to, turned, (size_t)taps * sizeof *to);
    }
}

/* Outputs [o, o + DN_LANES) of the block that begins at input `first`. */
static void merge_block(const dn_visit *v, int slices, int first, int o)
{
    enum { MOST = 384 }; /* matrices * rows */
    const dn_layer *l = v->layer;
    const int rows = dn_block_rows(v, first), matrices = matrices_of(v);
    float sums[MOST][DN_LANES];
    assert(matrices * rows <= MOST);
    sum_slices(dn_wgrad_at(v, 0, first) + o, matrices * rows, dn_round_lanes((size_t)l->outputs),
               slices, dn_wgrad_size(v), sums);
    float *to = v->leaf + l->weight + (size_t)(first * l->taps);
    for (int i = o; i < o + DN_LANES && i < l->outputs; i++)
        turn_sums(sums, i - o, matrices, rows, l->taps,
                  to + (size_t)i * (size_t)(l->weights_in * l->taps));
}

void dn_wgrad_merge(const dn_visit *v, int slices)
{
    const int block = dn_visit_block(v);
#pragma omp for schedule(static) collapse(2)
    for (int first = 0; first < v->layer->weights_in; first += block)
        for (int o = 0; o < v->layer->outputs; o += DN_LANES)
            merge_block(v, slices, first, o);
}
