/* Decoding of JPEG and PNG; see include/dn/image.h. */
#include "dn/image.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

#include "dn/data_info.h"
#include "dn/file.h"

dn_image_format dn_image_format_of(const uint8_t *bytes, size_t size)
{
    static const uint8_t jpeg[] = {0xFF, 0xD8, 0xFF};
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    return size >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0 ? DN_IMAGE_JPEG
           : size >= sizeof png && memcmp(bytes, png, sizeof png) == 0  ? DN_IMAGE_PNG
                                                                        : DN_IMAGE_NONE;
}

int dn_image_is_name(const char *name)
{
    const char *const end = strrchr(name, '.');
    return end && (strcasecmp(end, ".jpg") == 0 || strcasecmp(end, ".jpeg") == 0 ||
                   strcasecmp(end, ".png") == 0);
}

dn_status dn_image_load(const char *path, const char *archive, int64_t at, dn_buffer *buffer,
                        size_t *size)
{
    int file;
    int64_t found;
    dn_status status = DN_OK;
    DN_TRY(dn_file_open(archive ? archive : path, &file, &found));
    if (archive)
        found = (int64_t)*size;
    if (found < 1 || found > DN_MAX_IMAGE_BYTES)
        status = dn_fail(DN_EINVAL, "%s: found %" PRId64 " bytes, expected an image of 1 to %d",
                         path, found, DN_MAX_IMAGE_BYTES);
    if (status == DN_OK)
        status = dn_buffer_grow(buffer, (size_t)found);
    if (status == DN_OK)
        status = dn_file_read(file, path, buffer->bytes, (size_t)found, at);
    close(file);
    *size = (size_t)found;
    return status;
}

static dn_status resize_pixels(dn_pixels *pixels, int width, int height)
{
    pixels->width = width;
    pixels->height = height;
    return dn_buffer_grow(&pixels->rgb, (size_t)width * (size_t)height * 3);
}

static dn_status check_size(const dn_encoded *file, double width, double height)
{
    DN_CHECK(width >= 1 && height >= 1 && width <= DN_IMAGE_SIDE && height <= DN_IMAGE_SIDE &&
                 width * height <= DN_IMAGE_PIXELS,
             DN_EINVAL, "%s: found %.0f x %.0f pixels, expected at most %d", file->name, width,
             height, DN_IMAGE_PIXELS);
    DN_CHECK(width * height <= DN_IMAGE_EXPANSION * (double)file->size, DN_ECORRUPT,
             "%s: found %.0f x %.0f pixels in %zu bytes, which cannot hold as many", file->name,
             width, height, file->size);
    return DN_OK;
}

/* Checks that the box is within the image; NULL is all of it. */
static dn_status check_part(const char *name, const dn_box *part, double width, double height)
{
    DN_CHECK(!part || (part->left >= 0 && part->top >= 0 && part->width > 0 && part->height > 0 &&
                       part->left + part->width <= width && part->top + part->height <= height),
             DN_EINVAL, "%s: found %.0f x %.0f pixels, expected those of %g x %g at (%g, %g)", name,
             width, height, part->width, part->height, part->left, part->top);
    return DN_OK;
}

/* ---- JPEG ---- */

/* A decoder and its error handler. */
typedef struct jpeg_reader {
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
    int is_short; /* the file is truncated */
    struct jpeg_progress_mgr progress;
    int is_endless;
} jpeg_reader;

/* Each scan processes the whole image, and a small file can hold millions. */
enum { MOST_SCANS = 500 };

static void jpeg_fail(j_common_ptr decoder)
{
    longjmp(((jpeg_reader *)decoder)->failed, 1);
}

/* Ignores what PIL ignores, but not a truncated file. */
static void jpeg_note(j_common_ptr decoder, int level)
{
    if (level < 0 && decoder->err->msg_code == JWRN_JPEG_EOF)
        ((jpeg_reader *)decoder)->is_short = 1;
}

static void jpeg_count_scans(j_common_ptr decoder)
{
    jpeg_reader *const r = (jpeg_reader *)decoder;
    if (r->decoder.input_scan_number <= MOST_SCANS)
        return;
    r->is_endless = 1;
    longjmp(r->failed, 1);
}

static void jpeg_open(jpeg_reader *r, const dn_encoded *file)
{
    r->decoder.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = jpeg_fail;
    r->errors.emit_message = jpeg_note;
    jpeg_create_decompress(&r->decoder);
    r->progress.progress_monitor = jpeg_count_scans;
    r->decoder.progress = &r->progress;
    jpeg_mem_src(&r->decoder, file->bytes, file->size);
    jpeg_read_header(&r->decoder, TRUE);
}

static dn_status jpeg_check(const jpeg_reader *r, const dn_encoded *file)
{
    const char *const name = file->name;
    const struct jpeg_decompress_struct *d = &r->decoder;
    DN_CHECK(!d->arith_code, DN_EINVAL,
             "%s: found an arithmetic-coded JPEG, expected Huffman codes", name);
    DN_CHECK(d->num_components == 1 || d->num_components == 3 || d->num_components == 4, DN_EINVAL,
             "%s: found a JPEG of %d components, expected 1, 3 or 4", name, d->num_components);
    return check_size(file, d->image_width, d->image_height);
}

/* to(width, 3) = a row of pixels with `components` each: grey, RGB, or CMYK inverted as Adobe
 * writes it. */
static void jpeg_row(const uint8_t *row, int width, int components, uint8_t *to)
{
    for (int x = 0; x < width; x++, row += components, to += 3)
        for (int c = 0; c < 3; c++) {
            const unsigned ink = components == 4 ? row[3] * (255U - row[c]) + 128U : 0;
            to[c] = components == 1   ? row[0]
                    : components == 3 ? row[c]
                                      : (uint8_t)(row[3] - (((ink >> 8) + ink) >> 8));
        }
}

/* Scales the box, and decodes the rows that it covers and, as far as libjpeg can, only its columns.
 */
static dn_status jpeg_pixels(jpeg_reader *r, dn_box *part, double shrink, dn_pixels *pixels)
{
    struct jpeg_decompress_struct *const d = &r->decoder;
    const int components = d->num_components;
    d->scale_num = 1;
    d->scale_denom = shrink >= 16 ? 4 : shrink >= 8 ? 2 : 1;
    d->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(d);
    const double across = (double)d->output_width / d->image_width;
    const double down = (double)d->output_height / d->image_height;
    *part =
        (dn_box){part->left * across, part->top * down, part->width * across, part->height * down};
    JDIMENSION left = (JDIMENSION)part->left, top = (JDIMENSION)part->top;
    JDIMENSION right = (JDIMENSION)(part->left + part->width) + 1;
    JDIMENSION bottom = (JDIMENSION)(part->top + part->height) + 1;
    right = right < d->output_width ? right : d->output_width;
    bottom = bottom < d->output_height ? bottom : d->output_height;
    JDIMENSION width = right - left;
    if (width < d->output_width)
        jpeg_crop_scanline(d, &left, &width);
    part->left -= left;
    part->top -= top;
    DN_TRY(resize_pixels(pixels, (int)d->output_width, (int)(bottom - top)));
    if (top > 0)
        jpeg_skip_scanlines(d, top);
    JSAMPARRAY row = d->mem->alloc_sarray((j_common_ptr)d, JPOOL_IMAGE,
                                          d->output_width * (JDIMENSION)components, 1);
    for (int y = 0; y < pixels->height; y++) {
        uint8_t *const to = pixels->rgb.bytes + (size_t)y * (size_t)pixels->width * 3;
        uint8_t *direct[] = {to};
        jpeg_read_scanlines(d, components == 3 ? direct : row, 1);
        if (components != 3)
            jpeg_row(row[0], pixels->width, components, to);
    }
    return DN_OK;
}

/* The failure that stopped libjpeg. */
static dn_status jpeg_failure(const jpeg_reader *r, const char *name)
{
    char reason[JMSG_LENGTH_MAX];
    DN_CHECK(!r->is_endless, DN_EINVAL, "%s: found a JPEG of more than %d scans", name, MOST_SCANS);
    DN_CHECK(r->errors.msg_code != JERR_BAD_PRECISION, DN_EINVAL,
             "%s: found a JPEG of %d bits a sample, expected 8", name, r->errors.msg_parm.i[0]);
    r->errors.format_message((j_common_ptr)&r->decoder, reason);
    DN_CHECK(r->errors.msg_code != JERR_OUT_OF_MEMORY, DN_ENOMEM, "%s: out of memory", name);
    return dn_fail(DN_ECORRUPT, "%s: not a sound JPEG: %s", name, reason);
}

/* Reads the header alone (pixels NULL) or the pixels. */
static dn_status jpeg_read(const dn_encoded *file, dn_image_info *info, dn_box *part, double shrink,
                           dn_pixels *pixels)
{
    jpeg_reader r = {0};
    dn_status status;
    if (setjmp(r.failed) != 0) {
        status = jpeg_failure(&r, file->name);
        jpeg_destroy_decompress(&r.decoder);
        return status;
    }
    jpeg_open(&r, file);
    status = jpeg_check(&r, file);
    if (status == DN_OK)
        *info = (dn_image_info){(int)r.decoder.image_width, (int)r.decoder.image_height};
    dn_box whole = {0, 0, r.decoder.image_width, r.decoder.image_height};
    if (status == DN_OK && pixels)
        status = check_part(file->name, part, whole.width, whole.height);
    if (status == DN_OK && pixels)
        status = jpeg_pixels(&r, part ? part : &whole, shrink, pixels);
    if (status == DN_OK && r.is_short)
        status = dn_fail(DN_ECORRUPT, "%s: the JPEG ends too early", file->name);
    jpeg_destroy_decompress(&r.decoder);
    return status;
}

/* ---- PNG ---- */

/* Levels that become 0 and 255. */
typedef struct grey_window {
    int low, high;
} grey_window;

typedef struct png_reader {
    const dn_encoded *file;
    size_t at;
    int is_starved; /* out of memory: the file may be intact */
    char reason[128];
} png_reader;

static void png_refuse(png_structp png, png_const_charp reason)
{
    png_reader *r = png_get_error_ptr(png);
    snprintf(r->reason, sizeof r->reason, "%s", reason);
    longjmp(png_jmpbuf(png), 1);
}

static void png_ignore(png_structp png, png_const_charp warning)
{
    (void)png, (void)warning;
}

static png_voidp png_allocate(png_structp png, png_alloc_size_t size)
{
    png_reader *r = png_get_mem_ptr(png);
    void *const memory = malloc(size);
    r->is_starved |= !memory;
    return memory;
}

static void png_release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void png_take(png_structp png, png_bytep to, size_t size)
{
    png_reader *r = png_get_io_ptr(png);
    if (size > r->file->size - r->at)
        png_error(png, "it ends too early");
    memcpy(to, r->file->bytes + r->at, size);
    r->at += size;
}

/* Converts everything to 8-bit RGB; transparency is dropped, not applied. */
static void png_set_rgb(png_structp png, png_infop info)
{
    const int type = png_get_color_type(png, info);
    png_set_strip_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(png);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
}

/* Reads rows of `bytes` per pixel, at most 3, each to the place of its RGB. */
static void png_rows(png_structp png, png_infop info, int bytes, const dn_pixels *pixels)
{
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)pixels->width * (size_t)bytes)
        png_error(png, "its rows have another size");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < pixels->height; y++)
            png_read_row(png, pixels->rgb.bytes + (size_t)y * (size_t)pixels->width * 3, NULL);
    png_read_end(png, NULL);
}

/* rgb(width, 3) = its first 2 * width bytes, as big-endian grey values through the window. */
static void widen_row(uint8_t *rgb, int width, const grey_window *window)
{
    const int range = window->high - window->low;
    for (int x = width - 1; x >= 0; x--) {
        const int level = (rgb[2 * x] << 8 | rgb[2 * x + 1]) - window->low;
        const int inside = level < 0 ? 0 : level > range ? range : level;
        memset(rgb + 3 * x, (510 * inside + range) / (2 * range), 3);
    }
}

static void png_grey_rows(png_structp png, png_infop info, const grey_window *window,
                          const dn_pixels *pixels)
{
    png_set_strip_alpha(png);
    png_rows(png, info, 2, pixels);
    for (int y = 0; y < pixels->height; y++)
        widen_row(pixels->rgb.bytes + (size_t)y * (size_t)pixels->width * 3, pixels->width, window);
}

/* Reads the header alone (pixels NULL) or the pixels: with a window those of a grey PNG of 16 bits.
 */
static dn_status png_read(const dn_encoded *file, dn_image_info *found, const dn_box *part,
                          const grey_window *window, dn_pixels *pixels)
{
    png_reader r = {.file = file};
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, png_refuse, png_ignore,
                                               &r, png_allocate, png_release);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    dn_status status;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return dn_fail(DN_ENOMEM, "%s: out of memory", file->name);
    }
    if (setjmp(png_jmpbuf(png)) != 0) {
        png_destroy_read_struct(&png, &info, NULL);
        DN_CHECK(!r.is_starved, DN_ENOMEM, "%s: out of memory", file->name);
        return dn_fail(DN_ECORRUPT, "%s: not a sound PNG: %s", file->name, r.reason);
    }
    png_set_read_fn(png, &r, png_take);
    png_set_user_limits(png, DN_IMAGE_SIDE, DN_IMAGE_SIDE);
    png_read_info(png, info);
    const png_uint_32 width = png_get_image_width(png, info);
    const png_uint_32 height = png_get_image_height(png, info);
    status = check_size(file, width, height);
    if (status == DN_OK)
        *found = (dn_image_info){(int)width, (int)height};
    if (status == DN_OK && pixels)
        status = check_part(file->name, part, width, height);
    if (status == DN_OK && pixels)
        status = resize_pixels(pixels, (int)width, (int)height);
    if (status == DN_OK && pixels && window) {
        png_grey_rows(png, info, window, pixels);
    } else if (status == DN_OK && pixels) {
        png_set_rgb(png, info);
        png_rows(png, info, 3, pixels);
    }
    png_destroy_read_struct(&png, &info, NULL);
    return status;
}

/* ---- either ---- */

static dn_status image_read(const dn_encoded *file, dn_image_info *info, dn_box *part,
                            double shrink, dn_pixels *pixels)
{
    switch (dn_image_format_of(file->bytes, file->size)) {
    case DN_IMAGE_JPEG:
        return jpeg_read(file, info, part, shrink, pixels);
    case DN_IMAGE_PNG:
        return png_read(file, info, part, NULL, pixels);
    case DN_IMAGE_NONE:
        break;
    }
    return dn_fail(DN_EINVAL, "%s: found neither a JPEG nor a PNG in its %zu bytes", file->name,
                   file->size);
}

int dn_png_is_deep(const dn_encoded *file)
{
    enum { DEPTH = 24 }; /* after signature, length, "IHDR", width and height */
    return dn_image_format_of(file->bytes, file->size) == DN_IMAGE_PNG && file->size > DEPTH &&
           file->bytes[DEPTH] == 16;
}

int dn_png_is_grey(const dn_encoded *file)
{
    enum { TYPE = 25 }; /* after the depth */
    return dn_image_format_of(file->bytes, file->size) == DN_IMAGE_PNG && file->size > TYPE &&
           !(file->bytes[TYPE] & PNG_COLOR_MASK_COLOR);
}

int dn_pixels_are_dark(const dn_pixels *pixels)
{
    const size_t values = 3 * (size_t)pixels->width * (size_t)pixels->height;
    size_t bright = 0;
    for (size_t i = 0; i < values; i++)
        bright += pixels->rgb.bytes[i] >= 64;
    return 100 * bright < values;
}

dn_status dn_image_probe(const dn_encoded *file, dn_image_info *info)
{
    return image_read(file, info, NULL, 1, NULL);
}

dn_status dn_image_decode(const dn_encoded *file, dn_box *part, double shrink, dn_pixels *pixels)
{
    dn_image_info info;
    return image_read(file, &info, part, shrink, pixels);
}

dn_status dn_png_decode_window(const dn_encoded *file, int low, int high, dn_pixels *pixels)
{
    const grey_window window = {low, high};
    dn_image_info info;
    return png_read(file, &info, NULL, &window, pixels);
}
