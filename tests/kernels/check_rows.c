/* The kernels on maps against index formulas. */
#include "check_kernels.h"
#include "dn/bf16.h"
#include "expect.h"

#include <math.h>
#include <string.h>

/* A ReLU's input this close to 0 may be rounded to the other side; x is moved away by so much that
 * rounding it to bf16 does not bring it back. */
#define KINK 1e-3f
#define MOVE 16e-3f

/* Where pixel p of source row r of image i stands in the source, and in the padded layout. */
static size_t source_at(const dn_padded *f, int i, int r, int p)
{
    return (size_t)i * f->source_image + (size_t)(r * f->width + p);
}

static size_t padded_at(const dn_padded *f, int i, int r, int p)
{
    return (size_t)(i * f->image_rows + f->skip + r) * f->pitch + (size_t)p;
}

/* A source of a padded layout: its pixels, and the pad that may be read. */
static dn_guarded source_matrix(dn_dtype dtype, const dn_padded *f, int rows)
{
    const size_t n = source_at(f, f->images - 1, f->rows - 1, f->width - 1) + 1;
    const size_t width = (size_t)f->width;
    return dn_trial_filled_map(dtype, rows, n,
                               dn_padded_bordered(f) ? n - width + dn_round_lanes(width)
                                                     : dn_round_lanes(n));
}

/* Padded rows, as large as they may be written. */
static dn_guarded padded_matrix(const dn_padded *f, int rows)
{
    const size_t n = dn_padded_floats(f);
    return dn_trial_matrix(rows, (size_t)dn_padded_bordered(f),
                           dn_padded_bordered(f) ? n + DN_LANES - 1 : dn_round_lanes(n));
}

void dn_check_fill(dn_dtype dtype, const dn_padded *f)
{
    const int rows = dn_trial_draw(1, 4);
    const size_t n = (size_t)rows, lead = (size_t)dn_padded_bordered(f);
    dn_guarded x = source_matrix(dtype, f, rows), g = source_matrix(dtype, f, rows);
    dn_guarded to = padded_matrix(f, rows);
    dn_guarded scale = dn_trial_filled(1, 0, n, n), shift = dn_trial_filled(1, 0, n, n);
    dn_guarded c = dn_trial_filled(1, 0, 3 * n, 3 * n);
    dn_expect relu = dn_expect_create("norm_relu", rows, lead, dn_round_lanes(dn_padded_floats(f)));
    dn_expect affine = dn_expect_create("affine", rows, lead, dn_round_lanes(dn_padded_floats(f)));
    dn_trial_describe(
        "%s, %d rows, padded layout of %d images, %d x %d, pitch %zu, skip %d, image rows %d",
        dn_dtype_name(dtype), rows, f->images, f->rows, f->width, f->pitch, f->skip, f->image_rows);
    dn_guarded_set(&x, 0, 0, NAN); /* must not be hidden by a ReLU */
    for (int k = 0; k < rows; k++)
        for (int i = 0; i < f->images; i++)
            for (int r = 0; r < f->rows; r++)
                for (int p = 0; p < f->width; p++) {
                    const double v = dn_guarded_get(&x, k, (ptrdiff_t)source_at(f, i, r, p));
                    const double u = dn_guarded_get(&g, k, (ptrdiff_t)source_at(f, i, r, p));
                    const double a = (double)scale.data[k] * v, b = shift.data[k];
                    const double c0 = c.data[3 * k] * u, c1 = c.data[3 * k + 1] * v;
                    const double c2 = c.data[3 * k + 2];
                    dn_expect_point(&relu, k, padded_at(f, i, r, p), a + b <= 0 ? 0 : a + b,
                                    fabs(a) + fabs(b));
                    dn_expect_point(&affine, k, padded_at(f, i, r, p), c0 + c1 + c2,
                                    fabs(c0) + fabs(c1) + fabs(c2));
                }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&to);
        k->on_maps[dtype].norm_relu(rows, f, x.data, x.ld, scale.data, shift.data, to.data, to.ld);
        dn_expect_verify(&relu, k, &to);
        if (dtype == DN_BF16)
            dn_check_operands(k, f, &x, scale.data, shift.data, &to);
        dn_guarded_blank(&to);
        k->on_maps[dtype].affine(rows, f, g.data, g.ld, x.data, x.ld, c.data, to.data, to.ld);
        dn_expect_verify(&affine, k, &to);
    }
    dn_expect_destroy(&relu);
    dn_expect_destroy(&affine);
    DN_GUARDED_DESTROY(&x, &g, &to, &scale, &shift, &c);
}

/* Where pixel p of row r of image i stands in what gemm wrote. */
static size_t stored_from(const dn_padded *f, int i, int r, int p)
{
    return (size_t)(i * f->image_rows + r) * f->pitch + (size_t)p;
}

/* Values of all magnitudes, infinities, and NaN, some at the edges of what rounding loses; half of
 * the others are halfway between two of bf16 or next to that. */
static void fill_extremes(dn_guarded *y, size_t n)
{
    static const uint32_t tails[] = {0, 0x7fff, 0x8000, 0x8001};
    static const uint32_t nans[] = {0x7f808000, 0xff808001, 0x7fff7fff, 0xffff8000};
    for (int r = 0; r < y->rows; r++)
        for (size_t p = 0; p < n; p++) {
            uint32_t bits = (uint32_t)dn_trial_seed();
            if (dn_trial_draw(0, 1))
                bits = (bits & 0xffff0000) | tails[dn_trial_draw(0, 3)];
            if ((bits & 0x7f800000) == 0x7f800000)
                bits &= 0xff800000;
            if (dn_trial_draw(0, 15) == 0)
                bits = nans[dn_trial_draw(0, 3)];
            memcpy(dn_guarded_at(y, r, (ptrdiff_t)p), &bits, sizeof bits);
        }
    dn_guarded_set(y, 0, 0, NAN);
}

/* What a map keeps of v. */
static float stored(dn_dtype dtype, float v)
{
    if (dtype == DN_FP32)
        return v;
    return isnan(v) ? dn_bf16_to_float(dn_float_to_bf16(v)) : dn_nearest_bf16(v);
}

void dn_check_store(dn_dtype dtype, const dn_padded *f)
{
    const int rows = dn_trial_draw(1, 4);
    const size_t n = (size_t)(f->images * f->rows * f->width);
    const size_t extent =
        stored_from(f, f->images - 1, f->rows - 1, 0) + dn_round_lanes((size_t)f->width);
    dn_guarded y = dn_trial_filled(rows, 0, extent, extent), to = dn_trial_map(dtype, rows, n);
    dn_expect e = dn_expect_create("store", rows, 0, n);
    dn_trial_describe("%s, %d rows, %d images of %d x %d, pitch %zu", dn_dtype_name(dtype), rows,
                      f->images, f->rows, f->width, f->pitch);
    fill_extremes(&y, extent);
    for (int k = 0; k < rows; k++)
        for (int i = 0; i < f->images; i++)
            for (int r = 0; r < f->rows; r++)
                for (int p = 0; p < f->width; p++) {
                    const float v = dn_guarded_row(&y, k)[stored_from(f, i, r, p)];
                    dn_expect_point(&e, k, (size_t)((i * f->rows + r) * f->width + p),
                                    stored(dtype, v), 0);
                }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&to);
        k->on_maps[dtype].store(rows, f, y.data, y.ld, to.data, to.ld);
        dn_expect_verify(&e, k, &to);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&y, &to);
}

/* Rows far from zero, where a sum of squares that is not about the mean would cancel. */
void dn_check_moments(dn_dtype dtype, int rows, size_t n)
{
    const float far = (float)dn_trial_draw(-100, 100);
    dn_guarded x = dn_trial_filled_map(dtype, rows, n, dn_round_lanes(n));
    dn_guarded result = dn_trial_matrix(1, 0, 2 * (size_t)rows);
    dn_trial_describe("%s, %d rows, n = %zu, about %g", dn_dtype_name(dtype), rows, n, (double)far);
    for (int r = 0; r < rows; r++)
        for (ptrdiff_t p = 0; p < (ptrdiff_t)n; p++)
            dn_guarded_set(&x, r, p, dn_guarded_get(&x, r, p) + far);
    const dn_kernels *k;
    dn_expect e = dn_expect_create("moments", 1, 0, result.extent);
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&result);
        k->on_maps[dtype].moments(rows, n, x.data, x.ld, result.data);
        for (int r = 0; r < rows; r++) {
            double sum = 0, magnitude = 0, squares = 0;
            for (size_t p = 0; p < n; p++) {
                const double v = dn_guarded_get(&x, r, (ptrdiff_t)p), d = v - result.data[2 * r];
                sum += v;
                magnitude += fabs(v);
                squares += d * d; /* about the mean as it was rounded */
            }
            dn_expect_sum(&e, 0, 2 * (size_t)r, sum / (double)n, n, magnitude / (double)n);
            dn_expect_sum(&e, 0, 2 * (size_t)r + 1, squares, n, squares);
        }
        dn_expect_verify(&e, k, &result);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&x, &result);
}

/* Expects map_gradient, which is `to` now, and `sums` of one channel; x is moved off the kink of
 * the ReLU.
 */
static void expect_norm_relu_grad(dn_norm_grad a, int k, dn_guarded *x, const dn_guarded *to,
                                  dn_expect *map_gradient, dn_expect *sums)
{
    double total = 0, moment = 0, total_size = 0, moment_size = 0;
    for (size_t p = 0; p < a.n; p++) {
        const ptrdiff_t at = (ptrdiff_t)p;
        float v = dn_guarded_get(x, k, at);
        if (v != 0 && fabsf(a.scale[k] * v + a.shift[k]) < KINK)
            dn_guarded_set(x, k, at, v + MOVE / a.scale[k]);
        v = dn_guarded_get(x, k, at);
        const double open = (double)a.scale[k] * v + a.shift[k] > 0;
        const double g = open * a.gradient[(size_t)k * a.gradient_ld + p];
        const double old = a.accumulate ? dn_guarded_get(to, k, at) : 0;
        const double product = g * ((double)v - a.mean[k]);
        dn_expect_point(map_gradient, k, p, old + a.gamma[k] * g, fabs(old) + fabs(a.gamma[k] * g));
        total += g;
        total_size += fabs(g);
        moment += product;
        moment_size += fabs(product);
    }
    dn_expect_sum(sums, 0, 2 * (size_t)k, total, a.n, total_size);
    dn_expect_sum(sums, 0, 2 * (size_t)k + 1, moment, a.n, moment_size);
}

void dn_check_norm_relu_grad(dn_dtype dtype, int rows, size_t n)
{
    const size_t padded = dn_round_lanes(n), count = (size_t)rows;
    const uint64_t seed = dn_trial_seed();
    const int accumulate = dn_trial_draw(0, 1);
    dn_guarded x = dn_trial_filled_map(dtype, rows, n, padded);
    dn_guarded g = dn_trial_filled(rows, 0, n, padded);
    dn_guarded to = dn_trial_map(dtype, rows, padded), sums = dn_trial_matrix(1, 0, 2 * count);
    dn_guarded v = dn_trial_filled(4, 0, count, count);
    dn_expect gradient_is = dn_expect_create("norm_relu_grad: map_gradient", rows, 0, n);
    dn_expect sums_are = dn_expect_create("norm_relu_grad: sums", 1, 0, sums.extent);
    for (int k = 0; k < rows; k++)
        v.data[k] += v.data[k] < 0 ? -0.5f : 0.5f; /* scales with a kink that x can be moved off */
    v.data[v.ld] = 0;                              /* a ReLU's input of exactly 0 is closed */
    dn_guarded_set(&x, 0, 0, 0);
    const dn_norm_grad args = {rows,
                               n,
                               g.data,
                               x.data,
                               to.data,
                               g.ld,
                               x.ld,
                               to.ld,
                               dn_guarded_row(&v, 0),
                               dn_guarded_row(&v, 1),
                               dn_guarded_row(&v, 2),
                               dn_guarded_row(&v, 3),
                               accumulate,
                               sums.data};
    dn_trial_describe("%s, %d rows, n = %zu, %s", dn_dtype_name(dtype), rows, n,
                      accumulate ? "added" : "written");
    dn_guarded_fill(&to, n, seed);
    for (int k = 0; k < rows; k++)
        expect_norm_relu_grad(args, k, &x, &to, &gradient_is, &sums_are);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_fill(&to, n, seed);
        dn_guarded_blank(&sums);
        k->on_maps[dtype].norm_relu_grad(&args);
        dn_expect_verify(&gradient_is, k, &to);
        if (!dn_guarded_pads_intact(&to, n))
            dn_trial_fail("norm_relu_grad: wrote into the pad of map_gradient");
        dn_expect_verify(&sums_are, k, &sums);
    }
    dn_expect_destroy(&gradient_is);
    dn_expect_destroy(&sums_are);
    DN_GUARDED_DESTROY(&x, &g, &to, &sums, &v);
}
