/*
 * Encoded images: detection of the format by content, and decoding to RGB.
 *
 * JPEG is decoded by libjpeg, PNG by libpng. The pixels equal those of PIL's
 * Image.open(file).convert("RGB"), except for 16-bit grey PNG, which PIL clips to white: here the
 * high byte is used, as it is for colour, or a window of levels. The input is not trusted: damage
 * is reported as a status. Not collective.
 */
#ifndef DN_IMAGE_H
#define DN_IMAGE_H

#include "dn/buffer.h"

typedef enum dn_image_format { DN_IMAGE_NONE, DN_IMAGE_JPEG, DN_IMAGE_PNG } dn_image_format;

enum {
    DN_IMAGE_SIDE = 65535,       /* greatest width and height */
    DN_IMAGE_PIXELS = 1 << 28,   /* of a whole image, also after resizing */
    DN_IMAGE_EXPANSION = 1 << 14 /* pixels per byte of the file: PNG has up to 8 * 1032 */
};

/* A file's bytes; not owned. */
typedef struct dn_encoded {
    const uint8_t *bytes;
    size_t size;
    const char *name; /* for messages */
} dn_encoded;

/* The format that the first bytes indicate. */
dn_image_format dn_image_format_of(const uint8_t *bytes, size_t size);

/* Returns 1 if the name is that of an image file: .jpg, .jpeg or .png, in any letter case. */
int dn_image_is_name(const char *name);

/* Reads an encoded image into the buffer: the file `path` or, if `archive` is not NULL, the *size
 * bytes at offset `at` of that file; messages call it `path`. Thread-safe. Errors: as dn_file_open
 * and dn_file_read; DN_EINVAL (empty, or more than DN_MAX_IMAGE_BYTES), DN_ENOMEM. */
dn_status dn_image_load(const char *path, const char *archive, int64_t at, dn_buffer *buffer,
                        size_t *size);

typedef struct dn_image_info {
    int width, height;
} dn_image_info;

/* Reads the header. Errors: DN_EINVAL (not an image, or of an unsupported kind), DN_ECORRUPT,
 * DN_ENOMEM. */
dn_status dn_image_probe(const dn_encoded *file, dn_image_info *info);

/* Returns 1 if the header is that of a PNG with 16 bits per value, which dn_image_decode reduces to
 * 8. */
int dn_png_is_deep(const dn_encoded *file);

/* Returns 1 if the header is that of a grey PNG, with or without transparency. */
int dn_png_is_grey(const dn_encoded *file);

/* A rectangle in pixel coordinates; its edges may be fractional. */
typedef struct dn_box {
    double left, top, width, height;
} dn_box;

/* Pixels rgb(height, width, 3) in a buffer that the caller frees. */
typedef struct dn_pixels {
    int width, height;
    dn_buffer rgb;
} dn_pixels;

/*
 * Decodes the part of the image that the box *part covers; NULL: all of it. More pixels than that
 * may be decoded; *part becomes the same box in the decoded pixels. `shrink` is the factor by which
 * the caller will scale down next: a JPEG is decoded at 1/2 or 1/4 of its size if `shrink` is at
 * least 8 or 16, which differs by less than one level on average from the antialiased full decode.
 * Thread-safe. Errors: DN_EINVAL (as dn_image_probe, or a box that is not within the image),
 * DN_ECORRUPT (also a truncated file), DN_ENOMEM.
 */
dn_status dn_image_decode(const dn_encoded *file, dn_box *part, double shrink, dn_pixels *pixels);

/* As dn_image_decode of a whole grey PNG of 16 bits, but the values low to high, 0 <= low < high <=
 * 65535, become 0 to 255, rounded; the others are clamped. */
dn_status dn_png_decode_window(const dn_encoded *file, int low, int high, dn_pixels *pixels);

/* Returns 1 if under 1 % of the values reach a quarter of white. */
int dn_pixels_are_dark(const dn_pixels *pixels);

/* ---- orientation, as recorded by a camera ---- */

/* The EXIF orientation of a JPEG or PNG, 1 to 8 as in the TIFF 6.0 specification; 1 (upright) if it
 * has none that can be read. */
int dn_exif_orientation(const dn_encoded *file);

/* *turned = the pixels rotated or mirrored for display by `orientation`. DN_ENOMEM. */
dn_status dn_exif_turn(const dn_pixels *pixels, int orientation, dn_pixels *turned);

/* ---- lossless pixels as PNG; thread-safe ---- */

/* *png(*size) = pixels(height, width, channels), of one to four channels, as a PNG file; the caller
 * frees it; NULL on failure. Errors: DN_ENOMEM. */
dn_status dn_png_encode(const uint8_t *pixels, int height, int width, int channels, uint8_t **png,
                        size_t *size);

/* pixels(height, width, channels) = the pixels of a PNG of exactly that size and number of 8-bit
 * channels; unlike dn_image_decode it converts nothing. Errors: DN_ECORRUPT (says what was found
 * and expected; the caller adds the file's name), DN_ENOMEM. */
dn_status dn_png_decode(const dn_encoded *file, int height, int width, int channels,
                        uint8_t *pixels);

#endif
