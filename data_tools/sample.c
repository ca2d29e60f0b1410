/* Labelled images as tf.train.Example with a PNG inside; see sample.h. PNG interleaves channels. */
#include "sample.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "example.h"

static const char label_key[] = "image/class/label", image_key[] = "image/encoded";

static png_image png_shape(const dn_manifest *m)
{
    static const png_uint_32 formats[DN_MAX_IMAGE_CHANNELS] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA,
                                                               PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)m->info.width,
                       .height = (png_uint_32)m->info.height,
                       .format = formats[m->info.channels - 1],
                       .flags = PNG_IMAGE_FLAG_FAST};
}

/* to(columns, rows) = from(rows, columns) transposed */
static void transpose(const uint8_t *from, uint8_t *to, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

static size_t pixels(const dn_manifest *m)
{
    return (size_t)m->info.height * (size_t)m->info.width;
}

/* png(*size) = the image; *size is the room for it before. */
static dn_status encode_png(const dn_manifest *m, const uint8_t *image, uint8_t *png,
                            png_alloc_size_t *size)
{
    png_image shape = png_shape(m);
    uint8_t *const interleaved = malloc(dn_image_values(&m->info));
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    transpose(image, interleaved, (size_t)m->info.channels, pixels(m));
    const int good = png_image_write_to_memory(&shape, png, size, 0, interleaved, 0, NULL);
    free(interleaved);
    DN_CHECK(good, DN_ENOMEM, "cannot encode a PNG: %s", shape.message);
    return DN_OK;
}

static dn_feature text_feature(const char *key, const char *text)
{
    return (dn_feature){
        .key = key, .kind = DN_FEATURE_BYTES, .bytes = (const uint8_t *)text, .size = strlen(text)};
}

static dn_feature integer_feature(const char *key, int64_t value)
{
    return (dn_feature){.key = key, .kind = DN_FEATURE_INT64, .integer = value};
}

dn_status dn_sample_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                           uint8_t **record, size_t *size)
{
    enum { FEATURES = 6 };
    const png_image shape = png_shape(manifest);
    png_alloc_size_t png_size = PNG_IMAGE_PNG_SIZE_MAX(shape);
    uint8_t *const png = malloc(png_size);
    dn_status status;
    *record = NULL;
    if (!png)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "out of memory for an image"));
    DN_TRY_OR_DONE(encode_png(manifest, image, png, &png_size));
    const dn_feature features[FEATURES] = {
        integer_feature(label_key, label),
        text_feature("image/class/text", manifest->class_names[label]),
        {.key = image_key, .kind = DN_FEATURE_BYTES, .bytes = png, .size = png_size},
        text_feature("image/format", "png"),
        integer_feature("image/height", manifest->info.height),
        integer_feature("image/width", manifest->info.width)};
    *size = dn_example_encode(NULL, 0, features, FEATURES);
    *record = malloc(*size);
    if (!*record)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "out of memory for an image"));
    dn_example_encode(*record, *size, features, FEATURES);
done:
    free(png);
    return status;
}

static dn_status decode_png(const dn_manifest *m, const dn_feature *encoded, uint8_t *interleaved)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    DN_CHECK(png_image_begin_read_from_memory(&png, encoded->bytes, encoded->size), DN_ECORRUPT,
             "not a PNG: %s", png.message);
    if ((int)png.width != m->info.width || (int)png.height != m->info.height) {
        png_image_free(&png);
        return dn_fail(DN_ECORRUPT, "found a PNG of %ux%u pixels, expected %dx%d", png.width,
                       png.height, m->info.width, m->info.height);
    }
    png.format = png_shape(m).format;
    DN_CHECK(png_image_finish_read(&png, NULL, interleaved, 0, NULL), DN_ECORRUPT,
             "damaged PNG: %s", png.message);
    return DN_OK;
}

dn_status dn_sample_decode(const dn_manifest *manifest, const uint8_t *record, size_t size,
                           uint8_t *image, int *label)
{
    dn_feature features[] = {{.key = label_key}, {.key = image_key}};
    const dn_feature *const class = &features[0], *const encoded = &features[1];
    DN_TRY(dn_example_decode(record, size, features, 2));
    DN_CHECK(class->kind == DN_FEATURE_INT64 && encoded->kind == DN_FEATURE_BYTES, DN_ECORRUPT,
             "%s or %s is missing", class->key, encoded->key);
    DN_CHECK(class->integer >= 0 && class->integer < manifest->info.classes, DN_ECORRUPT,
             "found label %" PRId64 ", expected 0 to %d", class->integer,
             manifest->info.classes - 1);
    *label = (int)class->integer;
    uint8_t *const interleaved = malloc(dn_image_values(&manifest->info));
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    const dn_status status = decode_png(manifest, encoded, interleaved);
    if (status == DN_OK)
        transpose(interleaved, image, pixels(manifest), (size_t)manifest->info.channels);
    free(interleaved);
    return status;
}
