/* The framing of TFRecord files, with CRC32C; see include/dn/tfrecord.h. */
#include "dn/tfrecord.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "dn/file.h"

#if DN_X86_TABLES
__attribute__((target("sse4.2"))) static uint32_t add_words(uint32_t crc, const uint8_t *p,
                                                            size_t words)
{
    uint64_t sum = crc, word;
    for (; words > 0; words--, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    return (uint32_t)sum;
}
#endif

uint32_t dn_crc32c(const void *bytes, size_t size)
{
    /* Remainders of half a byte, for the last bytes or for processors without the instruction. */
    static const uint32_t remainder[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                           0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                           0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                           0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffff;
#if DN_X86_TABLES
    if (__builtin_cpu_supports("sse4.2")) {
        crc = add_words(crc, p, size / 8);
        p += size / 8 * 8;
        size %= 8;
    }
#endif
    for (; size > 0; size--, p++) {
        crc ^= *p;
        crc = crc >> 4 ^ remainder[crc & 15];
        crc = crc >> 4 ^ remainder[crc & 15];
    }
    return ~crc;
}

/* Masked as TFRecord stores it, so that a CRC of data that contain CRCs is not weakened. */
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

/* The masked CRC stored at `bytes`. */
static uint32_t stored_crc(const uint8_t *bytes, size_t size)
{
    uint32_t crc;
    memcpy(&crc, bytes + size, sizeof crc);
    return le32toh(crc);
}

static dn_status check_crc(const dn_tfrecord *f, const char *what, const uint8_t *bytes,
                           size_t size)
{
    const uint32_t found = masked_crc(bytes, size), expected = stored_crc(bytes, size);
    DN_CHECK(found == expected, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %" PRId64 ": the %s has masked CRC32C %08" PRIx32
             ", expected %08" PRIx32,
             f->path, f->record, f->offset, what, found, expected);
    return DN_OK;
}

dn_status dn_tfrecord_peek(const dn_tfrecord *file, int64_t *size)
{
    const int64_t left = file->size - file->offset, around = DN_TFRECORD_HEAD + DN_TFRECORD_TAIL;
    uint8_t head[DN_TFRECORD_HEAD];
    uint64_t length;
    *size = -1;
    if (left == 0)
        return DN_OK;
    DN_CHECK(left >= around, DN_ECORRUPT,
             "%s: cut short in record %" PRId64 " at byte %" PRId64 ": found %" PRId64
             " bytes, expected at least %" PRId64,
             file->path, file->record, file->offset, left, around);
    DN_TRY(dn_file_read(file->file, file->path, head, sizeof head, file->base + file->offset));
    DN_TRY(check_crc(file, "length", head, sizeof length));
    memcpy(&length, head, sizeof length);
    length = le64toh(length);
    DN_CHECK(length <= (uint64_t)(left - around), DN_ECORRUPT,
             "%s: cut short in record %" PRId64 " at byte %" PRId64 ": found %" PRId64
             " bytes of data, expected %" PRIu64,
             file->path, file->record, file->offset, left - around, length);
    DN_CHECK(length <= DN_TFRECORD_MOST, DN_ECORRUPT,
             "%s: record %" PRId64 " at byte %" PRId64 ": found %" PRIu64
             " bytes of data, expected at most %d",
             file->path, file->record, file->offset, length, DN_TFRECORD_MOST);
    *size = (int64_t)length;
    return DN_OK;
}

int dn_tfrecord_is_none(const dn_tfrecord *file)
{
    const size_t length = sizeof(uint64_t);
    uint8_t head[DN_TFRECORD_HEAD];
    return file->size - file->offset >= DN_TFRECORD_HEAD &&
           dn_file_read(file->file, file->path, head, sizeof head, file->base + file->offset) ==
               DN_OK &&
           masked_crc(head, length) != stored_crc(head, length);
}

dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size)
{
    int64_t length;
    *data = NULL;
    *size = 0;
    DN_TRY(dn_tfrecord_peek(file, &length));
    if (length < 0)
        return DN_OK;
    const size_t bytes = (size_t)length + DN_TFRECORD_TAIL;
    DN_TRY(dn_buffer_grow(&file->buffer, bytes));
    DN_TRY(dn_file_read(file->file, file->path, file->buffer.bytes, bytes,
                        file->base + file->offset + DN_TFRECORD_HEAD));
    DN_TRY(check_crc(file, "data", file->buffer.bytes, (size_t)length));
    file->offset += DN_TFRECORD_HEAD + (int64_t)bytes;
    file->record++;
    *data = file->buffer.bytes;
    *size = (size_t)length;
    return DN_OK;
}
