/*
 * The framing of TFRecord files, for data sets and TensorBoard events. Thread-safe. Not collective.
 *
 * A record is a uint64 length, a uint32 masked CRC32C of these 8 bytes, the data, and a uint32
 * masked CRC32C of the data; little-endian. Records follow each other without padding.
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
    /* Most bytes of the data: an image, and 1 MiB for its other features. */
    DN_TFRECORD_MOST = DN_MAX_IMAGE_BYTES + (1 << 20)
};

/* CRC32C (Castagnoli) of the bytes. */
uint32_t dn_crc32c(const void *bytes, size_t size);

/* Appends a record to the stream. Errors: DN_EIO. */
dn_status dn_tfrecord_append(FILE *stream, const void *data, size_t size);

/* A file of records being read; zeroed except for the first four members. */
typedef struct dn_tfrecord {
    const char *path; /* for messages */
    int file;         /* descriptor, owned by the caller */
    int64_t base;     /* offset of the first record in the file */
    int64_t size;     /* bytes of all records */
    int64_t offset;   /* of the next record, relative to `base` */
    int64_t record;   /* index of the next record */
    dn_buffer buffer; /* freed by the caller */
} dn_tfrecord;

/* *size = bytes of the next record's data, -1 after the last record. The length is used only if its
 * CRC matches and the file is long enough. Errors: DN_EIO, DN_ECORRUPT (names the file, the record
 * and its byte offset). */
dn_status dn_tfrecord_peek(const dn_tfrecord *file, int64_t *size);

/* Returns 1 if there is no valid record at the current position: the CRC of its length does not
 * match. The thread's message is unchanged unless the read fails. */
int dn_tfrecord_is_none(const dn_tfrecord *file);

/* Reads the next record; *data points into the buffer, NULL after the last record. Errors: as
 * dn_tfrecord_peek; DN_ENOMEM. */
dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size);

#endif
