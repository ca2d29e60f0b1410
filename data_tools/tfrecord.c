/*
 * TFRecord framing and CRC32C; see tfrecord.h.
 *
 * A length is believed only when its own CRC holds and the file is long enough for it. The CRC is
 * "slicing by 8" (Kounavis and Berry, 2005): eight table look-ups that do not wait on each other.
 */
#include "tfrecord.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

struct dn_tfrecord {
    dn_crc32c crc;
    char path[PATH_MAX];
    FILE *output;        /* into `bytes`, of a file that is written, else NULL */
    uint8_t *bytes;      /* (size): the content */
    size_t size, offset; /* of the next record */
    int64_t record;      /* its number */
};

void dn_crc32c_init(dn_crc32c *crc)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t value = b;
        for (int bit = 0; bit < 8; bit++)
            value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0);
        crc->table[0][b] = value;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++) {
            const uint32_t before = crc->table[k - 1][b];
            crc->table[k][b] = (before >> 8) ^ crc->table[0][before & 255];
        }
}

static uint64_t load_little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static void store_little_endian(uint8_t *bytes, int count, uint64_t value)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

uint32_t dn_crc32c_of(const dn_crc32c *crc, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint32_t value = 0xFFFFFFFFu;
    for (; size >= 8; size -= 8, p += 8) {
        const uint64_t word = load_little_endian(p, 8) ^ value;
        value = 0;
        for (int k = 0; k < 8; k++)
            value ^= crc->table[7 - k][(word >> 8 * k) & 255];
    }
    for (; size > 0; size--, p++)
        value = (value >> 8) ^ crc->table[0][(value ^ *p) & 255];
    return ~value;
}

/* As TFRecord stores it, so that a CRC of data that hold CRCs is no weaker. */
static uint32_t masked_crc(const dn_tfrecord *f, const void *bytes, size_t size)
{
    const uint32_t crc = dn_crc32c_of(&f->crc, bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static dn_status create(dn_tfrecord **file, const char *path)
{
    *file = calloc(1, sizeof **file);
    DN_CHECK(*file, DN_ENOMEM, "%s: out of memory", path);
    snprintf((*file)->path, sizeof(*file)->path, "%s", path);
    dn_crc32c_init(&(*file)->crc);
    return DN_OK;
}

dn_status dn_tfrecord_create(dn_tfrecord **file, const char *path)
{
    DN_TRY(create(file, path));
    (*file)->output = open_memstream((char **)&(*file)->bytes, &(*file)->size);
    if ((*file)->output)
        return DN_OK;
    dn_tfrecord_close(file);
    return dn_fail(DN_ENOMEM, "%s: out of memory", path);
}

dn_status dn_tfrecord_open(dn_tfrecord **file, const char *path)
{
    DN_TRY(create(file, path));
    const dn_status status = dn_file_load(path, &(*file)->bytes, &(*file)->size);
    if (status != DN_OK)
        dn_tfrecord_close(file);
    return status;
}

void dn_tfrecord_close(dn_tfrecord **file)
{
    dn_tfrecord *const f = *file;
    if (!f)
        return;
    if (f->output)
        fclose(f->output);
    free(f->bytes);
    free(f);
    *file = NULL;
}

dn_status dn_tfrecord_append(dn_tfrecord *file, const void *data, size_t size)
{
    uint8_t head[12], tail[4];
    store_little_endian(head, 8, size);
    store_little_endian(head + 8, 4, masked_crc(file, head, 8));
    store_little_endian(tail, 4, masked_crc(file, data, size));
    DN_CHECK(fwrite(head, sizeof head, 1, file->output) == 1 &&
                 fwrite(data, 1, size, file->output) == size &&
                 fwrite(tail, sizeof tail, 1, file->output) == 1,
             DN_ENOMEM, "%s: out of memory", file->path);
    return DN_OK;
}

dn_status dn_tfrecord_save(dn_tfrecord *file)
{
    DN_CHECK(fflush(file->output) == 0, DN_ENOMEM, "%s: out of memory", file->path);
    return dn_file_write(file->path, file->bytes, file->size);
}

/* The masked CRC of the bytes stands after them. */
static dn_status check_crc(const dn_tfrecord *f, const char *what, const uint8_t *bytes,
                           size_t size)
{
    const uint32_t found = masked_crc(f, bytes, size);
    const uint32_t expected = (uint32_t)load_little_endian(bytes + size, 4);
    DN_CHECK(found == expected, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %zu: the %s has masked CRC32C %08" PRIx32
             ", expected %08" PRIx32,
             f->path, f->record, f->offset, what, found, expected);
    return DN_OK;
}

dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size)
{
    enum { HEAD = 12, TAIL = 4 };
    const size_t left = file->size - file->offset;
    const uint8_t *const head = file->bytes + file->offset;
    *data = NULL;
    *size = 0;
    if (left == 0)
        return DN_OK;
    DN_CHECK(left >= HEAD + TAIL, DN_ECORRUPT, "%s: cut short in record %" PRId64 " at byte %zu",
             file->path, file->record, file->offset);
    DN_TRY(check_crc(file, "length", head, 8));
    const uint64_t length = load_little_endian(head, 8);
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
