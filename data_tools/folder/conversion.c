/* Converts images for shards; see conversion.h. */
#include "folder/conversion.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>
#include <xxhash.h>

#include "dn/kernels.h"
#include "dn/resize.h"
#include "folder/exif.h"

void dn_converter_free(dn_converter *c)
{
    dn_buffer_free(&c->pixels.rgb);
    dn_buffer_free(&c->turned.rgb);
    dn_buffer_free(&c->planes);
    dn_buffer_free(&c->work);
}

void dn_conversion_describe(const dn_records_options *options, char *text, size_t size)
{
    char side[32] = "";
    if (options->short_side)
        snprintf(side, sizeof side, "short side %d, ", options->short_side);
    text[0] = '\0';
    if (options->short_side || options->exif == DN_EXIF_APPLY)
        snprintf(text, size, "%s%squality %d", side,
                 options->exif == DN_EXIF_APPLY ? "turned by EXIF, " : "", options->quality);
}

/* ---- JPEG ---- */

/* An encoder and its error handler. */
struct jpeg_writer {
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
};

static void jpeg_fail(j_common_ptr encoder)
{
    longjmp(((struct jpeg_writer *)encoder)->failed, 1);
}

/* *bytes(*size) = the pixels as baseline JPEG: in this memory, or more that libjpeg allocates. */
static void jpeg_write(struct jpeg_compress_struct *e, const dn_pixels *pixels, int quality,
                       uint8_t **bytes, unsigned long *size)
{
    jpeg_create_compress(e);
    jpeg_mem_dest(e, bytes, size);
    e->image_width = (JDIMENSION)pixels->width;
    e->image_height = (JDIMENSION)pixels->height;
    e->input_components = 3;
    e->in_color_space = JCS_RGB;
    jpeg_set_defaults(e);
    jpeg_set_quality(e, quality, TRUE);
    jpeg_start_compress(e, TRUE);
    while (e->next_scanline < e->image_height) {
        uint8_t *row = pixels->rgb.bytes + (size_t)e->next_scanline * e->image_width * 3;
        jpeg_write_scanlines(e, &row, 1);
    }
    jpeg_finish_compress(e);
}

/* Replaces the image's bytes by the pixels as JPEG. */
static dn_status encode_jpeg(const dn_pixels *pixels, int quality, const char *name,
                             dn_stored_image *image)
{
    enum { FIRST_BYTES = 1 << 14 };
    dn_buffer *const b = &image->bytes;
    dn_buffer_free(b); /* it may have the size of a far larger file */
    DN_TRY(dn_buffer_grow(b, FIRST_BYTES));
    struct jpeg_writer w = {.encoder.err = NULL};
    uint8_t *bytes = b->bytes;
    unsigned long size = b->size;
    char reason[JMSG_LENGTH_MAX] = "";
    w.encoder.err = jpeg_std_error(&w.errors);
    w.errors.error_exit = jpeg_fail;
    if (setjmp(w.failed) == 0)
        jpeg_write(&w.encoder, pixels, quality, &bytes, &size);
    else
        w.errors.format_message((j_common_ptr)&w.encoder, reason);
    jpeg_destroy_compress(&w.encoder);
    DN_CHECK(!reason[0], w.errors.msg_code == JERR_OUT_OF_MEMORY ? DN_ENOMEM : DN_EINVAL,
             "%s: cannot make a JPEG of its %d x %d pixels: %s", name, pixels->width,
             pixels->height, reason);
    if (bytes != b->bytes)
        dn_buffer_free(b);
    *b = (dn_buffer){bytes, size};
    image->size = size;
    return DN_OK;
}

/* ---- pixels ---- */

/* Scales the pixels down to the size, bilinear with antialiasing. */
static dn_status shrink_pixels(dn_converter *c, int width, int height)
{
    dn_pixels *const p = &c->pixels;
    const size_t plane = (size_t)width * (size_t)height;
    const dn_raster from = {p->rgb.bytes, p->height, p->width, 3};
    const dn_box whole = {0, 0, p->width, p->height};
    const dn_kernels *kernels;
    DN_TRY(dn_kernels_select(&kernels, ""));
    DN_TRY(dn_buffer_grow(&c->planes, 3 * plane));
    DN_TRY(dn_resize(dn_pixel_kernels_of(kernels), &c->work, &from, &whole, &whole, height, width,
                     c->planes.bytes));
    p->width = width;
    p->height = height;
    for (size_t i = 0; i < plane; i++) /* it fits, as the image became smaller */
        for (size_t channel = 0; channel < 3; channel++)
            p->rgb.bytes[3 * i + channel] = c->planes.bytes[channel * plane + i];
    return DN_OK;
}

/* Resizes as torchvision's Resize(short_side): the long side is rounded down. */
static dn_status shrink_to(dn_converter *c, const dn_image_info *whole, int is_swapped,
                           int short_side)
{
    const int64_t width = is_swapped ? whole->height : whole->width;
    const int64_t height = is_swapped ? whole->width : whole->height;
    return width < height ? shrink_pixels(c, short_side, (int)(short_side * height / width))
                          : shrink_pixels(c, (int)(short_side * width / height), short_side);
}

/* Rotates or mirrors by EXIF's orientation. */
static dn_status turn_pixels(dn_converter *c, int orientation)
{
    const dn_pixels kept = c->pixels;
    DN_TRY(dn_exif_turn(&kept, orientation, &c->turned));
    c->pixels = c->turned;
    c->turned = kept;
    return DN_OK;
}

/* ---- all of it ---- */

dn_status dn_convert(dn_converter *c, const dn_records_options *options, const dn_encoded *file,
                     dn_stored_image *image, int *has_orientation)
{
    dn_image_info whole = {0};
    if (options->short_side)
        DN_TRY(dn_image_probe(file, &whole));
    const int side = whole.width < whole.height ? whole.width : whole.height;
    const int shrinks = side > options->short_side, orientation = dn_exif_orientation(file);
    *has_orientation = orientation != 1;
    const int turns = *has_orientation && options->exif == DN_EXIF_APPLY;
    dn_box part = {0, 0, whole.width, whole.height};
    DN_TRY(dn_image_decode(file, shrinks ? &part : NULL,
                           shrinks ? (double)side / options->short_side : 1, &c->pixels));
    if (turns)
        DN_TRY(turn_pixels(c, orientation));
    if (shrinks)
        DN_TRY(shrink_to(c, &whole, turns && orientation > 4, options->short_side));
    if (shrinks || turns) {
        DN_TRY(encode_jpeg(&c->pixels, options->quality, file->name, image));
        const dn_encoded made = {image->bytes.bytes, image->size, file->name};
        DN_TRY(dn_image_decode(&made, NULL, 1, &c->pixels));
    }
    image->hash = XXH3_64bits(image->bytes.bytes, image->size);
    image->width = c->pixels.width;
    image->height = c->pixels.height;
    return DN_OK;
}
