/*
 * How files of images are converted for records, and pictures for a net that learnt from such
 * records: a file becomes another one.
 *
 * The result has the same bytes on every machine with the same versions of libjpeg, libpng and
 * zlib. Not collective; thread-safe.
 */
#ifndef DN_CONVERSION_H
#define DN_CONVERSION_H

#include "dn/image.h"

/* Zeroed: files are kept as they are. */
typedef struct dn_conversion {
    int short_side;          /* images whose short side is longer are shrunk to it; 0: not */
    int exif;                /* 1: images are turned as EXIF says */
    int grey_low, grey_high; /* levels of 16-bit grey PNGs that become 0 and 255; 0, 0: none */
    int quality;             /* of JPEGs that are written, 1 to 100; 0: none is */
} dn_conversion;

enum { DN_CONVERSION_BYTES = 64 };

/* text = the conversion, as in dataset.json and checkpoints; "" if files are kept as they are. */
void dn_conversion_describe(const dn_conversion *c, char text[DN_CONVERSION_BYTES]);

/* Reads such a text. DN_EINVAL: it is of another program, or version. */
dn_status dn_conversion_parse(dn_conversion *c, const char *text);

/* Sets the window of grey levels from "LOW-HIGH". DN_EINVAL. */
dn_status dn_conversion_window(dn_conversion *c, const char *text);

/* The working memory of one thread; zeroed at first. */
typedef struct dn_converter {
    dn_pixels pixels, turned;
    dn_buffer planes, work;
} dn_converter;

/* Accepts a zeroed one. */
void dn_converter_free(dn_converter *c);

/* Converts the file, whose bytes are in the buffer: both are replaced if the conversion concerns
 * it. A JPEG becomes a baseline JPEG, a PNG a PNG of 8 bits with one channel (grey) or three.
 * Errors: as dn_image_decode; DN_EINVAL (more than DN_MAX_IMAGE_BYTES). */
dn_status dn_convert(dn_converter *c, const dn_conversion *how, dn_encoded *file, dn_buffer *bytes);

/* Returns 1 if the file is a PNG of 16 bits of which only the high 8 are used. */
int dn_conversion_drops_bits(const dn_conversion *how, const dn_encoded *file);

#endif
