/*
 * The framing of TFRecord files, of data sets and of TensorBoard's events. Thread-safe.
 *
 * A record is a uint64 length, a uint32 masked CRC32C of these 8 bytes, the data, and a uint32
 * masked CRC32C of the data; little-endian, records simply follow each other.
 */
#ifndef DN_TFRECORD_H
#define DN_TFRECORD_H

#include <stdio.h>

#include "dn/buffer.h"
#include "dn/data_info.h"
#include "dn/status.h"

enum {
    DN_TFRECORD_HEAD = 8 + 4, /* bytes before the data */
    DN_TFRECORD_TAIL = 4,     /* and after them */
    /* The most that the data may have: an image, and a MiB of what else is said of it. */
    DN_TFRECORD_MOST = DN_MAX_IMAGE_BYTES + (1 << 20)
};

/* CRC32C (Castagnoli) of the bytes. */
uint32_t dn_crc32c(const void *bytes, size_t size);

/* Appends a record to the stream. DN_EIO. */
dn_status dn_tfrecord_append(FILE *stream, const void *data, size_t size);

/* Records that are being read, zeroed but for the first members. */
typedef struct dn_tfrecord {
    const char *path; /* for messages */
    int file;         /* its descriptor, the caller's */
    int64_t base;     /* where the first record begins in it */
    int64_t size;     /* bytes of all records */
    int64_t offset;   /* of the next record, after `base` */
    int64_t record;   /* its number */
    dn_buffer buffer; /* freed by the caller */
} dn_tfrecord;

/* *size = bytes of the next record's data, -1 after the last record. A length is believed only when
 * its own CRC holds and the file is long enough for it. DN_ECORRUPT names the file, the record and
 * its byte offset. */
dn_status dn_tfrecord_peek(const dn_tfrecord *file, int64_t *size);

/* 1 where what stands in the next record's place is none: its length has not its CRC. Leaves the
 * thread's message as it is, but where the system refuses the read. */
int dn_tfrecord_is_none(const dn_tfrecord *file);

/* Reads the next record; *data is in the buffer, and NULL after the last record. As
 * dn_tfrecord_peek; DN_EIO, DN_ENOMEM. */
dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size);

#endif
