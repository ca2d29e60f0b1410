/* Packing of weights, and reduction of their gradients over slices; see gemm.h. */
#include "layers/gemm.h"

#include <assert.h>
#include <string.h>

int dn_block_rows(const dn_visit *v, int first)
{
    const int block = v->channel_block, left = v->layer->weights_in - first;
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
    const int block = v->channel_block, inputs = v->layer->weights_in;
    if (inputs == 0)
        return 0;
    const int last = (inputs - 1) / block * block;
    return (size_t)(last / block) * packed_block(v, block) + packed_block(v, inputs - last);
}

float *dn_packed_at(const dn_visit *v, int first)
{
    const int block = v->channel_block;
    return v->packed + (size_t)(first / block) * packed_block(v, block);
}

/* The weights of the channel block that begins at input `first`, as the visit's gemm takes them:
 * (outputs, rows), in the backward pass (rows, outputs). */
static dn_weight_view block_weights(const dn_visit *v, int first)
{
    const dn_layer *l = v->layer;
    const float *w = v->net->parameters + l->weight->offset + (size_t)first * (size_t)l->taps;
    const int rows = dn_block_rows(v, first);
    const ptrdiff_t output_step = (ptrdiff_t)l->weights_in * l->taps, input_step = l->taps;
    if (v->backward)
        return (dn_weight_view){w, rows, l->outputs, l->taps, input_step, output_step};
    return (dn_weight_view){w, l->outputs, rows, l->taps, output_step, input_step};
}

/* Packs rows [o, o + DN_PACK_OUTPUTS) of the block that begins at input `first`. */
static void pack_rows(const dn_visit *v, int first, int o)
{
    dn_weight_view w = block_weights(v, first);
    const int rows = w.outputs, left = rows - o;
    float *to = dn_packed_at(v, first) + (o > 0 ? packed_matrix(v, o, w.inputs) : 0);
    w.w += o * w.out_step;
    w.outputs = left < DN_PACK_OUTPUTS ? left : DN_PACK_OUTPUTS;
    if (v->layer->kind->winograd)
        dn_winograd_pack(v, &w, to, packed_matrix(v, rows, w.inputs));
    else
        v->products->pack(to, &w);
}

/* Split within blocks, as there may be few blocks. */
void dn_pack_weights(const dn_visit *v)
{
    const int block = v->channel_block, rows = v->backward ? block : v->layer->outputs;
    assert(!v->backward || block <= DN_PACK_OUTPUTS); /* the last block has no fewer parts */
#pragma omp for schedule(static) collapse(2)
    for (int first = 0; first < v->layer->weights_in; first += block)
        for (int o = 0; o < rows; o += DN_PACK_OUTPUTS)
            pack_rows(v, first, o);
}

/* ---- weight gradients ---- */

/* Matrices (inputs, outputs and pad) in a slice's partial gradient. */
static int wgrad_matrices(const dn_layer *l)
{
    return l->kind->winograd ? DN_WINOGRAD : l->taps;
}

/* Floats of a partial gradient per input channel. */
static size_t wgrad_column(const dn_layer *l)
{
    return dn_round_lanes((size_t)l->outputs) * (size_t)wgrad_matrices(l);
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

/* sums(rows, DN_LANES) = the slices' partial gradients of DN_LANES outputs, added in order; rows
 * are `ld` floats apart, slices `slice_floats`. */
static void sum_slices(const float *partial, int rows, size_t ld, int slices, size_t slice_floats,
                       dn_lanes *sums)
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

/* The gradient of one output's weights of `rows` inputs, transposed from column `o` of its
 * sums(taps, rows, DN_LANES). */
static void turn_sums(const dn_lanes *sums, int taps, int o, int rows, float *to)
{
    if (taps == 1) { /* most weights: runs at memory speed */
        for (int c = 0; c < rows; c++)
            to[c] = sums[c][o];
        return;
    }
    for (int c = 0; c < rows; c++)
        for (int t = 0; t < taps; t++)
            *to++ = sums[t * rows + c][o];
}

/* Outputs [o, o + DN_LANES) of inputs [first, first + rows), in the block of block_rows inputs that
 * begins at input `block`. */
static void merge_inputs(const dn_visit *v, int slices, int o, int block, int block_rows, int first,
                         int rows, dn_lanes *sums)
{
    const dn_layer *l = v->layer;
    const size_t ld = dn_round_lanes((size_t)l->outputs), row = (size_t)l->weights_in;
    const int matrices = wgrad_matrices(l);
    const float *partial = dn_wgrad_at(v, 0, block) + (size_t)(first - block) * ld + o;
    for (int m = 0; m < matrices; m++, partial += (size_t)block_rows * ld)
        sum_slices(partial, rows, ld, slices, dn_wgrad_size(v, l->weights_in), sums + m * rows);
    if (l->kind->winograd)
        dn_winograd_merge(sums, rows);
    float *to =
        v->net->leaf + l->weight->offset + ((size_t)o * row + (size_t)first) * (size_t)l->taps;
    for (int i = 0; i < DN_LANES && o + i < l->outputs; i++, to += row * (size_t)l->taps)
        turn_sums(sums, l->taps, i, rows, to);
}

/* Outputs [o, o + DN_LANES) of the block that begins at input `block`. */
static void merge_block(const dn_visit *v, int slices, int block, int o)
{
    enum { MOST = 384 }; /* rows of sums */
    const int rows = dn_block_rows(v, block);
    const int step = MOST / wgrad_matrices(v->layer);
    dn_lanes sums[MOST];
    for (int c = 0; c < rows; c += step)
        merge_inputs(v, slices, o, block, rows, block + c, rows - c < step ? rows - c : step, sums);
}

void dn_wgrad_move(const dn_visit *v, int first, int end)
{
    for (int o = 0; o < v->layer->outputs; o += DN_LANES)
        for (int c = first; c < end; c += v->channel_block)
            merge_block(v, 1, c, o);
}

void dn_wgrad_merge(const dn_visit *v)
{
    const int block = v->channel_block;
#pragma omp for schedule(static) collapse(2) nowait
    for (int first = 0; first < v->layer->weights_in; first += block)
        for (int o = 0; o < v->layer->outputs; o += DN_LANES)
            merge_block(v, v->slices, first, o);
}
