/* Writes the TFRecord file of a shard, and compares it with the HDF5 file; see tfrecord.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/image.h"
#include "tfrecord/tfrecord.h"

/* The images of a shard, read one after another. */
struct images {
    const dn_manifest *manifest;
    const dn_manifest_shard *shard;
    const uint16_t *labels; /* (shard->count) */
    const uint8_t *pixels;  /* of all images; NULL: they are read from */
    const dn_shards *hdf5;
    dn_buffer bytes;      /* an encoded image, or a chunk of pixels: */
    int64_t first, count; /* the images that it has */
    dn_status status;     /* of reading them */
    dn_file_names names;  /* of encoded images */
};

static struct images stored_images(const dn_manifest *manifest, const dn_manifest_shard *shard,
                                   const dn_shards *hdf5)
{
    return (struct images){.manifest = manifest,
                           .shard = shard,
                           .labels = dn_shards_source(hdf5, NULL).labels + shard->first,
                           .hdf5 = hdf5};
}

/* *bytes(*size) = image i of the shard, as stored. */
static dn_status read_stored(struct images *s, int64_t i, const uint8_t **bytes, size_t *size)
{
    const int64_t first = s->shard->first;
    if (dn_is_encoded(&s->manifest->info)) {
        DN_TRY(dn_shards_read_encoded(s->hdf5, first + i, &s->bytes, size));
        *bytes = s->bytes.bytes;
        return DN_OK;
    }
    const size_t image = *size = dn_image_values(&s->manifest->info);
    if (!s->pixels && i >= s->first + s->count) {
        dn_shard_place chunk;
        dn_shards_find(s->hdf5, first + i, &chunk);
        DN_TRY(dn_buffer_grow(&s->bytes, (size_t)chunk.count * image));
        s->first = chunk.first;
        s->count = chunk.count;
        s->status = dn_shards_read(s->hdf5, first + s->first, s->count, s->bytes.bytes);
    }
    *bytes =
        s->pixels ? s->pixels + (size_t)i * image : s->bytes.bytes + (size_t)(i - s->first) * image;
    return s->status;
}

/* ---- writing ---- */

static dn_status append_pixels(FILE *stream, const dn_manifest *manifest, const uint8_t *image,
                               int label)
{
    uint8_t *example;
    size_t size;
    DN_TRY(dn_example_encode(manifest, image, label, &example, &size));
    const dn_status status = dn_tfrecord_append(stream, example, size);
    free(example);
    return status;
}

static dn_status append_encoded(FILE *stream, struct images *s, int64_t i, const uint8_t *bytes,
                                size_t size)
{
    const char *const text = s->manifest->class_names[s->labels[i]], *own;
    char name[PATH_MAX + 64];
    const dn_encoded file = {.bytes = bytes, .size = size, .name = name};
    dn_image_info info;
    uint8_t *record;
    size_t record_size;
    dn_shards_name_image(s->hdf5, s->shard->first + i, name, sizeof name);
    DN_TRY(dn_image_probe(&file, &info));
    DN_TRY(dn_shards_file_name(s->hdf5, s->shard->first + i, &s->names, &own));
    const dn_example e = {.image = bytes,
                          .size = size,
                          .height = info.height,
                          .width = info.width,
                          .label = s->labels[i],
                          .text = text,
                          .text_size = strlen(text),
                          .name = own,
                          .name_size = own ? strlen(own) : 0};
    DN_TRY(dn_example_pack(&e, &record, &record_size));
    const dn_status status = dn_tfrecord_append(stream, record, record_size);
    free(record);
    return status;
}

static dn_status append_images(FILE *stream, struct images *s)
{
    for (int64_t i = 0; i < s->shard->count; i++) {
        const uint8_t *bytes;
        size_t size;
        DN_TRY(read_stored(s, i, &bytes, &size));
        if (dn_is_encoded(&s->manifest->info))
            DN_TRY(append_encoded(stream, s, i, bytes, size));
        else
            DN_TRY(append_pixels(stream, s->manifest, bytes, s->labels[i]));
    }
    return DN_OK;
}

static dn_status encode_images(struct images *s, char **bytes, size_t *size)
{
    FILE *const stream = open_memstream(bytes, size);
    DN_CHECK(stream, DN_ENOMEM, "%s: out of memory", s->shard->tfrecord.name);
    dn_status status = append_images(stream, s);
    if (fclose(stream) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", s->shard->tfrecord.name);
    dn_buffer_free(&s->bytes);
    dn_file_names_free(&s->names);
    return status;
}

dn_status dn_tfrecord_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                             const uint8_t *images, const uint16_t *labels, char **bytes,
                             size_t *size)
{
    struct images s = {.manifest = manifest, .shard = shard, .labels = labels, .pixels = images};
    return encode_images(&s, bytes, size);
}

dn_status dn_tfrecord_encode_shard(const dn_manifest *manifest, const dn_manifest_shard *shard,
                                   const dn_shards *hdf5, char **bytes, size_t *size)
{
    struct images s = stored_images(manifest, shard, hdf5);
    return encode_images(&s, bytes, size);
}

/* ---- comparing ---- */

/* Checks that the record has image(size), compared as pixels or encoded; *label = the record's.
 * `own` has room for an image's pixels. If `image` is NULL it only reads the label. */
static dn_status compare_image(const struct images *s, const uint8_t *image, size_t size,
                               const uint8_t *record, size_t record_size, uint8_t *own,
                               uint16_t *label)
{
    const dn_data_info *const info = &s->manifest->info;
    if (!dn_is_encoded(info)) {
        DN_TRY(dn_example_decode(info, record, record_size, own, label));
        DN_CHECK(!image || memcmp(own, image, size) == 0, DN_ECORRUPT,
                 "found pixels that differ from those in HDF5");
        return DN_OK;
    }
    dn_example e;
    dn_status status = dn_example_unpack(&e, record, record_size);
    if (status == DN_OK && image && (e.size != size || memcmp(e.image, image, size) != 0))
        status = dn_fail(DN_ECORRUPT, "found an image that differs from the one in HDF5");
    *label = (uint16_t)e.label;
    dn_example_free(&e);
    return status;
}

/* Compares record and image i. An image that cannot be read from HDF5 is not a fault of the record.
 */
static dn_status compare_record(struct images *s, int64_t i, const uint8_t *record,
                                size_t record_size, uint8_t *own)
{
    const uint8_t *image;
    size_t size;
    uint16_t label;
    const dn_status status = read_stored(s, i, &image, &size);
    if (status == DN_ENOMEM)
        return status;
    DN_TRY(
        compare_image(s, status == DN_OK ? image : NULL, size, record, record_size, own, &label));
    DN_CHECK(label == s->labels[i], DN_ECORRUPT, "found label %d, expected %d as in HDF5", label,
             s->labels[i]);
    return DN_OK;
}

/* Compares records up to the end of the file, or until no more can be read. */
static void compare_records(dn_tfrecord *file, struct images *s, uint8_t *own,
                            dn_record_fault *tell, void *user)
{
    for (int64_t i = 0, is_read = 1; is_read; i++) {
        const uint8_t *record;
        size_t size;
        dn_status status = dn_tfrecord_next(file, &record, &size);
        if (status == DN_OK && (record != NULL) != (i < s->shard->count))
            status = dn_fail(DN_ECORRUPT, "%s: found %s than the expected %" PRId64 " records",
                             file->path, record ? "more" : "fewer", s->shard->count);
        is_read = status == DN_OK && record;
        if (is_read && (status = compare_record(s, i, record, size, own)) != DN_OK)
            dn_fail(status, "%s: record %" PRId64 ": %s", file->path, i, dn_message());
        tell(user, i, status);
    }
}

void dn_tfrecord_compare(const char *folder, const dn_manifest *manifest,
                         const dn_manifest_shard *shard, const dn_shards *hdf5,
                         dn_record_fault *tell, void *user)
{
    struct images s = stored_images(manifest, shard, hdf5);
    char path[PATH_MAX];
    dn_tfrecord file = {.path = path};
    uint8_t *const own = malloc(dn_image_values(&manifest->info) + 1);
    dn_status status = own ? dn_join_path(path, folder, shard->tfrecord.name)
                           : dn_fail(DN_ENOMEM, "%s: out of memory", shard->tfrecord.name);
    if (status == DN_OK)
        status = dn_file_open(path, &file.file, &file.size);
    if (status == DN_OK) {
        compare_records(&file, &s, own, tell, user);
        close(file.file);
    } else
        tell(user, -1, status);
    free(own);
    dn_buffer_free(&file.buffer);
    dn_buffer_free(&s.bytes);
}
