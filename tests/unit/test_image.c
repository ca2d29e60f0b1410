/* Conversions of images; and if any allocation fails, decoding and encoding return DN_ENOMEM, do
 * not report a good image as damaged, and free nothing twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "dn/conversion.h"
#include "dn/rng.h"
#include "unit.h"

enum { WIDTH = 320, HEIGHT = 240, SIDE = 200, ENDLESS = 1 << 30 };

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HAS_OWN_MEMORY 1 /* sanitizers bring their own malloc */
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_OWN_MEMORY 1
#endif
#endif
#ifndef HAS_OWN_MEMORY
#define HAS_OWN_MEMORY 0
#endif

static int left = ENDLESS; /* allocations that still succeed */

#if !HAS_OWN_MEMORY
void *__libc_malloc(size_t size);
void *__libc_realloc(void *old, size_t size);

static int is_given(void)
{
    return left == ENDLESS || (left > 0 && left-- > 0);
}

/* Replace the system's, also in libjpeg and libpng. */
void *malloc(size_t size)
{
    return is_given() ? __libc_malloc(size) : NULL;
}

void *realloc(void *old, size_t size)
{
    return is_given() ? __libc_realloc(old, size) : NULL;
}
#endif

static uint8_t noise[3 * WIDTH * HEIGHT], png_bytes[3 * WIDTH * HEIGHT + 10000];
static dn_encoded png = {.bytes = png_bytes, .name = "image.png"}, jpeg = {.name = "image.jpg"};

static void make_png(void)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    png.size = sizeof png_bytes;
    assert_true(png_image_write_to_memory(&image, png_bytes, &png.size, 0, noise, 0, NULL));
}

static void make_jpeg(void)
{
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct e = {.err = jpeg_std_error(&errors)};
    uint8_t *bytes = NULL;
    unsigned long size = 0;
    jpeg_create_compress(&e);
    jpeg_mem_dest(&e, &bytes, &size);
    e.image_width = WIDTH;
    e.image_height = HEIGHT;
    e.input_components = 3;
    e.in_color_space = JCS_RGB;
    jpeg_set_defaults(&e);
    jpeg_start_compress(&e, TRUE);
    while (e.next_scanline < HEIGHT)
        jpeg_write_scanlines(&e, &(JSAMPROW){noise + (size_t)e.next_scanline * WIDTH * 3}, 1);
    jpeg_finish_compress(&e);
    jpeg_destroy_compress(&e);
    jpeg.bytes = bytes;
    jpeg.size = size;
}

/* *file = `from` at SIDE, in the buffer. */
static dn_status convert(const dn_encoded *from, dn_encoded *file, dn_buffer *bytes)
{
    const dn_conversion how = {.short_side = SIDE, .quality = 100};
    dn_converter converter = {0};
    dn_status status = dn_buffer_grow(bytes, from->size);
    if (status == DN_OK) {
        *file = (dn_encoded){bytes->bytes, from->size, from->name};
        memcpy(bytes->bytes, from->bytes, from->size);
        status = dn_convert(&converter, &how, file, bytes);
    }
    dn_converter_free(&converter);
    return status;
}

static dn_status decode(const dn_encoded *file)
{
    dn_pixels pixels = {0};
    const dn_status status = dn_image_decode(file, NULL, 1, &pixels);
    dn_buffer_free(&pixels.rgb);
    return status;
}

/* Refuses each allocation in turn, until decoding succeeds. */
static void starve_decoding(const dn_encoded *file)
{
    int failures = 0;
    for (dn_status status = DN_ENOMEM; status != DN_OK; failures++) {
        left = failures;
        status = decode(file);
        left = ENDLESS;
        if (status != DN_OK)
            assert_int_equal(status, DN_ENOMEM);
    }
    assert_true(HAS_OWN_MEMORY || failures > 3);
}

static void test_decoding(void **state)
{
    starve_decoding(&png);
    starve_decoding(&jpeg);
}

/* A PNG and a JPEG remain what they are. */
static void starve_conversion(const dn_encoded *from)
{
    dn_buffer whole = {0}, other = {0};
    dn_encoded expected, found;
    dn_image_info info;
    assert_int_equal(convert(from, &expected, &whole), DN_OK);
    assert_int_equal(dn_image_format_of(expected.bytes, expected.size),
                     dn_image_format_of(from->bytes, from->size));
    assert_int_equal(dn_image_probe(&expected, &info), DN_OK);
    assert_true(info.height == SIDE && info.width == SIDE * WIDTH / HEIGHT);
    int failures = 0;
    for (dn_status status = DN_ENOMEM; status != DN_OK; failures++) {
        left = failures;
        status = convert(from, &found, &other);
        left = ENDLESS;
        if (status != DN_OK)
            assert_int_equal(status, DN_ENOMEM);
    }
    assert_true(HAS_OWN_MEMORY || failures > 10);
    assert_int_equal(found.size, expected.size);
    assert_memory_equal(found.bytes, expected.bytes, expected.size);
    dn_buffer_free(&other);
    dn_buffer_free(&whole);
}

static void test_conversion(void **state)
{
    starve_conversion(&png);
    starve_conversion(&jpeg);
}

static void append(png_structp writer, png_bytep bytes, size_t size)
{
    dn_encoded *const file = png_get_io_ptr(writer);
    memcpy(png_bytes + file->size, bytes, size);
    file->size += size;
}

/* Rows are read in several passes, and alpha is left out. */
static void test_window(void **state)
{
    enum { W = 7, H = 5, LOW = 100, HIGH = 4095, LEVELS = 8 };
    static const int levels[LEVELS] = {0, LOW, LOW + 7, LOW + 8, 2000, HIGH - 8, HIGH, 65535};
    static uint8_t value[W * H][4]; /* grey and alpha, high bytes first */
    dn_encoded file = {.bytes = png_bytes, .name = "window.png"};
    dn_pixels found = {0};
    png_bytep rows[H];
    for (int i = 0; i < W * H; i++) {
        value[i][0] = (uint8_t)(levels[i % LEVELS] >> 8);
        value[i][1] = (uint8_t)levels[i % LEVELS];
        rows[i / W] = value[i / W * W];
    }
    png_structp writer = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(writer);
    png_set_write_fn(writer, &file, append, NULL);
    png_set_IHDR(writer, info, W, H, 16, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_INTERLACE_ADAM7,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_rows(writer, info, rows);
    png_write_png(writer, info, PNG_TRANSFORM_IDENTITY, NULL);
    png_destroy_write_struct(&writer, &info);
    assert_int_equal(dn_png_decode_window(&file, LOW, HIGH, &found), DN_OK);
    assert_true(found.width == W && found.height == H);
    for (int i = 0; i < W * H; i++) {
        const double level = 255.0 * (levels[i % LEVELS] - LOW) / (HIGH - LOW);
        const int expected = level < 0 ? 0 : level > 255 ? 255 : (int)(level + 0.5);
        for (int c = 0; c < 3; c++)
            assert_int_equal(found.rgb.bytes[3 * i + c], expected);
    }
    dn_buffer_free(&found.rgb);
    make_png();
}

static void test_conversion_text(void **state)
{
    static const dn_conversion all = {
        .short_side = 65500, .exif = 1, .grey_low = 65534, .grey_high = 65535, .quality = 100};
    static const char *const texts[] = {"", "grey 0-4095", "short side 256, quality 90",
                                        "turned by EXIF, grey 16-4095, quality 95"};
    static const char *const unknown[] = {"short side 256",
                                          "quality 90",
                                          "grey 9-9",
                                          "grey -2-5",
                                          "short side -1, quality 90",
                                          "grey 0-4095, cut",
                                          "cropped",
                                          ", ",
                                          "short side 1, quality 101"};
    static const char *const windows[] = {"", "4095", "0-", "5-5", "0-65536", "0-4095x", "-1-5"};
    char text[DN_CONVERSION_BYTES];
    dn_conversion c;
    dn_conversion_describe(&all, text);
    assert_string_equal(text, "short side 65500, turned by EXIF, grey 65534-65535, quality 100");
    assert_int_equal(dn_conversion_parse(&c, text), DN_OK);
    assert_memory_equal(&c, &all, sizeof c);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(dn_conversion_parse(&c, texts[i]), DN_OK);
        dn_conversion_describe(&c, text);
        assert_string_equal(text, texts[i]);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(dn_conversion_parse(&c, unknown[i]), DN_EINVAL);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        assert_int_equal(dn_conversion_window(&c, windows[i]), DN_EINVAL);
    assert_int_equal(dn_conversion_window(&c, "16-4095"), DN_OK);
    assert_true(c.grey_low == 16 && c.grey_high == 4095);
}

/* Pixels of another kind are refused: libpng would blend transparent ones with uninitialised
 * memory. */
static void test_png_of_another_kind(void **state)
{
    enum { H = 2, W = 3, MOST = 4 };
    static const uint8_t pixels[H * W * MOST] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (int stored = 1; stored <= MOST; stored++)
        for (int asked = 1; asked <= MOST; asked++) {
            uint8_t found[H * W * MOST], *bytes;
            dn_encoded file = {.name = "image.png"};
            assert_int_equal(dn_png_encode(pixels, H, W, stored, &bytes, &file.size), DN_OK);
            file.bytes = bytes;
            assert_int_equal(dn_png_decode(&file, H, W, asked, found),
                             stored == asked ? DN_OK : DN_ECORRUPT);
            if (stored == asked)
                assert_memory_equal(found, pixels, (size_t)(H * W * asked));
            else
                assert_non_null(strstr(dn_message(), "channels, expected"));
            free(bytes);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoding), cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_window), cmocka_unit_test(test_conversion_text),
        cmocka_unit_test(test_png_of_another_kind)};
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)dn_random(1, DN_STREAM_SYNTHETIC, 0, i).word[0];
    make_png();
    make_jpeg();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
