/*
 * TFRecord files: uint64 length, uint32 masked CRC32C of these 8 bytes, the data, uint32 masked
 * CRC32C of the data; little-endian, records simply follow each other.
 *
 * An open file is in memory, and an object of one thread, which either writes or reads it.
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

typedef struct dn_tfrecord dn_tfrecord;

/* Begins a file in memory, appends a record, writes it as `path` (as dn_file_write). Nothing is
 * appended once it is saved. DN_ENOMEM. */
dn_status dn_tfrecord_create(dn_tfrecord **file, const char *path);
dn_status dn_tfrecord_append(dn_tfrecord *file, const void *data, size_t size);
dn_status dn_tfrecord_save(dn_tfrecord *file);

/* Reads `path`. As dn_file_load. */
dn_status dn_tfrecord_open(dn_tfrecord **file, const char *path);

/* The next record; *data is the file's, and NULL after the last record. DN_ECORRUPT names the
 * file, the record and its byte offset. */
dn_status dn_tfrecord_next(dn_tfrecord *file, const uint8_t **data, size_t *size);

/* Frees it and sets *file to NULL; accepts NULL inside. */
void dn_tfrecord_close(dn_tfrecord **file);

#endif
