/* Writer of HDF5 image shards; docs/shard-format.md specifies the file. */
#ifndef DN_SHARD_WRITER_H
#define DN_SHARD_WRITER_H

#include "dn/manifest.h"

/* Writes the file `path`: one of the manifest's shards, with its
 * images(count, channels, height, width) and labels(count). What else stands in it (class names,
 * mean and deviation, zstd level) is the manifest's too. As dn_file_write; DN_ENOMEM. Thread-safe.
 */
dn_status dn_shard_write(const char *path, const dn_manifest *manifest,
                         const dn_manifest_shard *shard, const uint8_t *images,
                         const uint16_t *labels);

#endif
