/*
 * The HDF5 file of a shard, of pixels or encoded images, while it is written: in memory, by
 * memfd_create. libhdf5 1.10 crashes when a disk is full, and cannot read what its core driver
 * writes in this file format.
 *
 * Every HDF5 call, also of callers, is in the critical section dn_hdf5, as the library may have
 * been built without its own lock.
 */
#ifndef DN_SHARD_FILE_H
#define DN_SHARD_FILE_H

#include "dn/hdf5.h"
#include "dn/shard.h"

typedef struct dn_shard_file {
    const dn_manifest *manifest;
    const dn_manifest_shard *shard;
    int memory; /* the file's descriptor */
    char path[32];
    hid_t file;     /* valid between create and finish */
    uint8_t *bytes; /* (size) after map */
    size_t size;
} dn_shard_file;

/* Creates an empty file in memory. DN_ENOMEM. The caller closes it, unless this fails. */
dn_status dn_shard_file_open(dn_shard_file *f, const dn_manifest *manifest,
                             const dn_manifest_shard *shard);

/* create begins the HDF5 file with the contents common to all shards: attributes, class names,
 * label sets and labels(count). finish completes it; call it even after create failed. Both are
 * called within the critical section, and return 0 if HDF5 fails, which for a file in memory only a
 * lack of it or `ulimit -f` can cause; errno tells which. */
int dn_shard_file_create(dn_shard_file *f, const uint16_t *labels);
int dn_shard_file_finish(dn_shard_file *f);

/* Maps the finished file's bytes into memory, until it is closed; returns 0 on failure. */
int dn_shard_file_map(dn_shard_file *f);
void dn_shard_file_close(dn_shard_file *f);

/* The status, DN_ENOMEM or DN_EIO, and the message of such a failure; `error` is its errno. */
dn_status dn_shard_file_refuse(const dn_shard_file *f, int error);

/* The HDF5 dataspace of a list. */
hid_t dn_list_space(int64_t count);

#endif
