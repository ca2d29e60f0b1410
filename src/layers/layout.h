/*
 * How the pixels of one resolution are stored, and the pieces into which work on them is divided.
 *
 * Small maps: a channel's row joins the images of a strip, so that vectors and gemms run over
 * enough pixels. Large maps: a row holds one image, and bands of image rows are pieces. Both depend
 * on the shape alone, never on the number of threads.
 *
 *     strip_images = 2, row_parts = 1           strip_images = 1, row_parts = 2
 *     row of a channel: [image 0][image 1]pad   row of a channel: [rows 0..][rows r..]pad
 *     piece:            <------ 0 ------>       pieces:           <-- 0 -->  <-- 1 -->
 */
#ifndef DN_LAYOUT_H
#define DN_LAYOUT_H

#include <stddef.h>

#include "dn/kernels.h"

typedef struct dn_layout {
    int images, height, width;
    int strip_images, strips;  /* images joined in a row; such strips */
    int piece_rows, row_parts; /* image rows of a piece; pieces in a strip */
    int pieces;
    size_t stride; /* elements between channels; of floats, an odd number of cache lines */
} dn_layout;

typedef struct dn_piece {
    int index, strip;  /* in the layout; its strip */
    int image, images; /* first image, and how many */
    int row, rows;     /* first image row, and how many, of each image */
    size_t offset;     /* elements from the start of the strip's row */
    size_t pixels;
} dn_piece;

/* The layout of so many images; and its piece `index`, from 0, in storage order. */
dn_layout dn_layout_create(int images, int height, int width);
dn_piece dn_layout_piece(const dn_layout *layout, int index);

/* A row stride of at least `floats` plus one vector, an odd number of cache lines, so that rows do
 * not map to the same cache sets. */
size_t dn_row_stride(size_t floats);

/* Pixels of one image. */
static inline size_t dn_layout_pixels(const dn_layout *layout)
{
    return (size_t)layout->height * (size_t)layout->width;
}

/* The units into which a piece can be divided: images or, if a row holds one image, `unit` image
 * rows. */
int dn_piece_units(const dn_layout *layout, const dn_piece *piece, int unit);

/* Sets *part to part `index` of a piece divided into parts of `units` units; returns 0 if there is
 * none. */
int dn_piece_cut(const dn_layout *layout, const dn_piece *piece, int unit, int units, int index,
                 dn_piece *part);

/* The padded layout of a piece with a border of one pixel; *source = the offset of its source from
 * the piece's first pixel (a part of an image also reads the rows above and below it). */
dn_padded dn_piece_padded(const dn_layout *layout, const dn_piece *piece, ptrdiff_t *source);

/* The same with zeros to the right of and below an image, up to whole Winograd tiles. */
dn_padded dn_padded_tiled(dn_padded padded);

/* A padded layout of `pixels` pixels without border. */
dn_padded dn_padded_none(size_t pixels);

/* The nine taps of a 3x3 convolution over padded rows that are width + 1 apart. */
dn_taps dn_taps_3x3(int width);

/* The first output pixel in a padded layout, and the number of positions that a convolution
 * computes. */
static inline size_t dn_padded_first(const dn_padded *padded)
{
    return padded->pitch;
}

static inline size_t dn_padded_positions(const dn_padded *padded)
{
    return ((size_t)padded->images * (size_t)padded->image_rows - 1) * padded->pitch - 1;
}

#endif
