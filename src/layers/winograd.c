/*
 * The 3x3 convolutions by Winograd's F(2x2, 3x3) (Lavin and Gray 2016): 16 products where the taps
 * take 36, forward, for the input's gradient and for the weights'. Where the kernel table has the
 * transforms (dn/kernels.h), conv.c hands its 3x3 nodes to this file, piece by piece.
 *
 * A piece is walked in chunks of some DN_WINOGRAD_TILES tiles, so that their transforms stay in the
 * second-level cache. Each of the 16 elements of the transformed windows is a matrix (channels,
 * tiles) of its own, and the products are 1x1 convolutions:
 *
 *     forward    x rows -> norm, ReLU -> u(16, block, tiles)
 *                m(16, outputs, tiles) += w(16) u, over the blocks -> y rows -> map
 *     backward   dy rows -> v(16, outputs, tiles) = B' dy B, m(16, outputs, tiles) = A dy A'
 *                block by block: x rows -> u(16, block, tiles); dw(16) += m u';
 *                                u = w'(16) v -> dx rows -> ReLU, norm -> map's gradient
 *
 * The input's gradient is a forward product once more: of dy with the kernel turned by half a
 * circle (w', weights.c). u is used twice, for the windows of x and then for the products of dx.
 *
 * Transforms run a channel at a time: a padded row of it lies in the first-level cache.
 */
#include "layers.h"

#include <string.h>

enum { AHEAD = 2 };

static size_t tiles_of(int images, int rows, int width)
{
    return (size_t)images * (size_t)((rows + 1) / 2) * (size_t)((width + 1) / 2);
}

/* Images, or image rows where the piece is (part of) one image, of a chunk. */
static int chunk_length(const dn_layout *layout, const dn_piece *piece)
{
    const int columns = (layout->width + 1) / 2;
    if (piece->images == 1)
        return columns < DN_WINOGRAD_TILES ? DN_WINOGRAD_TILES / columns * 2 : 2;
    const int tiles = columns * ((piece->rows + 1) / 2);
    return tiles < DN_WINOGRAD_TILES ? DN_WINOGRAD_TILES / tiles : 1;
}

static int chunk_count(const dn_layout *layout, const dn_piece *piece)
{
    const int length = chunk_length(layout, piece);
    return ((piece->images == 1 ? piece->rows : piece->images) + length - 1) / length;
}

/* What one chunk works on, and where in this thread's scratch. */
typedef struct chunk {
    dn_piece piece;
    dn_padded input, output; /* with the halo rows of a band, and without */
    dn_padded y;             /* rows as the output transform writes them */
    ptrdiff_t source;   /* where the padded layout source begins, from the chunk's first pixel */
    size_t tiles, ld;   /* ld: floats from channel to channel of a transformed matrix */
    float *row, *y_row; /* a channel padded, and one as the transform writes it */
    size_t row_floats;  /* of `row`, from DN_PADDED_LEAD floats before it */
} chunk;

static dn_piece chunk_piece(const dn_layout *layout, const dn_piece *piece, int index)
{
    dn_piece part = *piece;
    const int first = index * chunk_length(layout, piece), length = chunk_length(layout, piece);
    if (piece->images == 1) {
        part.row += first;
        part.rows = piece->rows - first < length ? piece->rows - first : length;
        part.offset += (size_t)first * (size_t)layout->width;
    } else {
        part.image += first;
        part.images = piece->images - first < length ? piece->images - first : length;
        part.offset += (size_t)first * dn_layout_pixels(layout);
    }
    part.pixels = (size_t)part.images * (size_t)part.rows * (size_t)layout->width;
    return part;
}

static size_t framed_floats(const chunk *c)
{
    return DN_PADDED_LEAD + dn_padded_floats(&c->input) + (size_t)c->input.width + DN_LANES;
}

static size_t y_floats(const chunk *c)
{
    return (size_t)(c->y.images * c->y.image_rows) * c->y.pitch;
}

/* Describes a chunk; with scratch, also lays out its two rows there. Returns what follows them. */
static float *chunk_create(chunk *c, const dn_layout *layout, const dn_piece *piece, int index,
                           float *scratch)
{
    c->piece = chunk_piece(layout, piece, index);
    c->input = dn_piece_padded(layout, &c->piece, &c->source);
    c->output = c->y = c->input;
    c->output.rows = c->y.rows = c->piece.rows;
    c->output.skip = c->y.skip = 0;
    c->y.image_rows = (c->piece.rows + 1) / 2 * 2;
    c->y.pitch = dn_round_lanes((size_t)layout->width + 1);
    c->tiles = tiles_of(c->piece.images, c->piece.rows, layout->width);
    c->ld = dn_row_stride(c->tiles);
    c->row_floats = framed_floats(c);
    if (scratch == NULL)
        return NULL;
    c->row = scratch + DN_PADDED_LEAD;
    c->y_row = scratch + dn_round_lanes(c->row_floats);
    memset(scratch, 0, c->row_floats * sizeof *scratch);
    return c->y_row + dn_round_lanes(y_floats(c)) + DN_LANES;
}

/* Asks for a channel's pixels of a chunk: rows this short end before the processor has noticed that
 * they are read in order. */
static void prefetch(const dn_feature_map *map, const chunk *c, int channel)
{
    const char *from = dn_map_at(map, dn_map_index(map, &c->piece, channel, 0));
    for (size_t byte = 0; byte < c->piece.pixels * map->element; byte += 64)
        __builtin_prefetch(from + byte);
}

/* Norm, ReLU and input transform of input channels [first, first + rows). */
static void transform_inputs(const dn_net *net, const dn_node *node, const chunk *c, int first,
                             int rows, float *u)
{
    const dn_feature_map *in = &net->maps[node->in];
    const size_t matrix = (size_t)rows * c->ld;
    for (int r = 0; r < rows; r++) {
        const int channel = first + r;
        if (channel + AHEAD < node->inputs)
            prefetch(in, c, channel + AHEAD);
        net->on_maps->norm_relu(1, &c->input,
                                dn_map_at(in, dn_map_index(in, &c->piece, channel, c->source)), 0,
                                node->scale + channel, node->shift + channel, c->row, 0);
        net->products->winograd->input(&c->output, c->row, u + (size_t)r * c->ld, matrix);
    }
}

/* The 16 products of matrices that stand in[16](inputs, tiles) and out[16](outputs, tiles). */
static void multiply(const dn_net *net, const chunk *c, const float *packed, int outputs,
                     int inputs, const float *in, float *out, int accumulate)
{
    const dn_taps one = {.count = 1};
    const size_t weights = net->products->packed_floats(outputs, inputs, 1);
    for (int e = 0; e < DN_WINOGRAD; e++)
        net->products->gemm(packed + (size_t)e * weights, outputs, inputs, &one, c->tiles,
                            in + (size_t)e * (size_t)inputs * c->ld, c->ld,
                            out + (size_t)e * (size_t)outputs * c->ld, c->ld, accumulate);
}

static void forward_chunk(dn_net *net, const dn_node *node, const dn_pass *pass, const chunk *c,
                          float *u)
{
    const dn_feature_map *out = &net->maps[node->out];
    const int block = DN_FORWARD_BLOCK_3X3;
    const size_t packed = dn_packed_forward_block(net, node, block);
    float *m = u + (size_t)DN_WINOGRAD * (size_t)block * c->ld;
    for (int first = 0; first < node->inputs; first += block) {
        const int rows = dn_block_rows(node, first, block);
        transform_inputs(net, node, c, first, rows, u);
        multiply(net, c, net->packed + (size_t)(first / block) * packed, node->outputs, rows, u, m,
                 first > 0);
    }
    const size_t matrix = (size_t)node->outputs * c->ld;
    for (int o = 0; o < node->outputs; o++) {
        net->products->winograd->output(&c->output, m + (size_t)o * c->ld, matrix, c->y_row,
                                        c->y.pitch);
        if (pass && node->dropout)
            dn_conv_dropout(net, node, pass, &c->y, c->piece.image, c->piece.offset, o, c->y_row);
        net->on_maps->store(1, &c->y, c->y_row, 0,
                            dn_map_at(out, dn_map_index(out, &c->piece, node->first + o, 0)), 0);
    }
}

void dn_winograd_forward_piece(dn_net *net, const dn_node *node, const dn_pass *pass, int index)
{
    const dn_layout *layout = &net->maps[node->in].layout;
    const dn_piece piece = dn_layout_piece(layout, index);
    const int chunks = chunk_count(layout, &piece);
    for (int i = 0; i < chunks; i++) {
        chunk c;
        float *u = chunk_create(&c, layout, &piece, i, dn_thread_scratch(net));
        forward_chunk(net, node, pass, &c, u);
    }
}

/* v = windows of dy, and m = A dy A' packed, of all outputs; deferred correction applied. `work` is
 * room for m before it is packed. */
static void transform_gradients(const dn_net *net, const dn_node *node, const dn_pass *pass,
                                const chunk *c, float *v, float *m, float *work)
{
    const dn_feature_map *out = &net->maps[node->out];
    const dn_winograd_kernels *winograd = net->products->winograd;
    const size_t matrix = (size_t)node->outputs * c->ld;
    const size_t packed = net->products->packed_dy_floats(node->outputs, c->tiles);
    for (int o = 0; o < node->outputs; o++) {
        const size_t at = dn_map_index(out, &c->piece, node->first + o, c->source);
        net->on_maps->affine(1, &c->input, out->gradient + at, 0, dn_map_at(out, at), 0,
                             net->coefficients + 3 * o, c->row, 0);
        if (node->dropout)
            dn_conv_dropout(net, node, pass, &c->input, c->piece.image,
                            c->piece.offset + (size_t)c->source, o, c->row);
        winograd->input(&c->output, c->row, v + (size_t)o * c->ld, matrix);
        winograd->output_grad(&c->output, c->row, work + (size_t)o * c->ld, matrix);
    }
    for (size_t e = 0; e < DN_WINOGRAD; e++)
        net->products->pack_dy(m + e * packed, node->outputs, c->tiles, work + e * matrix, c->ld);
}

/* u(16, rows, tiles) = the products of v with the turned weights: through the output transform,
 * which makes them dx, the ReLU and the norm into the map's gradient; the norm's sums are added to
 * those of piece `index`. */
static void store_gradients(dn_net *net, const dn_node *node, const chunk *c, int index, int first,
                            int rows, const float *u)
{
    const dn_feature_map *in = &net->maps[node->in];
    const size_t matrix = (size_t)rows * c->ld;
    for (int r = 0; r < rows; r++) {
        float sums[2];
        net->products->winograd->output(&c->output, u + (size_t)r * c->ld, matrix, c->y_row,
                                        c->y.pitch);
        net->kernels->on_maps[DN_FP32].store(1, &c->y, c->y_row, 0, c->row, 0);
        dn_norm_backward(net, node, first + r, 1, dn_map_index(in, &c->piece, first + r, 0),
                         c->piece.pixels, c->row, 0, sums);
        double *partial = dn_norm_partial(net, node, index, first + r);
        partial[0] += sums[0];
        partial[1] += sums[1];
    }
}

static void weight_gradients(dn_net *net, const dn_node *node, const chunk *c, int slice, int first,
                             int rows, const float *m, const float *u)
{
    const dn_taps one = {.count = 1};
    const size_t packed = net->products->packed_dy_floats(node->outputs, c->tiles);
    const size_t matrix = dn_round_lanes((size_t)node->outputs) * (size_t)rows;
    float *dw = dn_wgrad_partial(net, node, slice, first);
    for (size_t e = 0; e < DN_WINOGRAD; e++)
        net->products->wgrad(node->outputs, rows, &one, c->tiles, m + e * packed,
                             u + e * (size_t)rows * c->ld, c->ld, dw + e * matrix);
}

static void backward_chunk(dn_net *net, const dn_node *node, const dn_pass *pass, const chunk *c,
                           const dn_task *item, int index, float *v)
{
    const size_t matrices = (size_t)DN_WINOGRAD * (size_t)node->outputs * c->ld;
    const size_t packed = dn_packed_transposed_block(net, node, DN_BACKWARD_BLOCK);
    float *m = v + matrices;
    float *u = m + DN_WINOGRAD * net->products->packed_dy_floats(node->outputs, c->tiles);
    transform_gradients(net, node, pass, c, v, m, u);
    for (int b = item->block; b < item->block_end; b++) {
        const int first = b * DN_BACKWARD_BLOCK;
        const int rows = dn_block_rows(node, first, DN_BACKWARD_BLOCK);
        memset(c->row - DN_PADDED_LEAD, 0, c->row_floats * sizeof *c->row);
        transform_inputs(net, node, c, first, rows, u);
        weight_gradients(net, node, c, item->slice, first, rows, m, u);
        multiply(net, c, net->packed + (size_t)b * packed, rows, node->outputs, v, u, 0);
        store_gradients(net, node, c, index, first, rows, u);
    }
}

void dn_winograd_backward_item(dn_net *net, const dn_node *node, const dn_pass *pass,
                               const dn_task *item)
{
    const dn_layout *layout = &net->maps[node->in].layout;
    dn_wgrad_partial_clear(net, node, item);
    for (int p = item->piece; p < item->piece_end; p++) {
        const dn_piece piece = dn_layout_piece(layout, p);
        const int chunks = chunk_count(layout, &piece);
        dn_norm_partial_clear(net, node, item, p);
        for (int i = 0; i < chunks; i++) {
            chunk c;
            float *v = chunk_create(&c, layout, &piece, i, dn_thread_scratch(net));
            backward_chunk(net, node, pass, &c, item, p, v);
        }
    }
}

size_t dn_winograd_scratch(const dn_net *net, const dn_node *node)
{
    const dn_layout *layout = &net->maps[node->in].layout;
    const dn_piece piece = dn_layout_piece(layout, 0); /* no piece is larger than the first */
    chunk c;
    chunk_create(&c, layout, &piece, 0, NULL);
    const size_t outputs = (size_t)node->outputs;
    const size_t block = outputs > DN_BACKWARD_BLOCK ? outputs : DN_BACKWARD_BLOCK;
    const size_t forward = (DN_FORWARD_BLOCK_3X3 + outputs) * c.ld;
    const size_t backward =
        (block + outputs) * c.ld + net->products->packed_dy_floats(node->outputs, c.tiles);
    return dn_round_lanes(c.row_floats) + dn_round_lanes(y_floats(&c)) + 2 * DN_LANES +
           DN_WINOGRAD * (forward > backward ? forward : backward);
}
