/*
 * The loops of layers that are a gemm over panels; see gemm.h.
 *
 * Forward, a piece at a time: a panel of input channels is filled (normalised as it is filled),
 * multiplied, and the sums are written in place into the output map.
 *
 * Backward, a piece of a task at a time: the output's gradient is loaded with the deferred
 * correction applied, and packed for the wgrad, once for the task; then, block by block of its
 * channels, the panel is filled again and gives the weights' gradient, and the product with the
 * transposed weights gives the input's. A panel is filled once for both. Without taps, a piece is
 * cut further, into pixels whose dy stays in the cache.
 */
#include "layers/gemm.h"

#include "layers/norm.h"

enum {
    DY_FLOATS = 65536,
    DY_STEP = 64
}; /* of dy in a part: dy and its packed form stay in the cache */

/* What a thread works in. */
typedef struct gemm_scratch {
    float *panel, *plane;
    float *y;                         /* forward, where sums do not go straight into the map */
    float *dy, *packed, *dx, *pixels; /* backward */
} gemm_scratch;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- views and rows ---- */

/* Floats of a padded row that kernels touch: fill, and the taps of a gemm. */
static size_t padded_reach(const dn_padded *padded)
{
    const size_t filled = dn_padded_floats(padded) + DN_LANES - 1;
    if (!dn_padded_bordered(padded))
        return filled;
    const size_t last_tap = padded->pitch + 1;
    return larger(filled,
                  dn_padded_first(padded) + dn_round_lanes(dn_padded_positions(padded)) + last_tap);
}

static dn_gemm_view view_of_piece(const dn_visit *v, const dn_piece *piece)
{
    const int width = v->out->layout.width;
    if (v->layer->taps == 1)
        return (dn_gemm_view){.piece = *piece,
                              .padded = dn_padded_none(piece->pixels),
                              .positions = piece->pixels,
                              .taps = {.count = 1},
                              .ld = dn_row_stride(piece->pixels + 4 * DN_LANES)};
    dn_gemm_view view = {.piece = *piece, .taps = dn_taps_3x3(width, 1)};
    view.padded = dn_piece_padded(&v->out->layout, piece, &view.source);
    view.first = dn_padded_first(&view.padded);
    view.positions = dn_padded_positions(&view.padded);
    view.ld = dn_row_stride(dn_padded_floats(&view.padded) + 4 * DN_LANES + (size_t)width);
    return view;
}

int dn_gemm_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part)
{
    const size_t fitting = DY_FLOATS / (size_t)v->layer->outputs / DY_STEP * DY_STEP;
    const size_t step = v->backward ? larger(fitting, DY_STEP) : piece->pixels;
    const size_t at = (size_t)index * step;
    if (at >= piece->pixels)
        return 0;
    *part = *piece;
    part->offset += at;
    part->pixels = smaller(step, piece->pixels - at);
    return 1;
}

/* A gemm's output over the padded layout: its first row holds pixels, no border stands above. */
static dn_padded output_padded(const dn_gemm_view *view)
{
    dn_padded padded = view->padded;
    padded.skip = 0;
    if (dn_padded_bordered(&padded))
        padded.rows = view->piece.rows;
    return padded;
}

/* 1: sums go straight into the map, which needs no store. */
static int is_direct(const dn_visit *v)
{
    return v->layer->taps == 1 && v->options->dtype == DN_FP32;
}

/* 1: one kernel makes the input's gradient and carries it into the map: there is no dx. */
static int is_fused(const dn_visit *v)
{
    return v->layer->kind->fuses_dgrad && v->products->dgrad_norm_relu != NULL;
}

/* Floats of a row of a gemm's output that it writes, or `store` reads. */
static size_t output_reach(const dn_gemm_view *view)
{
    const dn_padded out = output_padded(view);
    const size_t rows = (size_t)((out.images - 1) * out.image_rows + out.rows - 1);
    return larger(dn_round_lanes(view->positions),
                  rows * out.pitch + dn_round_lanes((size_t)out.width));
}

static gemm_scratch carve_scratch(const dn_visit *v, const dn_gemm_view *view, dn_carver *c)
{
    const dn_layer *l = v->layer;
    const size_t block = (size_t)smaller((size_t)dn_visit_block(v), (size_t)l->weights_in);
    const size_t outputs = (size_t)l->outputs, reach = padded_reach(&view->padded);
    gemm_scratch s = {0};
    if (v->backward)
        s.dy = dn_carve_padded(c, outputs, view->ld, reach);
    s.panel = dn_carve_padded(c, block, view->ld, reach);
    s.plane = dn_carve_floats(c, l->kind->plane != NULL ? l->kind->plane(v, &view->piece) : 0);
    if (!v->backward) {
        if (!is_direct(v))
            s.y = dn_carve_floats(c, (outputs - 1) * view->ld + output_reach(view));
        return s;
    }
    s.packed = dn_carve_floats(c, v->products->packed_dy_floats(l->outputs, view->positions));
    if (l->kind->dgrad == NULL || is_fused(v))
        return s;
    /* Kernels that unpool dx read up to a vector behind its pixels. */
    const size_t behind = l->kind->plane != NULL ? view->positions + DN_LANES - 1 : 0;
    s.dx = dn_carve_floats(c, (block - 1) * view->ld + larger(output_reach(view), behind));
    if (l->taps > 1)
        s.pixels = dn_carve_floats(c, (block - 1) * view->ld + dn_round_lanes(view->piece.pixels));
    return s;
}

void dn_gemm_scratch(const dn_visit *v, dn_carver *c)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, 0); /* none is larger than the first */
    dn_piece part;
    dn_piece_part(v, &piece, 0, &part);
    const dn_gemm_view view = view_of_piece(v, &part);
    carve_scratch(v, &view, c);
}

/* ---- forward ---- */

void dn_gemm_forward_piece(const dn_visit *v, const dn_pass *pass, const dn_piece *piece)
{
    const dn_layer *l = v->layer;
    const dn_gemm_view view = view_of_piece(v, piece);
    const size_t stride = v->out->layout.stride;
    dn_carver c = dn_thread_scratch(v);
    const gemm_scratch s = carve_scratch(v, &view, &c);
    void *to = dn_map_at(v->out, v->y, dn_map_index(v->out, piece, l->first, 0));
    float *y = is_direct(v) ? to : s.y;
    const size_t y_ld = is_direct(v) ? stride : view.ld;
    for (int first = 0; first < l->weights_in; first += dn_visit_block(v)) {
        const dn_gemm_block b = {
            .view = &view, .first = first, .rows = dn_block_rows(v, first), .plane = s.plane};
        l->kind->fill(v, &b, s.panel);
        v->products->gemm(dn_packed_at(v, first), l->outputs, b.rows, &view.taps, view.positions,
                          s.panel + view.first, view.ld, y, y_ld, first > 0);
    }
    const dn_padded padded = output_padded(&view);
    for (int o = 0; o < l->outputs && pass && dn_drops(l); o++)
        dn_dropout(v, pass, &padded, piece, 0, o, y + (size_t)o * y_ld);
    if (!is_direct(v))
        v->on_maps->store(l->outputs, &padded, y, y_ld, to, stride);
}

/* ---- backward ---- */

/* dy = the output's gradient in the padded layout, deferred correction applied; packed = the same
 * for the wgrad. */
static void load_dy(const dn_visit *v, const dn_pass *pass, const dn_gemm_view *view,
                    const gemm_scratch *s)
{
    const dn_layer *l = v->layer;
    const size_t at = dn_map_index(v->out, &view->piece, l->first, view->source);
    const size_t stride = v->out->layout.stride;
    v->on_maps->affine(l->outputs, &view->padded, v->dy + at, stride, dn_map_at(v->out, v->y, at),
                       stride, v->correction, s->dy, view->ld);
    for (int o = 0; o < l->outputs && dn_drops(l); o++)
        dn_dropout(v, pass, &view->padded, &view->piece, view->source, o,
                   s->dy + (size_t)o * view->ld);
    v->products->pack_dy(s->packed, l->outputs, view->positions, s->dy + view->first, view->ld);
}

void dn_gemm_dgrad(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed)
{
    const dn_gemm_view *view = b->view;
    dn_taps back = view->taps;
    for (int t = 0; t < back.count; t++)
        back.shift[t] = -back.shift[t];
    v->products->gemm(packed, b->rows, v->layer->outputs, &back, view->positions, dy + view->first,
                      view->ld, b->dx, view->ld, 0);
}

void dn_gemm_backward_piece(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                            const dn_piece *piece)
{
    const dn_layer *l = v->layer;
    const dn_gemm_view view = view_of_piece(v, piece);
    dn_carver c = dn_thread_scratch(v);
    const gemm_scratch s = carve_scratch(v, &view, &c);
    load_dy(v, pass, &view, &s);
    for (int first = task->first; first < task->end; first += dn_visit_block(v)) {
        dn_gemm_block b = {.view = &view,
                           .first = first,
                           .rows = dn_block_rows(v, first),
                           .plane = s.plane,
                           .dx = s.dx,
                           .pixels = s.pixels};
        l->kind->fill(v, &b, s.panel);
        if (!l->weight->frozen) /* else it stays 0 */
            v->products->wgrad(l->outputs, b.rows, &view.taps, view.positions, s.packed,
                               s.panel + view.first, view.ld, dn_wgrad_at(v, task->slice, first));
        if (l->kind->dgrad == NULL)
            continue;
        b.sums = dn_partial(v, view.piece.index, first);
        l->kind->dgrad(v, &b, s.dy, dn_packed_at(v, first));
    }
}
