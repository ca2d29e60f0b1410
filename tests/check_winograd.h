/*
 * What the tests of Winograd's transforms and of the convolutions that use them share: tiles of a
 * padded layout, and the transforms as products of matrices.
 */
#ifndef DN_CHECK_WINOGRAD_H
#define DN_CHECK_WINOGRAD_H

#include "expect.h"
#include "layers/layout.h"

static inline size_t tiles_of(const dn_padded *f)
{
    return (size_t)(f->images * dn_tiles(f->rows) * dn_tile_columns(f->width));
}

/* Floats that may be read from the padded layout's first on. */
static inline size_t readable(const dn_padded *f)
{
    return dn_padded_floats(f) + DN_LANES - 1;
}

/* Index in a padded layout of pixel (r, c) of an image. */
static inline ptrdiff_t padded_at(const dn_padded *f, int image, int r, int c)
{
    return ((ptrdiff_t)image * f->image_rows + 1 + r) * (ptrdiff_t)f->pitch + c;
}

/* B'(6, 6), A'(4, 6) and G(6, 3) of F(4x4, 3x3) with the points 0, +-3/4, +-3/2 and infinity. */
extern const double dn_winograd_window[], dn_winograd_output[], dn_winograd_weight[];

/* out(rows, rows) = left(rows, columns) * in(columns, columns) * left'; `transposed`: left is
 * stored as (columns, rows). */
void dn_sandwich(double *out, const double *left, int transposed, int rows, int columns,
                 const double *in);

/* The convolution over `padded` (a piece's, with its halo rows) and its two gradients; `out` is the
 * padded layout without them. In check_winograd_conv.c. */
void dn_check_winograd_conv(const dn_padded *padded, const dn_padded *out, int outputs, int inputs);

#endif
