/* If any allocation fails, decoding and encoding return DN_ENOMEM, do not report a good image as
 * damaged, and free nothing twice. */
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "dn/rng.h"
#include "folder/conversion.h"
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

static uint8_t png_bytes[3 * WIDTH * HEIGHT + 10000];
static dn_encoded png = {.bytes = png_bytes, .name = "image.png"};

/* Noise, whose JPEG is long. */
static void make_png(void)
{
    static uint8_t pixels[3 * WIDTH * HEIGHT];
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)dn_random(1, DN_STREAM_SYNTHETIC, 0, i).word[0];
    png.size = sizeof png_bytes;
    assert_true(png_image_write_to_memory(&image, png_bytes, &png.size, 0, pixels, 0, NULL));
}

/* The PNG as a JPEG. */
static dn_status convert(dn_stored_image *image)
{
    const dn_records_options options = {.short_side = SIDE, .quality = 100};
    dn_converter converter = {0};
    int has_orientation;
    dn_status status = dn_buffer_grow(&image->bytes, png.size);
    if (status == DN_OK) {
        const dn_encoded file = {image->bytes.bytes, png.size, png.name};
        memcpy(image->bytes.bytes, png.bytes, png.size);
        status = dn_convert(&converter, &options, &file, image, &has_orientation);
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
    dn_stored_image jpeg = {0};
    assert_int_equal(convert(&jpeg), DN_OK);
    assert_int_equal(dn_image_format_of(jpeg.bytes.bytes, jpeg.size), DN_IMAGE_JPEG);
    starve_decoding(&png);
    starve_decoding(&(dn_encoded){jpeg.bytes.bytes, jpeg.size, "image.jpg"});
    dn_buffer_free(&jpeg.bytes);
}

static void test_encoding(void **state)
{
    dn_stored_image whole = {0}, image = {0};
    assert_int_equal(convert(&whole), DN_OK);
    assert_true(whole.size > 1 << 16);
    int failures = 0;
    for (dn_status status = DN_ENOMEM; status != DN_OK; failures++) {
        left = failures;
        status = convert(&image);
        left = ENDLESS;
        if (status != DN_OK)
            assert_int_equal(status, DN_ENOMEM);
    }
    assert_true(HAS_OWN_MEMORY || failures > 10);
    assert_true(image.size == whole.size && image.hash == whole.hash);
    dn_buffer_free(&image.bytes);
    dn_buffer_free(&whole.bytes);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decoding),
                                       cmocka_unit_test(test_encoding),
                                       cmocka_unit_test(test_png_of_another_kind)};
    make_png();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
