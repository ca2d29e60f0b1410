/*
 * Winograd's transforms against matrix products in double, tile by tile. A padded layout is
 * followed by NaNs, which must not reach any tile.
 */
#include "check_kernels.h"
#include "expect.h"

/* The largest growth of magnitudes: the square of the largest row sum of magnitudes of B', and of
 * A' and A. */
static const double input_growth = 5.6875 * 5.6875, output_growth = 8.59375 * 8.59375;
static const double gradient_growth = 8.125 * 8.125;

/* B'(6, 6) and A'(4, 6) of F(4x4, 3x3) with the points 0, +-3/4, +-3/2 and infinity. */
static const double window_matrix[DN_WINDOW * DN_WINDOW] = {
    81.0 / 64, 0,          -45.0 / 16, 0,          1, 0, /* (x^2 - 9/16) (x^2 - 9/4) */
    0,         -27.0 / 16, -9.0 / 4,   3.0 / 4,    1, 0, /* x (x + 3/4) (x^2 - 9/4) */
    0,         27.0 / 16,  -9.0 / 4,   -3.0 / 4,   1, 0, /* x (x - 3/4) (x^2 - 9/4) */
    0,         -27.0 / 32, -9.0 / 16,  3.0 / 2,    1, 0, /* x (x + 3/2) (x^2 - 9/16) */
    0,         27.0 / 32,  -9.0 / 16,  -3.0 / 2,   1, 0, /* x (x - 3/2) (x^2 - 9/16) */
    0,         81.0 / 64,  0,          -45.0 / 16, 0, 1, /* x (x^2 - 9/16) (x^2 - 9/4) */
};

static const double output_matrix[DN_TILE * DN_WINDOW] = {
    1, 1,         1,          1,        1,         0, /* powers of the points */
    0, 3.0 / 4,   -3.0 / 4,   3.0 / 2,  -3.0 / 2,  0, /**/
    0, 9.0 / 16,  9.0 / 16,   9.0 / 4,  9.0 / 4,   0, /**/
    0, 27.0 / 64, -27.0 / 64, 27.0 / 8, -27.0 / 8, 1,
};

/* out(rows, rows) = left(rows, columns) * in(columns, columns) * left'; `transposed`: left is
 * stored as (columns, rows). */
static void sandwich(double *out, const double *left, int transposed, int rows, int columns,
                     const double *in)
{
    const int row = transposed ? 1 : columns, column = transposed ? rows : 1;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < rows; j++) {
            double sum = 0;
            for (int k = 0; k < columns * columns; k++)
                sum += left[i * row + k / columns * column] * left[j * row + k % columns * column] *
                       in[k];
            out[i * rows + j] = sum;
        }
}

static size_t tiles_of(const dn_padded *f)
{
    return (size_t)(f->images * dn_tiles(f->rows) * dn_tile_columns(f->width));
}

/* Index in a padded layout of the tile's first pixel. */
static ptrdiff_t tile_at(const dn_padded *f, size_t tile)
{
    const int columns = dn_tile_columns(f->width), rows = dn_tiles(f->rows), t = (int)tile;
    const int row = t / columns / rows * f->image_rows + 1 + t / columns % rows * DN_TILE;
    return row * (ptrdiff_t)f->pitch + t % columns * DN_TILE;
}

/* u = B' x B, or m = A dy A'. */
static void check_windows(const dn_padded *f, int gradient)
{
    const int size = gradient ? DN_TILE : DN_WINDOW, offset = gradient ? 0 : -1;
    const ptrdiff_t pitch = (ptrdiff_t)f->pitch;
    const size_t tiles = tiles_of(f);
    dn_guarded x = dn_trial_filled(1, 1, dn_padded_floats(f), dn_padded_floats(f) + DN_LANES - 1);
    dn_guarded u = dn_trial_matrix(DN_WINOGRAD, 0, dn_round_lanes(tiles));
    dn_expect e = dn_expect_create(gradient ? "A dy A'" : "B' x B", DN_WINOGRAD, 0, tiles);
    for (size_t t = 0; t < tiles; t++) {
        double in[DN_WINOGRAD], out[DN_WINOGRAD];
        for (int k = 0; k < size * size; k++)
            in[k] = x.data[tile_at(f, t) + (k / size + offset) * pitch + k % size + offset];
        sandwich(out, gradient ? output_matrix : window_matrix, gradient, DN_WINDOW, size, in);
        for (int k = 0; k < DN_WINOGRAD; k++)
            dn_expect_point(&e, k, t, out[k], gradient ? gradient_growth : input_growth);
    }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        const dn_winograd_kernels *winograd = k->winograd;
        if (winograd == NULL)
            continue;
        dn_guarded_blank(&u);
        (gradient ? winograd->output_grad : winograd->input)(f, x.data, u.data, u.ld);
        dn_expect_verify(&e, k, &u);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&x, &u);
}

/* y = A' m A, with what is behind the last row and column of an image. */
static void check_output(const dn_padded *f)
{
    const int columns = dn_tile_columns(f->width), rows = f->images * dn_tiles(f->rows);
    const size_t tiles = tiles_of(f), width = (size_t)(DN_TILE * columns);
    dn_guarded m = dn_trial_filled(DN_WINOGRAD, 0, tiles, dn_round_lanes(tiles));
    dn_guarded y = dn_trial_matrix(DN_TILE * rows, 0, dn_round_lanes(width));
    dn_expect e = dn_expect_create("A' m A", DN_TILE * rows, 0, width);
    for (int t = 0; t < rows * columns; t++) {
        double in[DN_WINOGRAD], out[DN_TILE * DN_TILE];
        for (int k = 0; k < DN_WINOGRAD; k++)
            in[k] = dn_guarded_row(&m, k)[t];
        sandwich(out, output_matrix, 0, DN_TILE, DN_WINDOW, in);
        for (int k = 0; k < DN_TILE * DN_TILE; k++)
            dn_expect_point(&e, t / columns * DN_TILE + k / DN_TILE,
                            (size_t)(t % columns * DN_TILE + k % DN_TILE), out[k], output_growth);
    }
    const dn_kernels *k;
    for (int i = 0; (k = dn_trial_table(i)) != NULL; i++) {
        if (k->winograd == NULL)
            continue;
        dn_guarded_blank(&y);
        k->winograd->output(f, m.data, m.ld, y.data, y.ld);
        dn_expect_verify(&e, k, &y);
    }
    dn_expect_destroy(&e);
    DN_GUARDED_DESTROY(&m, &y);
}

void dn_check_winograd(const dn_layout *layout, int index)
{
    const dn_piece piece = dn_layout_piece(layout, index);
    ptrdiff_t source;
    dn_padded out = dn_padded_tiled(dn_piece_padded(layout, &piece, &source));
    out.rows = piece.rows;
    out.skip = 0;
    dn_trial_describe("Winograd, piece %d of %d images, %d x %d", index, layout->images,
                      layout->height, layout->width);
    check_windows(&out, 0);
    check_windows(&out, 1);
    check_output(&out);
}
