/*
 * How the pixels of one resolution are stored, and the pieces that work on them is cut into.
 *
 * Small maps: `group` images stand side by side in a row, so that vectors and matrix products run
 * over enough pixels. Large maps: a row holds one image, and bands of image rows are pieces of
 * their own. Both follow from the shape alone, never from the number of threads.
 *
 *     group = 2, bands = 1                      group = 1, bands = 2
 *     row of a channel: [image 0][image 1]pad   row of a channel: [band 0][band 1]pad
 *     piece:            <------ 0 ------>       pieces:            <- 0 -><- 1 ->
 */
#ifndef DN_GRID_H
#define DN_GRID_H

#include <stddef.h>

#include "dn/kernels.h"

typedef struct dn_grid {
    int images, height, width;
    int group, groups; /* images in a row; rows */
    int band, bands;   /* image rows in a piece; pieces in a row */
    int pieces;
    size_t stride; /* elements from channel to channel: of floats, an odd number of cache lines */
} dn_grid;

typedef struct dn_piece {
    int group;
    int image, images; /* first image, and how many */
    int row, rows;     /* first image row, and how many (of each image) */
    size_t offset;     /* elements from the start of the group's row */
    size_t pixels;
} dn_piece;

dn_grid dn_grid_create(int images, int height, int width);
dn_piece dn_grid_piece(const dn_grid *grid, int index);

/* A row stride of at least `floats` plus a vector of slack: an odd number of cache lines, so that
 * rows do not fall into the same cache sets. */
size_t dn_row_stride(size_t floats);

/* Pixels of one image. */
static inline size_t dn_grid_pixels(const dn_grid *grid)
{
    return (size_t)grid->height * (size_t)grid->width;
}

/* The frame of a piece with a border of one pixel, and where its source begins relative to the
 * piece's first pixel (a band reads the rows above and below it). */
dn_frame dn_piece_frame(const dn_grid *grid, const dn_piece *piece, ptrdiff_t *source);

/* A run of pixels without border. */
dn_frame dn_run_frame(size_t pixels);

/* The nine taps of a 3x3 convolution over such frames: sign +1 forward, -1 for its transpose. */
dn_taps dn_taps_3x3(int width, int sign);

/* The first output pixel of a frame, and the run of positions a convolution goes over. */
static inline size_t dn_frame_first(const dn_frame *frame)
{
    return frame->pitch;
}

static inline size_t dn_frame_run(const dn_frame *frame)
{
    return ((size_t)frame->images * (size_t)frame->image_rows - 1) * frame->pitch - 1;
}

#endif
