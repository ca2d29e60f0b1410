/* Writer of one HDF5 image shard; docs/shard-format.md specifies the file. */
#ifndef DN_SHARD_WRITER_H
#define DN_SHARD_WRITER_H

#include "dn/manifest.h"

typedef struct dn_shard_writer dn_shard_writer;

/* Starts the file `path`, shard `index` of a split: what stands in it (counts, shape, class names,
 * mean and deviation, zstd level) is taken from the manifest, which must outlive the writer. The
 * file is built in memory. Writers may be used by several threads, each writer by one. */
dn_status dn_shard_writer_create(dn_shard_writer **writer, const char *path,
                                 const dn_manifest *manifest, dn_split split, int index);

/* Appends an image (channels, height, width). */
dn_status dn_shard_writer_add(dn_shard_writer *writer, const uint8_t *image, int label);

/* Writes the file, not yet flushed to the disk, and frees the writer; DN_EINVAL when not as many
 * images were added as the manifest says, DN_EIO names the file and the reason, and the file is of
 * no use then. Sets *writer to NULL. */
dn_status dn_shard_writer_finish(dn_shard_writer **writer);

/* Frees the writer without writing the file. Accepts NULL inside. */
void dn_shard_writer_abandon(dn_shard_writer **writer);

#endif
