/*
 * Labelled images as tf.train.Example with a PNG inside; see records.h.
 *
 * protobuf-c packs and unpacks the messages of example.proto. It leaves the order of the keys to
 * us: they are sorted, so that the same image always gives the same bytes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "example.pb-c.h"
#include "records.h"

static const char label_key[] = "image/class/label", image_key[] = "image/encoded";

/* A feature of one value, bytes or an integer, and the messages around it. */
struct feature {
    Tensorflow__Features__FeatureEntry entry;
    Tensorflow__Feature feature;
    Tensorflow__BytesList bytes_list;
    Tensorflow__Int64List int64_list;
    ProtobufCBinaryData bytes;
    int64_t integer;
};

/* The value is bytes(size), or the integer where `bytes` is NULL. */
static void set_feature(struct feature *f, const char *key, const void *bytes, size_t size,
                        int64_t integer)
{
    *f = (struct feature){.entry = TENSORFLOW__FEATURES__FEATURE_ENTRY__INIT,
                          .feature = TENSORFLOW__FEATURE__INIT,
                          .bytes_list = TENSORFLOW__BYTES_LIST__INIT,
                          .int64_list = TENSORFLOW__INT64_LIST__INIT,
                          .bytes = {.data = (uint8_t *)bytes, .len = size},
                          .integer = integer};
    f->entry.key = (char *)key;
    f->entry.value = &f->feature;
    f->bytes_list.n_value = f->int64_list.n_value = 1;
    f->bytes_list.value = &f->bytes;
    f->int64_list.value = &f->integer;
    if (bytes) {
        f->feature.kind_case = TENSORFLOW__FEATURE__KIND_BYTES_LIST;
        f->feature.bytes_list = &f->bytes_list;
    } else {
        f->feature.kind_case = TENSORFLOW__FEATURE__KIND_INT64_LIST;
        f->feature.int64_list = &f->int64_list;
    }
}

/* *record(size) = the features in the order of their keys, NULL when there is no memory for it. */
static void pack_example(const dn_manifest *m, int label, int coarse, const uint8_t *png,
                         size_t png_size, uint8_t **record, size_t *size)
{
    enum { FEATURES = 7 };
    const char *const text = m->class_names[label];
    const int first = coarse < 0; /* the key that stands first is of few sets */
    struct feature f[FEATURES];
    Tensorflow__Features__FeatureEntry *entries[FEATURES];
    set_feature(&f[0], "image/class/coarse_label", NULL, 0, coarse);
    set_feature(&f[1], label_key, NULL, 0, label);
    set_feature(&f[2], "image/class/text", text, strlen(text), 0);
    set_feature(&f[3], image_key, png, png_size, 0);
    set_feature(&f[4], "image/format", "png", 3, 0);
    set_feature(&f[5], "image/height", NULL, 0, m->info.height);
    set_feature(&f[6], "image/width", NULL, 0, m->info.width);
    for (int i = 0; i < FEATURES; i++)
        entries[i] = &f[i].entry;
    Tensorflow__Features features = TENSORFLOW__FEATURES__INIT;
    features.feature = entries + first;
    features.n_feature = (size_t)(FEATURES - first);
    Tensorflow__Example example = TENSORFLOW__EXAMPLE__INIT;
    example.features = &features;
    *size = tensorflow__example__get_packed_size(&example);
    *record = malloc(*size);
    if (*record)
        tensorflow__example__pack(&example, *record);
}

static png_image png_shape(const dn_shard_info *info)
{
    static const png_uint_32 formats[DN_MAX_IMAGE_CHANNELS] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA,
                                                               PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)info->width,
                       .height = (png_uint_32)info->height,
                       .format = formats[info->channels - 1],
                       .flags = PNG_IMAGE_FLAG_FAST};
}

/* to(columns, rows) = from(rows, columns) transposed: PNG interleaves the channels. */
static void transpose_bytes(const uint8_t *from, uint8_t *to, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

dn_status dn_example_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                            int coarse, uint8_t **record, size_t *size)
{
    const size_t values = dn_image_values(&manifest->info);
    const size_t channels = (size_t)manifest->info.channels;
    png_image shape = png_shape(&manifest->info);
    png_alloc_size_t png_size = PNG_IMAGE_PNG_SIZE_MAX(shape);
    uint8_t *const interleaved = malloc(values + png_size), *const png = interleaved + values;
    *record = NULL;
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    transpose_bytes(image, interleaved, channels, values / channels);
    if (png_image_write_to_memory(&shape, png, &png_size, 0, interleaved, 0, NULL))
        pack_example(manifest, label, coarse, png, png_size, record, size);
    free(interleaved);
    DN_CHECK(*record, DN_ENOMEM, "cannot encode an image: %s",
             *shape.message ? shape.message : "out of memory");
    return DN_OK;
}

static dn_status decode_png(const dn_shard_info *info, const ProtobufCBinaryData *encoded,
                            uint8_t *interleaved)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    DN_CHECK(png_image_begin_read_from_memory(&png, encoded->data, encoded->len), DN_ECORRUPT,
             "not a PNG: %s", png.message);
    if ((int)png.width != info->width || (int)png.height != info->height) {
        png_image_free(&png);
        return dn_fail(DN_ECORRUPT, "found a PNG of %ux%u pixels, expected %dx%d", png.width,
                       png.height, info->width, info->height);
    }
    png.format = png_shape(info).format;
    DN_CHECK(png_image_finish_read(&png, NULL, interleaved, 0, NULL), DN_ECORRUPT,
             "damaged PNG: %s", png.message);
    return DN_OK;
}

/* The last feature of the key counts, as in any protobuf map; an empty one where there is none. */
static const Tensorflow__Feature *find_feature(const Tensorflow__Example *example, const char *key)
{
    static const Tensorflow__Feature none = TENSORFLOW__FEATURE__INIT;
    const Tensorflow__Feature *found = &none;
    const size_t count = example->features ? example->features->n_feature : 0;
    for (size_t i = 0; i < count; i++) {
        const Tensorflow__Features__FeatureEntry *const entry = example->features->feature[i];
        if (strcmp(entry->key, key) == 0)
            found = entry->value ? entry->value : &none;
    }
    return found;
}

static dn_status decode_features(const dn_shard_info *info, const Tensorflow__Example *example,
                                 uint8_t *interleaved, uint16_t *label)
{
    const Tensorflow__Feature *const class = find_feature(example, label_key);
    const Tensorflow__Feature *const encoded = find_feature(example, image_key);
    DN_CHECK(class->kind_case == TENSORFLOW__FEATURE__KIND_INT64_LIST &&
                 class->int64_list->n_value > 0 &&
                 encoded->kind_case == TENSORFLOW__FEATURE__KIND_BYTES_LIST &&
                 encoded->bytes_list->n_value > 0,
             DN_ECORRUPT, "%s or %s is missing", label_key, image_key);
    const int64_t found = class->int64_list->value[0];
    DN_CHECK(found >= 0 && found < info->classes, DN_ECORRUPT,
             "found label %" PRId64 ", expected 0 to %d", found, info->classes - 1);
    *label = (uint16_t)found;
    return decode_png(info, &encoded->bytes_list->value[0], interleaved);
}

dn_status dn_example_decode(const dn_shard_info *info, const uint8_t *record, size_t size,
                            uint8_t *image, uint16_t *label)
{
    const size_t values = dn_image_values(info), channels = (size_t)info->channels;
    uint8_t *const interleaved = malloc(values);
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    Tensorflow__Example *const example = tensorflow__example__unpack(NULL, size, record);
    const dn_status status = example ? decode_features(info, example, interleaved, label)
                                     : dn_fail(DN_ECORRUPT, "not a tf.train.Example: malformed");
    if (status == DN_OK)
        transpose_bytes(interleaved, image, values / channels, channels);
    tensorflow__example__free_unpacked(example, NULL);
    free(interleaved);
    return status;
}
