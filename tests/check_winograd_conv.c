/*
 * Winograd's transforms with 36 products between them, as layers use them, against the 3x3
 * convolution and its two gradients in double. The padded layouts are followed by NaNs, which must
 * not reach an output.
 */
#include "check_winograd.h"

#include <math.h>
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDINGS = 13 }; /* of an element of both operands (4 + 1, or 4 + 4) and of the result */

/*
 * The largest sum of magnitudes of one input channel's products in an output, for values in [-1,
 * 1): with the row sums of magnitudes b of B' and g of G, the largest element of A' (b * g), for
 * rows and columns. The same for one tile in a weight's gradient: the largest element of G' (a *
 * b), with the row sums a of A.
 */
static const double conv_growth = 27.42 * 27.42, weight_growth = 33.11 * 33.11;

typedef struct layer {
    dn_padded padded, out; /* with the halo rows of a band, and without */
    size_t tiles, pixels;
    int outputs, inputs;
    dn_guarded x, dy; /* padded */
    dn_guarded w;     /* (outputs, inputs * 9) */
} layer;

/* A padded layout filled at random, zeros in its borders. */
static dn_guarded random_padded(const dn_padded *f, int channels)
{
    dn_guarded m = dn_trial_filled(channels, 1, dn_padded_floats(f), readable(f));
    dn_guarded pixels = dn_trial_filled(channels, 1, dn_padded_floats(f), readable(f));
    for (int c = 0; c < channels; c++) {
        for (ptrdiff_t p = -1; p < (ptrdiff_t)dn_padded_floats(f); p++)
            dn_guarded_set(&m, c, p, 0);
        for (int i = 0; i < f->images; i++)
            for (int r = 0; r < f->rows; r++)
                for (int q = 0; q < f->width; q++) {
                    const ptrdiff_t at = padded_at(f, i, f->skip + r - 1, q);
                    dn_guarded_set(&m, c, at, dn_guarded_get(&pixels, c, at));
                }
    }
    dn_guarded_destroy(&pixels);
    return m;
}

typedef struct layer_expect {
    dn_expect y, dx, dw;
} layer_expect;

/* Expects y and dx at pixel `at` of the padded layout, number `pixel` of the piece, and adds to
 * dw(outputs, inputs, 9) what it contributes. */
static void expect_pixel(const layer *l, layer_expect *e, double *dw, ptrdiff_t at, size_t pixel)
{
    const ptrdiff_t pitch = (ptrdiff_t)l->padded.pitch;
    ptrdiff_t shift[9];
    for (int t = 0; t < 9; t++)
        shift[t] = (t / 3 - 1) * pitch + t % 3 - 1;
    for (int o = 0; o < l->outputs; o++) {
        double y = 0;
        for (int k = 0; k < 9 * l->inputs; k++, dw++) {
            const double x = dn_guarded_get(&l->x, k / 9, at + shift[k % 9]);
            y += dn_guarded_get(&l->w, o, k) * x;
            *dw += dn_guarded_get(&l->dy, o, at) * x;
        }
        dn_expect_sum(&e->y, o, pixel, y, (size_t)(l->inputs + ROUNDINGS), conv_growth * l->inputs);
    }
    for (int c = 0; c < l->inputs; c++) {
        double dx = 0;
        for (int k = 0; k < 9 * l->outputs; k++)
            dx += (double)dn_guarded_get(&l->w, k / 9, 9 * c + k % 9) *
                  dn_guarded_get(&l->dy, k / 9, at - shift[k % 9]);
        dn_expect_sum(&e->dx, c, pixel, dx, (size_t)(l->outputs + ROUNDINGS),
                      conv_growth * l->outputs);
    }
}

static layer_expect expect_layer(const layer *l)
{
    const dn_padded *f = &l->out;
    const size_t weights = (size_t)(9 * l->inputs), cells = (size_t)l->outputs * weights;
    layer_expect e = {dn_expect_create("Winograd forward", l->outputs, 0, l->pixels),
                      dn_expect_create("Winograd dgrad", l->inputs, 0, l->pixels),
                      dn_expect_create("Winograd wgrad", l->outputs, 0, weights)};
    double *dw = calloc(cells, sizeof *dw);
    if (dw == NULL) {
        perror("weight gradient");
        exit(EXIT_FAILURE);
    }
    size_t pixel = 0;
    for (int i = 0; i < f->images; i++)
        for (int r = 0; r < f->rows; r++)
            for (int c = 0; c < f->width; c++)
                expect_pixel(l, &e, dw, padded_at(f, i, r, c), pixel++);
    for (size_t k = 0; k < cells; k++)
        dn_expect_sum(&e.dw, (int)(k / weights), k % weights, dw[k], l->tiles + ROUNDINGS,
                      weight_growth * (double)l->tiles);
    free(dw);
    return e;
}

typedef void transform(const dn_padded *padded, const float *x, float *u, size_t matrix);

/* u(36, channels, tiles) of padded channels. */
static dn_guarded transformed(const layer *l, transform *kernel, const dn_guarded *x)
{
    dn_guarded u = dn_trial_matrix(DN_WINOGRAD * x->rows, 0, dn_round_lanes(l->tiles));
    for (int c = 0; c < x->rows; c++)
        kernel(&l->out, dn_guarded_row(x, c), u.data + (size_t)c * u.ld, (size_t)x->rows * u.ld);
    return u;
}

/* G w G' as (36, outputs, inputs); `turned`: of the kernels rotated by 180 degrees, transposed. */
static dn_guarded transformed_weights(const layer *l, int turned)
{
    const int pairs = l->outputs * l->inputs;
    dn_guarded u = dn_trial_matrix(DN_WINOGRAD, 0, (size_t)pairs);
    for (int p = 0; p < pairs; p++) {
        const int o = p / l->inputs, c = p % l->inputs;
        double in[9], out[DN_WINOGRAD];
        for (int t = 0; t < 9; t++)
            in[t] = dn_guarded_get(&l->w, o, 9 * c + (turned ? 8 - t : t));
        dn_sandwich(out, dn_winograd_weight, 0, DN_WINDOW, 3, in);
        for (int k = 0; k < DN_WINOGRAD; k++)
            dn_guarded_set(&u, k, turned ? c * l->outputs + o : p, (float)out[k]);
    }
    return u;
}

/* The 3x3 convolution of padded channels, or with `turned` its transpose. */
static void compute_conv(const layer *l, const dn_kernels *k, int turned, const dn_guarded *from,
                         dn_expect *e)
{
    const dn_product_kernels *products = &k->products[DN_FP32];
    const dn_taps one = {.count = 1};
    const int outputs = turned ? l->inputs : l->outputs, inputs = from->rows;
    const int rows = DN_TILE * dn_tiles(l->out.rows),
              width = DN_TILE * dn_tile_columns(l->out.width);
    dn_guarded w = transformed_weights(l, turned);
    dn_guarded u = transformed(l, k->winograd->input, from);
    dn_guarded m = dn_trial_matrix(DN_WINOGRAD * outputs, 0, dn_round_lanes(l->tiles));
    dn_guarded y = dn_trial_matrix(l->out.images * rows, 0, dn_round_lanes((size_t)width));
    dn_guarded to = dn_trial_matrix(outputs, 0, l->pixels);
    dn_guarded packed = dn_trial_matrix(1, 0, products->packed_floats(outputs, inputs, 1));
    dn_padded compact = l->out;
    compact.pitch = y.ld, compact.image_rows = rows;
    for (int i = 0; i < DN_WINOGRAD; i++) {
        products->pack(packed.data,
                       &(dn_weight_view){dn_guarded_row(&w, i), outputs, inputs, 1, inputs, 1});
        products->gemm(packed.data, outputs, inputs, &one, l->tiles, dn_guarded_row(&u, i * inputs),
                       u.ld, m.data + (size_t)(i * outputs) * m.ld, m.ld, 0);
    }
    for (int o = 0; o < outputs; o++) {
        k->winograd->output(&l->out, dn_guarded_row(&m, o), (size_t)outputs * m.ld, y.data, y.ld);
        k->on_maps[DN_FP32].store(1, &compact, y.data, 0, to.data + (size_t)o * to.ld, 0);
    }
    if (!dn_guarded_intact(&u) || !dn_guarded_intact(&m) || !dn_guarded_intact(&y))
        dn_trial_fail("%s: wrote outside a matrix on the way", e->kernel);
    dn_expect_verify(e, k, &to);
    DN_GUARDED_DESTROY(&w, &u, &m, &y, &to, &packed);
}

static void compute_wgrad(const layer *l, const dn_kernels *k, dn_expect *e)
{
    const dn_product_kernels *products = &k->products[DN_FP32];
    const dn_taps one = {.count = 1};
    const size_t ld = dn_round_lanes((size_t)l->outputs);
    dn_guarded m = transformed(l, k->winograd->output_grad, &l->dy);
    dn_guarded u = transformed(l, k->winograd->input, &l->x);
    dn_guarded sums = dn_trial_matrix(DN_WINOGRAD, 0, (size_t)l->inputs * ld);
    dn_guarded dw = dn_trial_matrix(l->outputs, 0, (size_t)(9 * l->inputs));
    for (int i = 0; i < DN_WINOGRAD; i++) {
        memset(sums.data + (size_t)i * sums.ld, 0, sums.extent * sizeof *sums.data);
        dn_guarded packed = dn_trial_pack_dy(products, l->outputs, l->tiles,
                                             dn_guarded_row(&m, i * l->outputs), m.ld);
        products->wgrad(l->outputs, l->inputs, &one, l->tiles, packed.data,
                        dn_guarded_row(&u, i * l->inputs), u.ld, sums.data + (size_t)i * sums.ld);
        dn_guarded_destroy(&packed);
    }
    for (int o = 0; o < l->outputs; o++)
        for (int c = 0; c < l->inputs; c++) {
            double in[DN_WINOGRAD], out[9];
            for (int i = 0; i < DN_WINOGRAD; i++)
                in[i] = dn_guarded_get(&sums, i, c * (ptrdiff_t)ld + o);
            dn_sandwich(out, dn_winograd_weight, 1, 3, DN_WINDOW, in);
            for (int t = 0; t < 9; t++)
                dn_guarded_set(&dw, o, c * 9 + t, (float)out[t]);
        }
    dn_expect_verify(e, k, &dw);
    DN_GUARDED_DESTROY(&m, &u, &sums, &dw);
}

void dn_check_winograd_conv(const dn_padded *padded, const dn_padded *out, int outputs, int inputs)
{
    const size_t weights = (size_t)(9 * inputs);
    layer l = {.padded = *padded,
               .out = *out,
               .tiles = tiles_of(out),
               .pixels = (size_t)(out->images * out->rows * out->width),
               .outputs = outputs,
               .inputs = inputs};
    l.x = random_padded(padded, inputs);
    l.dy = random_padded(padded, outputs);
    l.w = dn_trial_filled(outputs, 0, weights, weights);
    layer_expect e = expect_layer(&l);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        if (k->winograd == NULL)
            continue;
        compute_conv(&l, k, 0, &l.x, &e.y);
        compute_conv(&l, k, 1, &l.dy, &e.dx);
        compute_wgrad(&l, k, &e.dw);
    }
    dn_expect_destroy(&e.y);
    dn_expect_destroy(&e.dx);
    dn_expect_destroy(&e.dw);
    DN_GUARDED_DESTROY(&l.x, &l.dy, &l.w);
}
