/*
 * 3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): 36 products instead of the
 * taps' 144, for the forward pass and both gradients. The kind of a dense layer's 3x3 if the kernel
 * table has the transforms (dn/kernels.h).
 *
 * A piece is processed in parts of about TILES tiles, called tile blocks, whose transforms stay in
 * the L2 cache. Each of the 36 elements of the transformed windows is a separate matrix (channels,
 * tiles), and the products are gemms of one tap:
 *
 *     forward    x rows -> norm, ReLU -> u(36, channels, tiles)
 *                m(36, outputs, tiles) += w(36) u, over the channel blocks -> y rows -> map
 *     backward   dy rows -> windows(36, outputs, tiles) = B' dy B, m(36, outputs, tiles) = A dy A'
 *                by channel block: x rows -> u(36, channels, tiles); dw(36) += m u';
 *                                  u = w'(36) windows -> dx rows -> ReLU, norm -> map's gradient
 *
 * The input's gradient is another forward product: of dy with the kernel rotated by 180 degrees
 * (w', winograd_weights.c). u is used twice: for the windows of x, then for the products of dx.
 *
 * Transforms process one channel at a time, whose padded row stays in the L1 cache.
 */
#include "layers/dropout.h"
#include "layers/gemm.h"
#include "layers/norm.h"

enum {
    TILES = 128,    /* about so many tiles of a channel are transformed at once */
    ROWS_AHEAD = 2, /* prefetch distance in channels */
    FORWARD_CHANNELS = 48,
    BACKWARD_CHANNELS = 24
};

static const dn_taps one_tap = {.count = 1};

/* As many units as fit; in the forward pass no more than leave work for all threads. */
static int tile_block_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part)
{
    const dn_layout *layout = &v->out->layout;
    const int rows = layout->strip_images > 1 ? piece->rows : DN_TILE;
    const int tiles = dn_tile_columns(layout->width) * dn_tiles(rows); /* per unit */
    const int fitting = tiles < TILES ? TILES / tiles : 1;
    const int is_cut = !v->backward && v->part_units < fitting;
    return dn_piece_cut(layout, piece, DN_TILE, is_cut ? v->part_units : fitting, index, part);
}

/* A tile block: its pixels, and this thread's scratch for it. */
typedef struct tile_block {
    dn_piece piece;
    dn_padded input, output; /* padded, with the halo rows of a part of an image, and without */
    dn_padded written;       /* layout that the output transform writes */
    ptrdiff_t source;        /* offset of the padded source from the first pixel */
    size_t tiles, ld;        /* ld: floats from channel to channel of a transformed matrix */
    size_t row_reach, written_floats; /* floats of `row` after its lead, and of `y_row` */
    float *row, *y_row; /* a padded channel, and one as the output transform writes it */
    float *u, *m;   /* (36, channels, tiles); (36, outputs, tiles), in the backward pass packed */
    float *windows; /* backward: of dy (36, outputs, tiles) */
} tile_block;

/* Floats between the 36 matrices: an odd number of cache lines, because transforms access all
 * matrices in turn. */
static size_t matrix_stride(const tile_block *t, int rows)
{
    return dn_row_stride((size_t)rows * t->ld);
}

static size_t matrices_floats(const tile_block *t, int rows)
{
    return (DN_WINOGRAD - 1) * matrix_stride(t, rows) + (size_t)(rows - 1) * t->ld +
           dn_round_lanes(t->tiles);
}

/* Memory for what is computed from dy. */
static void carve_transformed(const dn_visit *v, tile_block *t, dn_carver *c)
{
    const int outputs = v->layer->outputs;
    t->m = dn_carve_floats(c, DN_WINOGRAD * v->products->packed_dy_floats(outputs, t->tiles));
    t->windows = dn_carve_floats(c, matrices_floats(t, outputs));
}

static void carve_tile_block(const dn_visit *v, tile_block *t, float *prepared, dn_carver *c)
{
    const int outputs = v->layer->outputs;
    t->row = dn_carve_padded(c, 1, 0, t->row_reach);
    t->y_row = dn_carve_floats(c, t->written_floats);
    if (!v->backward) {
        t->u = dn_carve_floats(c, matrices_floats(t, FORWARD_CHANNELS));
        t->m = dn_carve_floats(c, matrices_floats(t, outputs));
        return;
    }
    /* u also holds the transformed output gradient before it is packed. */
    t->u = dn_carve_floats(
        c, matrices_floats(t, outputs > BACKWARD_CHANNELS ? outputs : BACKWARD_CHANNELS));
    if (prepared != NULL)
        carve_transformed(v, t, &(dn_carver){.memory = (char *)prepared, .inner = 1});
    else
        carve_transformed(v, t, c);
}

/* Everything but the memory. */
static tile_block tile_block_of(const dn_visit *v, const dn_piece *part)
{
    const dn_layout *layout = &v->out->layout;
    const int columns = dn_tile_columns(layout->width), tile_rows = dn_tiles(part->rows);
    tile_block t = {.piece = *part};
    t.input = dn_padded_tiled(dn_piece_padded(layout, &t.piece, &t.source));
    t.output = t.written = t.input;
    t.output.rows = t.written.rows = t.piece.rows;
    t.output.skip = t.written.skip = 0;
    t.written.image_rows = DN_TILE * tile_rows;
    t.written.pitch = dn_round_lanes((size_t)(DN_TILE * columns));
    t.tiles = (size_t)(t.piece.images * tile_rows * columns);
    t.ld = dn_row_stride(t.tiles);
    t.row_reach = dn_padded_floats(&t.input) + DN_LANES - 1;
    t.written_floats = (size_t)(t.piece.images * t.written.image_rows) * t.written.pitch;
    return t;
}

static tile_block tile_block_create(const dn_visit *v, const dn_piece *part, float *prepared,
                                    dn_carver *c)
{
    tile_block t = tile_block_of(v, part);
    carve_tile_block(v, &t, prepared, c);
    return t;
}

/* Prefetches a channel's pixels of a tile block: such short rows end before the hardware prefetcher
 * detects the stream. */
static void prefetch_channel(const dn_visit *v, const tile_block *t, int channel)
{
    const char *from = dn_map_at(v->in, v->x, dn_map_index(v->in, &t->piece, channel, 0));
    for (size_t byte = 0; byte < t->piece.pixels * v->in->element; byte += DN_LINE_BYTES)
        __builtin_prefetch(from + byte);
}

/* Batch norm, ReLU and input transform of input channels [first, first + rows). */
static void transform_inputs(const dn_visit *v, const tile_block *t, int first, int rows)
{
    const size_t matrix = matrix_stride(t, rows);
    for (int r = 0; r < rows; r++) {
        const int c = first + r;
        const size_t at = dn_map_index(v->in, &t->piece, c, t->source);
        if (c + ROWS_AHEAD < v->layer->inputs)
            prefetch_channel(v, t, c + ROWS_AHEAD);
        v->on_maps->norm_relu(1, &t->input, dn_map_at(v->in, v->x, at), 0, v->layer->scale + c,
                              v->layer->shift + c, t->row, 0);
        v->net->kernels->winograd->input(&t->output, t->row, t->u + (size_t)r * t->ld, matrix);
    }
}

/* The 36 products of matrices from[36](inputs, tiles) to to[36](outputs, tiles). */
static void multiply_matrices(const dn_visit *v, const tile_block *t, const float *packed,
                              int outputs, int inputs, const float *from, float *to, int accumulate)
{
    const size_t weights = v->products->packed_floats(outputs, inputs, 1);
    for (int e = 0; e < DN_WINOGRAD; e++)
        v->products->gemm(packed + (size_t)e * weights, outputs, inputs, &one_tap, t->tiles,
                          from + (size_t)e * matrix_stride(t, inputs), t->ld,
                          to + (size_t)e * matrix_stride(t, outputs), t->ld, accumulate);
}

/* ---- forward ---- */

static void forward_tile_block(const dn_visit *v, const dn_pass *pass, const dn_piece *part)
{
    const dn_layer *l = v->layer;
    dn_carver carver = dn_thread_scratch(v);
    const tile_block block = tile_block_create(v, part, NULL, &carver), *t = &block;
    for (int first = 0; first < l->inputs; first += v->channel_block) {
        const int rows = dn_block_rows(v, first);
        transform_inputs(v, t, first, rows);
        multiply_matrices(v, t, dn_packed_at(v, first), l->outputs, rows, t->u, t->m, first > 0);
    }
    const size_t matrix = matrix_stride(t, l->outputs);
    for (int o = 0; o < l->outputs; o++) {
        v->net->kernels->winograd->output(&t->output, t->m + (size_t)o * t->ld, matrix, t->y_row,
                                          t->written.pitch);
        if (pass && dn_drops(l))
            dn_dropout(v, pass, &t->written, &t->piece, 0, o, t->y_row);
        const size_t at = dn_map_index(v->out, &t->piece, l->first + o, 0);
        v->on_maps->store(1, &t->written, t->y_row, 0, dn_map_at(v->out, v->y, at), 0);
    }
}

/* ---- backward ---- */

/* The windows of dy, and m = A dy A' packed, of outputs [first, end), with the deferred correction
 * applied. */
static void transform_dy(const dn_visit *v, const dn_pass *pass, const tile_block *t, int first,
                         int end)
{
    const dn_layer *l = v->layer;
    const dn_winograd_kernels *winograd = v->net->kernels->winograd;
    const size_t matrix = matrix_stride(t, l->outputs);
    const size_t packed = v->products->packed_dy_floats(l->outputs, t->tiles);
    const size_t before = v->products->packed_dy_floats(first, t->tiles);
    for (int o = first; o < end; o++) {
        const size_t at = dn_map_index(v->out, &t->piece, l->first + o, t->source);
        v->on_maps->affine(1, &t->input, dn_map_at(v->out, v->dy, at), 0,
                           dn_map_at(v->out, v->y, at), 0, v->correction + 3 * o, t->row, 0);
        if (dn_drops(l))
            dn_dropout(v, pass, &t->input, &t->piece, t->source, o, t->row);
        winograd->input(&t->output, t->row, t->windows + (size_t)o * t->ld, matrix);
        winograd->output_grad(&t->output, t->row, t->u + (size_t)o * t->ld, matrix);
    }
    for (size_t e = 0; e < DN_WINOGRAD; e++)
        v->products->pack_dy(t->m + e * packed + before, end - first, t->tiles,
                             t->u + e * matrix + (size_t)first * t->ld, t->ld);
}

/* u(36, rows, tiles) = the products of the windows with the rotated weights. They go through the
 * output transform, which gives dx, and through ReLU and batch norm into the map's gradient; the
 * norm's sums are added to those of the piece. */
static void store_dx(const dn_visit *v, const tile_block *t, int first, int rows)
{
    const size_t matrix = matrix_stride(t, rows);
    for (int r = 0; r < rows; r++) {
        v->net->kernels->winograd->output(&t->output, t->u + (size_t)r * t->ld, matrix, t->y_row,
                                          t->written.pitch);
        v->net->kernels->on_maps[DN_FP32].store(1, &t->written, t->y_row, 0, t->row, 0);
        dn_norm_relu_grad(v, first + r, dn_map_index(v->in, &t->piece, first + r, 0),
                          t->piece.pixels, t->row, dn_partial(v, t->piece.index, first + r));
    }
}

static void multiply_wgrad(const dn_visit *v, const tile_block *t, int slice, int first, int rows)
{
    const int outputs = v->layer->outputs;
    const size_t packed = v->products->packed_dy_floats(outputs, t->tiles);
    const size_t matrix = dn_round_lanes((size_t)outputs) * (size_t)rows;
    float *dw = dn_wgrad_at(v, slice, first);
    for (size_t e = 0; e < DN_WINOGRAD; e++)
        v->products->wgrad(outputs, rows, &one_tap, t->tiles, t->m + e * packed,
                           t->u + e * matrix_stride(t, rows), t->ld, dw + e * matrix);
}

static void carve_dy(const dn_visit *v, const dn_piece *part, dn_carver *c)
{
    tile_block t = tile_block_of(v, part);
    carve_transformed(v, &t, c);
}

static void prepare_dy(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                       int end, float *prepared)
{
    dn_carver carver = dn_thread_scratch(v);
    const tile_block t = tile_block_create(v, part, prepared, &carver);
    transform_dy(v, pass, &t, first, end);
}

static void backward_tile_block(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                                const dn_piece *part)
{
    dn_carver carver = dn_thread_scratch(v);
    const tile_block block = tile_block_create(v, part, task->prepared, &carver), *t = &block;
    if (task->prepared == NULL)
        transform_dy(v, pass, t, 0, v->layer->outputs);
    for (int first = task->first; first < task->end; first += v->channel_block) {
        const int rows = dn_block_rows(v, first);
        if (task->wgrad) {
            transform_inputs(v, t, first, rows);
            multiply_wgrad(v, t, task->slice, first, rows);
        }
        if (task->dgrad) {
            multiply_matrices(v, t, dn_packed_at(v, first), rows, v->layer->outputs, t->windows,
                              t->u, 0);
            store_dx(v, t, first, rows);
        }
    }
}

/* ---- the kind ---- */

static void winograd_scratch(const dn_visit *v, dn_carver *c)
{
    const dn_piece part = dn_largest_part(v);
    dn_winograd_pack_scratch(v, c);
    dn_carve_anew(c);
    tile_block_create(v, &part, NULL, c);
}

const dn_layer_kind dn_layer_winograd = {
    .name = "conv",
    .phase = "conv3x3",
    .kernel = 3,
    .forward = dn_drive_pieces,
    .backward = dn_drive_tasks,
    .forward_part = forward_tile_block,
    .backward_part = backward_tile_block,
    .carve_dy = carve_dy,
    .prepare_dy = prepare_dy,
    .part = tile_block_part,
    .scratch = winograd_scratch,
    .forward_block = FORWARD_CHANNELS,
    .backward_block = BACKWARD_CHANNELS,
    .winograd = 1,
};
