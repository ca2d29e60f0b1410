/*
 * The loops of layers that are a gemm over panels; see gemm.h.
 *
 * Forward, one part of a piece at a time: a panel of input channels is filled (and normalised while
 * it is filled) and multiplied, and the sums are written in place into the output map.
 *
 * Backward, one part of a piece of a task at a time: the output's gradient is loaded, with the
 * deferred correction applied, and converted to what gemm and wgrad read, once for all tasks that
 * share it or once per task. Then, for each channel block of the task, the panel is filled again
 * and gives the weights' gradient, and the product with the transposed weights gives the input's.
 * The 1x1 of a dense layer divides a piece into parts of pixels whose operands stay in the cache
 * (forward only for products with operands of their own).
 *
 * Products that round to bf16 read an operand in a form of its own instead of the panel.
 */
#include "layers/gemm.h"

#include "layers/dropout.h"
#include "layers/norm.h"

/* Sizes of a part such that it stays in the L2 cache: of dy, which is there twice, or of an operand
 * of all inputs. */
enum { DY_FLOATS = 65536, OPERAND_FLOATS = 131072, PART_STEP = 64 };

/* A thread's working memory. */
typedef struct gemm_scratch {
    dn_gemm_block block;   /* the operand, and what is computed from it */
    float *y;              /* forward: the sums, unless they go directly into the map */
    float *dy, *packed_dy; /* backward: dy in the formats of gemm and wgrad */
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

/* Floats of a padded row that kernels touch: filling it, and the taps of a gemm. */
static size_t padded_reach(const dn_padded *padded)
{
    const size_t filled = dn_padded_floats(padded) + DN_LANES - 1;
    if (!dn_padded_bordered(padded))
        return filled;
    const size_t last_tap = padded->pitch + 1;
    return larger(filled,
                  dn_padded_first(padded) + dn_round_lanes(dn_padded_positions(padded)) + last_tap);
}

/* Floats between rows of a panel or a DN_PAIRED operand. */
static size_t row_floats(const dn_padded *padded)
{
    return dn_row_stride(dn_padded_floats(padded) + DN_FORM_PAD + 2 * DN_LANES +
                         (dn_padded_bordered(padded) ? (size_t)padded->width : 0));
}

static dn_gemm_view view_of_piece(const dn_visit *v, const dn_piece *piece)
{
    const int width = v->out->layout.width;
    if (v->layer->taps == 1) {
        const dn_padded padded = dn_padded_none(piece->pixels);
        return (dn_gemm_view){.piece = *piece,
                              .padded = padded,
                              .positions = piece->pixels,
                              .taps = {.count = 1},
                              .ld = row_floats(&padded)};
    }
    dn_gemm_view view = {.piece = *piece, .taps = dn_taps_3x3(width)};
    view.padded = dn_piece_padded(&v->out->layout, piece, &view.source);
    view.origin = dn_padded_first(&view.padded);
    view.positions = dn_padded_positions(&view.padded);
    view.ld = row_floats(&view.padded);
    for (int t = 0; t < view.taps.count; t++)
        view.taps.shift[t] += (ptrdiff_t)view.origin;
    return view;
}

/* Pixels of a part; in the forward pass no more than leave work for all threads. */
static size_t part_pixels(const dn_visit *v)
{
    const int rows = v->backward ? v->layer->outputs : (v->layer->weights_in + 1) / 2;
    const size_t fitting = (size_t)(v->backward ? DY_FLOATS : OPERAND_FLOATS) / (size_t)rows;
    const size_t part = larger(fitting / PART_STEP * PART_STEP, PART_STEP);
    const size_t units = (size_t)v->part_units * DN_LANES;
    if (v->backward)
        return part;
    return v->products->operands == NULL ? units : smaller(part, units);
}

int dn_gemm_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part)
{
    const size_t step = part_pixels(v), at = (size_t)index * step;
    if (at >= piece->pixels)
        return 0;
    *part = *piece;
    part->offset += at;
    part->pixels = smaller(step, piece->pixels - at);
    return 1;
}

dn_padded dn_gemm_output_padded(const dn_gemm_view *view)
{
    dn_padded padded = view->padded;
    padded.skip = 0;
    if (dn_padded_bordered(&padded))
        padded.rows = view->piece.rows;
    return padded;
}

/* 1: sums go directly into the map, without `store`. A gemm writes whole vectors, so parts of
 * arbitrary length cannot do so. */
static int is_direct(const dn_visit *v)
{
    const int spills = v->parts > 1 && !v->layer->kind->cuts_pixels;
    return v->layer->taps == 1 && v->out->element == sizeof(float) && !spills;
}

/* 1: one kernel computes the input's gradient and adds it to the map's: there is no dx. */
static int is_fused(const dn_visit *v)
{
    return v->layer->kind->cuts_pixels && v->products->dgrad_norm_relu != NULL;
}

/* Floats of a row of a gemm's output that it writes, or that `store` reads. */
static size_t output_reach(const dn_gemm_view *view)
{
    const dn_padded out = dn_gemm_output_padded(view);
    const size_t rows = (size_t)((out.images - 1) * out.image_rows + out.rows - 1);
    return larger(dn_round_lanes(view->positions),
                  rows * out.pitch + dn_round_lanes((size_t)out.width));
}

/* Floats between rows of dx, and in one of them. */
static size_t dx_stride(const dn_visit *v, const dn_gemm_view *view)
{
    return v->layer->kind->cuts_pixels ? dn_row_stride(DN_DX_PIXELS) : view->ld;
}

static size_t dx_reach(const dn_visit *v, const dn_gemm_view *view)
{
    return v->layer->kind->cuts_pixels ? DN_DX_PIXELS : output_reach(view);
}

/* Floats between rows of an operand: a DN_PLANAR one has two elements per float. */
static size_t operand_stride(const dn_visit *v, const dn_gemm_view *view)
{
    return v->backward && v->products->operands != NULL ? dn_row_stride((view->ld + 1) / 2)
                                                        : view->ld;
}

/* An operand in a form of its own and, if the kind fills one, the panel that it is rounded from; or
 * the panel alone. */
static void carve_operands(const dn_visit *v, const dn_gemm_view *view, size_t block,
                           dn_gemm_block *b, dn_carver *c)
{
    const size_t reach = padded_reach(&view->padded);
    const size_t formed = dn_padded_floats(&view->padded) + DN_FORM_PAD;
    if (v->products->operands == NULL) {
        b->operand = b->panel = dn_carve_padded(c, block, view->ld, reach);
        return;
    }
    b->operand = v->backward ? dn_carve_padded(c, block, b->operand_ld, (formed + 1) / 2)
                             : dn_carve_padded(c, (block + 1) / 2, b->operand_ld, formed);
    if (!v->layer->kind->fills_forms)
        b->panel = dn_carve_padded(c, block, view->ld, reach);
}

/* dy in the formats of gemm and wgrad. */
static void carve_forms_of_dy(const dn_visit *v, const dn_gemm_view *view, gemm_scratch *s,
                              dn_carver *c)
{
    const size_t outputs = (size_t)v->layer->outputs, reach = padded_reach(&view->padded);
    const size_t formed = dn_padded_floats(&view->padded) + DN_FORM_PAD;
    if (v->products->operands == NULL)
        s->dy = dn_carve_padded(c, outputs, view->ld, reach);
    else if (v->layer->kind->dgrad != NULL)
        s->dy = dn_carve_padded(c, (outputs + 1) / 2, view->ld, formed);
    s->packed_dy =
        dn_carve_floats(c, v->products->packed_dy_floats(v->layer->outputs, view->positions));
}

/* dy as floats, needed while those are made from it. */
static float *carve_rows_of_dy(const dn_visit *v, const dn_gemm_view *view, const gemm_scratch *s,
                               dn_carver *c)
{
    return v->products->operands == NULL ? s->dy
                                         : dn_carve_padded(c, (size_t)v->layer->outputs, view->ld,
                                                           padded_reach(&view->padded));
}

/* Everything else. */
static void carve_rest(const dn_visit *v, const dn_gemm_view *view, gemm_scratch *s, dn_carver *c)
{
    const dn_layer *l = v->layer;
    const size_t block = smaller((size_t)v->channel_block, (size_t)l->weights_in);
    dn_gemm_block *const b = &s->block;
    *b = (dn_gemm_block){
        .view = view, .operand_ld = operand_stride(v, view), .dx_ld = dx_stride(v, view)};
    carve_operands(v, view, block, b, c);
    b->plane = dn_carve_floats(c, l->kind->plane != NULL ? l->kind->plane(v, &view->piece) : 0);
    if (!v->backward && !is_direct(v))
        s->y = dn_carve_floats(c, ((size_t)l->outputs - 1) * view->ld + output_reach(view));
    if (!v->backward || l->kind->dgrad == NULL || is_fused(v))
        return;
    /* Kernels that unpool dx read up to a vector after its pixels. */
    const size_t behind = l->kind->plane != NULL ? view->positions + DN_LANES - 1 : 0;
    b->dx = dn_carve_floats(c, (block - 1) * b->dx_ld + larger(dx_reach(v, view), behind));
    if (l->taps > 1)
        b->pixels = dn_carve_floats(c, (block - 1) * view->ld + dn_round_lanes(view->piece.pixels));
}

void dn_gemm_scratch(const dn_visit *v, dn_carver *c)
{
    const dn_piece part = dn_largest_part(v);
    const dn_gemm_view view = view_of_piece(v, &part);
    gemm_scratch s = {0};
    if (v->backward) {
        carve_forms_of_dy(v, &view, &s, c);
        dn_carver passing = *c;
        carve_rows_of_dy(v, &view, &s, &passing);
        c->most = larger(c->most, passing.most);
    }
    carve_rest(v, &view, &s, c);
}

/* ---- operands ---- */

void dn_gemm_round(const dn_visit *v, const dn_gemm_block *b)
{
    const dn_gemm_view *view = b->view;
    if (v->products->operands != NULL)
        v->products->operands->round(dn_gemm_form(v), b->rows, dn_padded_floats(&view->padded),
                                     b->panel, view->ld, b->operand, b->operand_ld);
}

/* ---- forward ---- */

void dn_gemm_forward_part(const dn_visit *v, const dn_pass *pass, const dn_piece *piece)
{
    const dn_layer *l = v->layer;
    const dn_gemm_view view = view_of_piece(v, piece);
    const size_t stride = v->out->layout.stride;
    dn_carver c = dn_thread_scratch(v);
    gemm_scratch s = {0};
    carve_rest(v, &view, &s, &c);
    void *to = dn_map_at(v->out, v->y, dn_map_index(v->out, piece, l->first, 0));
    float *y = is_direct(v) ? to : s.y;
    const size_t y_ld = is_direct(v) ? stride : view.ld;
    dn_gemm_block *const b = &s.block;
    for (b->first = 0; b->first < l->weights_in; b->first += v->channel_block) {
        b->rows = dn_block_rows(v, b->first);
        l->kind->fill(v, b);
        v->products->gemm(dn_packed_at(v, b->first), l->outputs, b->rows, &view.taps,
                          view.positions, b->operand, view.ld, y, y_ld, b->first > 0);
    }
    const dn_padded padded = dn_gemm_output_padded(&view);
    for (int o = 0; o < l->outputs && pass && dn_drops(l); o++)
        dn_dropout(v, pass, &padded, piece, 0, o, y + (size_t)o * y_ld);
    if (!is_direct(v))
        v->on_maps->store(l->outputs, &padded, y, y_ld, to, stride);
}

/* ---- backward ---- */

/* dy, packed = the gradient of outputs [first, end) in the padded layout, with the deferred
 * correction applied, in the formats of gemm and wgrad. */
static void load_dy(const dn_visit *v, const dn_pass *pass, const dn_gemm_view *view, int first,
                    int end, const gemm_scratch *s, dn_carver *c)
{
    const dn_layer *l = v->layer;
    const int outputs = end - first;
    float *const dy = carve_rows_of_dy(v, view, s, c) + (size_t)first * view->ld;
    float *const packed = s->packed_dy + v->products->packed_dy_floats(first, view->positions);
    const size_t at = dn_map_index(v->out, &view->piece, l->first + first, view->source);
    const size_t stride = v->out->layout.stride;
    v->on_maps->affine(outputs, &view->padded, dn_map_at(v->out, v->dy, at), stride,
                       dn_map_at(v->out, v->y, at), stride, v->correction + 3 * first, dy,
                       view->ld);
    for (int o = 0; o < outputs && dn_drops(l); o++)
        dn_dropout(v, pass, &view->padded, &view->piece, view->source, first + o,
                   dy + (size_t)o * view->ld);
    v->products->pack_dy(packed, outputs, view->positions, dy + view->origin, view->ld);
    if (v->products->operands != NULL && s->dy != NULL)
        v->products->operands->round(DN_PAIRED, outputs, dn_padded_floats(&view->padded), dy,
                                     view->ld, s->dy + (size_t)(first / 2) * view->ld, view->ld);
}

void dn_gemm_carve_dy(const dn_visit *v, const dn_piece *part, dn_carver *c)
{
    const dn_gemm_view view = view_of_piece(v, part);
    gemm_scratch s = {0};
    carve_forms_of_dy(v, &view, &s, c);
}

void dn_gemm_prepare_dy(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                        int end, float *prepared)
{
    const dn_gemm_view view = view_of_piece(v, part);
    dn_carver c = dn_thread_scratch(v);
    gemm_scratch s = {0};
    carve_forms_of_dy(v, &view, &s, &(dn_carver){.memory = (char *)prepared, .inner = 1});
    load_dy(v, pass, &view, first, end, &s, &c);
}

void dn_gemm_dgrad(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed,
                   size_t at, size_t n)
{
    const dn_gemm_view *view = b->view;
    dn_taps back = view->taps;
    for (int t = 0; t < back.count; t++)
        back.shift[t] = (ptrdiff_t)(2 * view->origin + at) - back.shift[t];
    v->products->gemm(packed, b->rows, v->layer->outputs, &back, n, dy, view->ld, b->dx, b->dx_ld,
                      0);
}

void dn_gemm_backward_part(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                           const dn_piece *piece)
{
    const dn_layer *l = v->layer;
    const dn_gemm_view view = view_of_piece(v, piece);
    dn_carver c = dn_thread_scratch(v);
    gemm_scratch s = {0};
    if (task->prepared != NULL) {
        carve_forms_of_dy(v, &view, &s, &(dn_carver){.memory = (char *)task->prepared, .inner = 1});
    } else {
        carve_forms_of_dy(v, &view, &s, &c);
        dn_carver passing = c; /* the rest reuses the memory of dy's rows */
        load_dy(v, pass, &view, 0, l->outputs, &s, &passing);
    }
    carve_rest(v, &view, &s, &c);
    dn_gemm_block *const b = &s.block;
    for (b->first = task->first; b->first < task->end; b->first += v->channel_block) {
        b->rows = dn_block_rows(v, b->first);
        if (task->wgrad) {
            l->kind->fill(v, b);
            v->products->wgrad(l->outputs, b->rows, &view.taps, view.positions, s.packed_dy,
                               b->operand, b->operand_ld, dn_wgrad_at(v, task->slice, b->first));
        }
        if (!task->dgrad)
            continue;
        b->sums = dn_partial(v, view.piece.index, b->first);
        l->kind->dgrad(v, b, s.dy, dn_packed_at(v, b->first));
    }
}
