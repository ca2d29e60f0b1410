/* Pixels as PNG files in memory; see include/dn/image.h. */
#include "dn/image.h"

#include <stdlib.h>
#include <string.h>

#include <png.h>

static png_image png_shape(int height, int width, int channels)
{
    static const png_uint_32 formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
                                          PNG_FORMAT_RGBA};
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = formats[channels - 1],
                       .flags = PNG_IMAGE_FLAG_FAST};
}

dn_status dn_png_encode(const uint8_t *pixels, int height, int width, int channels, uint8_t **png,
                        size_t *size)
{
    png_image shape = png_shape(height, width, channels);
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(shape);
    *png = malloc(bytes);
    if (*png && png_image_write_to_memory(&shape, *png, &bytes, 0, pixels, 0, NULL)) {
        *size = bytes;
        return DN_OK;
    }
    free(*png);
    *png = NULL;
    return dn_fail(DN_ENOMEM, "cannot encode an image: %s",
                   *shape.message ? shape.message : "out of memory");
}

/* libpng reports a lack of memory, which is no fault of the file, only as text. */
static dn_status png_fault(const png_image *png)
{
    return strcasestr(png->message, " memory") ? DN_ENOMEM : DN_ECORRUPT;
}

dn_status dn_png_decode(const dn_encoded *file, int height, int width, int channels,
                        uint8_t *pixels)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    DN_CHECK(png_image_begin_read_from_memory(&png, file->bytes, file->size), png_fault(&png),
             "not a PNG: %s", png.message);
    if ((int)png.width != width || (int)png.height != height) {
        png_image_free(&png);
        return dn_fail(DN_ECORRUPT, "found a PNG of %ux%u pixels, expected %dx%d", png.width,
                       png.height, width, height);
    }
    const png_uint_32 format = png_shape(height, width, channels).format;
    if (png.format != format) {
        png_image_free(&png);
        return dn_fail(DN_ECORRUPT, "found a PNG of %u channels%s%s, expected %d of 8 bits",
                       PNG_IMAGE_SAMPLE_CHANNELS(png.format),
                       png.format & PNG_FORMAT_FLAG_LINEAR ? " of 16 bits" : "",
                       png.format & PNG_FORMAT_FLAG_COLORMAP ? " in a palette" : "", channels);
    }
    DN_CHECK(png_image_finish_read(&png, NULL, pixels, 0, NULL), png_fault(&png), "damaged PNG: %s",
             png.message);
    return DN_OK;
}
