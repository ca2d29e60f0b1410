/*
 * The matrix products against sums over index formulas: alone, over random rows, and as a layer
 * uses them, over the padded layouts of the pieces of a map, where they must add up to a 3x3
 * convolution with a border of zeros and to its two gradients.
 */
#include "check_kernels.h"
#include "expect.h"
#include "test_tables.h"

#include <math.h>
#include <string.h>

/* The taps of a 3x3: sign +1 forward, -1 for its transpose. */
static dn_taps signed_taps(int width, int sign)
{
    dn_taps taps = dn_taps_3x3(width);
    for (int t = 0; t < taps.count; t++)
        taps.shift[t] *= sign;
    return taps;
}

/* One tap, or nine over planes of such a width; and the farthest a tap reaches. */
static dn_taps make_taps(int count, int width, size_t *reach)
{
    *reach = count == 1 ? 0 : (size_t)width + 2;
    return count == 1 ? (dn_taps){.count = 1} : signed_taps(width, dn_trial_draw(0, 1) ? 1 : -1);
}

/* Random weights (outputs, inputs, taps), or the transposed view of (inputs, outputs, taps). */
static dn_weight_view make_weights(dn_guarded *m, int outputs, int inputs, int taps, int transposed)
{
    const size_t columns = (size_t)((transposed ? outputs : inputs) * taps);
    *m = dn_trial_filled(transposed ? inputs : outputs, 0, columns, columns);
    const ptrdiff_t ld = (ptrdiff_t)m->ld;
    return (dn_weight_view){
        m->data, outputs, inputs, taps, transposed ? taps : ld, transposed ? ld : taps};
}

/* The values [-before, n) of a matrix as products for that type may see them. */
static dn_guarded seen_by(dn_dtype dtype, const dn_guarded *m, size_t n)
{
    dn_guarded seen = dn_trial_matrix(m->rows, m->before, m->extent);
    for (int r = 0; r < m->rows; r++)
        for (ptrdiff_t p = -(ptrdiff_t)m->before; p < (ptrdiff_t)n; p++) {
            const float x = dn_guarded_get(m, r, p);
            dn_guarded_set(&seen, r, p, dtype == DN_BF16 ? dn_nearest_bf16(x) : x);
        }
    return seen;
}

static double weight(const dn_weight_view *w, int o, int c, int t)
{
    return w->w[o * w->out_step + c * w->in_step + t];
}

static dn_guarded pack(const dn_product_kernels *products, const dn_weight_view *weights)
{
    dn_guarded packed = dn_trial_matrix(
        1, 0, products->packed_floats(weights->outputs, weights->inputs, weights->taps));
    products->pack(packed.data, weights);
    if (!dn_guarded_intact(&packed))
        dn_trial_fail("pack: wrote outside its output");
    return packed;
}

/* Packed weights of a multiple of DN_PACK_OUTPUTS are a prefix of those of more. */
static void check_prefix(const dn_product_kernels *products, dn_weight_view weights,
                         const dn_guarded *packed)
{
    for (weights.outputs -= 1; weights.outputs > 0; weights.outputs--)
        if (weights.outputs % DN_PACK_OUTPUTS == 0) {
            dn_guarded head = pack(products, &weights);
            if (memcmp(head.data, packed->data, head.extent * sizeof(float)) != 0)
                dn_trial_fail("pack: %d outputs are no prefix", weights.outputs);
            dn_guarded_destroy(&head);
        }
}

void dn_check_gemm(dn_dtype dtype, int outputs, int inputs, int tap_count, int width, size_t n)
{
    const int accumulate = dn_trial_draw(0, 1), transposed = dn_trial_draw(0, 1);
    const size_t padded = dn_round_lanes(n), terms = (size_t)inputs * (size_t)tap_count;
    const uint64_t seed = dn_trial_seed();
    size_t reach;
    const dn_taps taps = make_taps(tap_count, width, &reach);
    dn_guarded w, x = dn_trial_filled(inputs, reach, n + reach, padded + reach);
    dn_guarded y = dn_trial_matrix(outputs, 0, padded);
    const dn_weight_view weights = make_weights(&w, outputs, inputs, tap_count, transposed);
    dn_guarded seen = seen_by(dtype, &x, n + reach), seen_w = seen_by(dtype, &w, w.extent);
    dn_weight_view seen_weights = weights;
    seen_weights.w = seen_w.data;
    dn_expect e = dn_expect_create("gemm", outputs, 0, n);
    e.products = dtype;
    dn_trial_describe("%s, %d from %d channels, %d taps, width %d, n = %zu, %s%s",
                      dn_trial_type(dtype), outputs, inputs, tap_count, width, n,
                      accumulate ? "added" : "written", transposed ? ", transposed" : "");
    dn_guarded_fill(&y, n, seed);
    for (int o = 0; o < outputs; o++)
        for (size_t p = 0; p < n; p++) {
            double sum = accumulate ? dn_guarded_row(&y, o)[p] : 0, magnitude = fabs(sum);
            for (int t = 0; t < tap_count; t++)
                for (int c = 0; c < inputs; c++) {
                    const double product = weight(&seen_weights, o, c, t) *
                                           dn_guarded_row(&seen, c)[(ptrdiff_t)p + taps.shift[t]];
                    sum += product;
                    magnitude += fabs(product);
                }
            dn_expect_sum(&e, o, p, sum, terms, magnitude);
        }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        const dn_product_kernels *products = &k->products[dtype];
        if (dtype == DN_BF16 && !dn_test_rounds(k)) /* the same kernels as for fp32 */
            continue;
        dn_guarded packed = pack(products, &weights);
        check_prefix(products, weights, &packed);
        if (accumulate)
            dn_guarded_fill(&y, n, seed);
        else
            dn_guarded_blank(&y);
        dn_trial_operand of = dn_trial_operand_of(products, DN_PAIRED, &x, reach, n + reach, &taps);
        products->gemm(packed.data, outputs, inputs, &of.taps, n, of.x, of.ld, y.data, y.ld,
                       accumulate);
        dn_expect_verify(&e, k, &y);
        DN_GUARDED_DESTROY(&packed, &of.made);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&seen, &seen_w, &w, &x, &y);
}

/* Fused and one after the other: the same bits. */
void dn_check_dgrad_norm_relu(dn_dtype dtype, int rows, int inputs, size_t n)
{
    const size_t padded = dn_round_lanes(n), count = (size_t)rows;
    const uint64_t seed = dn_trial_seed();
    const dn_taps one = {.count = 1};
    dn_guarded w, x = dn_trial_filled(inputs, 0, n, padded);
    dn_guarded map = dn_trial_filled_map(dtype, rows, n, padded);
    dn_guarded v = dn_trial_filled(4, 0, count, count), y = dn_trial_matrix(rows, 0, padded);
    dn_guarded to[2] = {dn_trial_map(dtype, rows, padded), dn_trial_map(dtype, rows, padded)};
    dn_guarded sums[2] = {dn_trial_matrix(1, 0, 2 * count), dn_trial_matrix(1, 0, 2 * count)};
    const dn_weight_view weights = make_weights(&w, rows, inputs, 1, 0);
    dn_norm_grad args[2];
    for (int i = 0; i < 2; i++)
        args[i] = (dn_norm_grad){rows,
                                 n,
                                 y.data,
                                 map.data,
                                 to[i].data,
                                 y.ld,
                                 map.ld,
                                 to[i].ld,
                                 v.data,
                                 v.data + v.ld,
                                 v.data + 2 * v.ld,
                                 v.data + 3 * v.ld,
                                 dn_trial_draw(0, 1),
                                 sums[i].data};
    args[1].accumulate = args[0].accumulate;
    dn_trial_describe("%s, dgrad_norm_relu, %d from %d channels, n = %zu", dn_trial_type(dtype),
                      rows, inputs, n);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        const dn_product_kernels *products = &k->products[dtype];
        if (products->dgrad_norm_relu == NULL)
            continue;
        dn_guarded packed = pack(products, &weights);
        for (int j = 0; j < 2; j++) {
            dn_guarded_fill(&to[j], n, seed);
            dn_guarded_blank(&sums[j]);
        }
        products->gemm(packed.data, rows, inputs, &one, n, x.data, x.ld, y.data, y.ld, 0);
        k->on_maps[dtype].norm_relu_grad(&args[0]);
        products->dgrad_norm_relu(packed.data, inputs, x.data, x.ld, &args[1]);
        for (int r = 0; r < rows; r++)
            if (memcmp(dn_guarded_at(&to[0], r, 0), dn_guarded_at(&to[1], r, 0),
                       n * dn_dtype_size(dtype)) != 0)
                dn_trial_fail("dgrad_norm_relu, row %d: other bits than in two steps", r);
        if (memcmp(sums[0].data, sums[1].data, 2 * count * sizeof(float)) != 0)
            dn_trial_fail("dgrad_norm_relu: other sums than in two steps");
        if (!dn_guarded_intact(&to[1]) || !dn_guarded_pads_intact(&to[1], n) ||
            !dn_guarded_intact(&sums[1]))
            dn_trial_fail("dgrad_norm_relu: wrote outside its rows");
        dn_guarded_destroy(&packed);
    }
    DN_GUARDED_DESTROY(&w, &x, &map, &v, &y, &to[0], &to[1], &sums[0], &sums[1]);
}

void dn_check_wgrad(dn_dtype dtype, int outputs, int inputs, int tap_count, int width, size_t n)
{
    const size_t padded = dn_round_lanes(n), ld = dn_round_lanes((size_t)outputs);
    const uint64_t seed = dn_trial_seed();
    size_t reach;
    const dn_taps taps = make_taps(tap_count, width, &reach);
    dn_guarded x = dn_trial_filled(inputs, reach, n + reach, padded + reach);
    dn_guarded dy = dn_trial_filled(outputs, 0, n, padded);
    dn_guarded dw = dn_trial_matrix(1, 0, (size_t)(tap_count * inputs) * ld);
    dn_guarded seen = seen_by(dtype, &x, n + reach), seen_dy = seen_by(dtype, &dy, n);
    dn_expect e = dn_expect_create("wgrad", 1, 0, dw.extent);
    e.products = dtype;
    dn_trial_describe("%s, %d from %d channels, %d taps, width %d, n = %zu", dn_trial_type(dtype),
                      outputs, inputs, tap_count, width, n);
    dn_guarded_fill(&dw, dw.extent, seed);
    for (size_t cell = 0; cell < dw.extent; cell++) /* what is past the last output stays */
        dn_expect_sum(&e, 0, cell, dw.data[cell], 0, 0);
    for (int t = 0; t < tap_count; t++)
        for (int o = 0; o < outputs; o++)
            for (int c = 0; c < inputs; c++) {
                const size_t cell = (size_t)(t * inputs + c) * ld + (size_t)o;
                double sum = dw.data[cell], magnitude = fabs(sum);
                for (size_t p = 0; p < n; p++) {
                    const double product = (double)dn_guarded_row(&seen_dy, o)[p] *
                                           dn_guarded_row(&seen, c)[(ptrdiff_t)p + taps.shift[t]];
                    sum += product;
                    magnitude += fabs(product);
                }
                dn_expect_sum(&e, 0, cell, sum, n, magnitude);
            }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        if (dtype == DN_BF16 && !dn_test_rounds(k))
            continue;
        const dn_product_kernels *products = &k->products[dtype];
        dn_guarded packed = dn_trial_pack_dy(products, outputs, n, dy.data, dy.ld);
        dn_guarded_fill(&dw, dw.extent, seed);
        dn_trial_operand of = dn_trial_operand_of(products, DN_PLANAR, &x, reach, n + reach, &taps);
        products->wgrad(outputs, inputs, &of.taps, n, packed.data, of.x, of.ld, dw.data);
        dn_expect_verify(&e, k, &dw);
        DN_GUARDED_DESTROY(&packed, &of.made);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&seen, &seen_dy, &x, &dy, &dw);
}

/* ---- as a layer uses them ---- */

/* A piece of a map of `images` planes, side by side in a channel's row, and its products. Where
 * these may round to bf16, their operands are bf16 values already. */
typedef struct layer {
    const dn_layout *layout;
    dn_dtype dtype; /* of the maps x and y, and of dy */
    dn_piece piece;
    dn_padded padded, out; /* with the halo rows of a band, and without */
    ptrdiff_t source;      /* where the padded layout's source begins in a channel's row */
    int outputs, inputs;
    dn_guarded x, dy, w;
    dn_weight_view weights;
} layer;

/* Pixel (r + dr, c + dc) of an image; 0 outside. */
static double pixel(const layer *l, const dn_guarded *m, int channel, int image, int r, int c)
{
    const int height = l->layout->height, width = l->layout->width;
    if (r < 0 || r >= height || c < 0 || c >= width)
        return 0;
    return dn_guarded_get(m, channel, (image * height + r) * width + c);
}

static double activation(const layer *l, int channel, int image, int r, int c)
{
    return fmax(0, pixel(l, &l->x, channel, image, r, c));
}

typedef struct layer_expect {
    dn_expect y, dx, dw;
} layer_expect;

/* Forward, and the gradient of the input, at pixel (r, c) of image i: column `at`. */
static void expect_pixel(const layer *l, layer_expect *e, int i, int r, int c, size_t at)
{
    for (int o = 0; o < l->outputs; o++) {
        double y = 0, size = 0;
        for (int k = 0; k < l->inputs; k++)
            for (int t = 0; t < 9; t++) {
                const double product = weight(&l->weights, o, k, t) *
                                       activation(l, k, i, r + t / 3 - 1, c + t % 3 - 1);
                y += product;
                size += fabs(product);
            }
        dn_expect_sum(&e->y, o, at, y, (size_t)l->inputs * 9, size);
    }
    for (int k = 0; k < l->inputs; k++) {
        double dx = 0, size = 0;
        for (int o = 0; o < l->outputs; o++)
            for (int t = 0; t < 9; t++) {
                const double product = weight(&l->weights, o, k, t) *
                                       pixel(l, &l->dy, o, i, r - t / 3 + 1, c - t % 3 + 1);
                dx += product;
                size += fabs(product);
            }
        dn_expect_sum(&e->dx, k, at, dx, (size_t)l->outputs * 9, size);
    }
}

/* The weight gradient of tap t from output o and input k. */
static void expect_weight(const layer *l, layer_expect *e, int t, int o, int k)
{
    const dn_piece *p = &l->piece;
    double dw = 0, size = 0;
    for (int i = 0; i < p->images; i++)
        for (int r = p->row; r < p->row + p->rows; r++)
            for (int c = 0; c < l->layout->width; c++) {
                const double product = pixel(l, &l->dy, o, i, r, c) *
                                       activation(l, k, i, r + t / 3 - 1, c + t % 3 - 1);
                dw += product;
                size += fabs(product);
            }
    const size_t ld = dn_round_lanes((size_t)l->outputs);
    dn_expect_sum(&e->dw, 0, (size_t)(t * l->inputs + k) * ld + (size_t)o, dw,
                  dn_padded_positions(&l->padded), size);
}

static layer_expect expect_layer(const layer *l)
{
    const dn_piece *p = &l->piece;
    layer_expect e = {
        dn_expect_create("piece: gemm", l->outputs, 0, p->pixels),
        dn_expect_create("piece: dgrad", l->inputs, 0, p->pixels),
        dn_expect_create("piece: wgrad", 1, 0,
                         (size_t)(9 * l->inputs) * dn_round_lanes((size_t)l->outputs))};
    e.y.products = e.dx.products = e.dw.products = l->dtype;
    size_t at = 0;
    for (int i = 0; i < p->images; i++)
        for (int r = p->row; r < p->row + p->rows; r++)
            for (int c = 0; c < l->layout->width; c++)
                expect_pixel(l, &e, i, r, c, at++);
    for (int t = 0; t < 9; t++)
        for (int o = 0; o < l->outputs; o++)
            for (int k = 0; k < l->inputs; k++)
                expect_weight(l, &e, t, o, k);
    return e;
}

/* The padded layout in `from` as products read it, with taps from its first pixel. */
static dn_trial_operand padded_operand(const layer *l, const dn_product_kernels *products,
                                       dn_form form, const dn_guarded *from, const dn_taps *taps)
{
    dn_taps on = *taps;
    for (int t = 0; t < on.count; t++)
        on.shift[t] += (ptrdiff_t)dn_padded_first(&l->padded);
    return dn_trial_operand_of(products, form, from, 1, dn_padded_floats(&l->padded), &on);
}

/* gemm over the padded layout in `from`, stored without its border and compared. */
static void compute_conv(const layer *l, const dn_kernels *k, dn_dtype dtype,
                         const dn_weight_view *weights, int sign, const dn_guarded *from,
                         dn_expect *e)
{
    const size_t n = dn_padded_positions(&l->padded);
    const dn_taps taps = signed_taps(l->layout->width, sign);
    const dn_product_kernels *products = &k->products[l->dtype];
    dn_guarded packed = pack(products, weights);
    dn_guarded y = dn_trial_matrix(weights->outputs, 0, dn_round_lanes(n) + DN_LANES);
    dn_guarded to = dn_trial_map(dtype, weights->outputs, l->piece.pixels);
    dn_trial_operand of = padded_operand(l, products, DN_PAIRED, from, &taps);
    products->gemm(packed.data, weights->outputs, weights->inputs, &of.taps, n, of.x, of.ld, y.data,
                   y.ld, 0);
    k->on_maps[dtype].store(weights->outputs, &l->out, y.data, y.ld, to.data, to.ld);
    dn_expect_verify(e, k, &to);
    DN_GUARDED_DESTROY(&packed, &y, &to, &of.made);
}

static void compute_layer(const layer *l, const dn_kernels *k, layer_expect *e)
{
    static const float identity[3] = {1, 0, 0};
    const dn_map_kernels *on_maps = &k->on_maps[l->dtype];
    const size_t extent = dn_padded_floats(&l->padded) + DN_LANES - 1;
    const size_t first = dn_padded_first(&l->padded), n = dn_padded_positions(&l->padded);
    const dn_taps taps = dn_taps_3x3(l->layout->width);
    dn_weight_view transposed = l->weights;
    transposed.outputs = l->inputs, transposed.inputs = l->outputs;
    transposed.out_step = l->weights.in_step, transposed.in_step = l->weights.out_step;
    dn_guarded x = dn_trial_matrix(l->inputs, 1, extent);
    dn_guarded dy = dn_trial_matrix(l->outputs, 1, extent);
    dn_guarded dw = dn_trial_matrix(1, 0, e->dw.columns);
    dn_guarded_fill(&x, 0, 0); /* gemm reads behind a padded layout */
    dn_guarded_fill(&dy, 0, 0);
    memset(dw.data, 0, dw.extent * sizeof *dw.data);
    for (int c = 0; c < l->inputs; c++)
        on_maps->norm_relu(1, &l->padded, dn_guarded_at(&l->x, c, l->source), 0, &identity[0],
                           &identity[1], x.data + (size_t)c * x.ld, 0);
    for (int o = 0; o < l->outputs; o++)
        on_maps->affine(1, &l->padded, dn_guarded_at(&l->dy, o, l->source), 0,
                        dn_guarded_at(&l->x, 0, l->source), 0, identity,
                        dy.data + (size_t)o * dy.ld, 0);
    compute_conv(l, k, l->dtype, &l->weights, 1, &x, &e->y);
    compute_conv(l, k, DN_FP32, &transposed, -1, &dy, &e->dx);
    const dn_product_kernels *products = &k->products[l->dtype];
    dn_guarded packed = dn_trial_pack_dy(products, l->outputs, n, dy.data + first, dy.ld);
    dn_trial_operand of = padded_operand(l, products, DN_PLANAR, &x, &taps);
    products->wgrad(l->outputs, l->inputs, &of.taps, n, packed.data, of.x, of.ld, dw.data);
    dn_expect_verify(&e->dw, k, &dw);
    DN_GUARDED_DESTROY(&packed, &x, &dy, &dw, &of.made);
}

static void round_rows(dn_guarded *m, size_t count)
{
    for (int r = 0; r < m->rows; r++)
        for (size_t p = 0; p < count; p++)
            dn_guarded_set(m, r, (ptrdiff_t)p, dn_nearest_bf16(dn_guarded_get(m, r, (ptrdiff_t)p)));
}

void dn_check_piece(dn_dtype dtype, const dn_layout *layout, int piece, int outputs, int inputs)
{
    layer l = {.layout = layout, .dtype = dtype, .piece = dn_layout_piece(layout, piece)};
    l.outputs = outputs;
    l.inputs = inputs;
    l.out = l.padded = dn_piece_padded(layout, &l.piece, &l.source);
    l.source += (ptrdiff_t)l.piece.offset;
    l.out.rows = l.piece.rows;
    const size_t width = (size_t)layout->width;
    const size_t n = (size_t)l.piece.images * dn_layout_pixels(layout);
    l.x = dn_trial_filled_map(dtype, inputs, n, n - width + dn_round_lanes(width));
    l.dy = dn_trial_filled_map(dtype, outputs, n, n - width + dn_round_lanes(width));
    l.weights = make_weights(&l.w, outputs, inputs, 9, 0);
    if (dtype == DN_BF16) {
        round_rows(&l.dy, n);
        round_rows(&l.w, l.w.extent);
    }
    dn_trial_describe("%s, piece %d of %d images, %d x %d, %d from %d channels",
                      dn_trial_type(dtype), piece, layout->images, layout->height, layout->width,
                      outputs, inputs);
    layer_expect e = expect_layer(&l);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++)
        compute_layer(&l, k, &e);
    dn_expect_destroy(&e.y);
    dn_expect_destroy(&e.dx);
    dn_expect_destroy(&e.dw);
    DN_GUARDED_DESTROY(&l.x, &l.dy, &l.w);
}
