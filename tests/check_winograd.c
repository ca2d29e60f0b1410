/*
 * Winograd's transforms against products of matrices in double, tile by tile. Behind a padded
 * layout stand NaNs, which may reach only the elements that no valid output uses.
 */
#include "check_winograd.h"
#include "check_kernels.h"

/* The most that magnitudes grow by: two from row to row of B' x B, so four; three of A' m A, and
 * two of A dy A' likewise. */
static const double input_growth = 4, output_growth = 9, gradient_growth = 4;

static const double to_window[4 * 4] = {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1};
static const double to_output[2 * 4] = {1, 1, 1, 0, 0, 1, -1, -1};
static const double from_output[4 * 2] = {1, 0, 1, 1, 1, -1, 0, -1};

void dn_sandwich(double *out, const double *left, int rows, int columns, const double *in)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < rows; j++) {
            double sum = 0;
            for (int k = 0; k < columns * columns; k++) {
                const double factor =
                    left[i * columns + k / columns] * left[j * columns + k % columns];
                if (factor != 0)
                    sum += factor * in[k];
            }
            out[i * rows + j] = sum;
        }
}

/* Index in a padded layout of the tile's first pixel. */
static ptrdiff_t tile_at(const dn_padded *f, size_t tile)
{
    const int columns = (f->width + 1) / 2, rows = (f->rows + 1) / 2, t = (int)tile;
    return padded_at(f, t / columns / rows, t / columns % rows * 2, t % columns * 2);
}

/* u = B' x B, or m = A dy A'. */
static void check_windows(dn_dtype dtype, const dn_padded *f, int gradient)
{
    const int size = gradient ? 2 : 4, offset = gradient ? 0 : -1, pitch = f->width + 1;
    const size_t tiles = tiles_of(f);
    dn_guarded x = dn_trial_filled(1, 1, dn_padded_floats(f), readable(f));
    dn_guarded u = dn_trial_matrix(ELEMENTS, 0, tiles + SPILL);
    dn_expect e = dn_expect_create(gradient ? "A dy A'" : "B' x B", ELEMENTS, 0, tiles);
    for (size_t t = 0; t < tiles; t++) {
        double in[ELEMENTS], out[ELEMENTS];
        for (int k = 0; k < size * size; k++)
            in[k] = x.data[tile_at(f, t) + (k / size + offset) * pitch + k % size + offset];
        dn_sandwich(out, gradient ? from_output : to_window, 4, size, in);
        for (int k = 0; k < ELEMENTS; k++)
            dn_expect_point(&e, k, t, out[k], gradient ? gradient_growth : input_growth);
    }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        const dn_winograd_kernels *winograd = k->products[dtype].winograd;
        if (winograd == NULL)
            continue;
        dn_guarded_blank(&u);
        (gradient ? winograd->output_grad : winograd->input)(f, x.data, u.data, u.ld);
        dn_expect_verify(&e, k, &u);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&x, &u);
}

/* y = A' m A, its odd last row and column included. */
static void check_output(dn_dtype dtype, const dn_padded *f)
{
    const int columns = (f->width + 1) / 2, rows = f->images * ((f->rows + 1) / 2);
    const size_t tiles = tiles_of(f), width = 2 * (size_t)columns;
    dn_guarded m = dn_trial_filled(ELEMENTS, 0, tiles, tiles + SPILL);
    dn_guarded y = dn_trial_matrix(2 * rows, 0, dn_round_lanes(width));
    dn_expect e = dn_expect_create("A' m A", 2 * rows, 0, width);
    for (int t = 0; t < rows * columns; t++) {
        double in[ELEMENTS], out[4];
        for (int k = 0; k < ELEMENTS; k++)
            in[k] = dn_guarded_row(&m, k)[t];
        dn_sandwich(out, to_output, 2, 4, in);
        for (int k = 0; k < 4; k++)
            dn_expect_point(&e, t / columns * 2 + k / 2, (size_t)(t % columns * 2 + k % 2), out[k],
                            output_growth);
    }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        if (k->products[dtype].winograd == NULL)
            continue;
        dn_guarded_blank(&y);
        k->products[dtype].winograd->output(f, m.data, m.ld, y.data, y.ld);
        dn_expect_verify(&e, k, &y);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&m, &y);
}

void dn_check_winograd(dn_dtype dtype, const dn_layout *layout, int index, int outputs, int inputs)
{
    const dn_piece piece = dn_layout_piece(layout, index);
    ptrdiff_t source;
    const dn_padded padded = dn_piece_padded(layout, &piece, &source);
    dn_padded out = padded;
    out.rows = piece.rows;
    out.skip = 0;
    dn_trial_describe("Winograd, %s, piece %d of %d images, %d x %d, %d from %d channels",
                      dn_trial_type(dtype), index, layout->images, layout->height, layout->width,
                      outputs, inputs);
    check_windows(dtype, &out, 0);
    check_windows(dtype, &out, 1);
    check_output(dtype, &out);
    dn_check_winograd_conv(dtype, &padded, &out, outputs, inputs);
}
