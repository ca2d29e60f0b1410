/*
 * Reads the orientation from EXIF, and applies it; see include/dn/image.h.
 *
 * EXIF is a TIFF file within the APP1 segment of a JPEG or the eXIf chunk of a PNG. One number of
 * its first directory is read; all offsets are checked.
 */
#include "dn/image.h"

#include <string.h>

/* Bytes of either byte order. */
struct tiff {
    const uint8_t *bytes;
    size_t size;
    int is_little;
};

/* The number in the `width` bytes at `at`; 0 past the end. */
static uint32_t number_at(const struct tiff *t, uint64_t at, unsigned width)
{
    uint32_t number = 0;
    if (at + width > t->size)
        return 0;
    for (unsigned i = 0; i < width; i++)
        number = number << 8 | t->bytes[at + (t->is_little ? width - 1 - i : i)];
    return number;
}

/* An entry of a directory is a tag, a type (3: 16 bits), a count and the value or its offset. */
static int find_orientation(const uint8_t *bytes, size_t size)
{
    enum { ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3 };
    const struct tiff t = {bytes, size, size > 0 && bytes[0] == 'I'};
    if (size < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 1;
    const uint64_t directory = number_at(&t, 4, 4);
    const uint32_t entries = number_at(&t, directory, 2);
    for (uint32_t i = 0; i < entries; i++) {
        const uint64_t entry = directory + 2 + (uint64_t)i * ENTRY;
        if (number_at(&t, entry, 2) != ORIENTATION || number_at(&t, entry + 2, 2) != SHORT)
            continue;
        const uint32_t found = number_at(&t, entry + 8, 2);
        return found >= 1 && found <= 8 ? (int)found : 1;
    }
    return 1;
}

/* A segment is FF, a marker, and a size that includes itself; the image data follow marker DA. */
static int jpeg_orientation(const uint8_t *bytes, size_t size)
{
    enum { APP1 = 0xE1, SCAN = 0xDA, HEAD = 6 };
    for (size_t at = 2; at + 4 <= size && bytes[at] == 0xFF;) {
        if (bytes[at + 1] == 0xFF) { /* a fill byte */
            at++;
            continue;
        }
        const size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (bytes[at + 1] == SCAN || length < 2 || length > size - at - 2)
            break;
        if (bytes[at + 1] == APP1 && length >= 2 + HEAD &&
            memcmp(bytes + at + 4, "Exif\0\0", HEAD) == 0)
            return find_orientation(bytes + at + 4 + HEAD, length - 2 - HEAD);
        at += 2 + length;
    }
    return 1;
}

/* A chunk is a length, a type of four letters, the data and a CRC. */
static int png_orientation(const uint8_t *bytes, size_t size)
{
    const struct tiff t = {bytes, size, 0};
    for (size_t at = 8; at + 12 <= size;) {
        const uint32_t length = number_at(&t, at, 4);
        if (length > size - at - 12)
            break;
        if (memcmp(bytes + at + 4, "eXIf", 4) == 0)
            return find_orientation(bytes + at + 8, length);
        at += 12 + (size_t)length;
    }
    return 1;
}

int dn_exif_orientation(const dn_encoded *file)
{
    switch (dn_image_format_of(file->bytes, file->size)) {
    case DN_IMAGE_JPEG:
        return jpeg_orientation(file->bytes, file->size);
    case DN_IMAGE_PNG:
        return png_orientation(file->bytes, file->size);
    case DN_IMAGE_NONE:
        break;
    }
    return 1;
}

dn_status dn_exif_turn(const dn_pixels *pixels, int orientation, dn_pixels *turned)
{
    /* by orientation 1 to 8: whether rows become columns, then x, then y is mirrored */
    static const char is_swapped[] = {0, 0, 0, 0, 1, 1, 1, 1},
                      is_flipped_x[] = {0, 1, 1, 0, 0, 1, 1, 0},
                      is_flipped_y[] = {0, 0, 1, 1, 0, 0, 1, 1};
    const int kind = orientation - 1, swapped = is_swapped[kind];
    const int width = swapped ? pixels->height : pixels->width;
    const int height = swapped ? pixels->width : pixels->height;
    DN_TRY(dn_buffer_grow(&turned->rgb, (size_t)width * (size_t)height * 3));
    turned->width = width;
    turned->height = height;
    uint8_t *to = turned->rgb.bytes;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to += 3) {
            const int u = is_flipped_x[kind] ? width - 1 - x : x;
            const int v = is_flipped_y[kind] ? height - 1 - y : y;
            const size_t at =
                (size_t)(swapped ? u : v) * (size_t)pixels->width + (size_t)(swapped ? v : u);
            memcpy(to, pixels->rgb.bytes + 3 * at, 3);
        }
    return DN_OK;
}
