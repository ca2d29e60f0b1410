/* The cut of a resolution into rows and pieces; see layout.h. */
#include "layout.h"

enum {
    ROW_PIXELS = 512,    /* images are joined up to about so many pixels */
    PIECE_PIXELS = 1024, /* and bands cut down to about so many */
    MIN_GROUPS = 4       /* but a batch is joined to no fewer rows than this */
};

size_t dn_row_stride(size_t floats)
{
    const size_t lines = (dn_round_lanes(floats) + DN_LANES) / DN_LANES;
    return (lines | 1) * DN_LANES;
}

/* Powers of two: the images of a row then lie in one row at every smaller resolution too. */
static int join(int images, size_t pixels)
{
    int group = 1;
    while (2 * group * MIN_GROUPS <= images && (size_t)(2 * group) * pixels <= ROW_PIXELS)
        group *= 2;
    return group;
}

/* Rows of a band: all, or an even number that makes about PIECE_PIXELS, in whole cache lines. */
static int band_rows(int height, int width)
{
    int step = 2;
    while (step * width % DN_LANES != 0)
        step += 2;
    const int bands = (height * width + PIECE_PIXELS - 1) / PIECE_PIXELS;
    const int rows = (height + bands - 1) / bands;
    const int rounded = (rows + step - 1) / step * step;
    return rounded < height ? rounded : height;
}

dn_layout dn_layout_create(int images, int height, int width)
{
    dn_layout layout = {.images = images, .height = height, .width = width};
    const size_t pixels = (size_t)height * (size_t)width;
    layout.group = join(images, pixels);
    layout.groups = (images + layout.group - 1) / layout.group;
    layout.band = band_rows(height, width);
    layout.bands = (height + layout.band - 1) / layout.band;
    layout.pieces = layout.groups * layout.bands;
    layout.stride = dn_row_stride((size_t)layout.group * pixels);
    return layout;
}

dn_piece dn_layout_piece(const dn_layout *layout, int index)
{
    dn_piece piece = {.group = index / layout->bands};
    piece.image = piece.group * layout->group;
    const int left = layout->images - piece.image;
    piece.images = left < layout->group ? left : layout->group;
    piece.row = index % layout->bands * layout->band;
    const int rows = layout->height - piece.row;
    piece.rows = rows < layout->band ? rows : layout->band;
    piece.offset = (size_t)piece.row * (size_t)layout->width;
    piece.pixels = (size_t)piece.images * (size_t)piece.rows * (size_t)layout->width;
    return piece;
}

dn_padded dn_piece_padded(const dn_layout *layout, const dn_piece *piece, ptrdiff_t *source)
{
    const int above = piece->row > 0;
    const int below = piece->row + piece->rows < layout->height;
    *source = above ? -layout->width : 0;
    return (dn_padded){.images = piece->images,
                       .rows = piece->rows + above + below,
                       .width = layout->width,
                       .skip = 1 - above,
                       .image_rows = piece->rows + 1,
                       .pitch = (size_t)layout->width + 1,
                       .source_image = dn_layout_pixels(layout)};
}

dn_padded dn_padded_none(size_t pixels)
{
    return (dn_padded){.images = 1,
                       .rows = 1,
                       .width = (int)pixels,
                       .image_rows = 1,
                       .pitch = pixels,
                       .source_image = pixels};
}

dn_taps dn_taps_3x3(int width, int sign)
{
    dn_taps taps = {.count = 9};
    for (int t = 0; t < 9; t++)
        taps.shift[t] = sign * ((t / 3 - 1) * (width + 1) + (t % 3 - 1));
    return taps;
}
