/* Packing of weights, and sums of their gradients; see gemm.h. */
#include "layers/gemm.h"

#include <assert.h>
#include <string.h>

int dn_block_rows(const dn_visit *v, int first)
{
    const int block = v->block, left = v->layer->weights_in - first;
    return left < block ? left : block;
}

/* ---- packing ---- */

/* Floats of a packed matrix: all taps, or one of the transformed matrices. */
static size_t packed_matrix(const dn_visit *v, int outputs, int inputs)
{
    const int taps = v->layer->kind->winograd ? 1 : v->layer->taps;
    return v->products->packed_floats(outputs, inputs, taps);
}

/* Floats of a block of so many input channels. */
static size_t packed_block(const dn_visit *v, int channels)
{
    const int outputs = v->layer->outputs;
    return (v->layer->kind->winograd ? DN_WINOGRAD : 1) *
           (v->backward ? packed_matrix(v, channels, outputs)
                        : packed_matrix(v, outputs, channels));
}

size_t dn_packed_size(const dn_visit *v)
{
    const int block = v->block, inputs = v->layer->weights_in;
    if (inputs == 0)
        return 0;
    const int last = (inputs - 1) / block * block;
    return (size_t)(last / block) * packed_block(v, block) + packed_block(v, inputs - last);
}

float *dn_packed_at(const dn_visit *v, int first)
{
    const int block = v->block;
    return v->packed + (size_t)(first / block) * packed_block(v, block);
}

/* The weights of the channel block that begins at input `first`, as the visit's gemm takes them:
 * (outputs, rows), or backward (rows, outputs). */
static dn_weights block_weights(const dn_visit *v, int first)
{
    const dn_layer *l = v->layer;
    const float *w = v->parameters + l->weight->offset + (size_t)first * (size_t)l->taps;
    const int rows = dn_block_rows(v, first);
    const ptrdiff_t output_step = (ptrdiff_t)l->weights_in * l->taps, input_step = l->taps;
    if (v->backward)
        return (dn_weights){w, rows, l->outputs, l->taps, input_step, output_step};
    return (dn_weights){w, l->outputs, rows, l->taps, output_step, input_step};
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
    dn_carve_floats(c, (size_t)(rows * v->block) * DN_WINOGRAD);
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

/* Packs rows [o, o + DN_PACK_OUTPUTS) of the block that begins at input `first`. */
static void pack_rows(const dn_visit *v, int first, int o)
{
    dn_weights w = block_weights(v, first);
    const int rows = w.outputs, left = rows - o;
    float *to = dn_packed_at(v, first) + (o > 0 ? packed_matrix(v, o, w.inputs) : 0);
    w.w += o * w.out_step;
    w.outputs = left < DN_PACK_OUTPUTS ? left : DN_PACK_OUTPUTS;
    if (v->layer->kind->winograd)
        pack_transformed(v, to, packed_matrix(v, rows, w.inputs), &w);
    else
        v->products->pack(to, &w);
}

/* In parts of a block's rows, as there may be few blocks. */
void dn_pack_weights(const dn_visit *v)
{
    const int block = v->block, rows = v->backward ? block : v->layer->outputs;
    assert(!v->backward || block <= DN_PACK_OUTPUTS); /* else the last block may have fewer parts */
#pragma omp for schedule(static) collapse(2)
    for (int first = 0; first < v->layer->weights_in; first += block)
        for (int o = 0; o < rows; o += DN_PACK_OUTPUTS)
            pack_rows(v, first, o);
}

/* ---- weight gradients ---- */

/* Floats of a partial gradient that belong to one input channel. */
static size_t wgrad_column(const dn_layer *l)
{
    const int matrices = l->kind->winograd ? DN_WINOGRAD : l->taps;
    return dn_round_lanes((size_t)l->outputs) * (size_t)matrices;
}

size_t dn_wgrad_size(const dn_visit *v, int channels)
{
    return (size_t)channels * wgrad_column(v->layer);
}

float *dn_wgrad_at(const dn_visit *v, int slice, int first)
{
    return v->wgrad + (size_t)slice * dn_wgrad_size(v, v->layer->weights_in) +
           dn_wgrad_size(v, first);
}

/* sums(matrices * rows, DN_LANES) = the slices' partial gradients of so many outputs, added in
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
static void turn_sums(const dn_layer *l, float (*sums)[DN_LANES], int o, int rows, float *to)
{
    if (l->taps == 1) { /* most weights: as fast as they can be moved */
        for (int c = 0; c < rows; c++)
            to[c] = sums[c][o];
        return;
    }
    const int matrices = l->kind->winograd ? DN_WINOGRAD : l->taps;
    for (int c = 0; c < rows; c++, to += l->taps) {
        float turned[DN_WINOGRAD];
        float *const row = l->kind->winograd ? turned : to;
        for (int m = 0; m < matrices; m++)
            row[m] = sums[m * rows + c][o];
        if (l->kind->winograd)
            transform_weight_gradient(turned, to);
    }
}

/* Outputs [o, o + DN_LANES) of the block that begins at input `first`. */
static void merge_block(const dn_visit *v, int slices, int first, int o)
{
    enum { MOST = 384 }; /* matrices * rows */
    const dn_layer *l = v->layer;
    const int rows = dn_block_rows(v, first);
    const size_t ld = dn_round_lanes((size_t)l->outputs), count = dn_wgrad_size(v, rows) / ld;
    float sums[MOST][DN_LANES];
    assert(count <= MOST);
    sum_slices(dn_wgrad_at(v, 0, first) + o, (int)count, ld, slices,
               dn_wgrad_size(v, l->weights_in), sums);
    float *to = v->leaf + l->weight->offset + (size_t)(first * l->taps);
    for (int i = o; i < o + DN_LANES && i < l->outputs; i++)
        turn_sums(l, sums, i - o, rows, to + (size_t)i * (size_t)(l->weights_in * l->taps));
}

void dn_wgrad_move(const dn_visit *v, int first, int end)
{
    for (int o = 0; o < v->layer->outputs; o += DN_LANES)
        for (int c = first; c < end; c += v->block)
            merge_block(v, 1, c, o);
}

void dn_wgrad_merge(const dn_visit *v)
{
    const int block = v->block;
#pragma omp for schedule(static) collapse(2) nowait
    for (int first = 0; first < v->layer->weights_in; first += block)
        for (int o = 0; o < v->layer->outputs; o += DN_LANES)
            merge_block(v, v->slices, first, o);
}
