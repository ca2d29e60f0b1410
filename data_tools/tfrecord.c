/*
 * TFRecord framing and CRC32C; see tfrecord.h.
 *
 * A length is believed only when its own CRC holds and the file is long enough for it. The CRC is
 * "slicing by 8" (Kounavis and Berry, 2005): eight table look-ups that do not wait on each other.
 */
#include "tfrecord.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

uint32_t dn_crc32c_mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

struct dn_tfrecord_writer {
    dn_crc32c crc;
    char path[PATH_MAX];
    FILE *file;
};

dn_status dn_tfrecord_create(dn_tfrecord_writer **writer, const char *path)
{
    dn_tfrecord_writer *const w = *writer = calloc(1, sizeof *w);
    DN_CHECK(w, DN_ENOMEM, "%s: out of memory", path);
    dn_crc32c_init(&w->crc);
    snprintf(w->path, sizeof w->path, "%s", path);
    w->file = fopen(path, "wbe");
    if (w->file)
        return DN_OK;
    free(w);
    *writer = NULL;
    return dn_fail(DN_EIO, "%s: cannot write: %s", path, strerror(errno));
}

dn_status dn_tfrecord_write(dn_tfrecord_writer *writer, const void *data, size_t size)
{
    uint8_t head[12], tail[4];
    store_little_endian(head, 8, size);
    store_little_endian(head + 8, 4, dn_crc32c_mask(dn_crc32c_of(&writer->crc, head, 8)));
    store_little_endian(tail, 4, dn_crc32c_mask(dn_crc32c_of(&writer->crc, data, size)));
    DN_CHECK(fwrite(head, sizeof head, 1, writer->file) == 1 &&
                 fwrite(data, 1, size, writer->file) == size &&
                 fwrite(tail, sizeof tail, 1, writer->file) == 1,
             DN_EIO, "%s: cannot write: %s", writer->path, strerror(errno));
    return DN_OK;
}

dn_status dn_tfrecord_finish(dn_tfrecord_writer **writer)
{
    dn_tfrecord_writer *const w = *writer;
    if (!w)
        return DN_OK;
    dn_status status = DN_OK;
    if (fclose(w->file) != 0)
        status = dn_fail(DN_EIO, "%s: cannot write: %s", w->path, strerror(errno));
    free(w);
    *writer = NULL;
    return status;
}

struct dn_tfrecord_reader {
    dn_crc32c crc;
    char path[PATH_MAX];
    FILE *file;
    int64_t bytes, offset, record; /* of the file; of the next record; its number */
    uint8_t *data;
    size_t capacity;
};

dn_status dn_tfrecord_open(dn_tfrecord_reader **reader, const char *path)
{
    struct stat info;
    dn_tfrecord_reader *const r = *reader = calloc(1, sizeof *r);
    DN_CHECK(r, DN_ENOMEM, "%s: out of memory", path);
    dn_crc32c_init(&r->crc);
    snprintf(r->path, sizeof r->path, "%s", path);
    r->file = fopen(path, "rbe");
    if (r->file && fstat(fileno(r->file), &info) == 0) {
        r->bytes = info.st_size;
        return DN_OK;
    }
    const int error = errno;
    dn_tfrecord_close(reader);
    return dn_fail(error == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
                   strerror(error));
}

void dn_tfrecord_close(dn_tfrecord_reader **reader)
{
    if (!*reader)
        return;
    if ((*reader)->file)
        fclose((*reader)->file);
    free((*reader)->data);
    free(*reader);
    *reader = NULL;
}

static dn_status read_fully(dn_tfrecord_reader *r, uint8_t *bytes, size_t size)
{
    DN_CHECK(fread(bytes, 1, size, r->file) == size, DN_EIO,
             "%s: cannot read record %" PRId64 " at byte %" PRId64 ": %s", r->path, r->record,
             r->offset, ferror(r->file) ? strerror(errno) : "the file became shorter");
    return DN_OK;
}

static dn_status check_crc(const dn_tfrecord_reader *r, const char *what, const uint8_t *stored,
                           const uint8_t *bytes, size_t size)
{
    const uint32_t found = dn_crc32c_mask(dn_crc32c_of(&r->crc, bytes, size));
    const uint32_t expected = (uint32_t)load_little_endian(stored, 4);
    DN_CHECK(found == expected, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %" PRId64 ": the %s has masked CRC32C %08" PRIx32
             ", expected %08" PRIx32,
             r->path, r->record, r->offset, what, found, expected);
    return DN_OK;
}

/* Makes room for `size` bytes. */
static dn_status reserve(dn_tfrecord_reader *r, size_t size)
{
    if (size <= r->capacity)
        return DN_OK;
    uint8_t *const grown = realloc(r->data, size);
    DN_CHECK(grown, DN_ENOMEM, "%s: out of memory for a record of %zu bytes", r->path, size);
    r->data = grown;
    r->capacity = size;
    return DN_OK;
}

dn_status dn_tfrecord_next(dn_tfrecord_reader *reader, const uint8_t **data, size_t *size)
{
    dn_tfrecord_reader *const r = reader;
    const int64_t left = r->bytes - r->offset, frame = 16;
    uint8_t head[12];
    *data = NULL;
    *size = 0;
    if (left == 0)
        return DN_OK;
    DN_CHECK(left >= frame, DN_ECORRUPT, "%s: cut short in record %" PRId64 " at byte %" PRId64,
             r->path, r->record, r->offset);
    DN_TRY(read_fully(r, head, sizeof head));
    DN_TRY(check_crc(r, "length", head + 8, head, 8));
    const uint64_t length = load_little_endian(head, 8);
    DN_CHECK(length <= (uint64_t)(left - frame), DN_ECORRUPT,
             "%s: cut short in record %" PRId64 " at byte %" PRId64 ": found %" PRId64
             " bytes of data, expected %" PRIu64,
             r->path, r->record, r->offset, left - frame, length);
    DN_TRY(reserve(r, (size_t)length + 4));
    DN_TRY(read_fully(r, r->data, (size_t)length + 4));
    DN_TRY(check_crc(r, "data", r->data + length, r->data, (size_t)length));
    r->offset += frame + (int64_t)length;
    r->record++;
    *data = r->data;
    *size = (size_t)length;
    return DN_OK;
}
