/*
 * TFRecord framing: uint64 length, uint32 masked CRC32C of these 8 bytes, the data, uint32 masked
 * CRC32C of the data; little-endian, records simply follow each other.
 */
#ifndef DN_TFRECORD_H
#define DN_TFRECORD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dn/status.h"

/* CRC32C (Castagnoli) of the bytes. */
uint32_t dn_crc32c(const void *bytes, size_t size);

/* Appends a record to the stream. DN_EIO. */
dn_status dn_tfrecord_append(FILE *stream, const void *data, size_t size);

/* A file that is being read, its content in memory; from the start with offset and record 0. */
typedef struct dn_tfrecord {
    const char *path; /* for messages */
    const uint8_t *bytes;
    size_t size;
    size_t offset;  /* of the next record */
    int64_t record; /* its number */
} dn_tfrecord;

/* The next record; *data is within the file's bytes, and NULL after the last record. DN_ECORRUPT
 * names the file, the record and its byte offset. */
dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size);

#endif
