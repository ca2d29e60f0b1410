/* The kernels with a stride of 2 against index formulas, to the bit. */
#include "check_kernels.h"
#include "expect.h"

#include <math.h>

void dn_check_im2col(int height, int width, int row, int rows)
{
    const int columns = (width + 1) / 2;
    const size_t n = (size_t)(rows * columns), plane = (size_t)(height * width);
    dn_guarded x = dn_trial_filled(1, 0, plane, plane + 3 * DN_LANES);
    dn_guarded to = dn_trial_matrix(49, 0, n + DN_LANES - 1);
    dn_expect e = dn_expect_create("im2col", 49, 0, n);
    dn_trial_describe("%d x %d, rows %d to %d", height, width, row, row + rows);
    for (int t = 0; t < 49; t++)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) {
                const int i = 2 * (row + r) - 3 + t / 7, j = 2 * c - 3 + t % 7;
                if (i >= 0 && i < height && j >= 0 && j < width)
                    dn_expect_point(&e, t, (size_t)(r * columns + c), x.data[i * width + j], 0);
            }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&to);
        k->stride.im2col(height, width, x.data, row, rows, to.data, to.ld);
        dn_expect_verify(&e, k, &to);
    }
    DN_GUARDED_DESTROY(&x, &to);
    dn_expect_destroy(&e);
}

/* What a ReLU could have written, in a padded layout: half zeros, many equal, sometimes a NaN. */
static dn_guarded rectified(const dn_padded *f)
{
    const int pitch = f->width + 1, below = f->skip + f->rows;
    const size_t n = dn_padded_floats(f);
    dn_guarded x = dn_trial_filled(1, 1, n, n + 3 * DN_LANES);
    for (int i = -1; i < (int)n; i++) {
        const int inside = i >= f->skip * pitch && i < below * pitch && i % pitch < f->width;
        x.data[i] = inside && x.data[i] > 0 ? ceilf(4 * x.data[i]) : 0;
    }
    if (dn_trial_draw(0, 3) == 0)
        x.data[(f->skip + dn_trial_draw(0, f->rows - 1)) * pitch + dn_trial_draw(0, f->width - 1)] =
            dn_trial_draw(0, 1) ? NAN : -NAN;
    return x;
}

/* Index in x of the maximum of window (r, c) by PyTorch's rule, but -1 for a window of zeros. */
static int largest(const dn_padded *f, const float *x, int r, int c)
{
    int best = -1;
    for (int t = 0; t < 9; t++) {
        const int at = (2 * r + t / 3) * (f->width + 1) + 2 * c - 1 + t % 3;
        if (x[at] > (best < 0 ? 0 : x[best]) || isnan(x[at]))
            best = at;
    }
    return best;
}

void dn_check_max_pool(const dn_padded *f)
{
    const int rows = f->image_rows / 2, columns = (f->width + 1) / 2, whole = f->skip == 1;
    const size_t outputs = (size_t)(rows * columns), inputs = (size_t)(f->rows * f->width);
    dn_guarded x = rectified(f), y = dn_trial_matrix(1, 0, outputs + DN_LANES - 1);
    dn_guarded dy = dn_trial_filled(1, 0, outputs, outputs + 3 * DN_LANES);
    dn_guarded dx = dn_trial_filled(1, 1, inputs, inputs + 2 * DN_LANES);
    dn_expect max = dn_expect_create("max", 1, 0, outputs);
    dn_expect grad = dn_expect_create("max_grad", 1, 0, inputs);
    dn_trial_describe("%d rows of %d into %d, skip %d", f->rows, f->width, rows, f->skip);
    for (size_t i = 0; i < inputs; i++)
        dx.data[i] = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            const int best = largest(f, x.data, r, c), pitch = f->width + 1;
            dn_expect_point(&max, 0, (size_t)(r * columns + c), best < 0 ? 0 : x.data[best], 0);
            if (best >= 0 && whole)
                dx.data[(best / pitch - 1) * f->width + best % pitch] += dy.data[r * columns + c];
        }
    for (size_t i = 0; i < inputs; i++)
        dn_expect_point(&grad, 0, i, dx.data[i], 0);
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&y);
        k->stride.max_pool(f, x.data, y.data);
        dn_expect_verify(&max, k, &y);
        dn_guarded_blank(&dx);
        if (whole) {
            k->stride.max_pool_grad(f, x.data, dy.data, dx.data);
            dn_expect_verify(&grad, k, &dx);
        }
    }
    dn_expect_destroy(&max);
    DN_GUARDED_DESTROY(&x, &y, &dy, &dx);
    dn_expect_destroy(&grad);
}

void dn_check_average_pool(int rows, int width)
{
    const int columns = width / 2;
    const size_t outputs = (size_t)(rows / 2 * columns), inputs = (size_t)(rows * width);
    dn_guarded x = dn_trial_filled(1, 0, inputs, inputs + 3 * DN_LANES);
    dn_guarded dy = dn_trial_filled(1, 0, outputs, outputs + 3 * DN_LANES);
    dn_guarded y = dn_trial_matrix(1, 0, outputs + DN_LANES - 1);
    dn_guarded dx = dn_trial_matrix(1, 0, inputs + 2 * DN_LANES);
    dn_expect average = dn_expect_create("average", 1, 0, outputs);
    dn_expect grad = dn_expect_create("average_grad", 1, 0, inputs);
    dn_trial_describe("%d rows of %d", rows, width);
    for (int r = 0; r < rows / 2; r++)
        for (int c = 0; c < columns; c++) {
            const float *above = x.data + 2 * r * width + 2 * c, *below = above + width;
            const int at = r * columns + c;
            const float sum = (above[0] + above[1]) + (below[0] + below[1]);
            dn_expect_point(&average, 0, (size_t)at, sum / 4, 0);
            for (int t = 0; t < 4; t++)
                dn_expect_point(&grad, 0, (size_t)((2 * r + t / 2) * width + 2 * c + t % 2),
                                dy.data[at] / 4, 0);
        }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        dn_guarded_blank(&y);
        k->stride.average_pool(rows, width, x.data, y.data);
        dn_expect_verify(&average, k, &y);
        dn_guarded_blank(&dx);
        k->stride.average_pool_grad(rows, width, dy.data, dx.data);
        dn_expect_verify(&grad, k, &dx);
    }
    dn_expect_destroy(&average);
    DN_GUARDED_DESTROY(&x, &dy, &y, &dx);
    dn_expect_destroy(&grad);
}
