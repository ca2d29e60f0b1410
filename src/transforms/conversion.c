/* Converts encoded images; see include/dn/conversion.h. */
#include "dn/conversion.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "dn/data_info.h"
#include "dn/kernels.h"
#include "dn/resize.h"

void dn_converter_free(dn_converter *c)
{
    dn_buffer_free(&c->pixels.rgb);
    dn_buffer_free(&c->turned.rgb);
    dn_buffer_free(&c->planes);
    dn_buffer_free(&c->work);
}

/* ---- as text ---- */

void dn_conversion_describe(const dn_conversion *c, char text[DN_CONVERSION_BYTES])
{
    char all[128], side[32] = "", window[32] = "", quality[32] = "";
    if (c->short_side)
        snprintf(side, sizeof side, ", short side %d", c->short_side);
    if (c->grey_high)
        snprintf(window, sizeof window, ", grey %d-%d", c->grey_low, c->grey_high);
    if (c->short_side || c->exif)
        snprintf(quality, sizeof quality, ", quality %d", c->quality);
    snprintf(all, sizeof all, "%s%s%s%s", side, c->exif ? ", turned by EXIF" : "", window, quality);
    snprintf(text, DN_CONVERSION_BYTES, "%s", all + (all[0] ? 2 : 0)); /* without the first comma */
}

static int is_window(int low, int high)
{
    return low >= 0 && low < high && high <= UINT16_MAX;
}

dn_status dn_conversion_parse(dn_conversion *c, const char *text)
{
    char back[DN_CONVERSION_BYTES];
    *c = (dn_conversion){0};
    for (const char *part = text; part; part = strstr(part, ", ")) {
        part += strspn(part, ", ");
        sscanf(part, "short side %5d", &c->short_side);
        sscanf(part, "grey %5d-%5d", &c->grey_low, &c->grey_high);
        sscanf(part, "quality %3d", &c->quality);
        c->exif |= strncmp(part, "turned", 6) == 0;
    }
    dn_conversion_describe(c, back);
    DN_CHECK(strcmp(back, text) == 0 && c->short_side >= 0 &&
                 (c->grey_high == 0 || is_window(c->grey_low, c->grey_high)) && c->quality >= 0 &&
                 c->quality <= 100,
             DN_EINVAL, "found a conversion \"%s\", which is not known", text);
    return DN_OK;
}

dn_status dn_conversion_window(dn_conversion *c, const char *text)
{
    int length = 0;
    sscanf(text, "%5d-%5d%n", &c->grey_low, &c->grey_high, &length);
    DN_CHECK(length > 0 && !text[length] && is_window(c->grey_low, c->grey_high), DN_EINVAL,
             "found '%s', expected LOW-HIGH with 0 <= LOW < HIGH <= %d, such as 0-4095", text,
             UINT16_MAX);
    return DN_OK;
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

/* Replaces the file's bytes, which the buffer holds, by the pixels as JPEG. */
static dn_status encode_jpeg(const dn_pixels *pixels, int quality, dn_encoded *file, dn_buffer *b)
{
    enum { FIRST_BYTES = 1 << 14 };
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
             "%s: cannot make a JPEG of its %d x %d pixels: %s", file->name, pixels->width,
             pixels->height, reason);
    if (bytes != b->bytes)
        dn_buffer_free(b);
    *b = (dn_buffer){bytes, size};
    file->size = size;
    return DN_OK;
}

/* The same as PNG: of grey pixels with one channel. */
static dn_status encode_png(const dn_pixels *pixels, int is_grey, dn_encoded *file, dn_buffer *b)
{
    uint8_t *const rgb = pixels->rgb.bytes;
    const size_t count = (size_t)pixels->width * (size_t)pixels->height;
    for (size_t i = 0; is_grey && i < count; i++)
        rgb[i] = rgb[3 * i];
    dn_buffer_free(b);
    DN_TRY(dn_png_encode(rgb, pixels->height, pixels->width, is_grey ? 1 : 3, &b->bytes, &b->size));
    DN_CHECK(b->size <= DN_MAX_IMAGE_BYTES, DN_EINVAL,
             "%s: its %d x %d pixels make a PNG of %zu bytes, expected at most %d", file->name,
             pixels->width, pixels->height, b->size, DN_MAX_IMAGE_BYTES);
    file->size = b->size;
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

/* 1 if the window applies to the file. */
static int is_windowed(const dn_conversion *how, const dn_encoded *file)
{
    return how->grey_high > 0 && dn_png_is_deep(file) && dn_png_is_grey(file);
}

int dn_conversion_drops_bits(const dn_conversion *how, const dn_encoded *file)
{
    return dn_png_is_deep(file) && !is_windowed(how, file);
}

dn_status dn_convert(dn_converter *c, const dn_conversion *how, dn_encoded *file, dn_buffer *bytes)
{
    const int is_png = dn_image_format_of(file->bytes, file->size) == DN_IMAGE_PNG;
    const int is_grey = dn_png_is_grey(file), windowed = is_windowed(how, file);
    const int orientation = how->exif ? dn_exif_orientation(file) : 1;
    dn_image_info whole = {0};
    if (how->short_side)
        DN_TRY(dn_image_probe(file, &whole));
    const int side = whole.width < whole.height ? whole.width : whole.height;
    const int shrinks = side > how->short_side;
    if (!shrinks && !windowed && orientation == 1)
        return DN_OK;
    dn_box part = {0, 0, whole.width, whole.height};
    DN_TRY(windowed ? dn_png_decode_window(file, how->grey_low, how->grey_high, &c->pixels)
                    : dn_image_decode(file, shrinks ? &part : NULL,
                                      shrinks ? (double)side / how->short_side : 1, &c->pixels));
    if (orientation != 1)
        DN_TRY(turn_pixels(c, orientation));
    if (shrinks)
        DN_TRY(shrink_to(c, &whole, orientation > 4, how->short_side));
    DN_TRY(is_png ? encode_png(&c->pixels, is_grey, file, bytes)
                  : encode_jpeg(&c->pixels, how->quality, file, bytes));
    file->bytes = bytes->bytes;
    return DN_OK;
}
