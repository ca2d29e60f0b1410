/* Encoded images, as whoever made the files left them; see fuzz.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <zlib.h>

#include "dn/conversion.h"
#include "dn/file.h"
#include "dn/image.h"
#include "fuzz.h"
#include "inspect/sheet.h"

enum { WIDTH = 21, HEIGHT = 18 };

/* A made-up picture that compresses. */
static void draw_picture(int seed, int width, int height, dn_pixels *image)
{
    fuzz_require(dn_sheet_create(image, width, height) == DN_OK, "memory");
    for (int i = 0; i < 3 * width * height; i++)
        image->rgb.bytes[i] = (uint8_t)(128 + 90 * sin(0.01 * seed + 0.1 * i));
}

void fuzz_write_png(const char *path, int seed, int width, int height)
{
    dn_pixels image;
    draw_picture(seed, width, height, &image);
    fuzz_require(dn_sheet_save(&image, path) == DN_OK, path);
    dn_buffer_free(&image.rgb);
}

void fuzz_write_jpeg(const char *path, int seed, int width, int height)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    dn_pixels image;
    FILE *const file = fopen(path, "wb");
    fuzz_require(file != NULL, path);
    draw_picture(seed, width, height, &image);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    if (seed % 2)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        uint8_t *row = image.rgb.bytes + 3 * y * width;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fuzz_require(fclose(file) == 0, path);
    dn_buffer_free(&image.rgb);
}

/* ---- what the loader does with one ---- */

static dn_status decode_part(const dn_encoded *file, dn_box *part, double shrink, uint64_t *digest)
{
    dn_pixels pixels = {0};
    const dn_status status = dn_image_decode(file, part, shrink, &pixels);
    if (status == DN_OK) {
        const size_t size = 3 * (size_t)pixels.width * (size_t)pixels.height;
        fuzz_require(pixels.width > 0 && pixels.height > 0 && size <= pixels.rgb.size, "pixels");
        fuzz_require(!part || (part->left >= 0 && part->top >= 0 &&
                               part->left + part->width <= pixels.width + 1e-6 &&
                               part->top + part->height <= pixels.height + 1e-6),
                     "the part within what was decoded");
        *digest = fuzz_digest(*digest, pixels.rgb.bytes, size);
    }
    dn_buffer_free(&pixels.rgb);
    return status;
}

/* Turned, made smaller, and through a window of grey levels. */
static dn_status convert_image(const dn_encoded *file, uint64_t *digest)
{
    const dn_conversion how = {
        .short_side = 7, .exif = 1, .grey_low = 5, .grey_high = 4095, .quality = 50};
    dn_converter converter = {0};
    dn_buffer bytes = {0};
    dn_encoded made = *file;
    DN_TRY(dn_buffer_grow(&bytes, file->size));
    memcpy(bytes.bytes, file->bytes, file->size);
    made.bytes = bytes.bytes;
    dn_status status = dn_convert(&converter, &how, &made, &bytes);
    if (status == DN_OK) {
        status = decode_part(&made, NULL, 1, digest);
        fuzz_require(status == DN_OK, "a converted image is sound");
    }
    dn_converter_free(&converter);
    dn_buffer_free(&bytes);
    return status;
}

/* All of it, and parts of it as they are and scaled, and converted. */
static dn_status load_image(fuzz *f, uint64_t *digest)
{
    dn_encoded file = {.name = f->path};
    dn_image_info info;
    uint8_t *bytes;
    *digest = 0;
    DN_TRY(dn_file_load(f->path, &bytes, &file.size));
    file.bytes = bytes;
    dn_status status = dn_image_probe(&file, &info);
    if (status == DN_OK)
        status = decode_part(&file, NULL, 1, digest);
    for (int shrink = 1; shrink <= 16 && status == DN_OK; shrink *= 4) {
        const double w = info.width, h = info.height;
        dn_box part = {w / 3, h / 5, w / 2, h / 2};
        status = decode_part(&file, &part, shrink, digest);
    }
    if (status == DN_OK)
        status = convert_image(&file, digest);
    free(bytes);
    return status;
}

/* ---- JPEG: nothing in it tells damage ---- */

static void make_jpeg(fuzz *f)
{
    fuzz_write_jpeg(f->path, 0, WIDTH, HEIGHT);
}

static void make_progressive(fuzz *f)
{
    fuzz_write_jpeg(f->path, 1, WIDTH, HEIGHT);
}

const fuzz_format fuzz_jpeg = {
    .name = "jpeg", .file = "image", .make = make_jpeg, .load = load_image};
const fuzz_format fuzz_progressive = {
    .name = "progressive", .file = "image", .make = make_progressive, .load = load_image};

/* ---- PNG: each chunk has a checksum ---- */

static void make_png(fuzz *f)
{
    fuzz_write_png(f->path, 0, WIDTH, HEIGHT);
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int seal_png(fuzz *f, fuzz_file *file, int renew)
{
    (void)f;
    for (size_t at = 8; renew && at + 12 <= file->size;) {
        const size_t length = big_endian(file->bytes + at);
        if (length > file->size - at - 12)
            break;
        const uint32_t crc = (uint32_t)crc32(0, file->bytes + at + 4, (uInt)length + 4);
        uint8_t *const end = file->bytes + at + 8 + length;
        for (int i = 0; i < 4; i++)
            end[i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
    return renew;
}

const fuzz_format fuzz_png = {
    .name = "png", .file = "image", .make = make_png, .seal = seal_png, .load = load_image};
