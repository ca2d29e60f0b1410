/*
 * TFRecord files: framing with CRC32C, and the files of examples; see records.h.
 *
 * A length is believed only when its own CRC holds and the file is long enough for it.
 */
#include "records.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

enum { HEAD = 8 + 4, TAIL = 4 }; /* bytes around the data */

uint32_t dn_crc32c(const void *bytes, size_t size)
{
    /* The remainders of half a byte: a small table is enough beside the PNG that is compressed. */
    static const uint32_t remainder[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                           0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                           0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                           0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = 0xffffffff;
    for (const uint8_t *p = bytes; size > 0; size--, p++) {
        crc ^= *p;
        crc = crc >> 4 ^ remainder[crc & 15];
        crc = crc >> 4 ^ remainder[crc & 15];
    }
    return ~crc;
}

/* As TFRecord stores it, so that a CRC of data that hold CRCs is no weaker. */
static uint32_t masked_crc(const void *bytes, size_t size)
{
    const uint32_t crc = dn_crc32c(bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

dn_status dn_tfrecord_append(FILE *stream, const void *data, size_t size)
{
    const uint64_t length = htole64(size);
    const uint32_t length_crc = htole32(masked_crc(&length, sizeof length));
    const uint32_t data_crc = htole32(masked_crc(data, size));
    DN_CHECK(fwrite(&length, sizeof length, 1, stream) == 1 &&
                 fwrite(&length_crc, sizeof length_crc, 1, stream) == 1 &&
                 fwrite(data, 1, size, stream) == size &&
                 fwrite(&data_crc, sizeof data_crc, 1, stream) == 1,
             DN_EIO, "cannot append a record of %zu bytes", size);
    return DN_OK;
}

/* The masked CRC of the bytes stands after them. */
static dn_status check_crc(const dn_tfrecord *f, const char *what, const uint8_t *bytes,
                           size_t size)
{
    const uint32_t found = masked_crc(bytes, size);
    uint32_t expected;
    memcpy(&expected, bytes + size, sizeof expected);
    expected = le32toh(expected);
    DN_CHECK(found == expected, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %zu: the %s has masked CRC32C %08" PRIx32
             ", expected %08" PRIx32,
             f->path, f->record, f->offset, what, found, expected);
    return DN_OK;
}

dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size)
{
    const size_t left = file->size - file->offset;
    const uint8_t *const head = file->bytes + file->offset;
    uint64_t length;
    *data = NULL;
    *size = 0;
    if (left == 0)
        return DN_OK;
    DN_CHECK(left >= HEAD + TAIL, DN_ECORRUPT, "%s: cut short in record %" PRId64 " at byte %zu",
             file->path, file->record, file->offset);
    DN_TRY(check_crc(file, "length", head, sizeof length));
    memcpy(&length, head, sizeof length);
    length = le64toh(length);
    DN_CHECK(length <= left - HEAD - TAIL, DN_ECORRUPT,
             "%s: cut short in record %" PRId64
             " at byte %zu: found %zu bytes of data, expected %" PRIu64,
             file->path, file->record, file->offset, left - HEAD - TAIL, length);
    DN_TRY(check_crc(file, "data", head + HEAD, length));
    file->offset += HEAD + length + TAIL;
    file->record++;
    *data = head + HEAD;
    *size = length;
    return DN_OK;
}

static dn_status append_example(FILE *stream, const dn_manifest *manifest, const uint8_t *image,
                                int label, int coarse)
{
    uint8_t *example;
    size_t size;
    DN_TRY(dn_example_encode(manifest, image, label, coarse, &example, &size));
    const dn_status status = dn_tfrecord_append(stream, example, size);
    free(example);
    return status;
}

dn_status dn_tfrecord_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                             const uint8_t *images, const uint16_t *labels, char **bytes,
                             size_t *size)
{
    const size_t image = dn_image_values(&manifest->info);
    FILE *const stream = open_memstream(bytes, size);
    dn_status status = DN_OK;
    DN_CHECK(stream, DN_ENOMEM, "%s: out of memory", shard->tfrecord.name);
    for (int64_t i = 0; i < shard->count && status == DN_OK; i++, images += image)
        status = append_example(stream, manifest, images, labels[i],
                                shard->coarse ? shard->coarse[i] : -1);
    if (fclose(stream) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", shard->tfrecord.name);
    return status;
}

static dn_status decode_examples(dn_tfrecord *file, const dn_shard_info *info, int64_t count,
                                 uint8_t *pixels, uint16_t *labels)
{
    for (int64_t i = 0;; i++, pixels += dn_image_values(info)) {
        const uint8_t *record;
        size_t size;
        DN_TRY(dn_tfrecord_next(file, &record, &size));
        DN_CHECK((record != NULL) == (i < count), DN_ECORRUPT,
                 "%s: found %s than the expected %" PRId64 " records", file->path,
                 record ? "more" : "fewer", count);
        if (!record)
            return DN_OK;
        const dn_status status = dn_example_decode(info, record, size, pixels, &labels[i]);
        DN_CHECK(status == DN_OK, status, "%s: record %" PRId64 ": %s", file->path, i,
                 dn_message());
    }
}

dn_status dn_tfrecord_load(const char *folder, const dn_manifest *manifest,
                           const dn_manifest_shard *shard, uint8_t **pixels, uint16_t **labels)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    dn_tfrecord file = {.path = path};
    *pixels = malloc((size_t)shard->count * dn_image_values(&manifest->info));
    *labels = malloc((size_t)shard->count * sizeof **labels);
    DN_TRY(dn_join_path(path, folder, shard->tfrecord.name));
    DN_CHECK(*pixels && *labels, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", path,
             shard->count);
    DN_TRY(dn_file_load(path, &bytes, &file.size));
    file.bytes = bytes;
    const dn_status status =
        decode_examples(&file, &manifest->info, shard->count, *pixels, *labels);
    free(bytes);
    return status;
}
