/*
 * TFRecord files: uint64 length, uint32 masked CRC32C of these 8 bytes, the data, uint32 masked
 * CRC32C of the data; little-endian, records simply follow each other.
 *
 * Readers and writers are objects of one thread each.
 */
#ifndef DN_TFRECORD_H
#define DN_TFRECORD_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* Tables for eight bytes at a time; table[k][b] = the CRC of byte b and k zero bytes after it. */
typedef struct dn_crc32c {
    uint32_t table[8][256];
} dn_crc32c;

void dn_crc32c_init(dn_crc32c *crc);

/* CRC32C (Castagnoli) of the bytes. */
uint32_t dn_crc32c_of(const dn_crc32c *crc, const void *bytes, size_t size);

/* As TFRecord stores it, so that a CRC of data that hold CRCs is no weaker. */
uint32_t dn_crc32c_mask(uint32_t crc);

typedef struct dn_tfrecord_writer dn_tfrecord_writer;

/* Opens `path`, emptying it; the caller owns the writer. DN_EIO names the file and the reason. */
dn_status dn_tfrecord_create(dn_tfrecord_writer **writer, const char *path);
dn_status dn_tfrecord_write(dn_tfrecord_writer *writer, const void *data, size_t size);

/* Closes the file and frees the writer; DN_EIO when the last bytes could not be written. Sets
 * *writer to NULL; accepts NULL inside. */
dn_status dn_tfrecord_finish(dn_tfrecord_writer **writer);

typedef struct dn_tfrecord_reader dn_tfrecord_reader;

dn_status dn_tfrecord_open(dn_tfrecord_reader **reader, const char *path);

/* The next record; *data is the reader's and valid until the next call, NULL after the last
 * record. DN_ECORRUPT names the file, the record and its byte offset. */
dn_status dn_tfrecord_next(dn_tfrecord_reader *reader, const uint8_t **data, size_t *size);

void dn_tfrecord_close(dn_tfrecord_reader **reader);

#endif
