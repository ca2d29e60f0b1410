/* The matrix products over random rows, against sums over index formulas. */
#include "check_kernels.h"
#include "expect.h"
#include "kernel_tables.h"

#include <math.h>
#include <string.h>

/* One tap, or the nine of a 3x3 or of its transpose over planes of such a width; and the farthest
 * that a tap reaches. */
static dn_taps make_taps(int count, int width, size_t *reach)
{
    *reach = count == 1 ? 0 : (size_t)width + 2;
    if (count == 1)
        return (dn_taps){.count = 1};
    dn_taps taps = dn_taps_3x3(width);
    const int sign = dn_trial_draw(0, 1) ? 1 : -1;
    for (int t = 0; t < taps.count; t++)
        taps.shift[t] *= sign;
    return taps;
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
                      dn_dtype_name(dtype), outputs, inputs, tap_count, width, n,
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
    dn_trial_describe("%s, dgrad_norm_relu, %d from %d channels, n = %zu", dn_dtype_name(dtype),
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
    dn_trial_describe("%s, %d from %d channels, %d taps, width %d, n = %zu", dn_dtype_name(dtype),
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
