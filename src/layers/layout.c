/* The cut of a resolution into strips and pieces; see layout.h. */
#include "layers/layout.h"

enum {
    ROW_PIXELS = 512,   /* images are joined in a strip up to about this */
    PIECE_PIXELS = 1024 /* larger images are cut into pieces of about this */
};

size_t dn_row_stride(size_t floats)
{
    const size_t lines = (dn_round_lanes(floats) + DN_LANES) / DN_LANES;
    return (lines | 1) * DN_LANES;
}

/* A power of two: images of one strip are then in one strip at every smaller resolution too. */
static int images_of_strip(int images, size_t pixels)
{
    int count = 1;
    while (2 * count <= images && (size_t)(2 * count) * pixels <= ROW_PIXELS)
        count *= 2;
    return count;
}

/* Image rows of a piece: all, or a multiple of DN_TILE that makes about PIECE_PIXELS, in whole
 * cache lines. */
static int rows_of_piece(int height, int width)
{
    int step = DN_TILE;
    while (step * width % DN_LANES != 0)
        step += DN_TILE;
    const int parts = (height * width + PIECE_PIXELS - 1) / PIECE_PIXELS;
    const int rows = (height + parts - 1) / parts;
    const int rounded = (rows + step - 1) / step * step;
    return rounded < height ? rounded : height;
}

dn_layout dn_layout_create(int images, int height, int width)
{
    dn_layout layout = {.images = images, .height = height, .width = width};
    const size_t pixels = (size_t)height * (size_t)width;
    layout.strip_images = images_of_strip(images, pixels);
    layout.strips = (images + layout.strip_images - 1) / layout.strip_images;
    layout.piece_rows = rows_of_piece(height, width);
    layout.row_parts = (height + layout.piece_rows - 1) / layout.piece_rows;
    layout.pieces = layout.strips * layout.row_parts;
    layout.stride = dn_row_stride((size_t)layout.strip_images * pixels);
    return layout;
}

dn_piece dn_layout_piece(const dn_layout *layout, int index)
{
    dn_piece piece = {.index = index, .strip = index / layout->row_parts};
    piece.image = piece.strip * layout->strip_images;
    const int left = layout->images - piece.image;
    piece.images = left < layout->strip_images ? left : layout->strip_images;
    piece.row = index % layout->row_parts * layout->piece_rows;
    const int rows = layout->height - piece.row;
    piece.rows = rows < layout->piece_rows ? rows : layout->piece_rows;
    piece.offset = (size_t)piece.row * (size_t)layout->width;
    piece.pixels = (size_t)piece.images * (size_t)piece.rows * (size_t)layout->width;
    return piece;
}

int dn_piece_units(const dn_layout *layout, const dn_piece *piece, int unit)
{
    return layout->strip_images > 1 ? piece->images : (piece->rows + unit - 1) / unit;
}

int dn_piece_cut(const dn_layout *layout, const dn_piece *piece, int unit, int units, int index,
                 dn_piece *part)
{
    const int cuts_rows = layout->strip_images == 1, length = cuts_rows ? unit * units : units;
    const int first = index * length, left = (cuts_rows ? piece->rows : piece->images) - first;
    const int count = left < length ? left : length;
    *part = *piece;
    if (cuts_rows) {
        part->row += first;
        part->rows = count;
        part->offset += (size_t)first * (size_t)layout->width;
    } else {
        part->image += first;
        part->images = count;
        part->offset += (size_t)first * dn_layout_pixels(layout);
    }
    part->pixels = (size_t)part->images * (size_t)part->rows * (size_t)layout->width;
    return count > 0;
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

dn_padded dn_padded_tiled(dn_padded padded)
{
    padded.image_rows = DN_TILE * dn_tiles(padded.image_rows - 1) + 1;
    padded.pitch = (size_t)(DN_TILE * dn_tile_columns(padded.width)) + 1;
    return padded;
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

dn_taps dn_taps_3x3(int width)
{
    dn_taps taps = {.count = 9};
    for (int t = 0; t < 9; t++)
        taps.shift[t] = (t / 3 - 1) * (width + 1) + (t % 3 - 1);
    return taps;
}
