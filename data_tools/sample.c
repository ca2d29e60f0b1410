/* Labelled images as tf.train.Example with a PNG inside; see sample.h. PNG interleaves channels. */
#include "sample.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "example.h"

struct dn_sample_codec {
    const dn_manifest *manifest;
    size_t pixels;
    size_t capacity; /* of png and record */
    uint8_t *planes, *interleaved, *png, *record;
};

enum { LABEL, TEXT, ENCODED, FORMAT, HEIGHT, WIDTH, FEATURES };

static const char *const keys[FEATURES] = {"image/class/label", "image/class/text", "image/encoded",
                                           "image/format",      "image/height",     "image/width"};

static png_image png_shape(const dn_manifest *m)
{
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)m->width,
                       .height = (png_uint_32)m->height,
                       .format = m->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB,
                       .flags = PNG_IMAGE_FLAG_FAST};
}

dn_status dn_sample_codec_create(dn_sample_codec **codec, const dn_manifest *manifest)
{
    DN_CHECK(manifest->channels == 1 || manifest->channels == 3, DN_EINVAL,
             "found images of %d channels, expected 1 or 3", manifest->channels);
    dn_sample_codec *const c = *codec = calloc(1, sizeof *c);
    DN_CHECK(c, DN_ENOMEM, "out of memory for an image");
    const png_image shape = png_shape(manifest);
    const size_t size = PNG_IMAGE_SIZE(shape), others = 4096; /* Example without its image */
    c->manifest = manifest;
    c->pixels = (size_t)manifest->height * (size_t)manifest->width;
    c->capacity = PNG_IMAGE_PNG_SIZE_MAX(shape) + others;
    c->planes = malloc(size);
    c->interleaved = malloc(size);
    c->png = malloc(c->capacity);
    c->record = malloc(c->capacity);
    if (c->planes && c->interleaved && c->png && c->record)
        return DN_OK;
    dn_sample_codec_destroy(codec);
    return dn_fail(DN_ENOMEM, "out of memory for an image of %zu bytes", size);
}

void dn_sample_codec_destroy(dn_sample_codec **codec)
{
    dn_sample_codec *const c = *codec;
    if (!c)
        return;
    free(c->planes);
    free(c->interleaved);
    free(c->png);
    free(c->record);
    free(c);
    *codec = NULL;
}

static dn_feature text_feature(const char *text)
{
    return (dn_feature){
        .kind = DN_FEATURE_BYTES, .bytes = (const uint8_t *)text, .size = strlen(text)};
}

static dn_feature integer_feature(int64_t value)
{
    return (dn_feature){.kind = DN_FEATURE_INT64, .integer = value};
}

static dn_status encode_png(dn_sample_codec *c, const uint8_t *image, size_t *size)
{
    const int channels = c->manifest->channels;
    for (int plane = 0; plane < channels; plane++)
        for (size_t i = 0; i < c->pixels; i++)
            c->interleaved[i * (size_t)channels + (size_t)plane] =
                image[(size_t)plane * c->pixels + i];
    png_image png = png_shape(c->manifest);
    png_alloc_size_t written = c->capacity;
    DN_CHECK(png_image_write_to_memory(&png, c->png, &written, 0, c->interleaved, 0, NULL),
             DN_ENOMEM, "cannot encode a PNG: %s", png.message);
    *size = written;
    return DN_OK;
}

dn_status dn_sample_encode(dn_sample_codec *codec, const uint8_t *image, int label,
                           const uint8_t **record, size_t *size)
{
    const dn_manifest *const m = codec->manifest;
    size_t png_size = 0;
    DN_TRY(encode_png(codec, image, &png_size));
    dn_feature features[FEATURES] = {
        [LABEL] = integer_feature(label),
        [TEXT] = text_feature(m->class_names[label]),
        [ENCODED] = {.kind = DN_FEATURE_BYTES, .bytes = codec->png, .size = png_size},
        [FORMAT] = text_feature("png"),
        [HEIGHT] = integer_feature(m->height),
        [WIDTH] = integer_feature(m->width)};
    for (int i = 0; i < FEATURES; i++)
        features[i].key = keys[i];
    *size = dn_example_encode(codec->record, codec->capacity, features, FEATURES);
    *record = codec->record;
    DN_CHECK(*size <= codec->capacity, DN_EINVAL, "found a record of %zu bytes, expected up to %zu",
             *size, codec->capacity);
    return DN_OK;
}

static dn_status decode_png(dn_sample_codec *c, const dn_feature *encoded)
{
    const dn_manifest *const m = c->manifest;
    const int channels = m->channels;
    png_image png = {.version = PNG_IMAGE_VERSION};
    DN_CHECK(png_image_begin_read_from_memory(&png, encoded->bytes, encoded->size), DN_ECORRUPT,
             "not a PNG: %s", png.message);
    if ((int)png.width != m->width || (int)png.height != m->height) {
        png_image_free(&png);
        return dn_fail(DN_ECORRUPT, "found a PNG of %ux%u pixels, expected %dx%d", png.width,
                       png.height, m->width, m->height);
    }
    png.format = png_shape(m).format;
    DN_CHECK(png_image_finish_read(&png, NULL, c->interleaved, 0, NULL), DN_ECORRUPT,
             "damaged PNG: %s", png.message);
    for (int plane = 0; plane < channels; plane++)
        for (size_t i = 0; i < c->pixels; i++)
            c->planes[(size_t)plane * c->pixels + i] =
                c->interleaved[i * (size_t)channels + (size_t)plane];
    return DN_OK;
}

dn_status dn_sample_decode(dn_sample_codec *codec, const uint8_t *record, size_t size,
                           const uint8_t **image, int *label)
{
    dn_feature features[] = {{.key = keys[LABEL]}, {.key = keys[ENCODED]}};
    const dn_feature *const class = &features[0], *const encoded = &features[1];
    DN_TRY(dn_example_decode(record, size, features, 2));
    DN_CHECK(class->kind == DN_FEATURE_INT64 && encoded->kind == DN_FEATURE_BYTES, DN_ECORRUPT,
             "%s or %s is missing", class->key, encoded->key);
    DN_CHECK(class->integer >= 0 && class->integer < codec->manifest->classes, DN_ECORRUPT,
             "found label %" PRId64 ", expected 0 to %d", class->integer,
             codec->manifest->classes - 1);
    DN_TRY(decode_png(codec, encoded));
    *label = (int)class->integer;
    *image = codec->planes;
    return DN_OK;
}
