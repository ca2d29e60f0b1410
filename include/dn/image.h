/*
 * Encoded images: what a file is, by its content, and its pixels as RGB.
 *
 * JPEG by libjpeg, PNG by libpng. The pixels are those of PIL's Image.open(file).convert("RGB"),
 * but for 16-bit grey PNG, which PIL clips to white: here the high byte counts, as it does in
 * colour. The bytes are not trusted: damage is a status.
 */
#ifndef DN_IMAGE_H
#define DN_IMAGE_H

#include "dn/buffer.h"

typedef enum dn_image_format { DN_IMAGE_NONE, DN_IMAGE_JPEG, DN_IMAGE_PNG } dn_image_format;

enum {
    DN_IMAGE_SIDE = 65535,       /* greatest width and height */
    DN_IMAGE_PIXELS = 1 << 28,   /* of a whole image, resized too */
    DN_IMAGE_EXPANSION = 1 << 14 /* pixels a byte of the file: PNG has up to 8 * 1032 */
};

/* A file's bytes; not owned. */
typedef struct dn_encoded {
    const uint8_t *bytes;
    size_t size;
    const char *name; /* for messages */
} dn_encoded;

/* What the first bytes say. */
dn_image_format dn_image_format_of(const uint8_t *bytes, size_t size);

/* 1 where a file of that name may be taken for one: .jpg, .jpeg, .png, in any letter case. */
int dn_image_is_name(const char *name);

/* *size bytes in the buffer: those of the file `path`, or where `archive` is not NULL, of that the
 * *size bytes from `at` on, which messages call `path`. DN_EINVAL where there are none, or more
 * than DN_MAX_IMAGE_BYTES; as dn_file_open and dn_file_read; DN_ENOMEM. Thread-safe. */
dn_status dn_image_load(const char *path, const char *archive, int64_t at, dn_buffer *buffer,
                        size_t *size);

typedef struct dn_image_info {
    int width, height;
} dn_image_info;

/* Reads the header. DN_EINVAL: no image, or one of a kind that is refused; DN_ECORRUPT;
 * DN_ENOMEM. */
dn_status dn_image_probe(const dn_encoded *file, dn_image_info *info);

/* 1 where the header is that of a PNG of 16 bits a value, of which dn_image_decode leaves 8. */
int dn_png_is_deep(const dn_encoded *file);

/* A rectangle of pixels; its edges may lie within pixels. */
typedef struct dn_box {
    double left, top, width, height;
} dn_box;

/* Pixels rgb(height, width, 3), in the buffer, which the caller frees. */
typedef struct dn_pixels {
    int width, height;
    dn_buffer rgb;
} dn_pixels;

/*
 * Decodes what the box *part of the image covers, or NULL: all of it. *part becomes the same box in
 * the pixels that were decoded, which may be more, and those of a JPEG at 1/2 or 1/4 of its size
 * where `shrink`, by how much they will be scaled down next, is at least 8 or 16: then what that
 * differs in from the antialiased whole is below one level on average. DN_EINVAL for what
 * dn_image_probe refuses and a box that is not within the image, DN_ECORRUPT also where the file
 * ends too early, DN_ENOMEM. Thread-safe.
 */
dn_status dn_image_decode(const dn_encoded *file, dn_box *part, double shrink, dn_pixels *pixels);

/* ---- pixels as they are, as PNG; thread-safe ---- */

/* *png(size) = pixels(height, width, channels), of one to four channels, as a PNG file, to be freed
 * by the caller; NULL after a failure. DN_ENOMEM. */
dn_status dn_png_encode(const uint8_t *pixels, int height, int width, int channels, uint8_t **png,
                        size_t *size);

/* pixels(height, width, channels) = those of a PNG of that size and so many channels of 8 bits:
 * none is converted, as dn_image_decode does. DN_ECORRUPT says what was found and expected; the
 * caller adds the file's name. DN_ENOMEM. */
dn_status dn_png_decode(const dn_encoded *file, int height, int width, int channels,
                        uint8_t *pixels);

#endif
