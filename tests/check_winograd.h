/*
 * What the tests of Winograd's transforms and of the convolutions that use them share: tiles of a
 * padded layout, and the transforms as products of matrices.
 */
#ifndef DN_CHECK_WINOGRAD_H
#define DN_CHECK_WINOGRAD_H

#include "expect.h"
#include "layers/layout.h"

enum {
    ELEMENTS = 16,           /* of a transformed window */
    SPILL = DN_LANES / 2 - 1 /* floats behind the tiles that may be read and written */
};

static inline size_t tiles_of(const dn_padded *f)
{
    return (size_t)(f->images * ((f->rows + 1) / 2) * ((f->width + 1) / 2));
}

/* Floats that may be read from the padded layout's first on. */
static inline size_t readable(const dn_padded *f)
{
    return dn_padded_floats(f) + (size_t)f->width + 1 + DN_LANES - 1;
}

/* Index in a padded layout of pixel (r, c) of an image. */
static inline ptrdiff_t padded_at(const dn_padded *f, int image, int r, int c)
{
    return ((ptrdiff_t)image * f->image_rows + 1 + r) * (f->width + 1) + c;
}

/* out(rows, rows) = left(rows, columns) * in(columns, columns) * left'. Factors of 0 drop what they
 * multiply, even NaN. */
void dn_sandwich(double *out, const double *left, int rows, int columns, const double *in);

/* The convolution over `padded` (a piece's, with its halo rows) and its two gradients; `out` is the
 * padded layout without them. In check_winograd_conv.c. */
void dn_check_winograd_conv(dn_dtype dtype, const dn_padded *padded, const dn_padded *out,
                            int outputs, int inputs);

#endif
