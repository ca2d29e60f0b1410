/*
 * Converts labelled images to and from tf.train.Example; see tfrecord.h.
 *
 * protobuf-c packs and unpacks the messages of example.proto; the order of keys is chosen here.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dn/image.h"
#include "example.pb-c.h"
#include "tfrecord/tfrecord.h"

enum { KEYS = 4 };

/* The keys of different writers: create_records and slim, TensorFlow Datasets, and tutorials. */
static const char *const image_keys[KEYS] = {"image/encoded", "image", "image_raw"};
static const char *const label_keys[KEYS] = {"image/class/label", "label"};
static const char *const height_keys[KEYS] = {"image/height", "height"};
static const char *const width_keys[KEYS] = {"image/width", "width"};
static const char *const channels_keys[KEYS] = {"image/channels", "image/depth", "depth",
                                                "channels"};
static const char *const format_keys[KEYS] = {"image/format", "format"};
static const char *const text_keys[KEYS] = {"image/class/text"};
static const char *const name_keys[KEYS] = {"image/filename", "file_name", "filename"};

/* ---- packing ---- */

/* A feature with one value, bytes or an integer, and its nested messages. */
struct feature {
    Tensorflow__Features__FeatureEntry entry;
    Tensorflow__Feature feature;
    Tensorflow__BytesList bytes_list;
    Tensorflow__Int64List int64_list;
    ProtobufCBinaryData bytes;
    int64_t integer;
};

/* Sets the value to bytes(size), or to the integer if `bytes` is NULL. */
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

dn_status dn_example_pack(const dn_example *e, uint8_t **record, size_t *size)
{
    enum { FEATURES = 8 };
    const int is_png = dn_image_format_of(e->image, e->size) == DN_IMAGE_PNG;
    const char *const format = is_png ? "png" : "jpeg";
    struct feature f[FEATURES], *next = f;
    Tensorflow__Features__FeatureEntry *entries[FEATURES];
    set_feature(next++, label_keys[0], NULL, 0, e->label);
    set_feature(next++, text_keys[0], e->text, e->text_size, 0);
    set_feature(next++, image_keys[0], e->image, e->size, 0);
    if (e->name)
        set_feature(next++, name_keys[0], e->name, e->name_size, 0);
    set_feature(next++, format_keys[0], format, strlen(format), 0);
    set_feature(next++, height_keys[0], NULL, 0, e->height);
    set_feature(next++, width_keys[0], NULL, 0, e->width);
    for (struct feature *i = f; i < next; i++)
        entries[i - f] = &i->entry;
    Tensorflow__Features features = TENSORFLOW__FEATURES__INIT;
    features.feature = entries;
    features.n_feature = (size_t)(next - f);
    Tensorflow__Example example = TENSORFLOW__EXAMPLE__INIT;
    example.features = &features;
    *size = tensorflow__example__get_packed_size(&example);
    *record = malloc(*size);
    DN_CHECK(*record, DN_ENOMEM, "out of memory for a record of %zu bytes", *size);
    tensorflow__example__pack(&example, *record);
    return DN_OK;
}

/* ---- unpacking ---- */

/* The last feature with the key, as in any protobuf map; NULL if it has no value. */
static const Tensorflow__Feature *find_key(const Tensorflow__Example *example, const char *key)
{
    const Tensorflow__Feature *found = NULL;
    const size_t count = example->features ? example->features->n_feature : 0;
    for (size_t i = 0; i < count; i++) {
        const Tensorflow__Features__FeatureEntry *const entry = example->features->feature[i];
        if (strcmp(entry->key, key) == 0)
            found = entry->value;
    }
    return found;
}

/* The feature of the first key that has one; *key = this key, or the first one. */
static const Tensorflow__Feature *find_feature(const Tensorflow__Example *example,
                                               const char *const keys[KEYS], const char **key)
{
    const Tensorflow__Feature *found = NULL;
    *key = keys[0];
    for (int i = 0; i < KEYS && keys[i] && !found; i++)
        if ((found = find_key(example, keys[i])))
            *key = keys[i];
    return found;
}

/* The number of values of this kind in a feature. */
static size_t count_values(const Tensorflow__Feature *f, Tensorflow__Feature__KindCase kind)
{
    if (!f || f->kind_case != kind)
        return 0;
    return kind == TENSORFLOW__FEATURE__KIND_INT64_LIST ? f->int64_list->n_value
                                                        : f->bytes_list->n_value;
}

static const char *name_kind(Tensorflow__Feature__KindCase kind)
{
    return kind == TENSORFLOW__FEATURE__KIND_INT64_LIST   ? "int64"
           : kind == TENSORFLOW__FEATURE__KIND_BYTES_LIST ? "bytes"
           : kind == TENSORFLOW__FEATURE__KIND_FLOAT_LIST ? "float"
                                                          : "nothing";
}

/* *value = the one value of a required feature. */
static dn_status need_value(const Tensorflow__Example *example, const char *const keys[KEYS],
                            Tensorflow__Feature__KindCase kind, const Tensorflow__Feature **found)
{
    const char *key;
    *found = find_feature(example, keys, &key);
    const size_t count = count_values(*found, kind);
    DN_CHECK(*found, DN_ECORRUPT, "found neither %s nor %s, expected one of the two", keys[0],
             keys[1]);
    DN_CHECK((*found)->kind_case == kind, DN_ECORRUPT, "%s: found %s, expected one value of %s",
             key, name_kind((*found)->kind_case), name_kind(kind));
    DN_CHECK(count == 1, DN_ECORRUPT, "%s: found %zu values, expected one of %s", key, count,
             name_kind(kind));
    return DN_OK;
}

/* The value of an optional feature; empty (or 0) if it is missing or of another kind. */
static ProtobufCBinaryData find_bytes(const Tensorflow__Example *example,
                                      const char *const keys[KEYS])
{
    const char *key;
    const Tensorflow__Feature *const f = find_feature(example, keys, &key);
    return count_values(f, TENSORFLOW__FEATURE__KIND_BYTES_LIST) > 0
               ? f->bytes_list->value[0]
               : (ProtobufCBinaryData){0, NULL};
}

static int64_t find_integer(const Tensorflow__Example *example, const char *const keys[KEYS])
{
    const char *key;
    const Tensorflow__Feature *const f = find_feature(example, keys, &key);
    return count_values(f, TENSORFLOW__FEATURE__KIND_INT64_LIST) > 0 ? f->int64_list->value[0] : 0;
}

/* 1 if height, width and channels account for every byte; derives channels that are not given. */
static int fits_raw(dn_example *e)
{
    if (e->height < 1 || e->height > DN_IMAGE_SIDE || e->width < 1 || e->width > DN_IMAGE_SIDE)
        return 0;
    const int64_t plane = e->height * e->width, channels = (int64_t)e->size / plane;
    if ((e->channels != 0 && e->channels != channels) || channels * plane != (int64_t)e->size ||
        (channels != 1 && channels != 3))
        return 0;
    e->channels = channels;
    return 1;
}

/* Determines the kind of the image by its content, since raw pixels without a format may look like
 * a file. */
static dn_status find_kind(dn_example *e, ProtobufCBinaryData format)
{
    const int says_raw = format.len == 3 && strncasecmp((const char *)format.data, "raw", 3) == 0;
    const int is_file = dn_image_format_of(e->image, e->size) != DN_IMAGE_NONE;
    if (is_file && !says_raw && (format.len > 0 || !fits_raw(e)))
        return DN_OK;
    e->is_raw = 1;
    DN_CHECK(fits_raw(e), DN_ECORRUPT,
             "found %zu bytes that are no JPEG and no PNG, and not the pixels of %" PRId64
             "x%" PRId64 " with 1 or 3 channels",
             e->size, e->height, e->width);
    return DN_OK;
}

static dn_status read_features(dn_example *e, const Tensorflow__Example *message)
{
    const Tensorflow__Feature *label, *image;
    DN_TRY(need_value(message, label_keys, TENSORFLOW__FEATURE__KIND_INT64_LIST, &label));
    DN_TRY(need_value(message, image_keys, TENSORFLOW__FEATURE__KIND_BYTES_LIST, &image));
    const ProtobufCBinaryData bytes = image->bytes_list->value[0];
    const ProtobufCBinaryData text = find_bytes(message, text_keys);
    const ProtobufCBinaryData name = find_bytes(message, name_keys);
    e->label = label->int64_list->value[0];
    DN_CHECK(e->label >= 0 && e->label <= UINT16_MAX, DN_ECORRUPT,
             "found label %" PRId64 ", expected 0 to %d", e->label, UINT16_MAX);
    DN_CHECK(bytes.len >= 1 && bytes.len <= DN_MAX_IMAGE_BYTES, DN_ECORRUPT,
             "found an image of %zu bytes, expected 1 to %d", bytes.len, DN_MAX_IMAGE_BYTES);
    e->image = bytes.data;
    e->size = bytes.len;
    e->height = find_integer(message, height_keys);
    e->width = find_integer(message, width_keys);
    e->channels = find_integer(message, channels_keys);
    e->text = text.len > 0 ? (const char *)text.data : NULL;
    e->text_size = text.len;
    e->name = name.len > 0 ? (const char *)name.data : NULL;
    e->name_size = name.len;
    return find_kind(e, find_bytes(message, format_keys));
}

/* A limit for a message's memory, as a few bytes on the wire may need many times as much. */
struct budget {
    size_t left;
    int is_starved; /* out of memory: the record may be good */
};

static void *allocate_within(void *user, size_t size)
{
    struct budget *const budget = user;
    if (size > budget->left)
        return NULL;
    budget->left -= size;
    void *const memory = malloc(size);
    budget->is_starved |= !memory;
    return memory;
}

static void free_within(void *user, void *pointer)
{
    (void)user;
    free(pointer);
}

dn_status dn_example_unpack(dn_example *e, const uint8_t *record, size_t size)
{
    struct budget budget = {.left = 16 * size + (1 << 20)};
    ProtobufCAllocator allocator = {allocate_within, free_within, &budget};
    Tensorflow__Example *const message = tensorflow__example__unpack(&allocator, size, record);
    *e = (dn_example){.message = message};
    DN_CHECK(message || !budget.is_starved, DN_ENOMEM, "out of memory");
    DN_CHECK(message, DN_ECORRUPT, "found %zu bytes that are no tf.train.Example", size);
    return read_features(e, message);
}

void dn_example_free(dn_example *e)
{
    if (e->message)
        tensorflow__example__free_unpacked(e->message, NULL);
    *e = (dn_example){0};
}

/* ---- pixels in PNG ---- */

void dn_transpose_bytes(const uint8_t *from, uint8_t *to, size_t rows, size_t columns)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

dn_status dn_example_encode(const dn_manifest *manifest, const uint8_t *image, int label,
                            uint8_t **record, size_t *size)
{
    const dn_data_info *const info = &manifest->info;
    const size_t values = dn_image_values(info), channels = (size_t)info->channels;
    const char *const text = manifest->class_names[label];
    dn_example e = {.height = info->height,
                    .width = info->width,
                    .label = label,
                    .text = text,
                    .text_size = strlen(text)};
    uint8_t *const interleaved = malloc(values), *png = NULL;
    *record = NULL;
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    dn_transpose_bytes(image, interleaved, channels, values / channels);
    dn_status status =
        dn_png_encode(interleaved, info->height, info->width, info->channels, &png, &e.size);
    e.image = png;
    if (status == DN_OK)
        status = dn_example_pack(&e, record, size);
    free(png);
    free(interleaved);
    return status;
}

dn_status dn_example_decode(const dn_data_info *info, const uint8_t *record, size_t size,
                            uint8_t *image, uint16_t *label)
{
    const size_t values = dn_image_values(info), channels = (size_t)info->channels;
    uint8_t *const interleaved = malloc(values);
    dn_example e = {0};
    DN_CHECK(interleaved, DN_ENOMEM, "out of memory for an image");
    dn_status status = dn_example_unpack(&e, record, size);
    if (status == DN_OK && e.label >= info->classes)
        status = dn_fail(DN_ECORRUPT, "found label %" PRId64 ", expected 0 to %d", e.label,
                         info->classes - 1);
    if (status == DN_OK)
        status = dn_png_decode(&(dn_encoded){e.image, e.size, NULL}, info->height, info->width,
                               info->channels, interleaved);
    if (status == DN_OK) {
        *label = (uint16_t)e.label;
        dn_transpose_bytes(interleaved, image, values / channels, channels);
    }
    dn_example_free(&e);
    free(interleaved);
    return status;
}
