/*
 * The HDF5 file of a shard, of either kind, while it is written: in memory, by memfd_create.
 * libhdf5 1.10 ends in a segmentation fault when a disk is full, and cannot read again what its
 * core driver makes in this file format.
 *
 * Every HDF5 call stands in the critical section dn_hdf5, as a library built without its own lock
 * requires; so do the callers'.
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
    hid_t file;     /* between create and finish */
    uint8_t *bytes; /* (size) once it is mapped */
    size_t size;
} dn_shard_file;

/* An empty file in memory, which the caller closes, unless this fails. DN_ENOMEM. */
dn_status dn_shard_file_open(dn_shard_file *f, const dn_manifest *manifest,
                             const dn_manifest_shard *shard);

/* Begins the HDF5 file with what all shards have: attributes, class names and labels(count). Like
 * all calls of HDF5 here, in the critical section; 0 when HDF5 fails, which in memory only its lack
 * and `ulimit -f` can cause; errno says which. Afterwards finish is called in any case. */
int dn_shard_file_create(dn_shard_file *f, const uint16_t *labels);
int dn_shard_file_finish(dn_shard_file *f);

/* The finished file's bytes as memory, until it is closed; 0 where the system refuses. */
int dn_shard_file_map(dn_shard_file *f);
void dn_shard_file_close(dn_shard_file *f);

/* What to return then, with errno as that was. DN_ENOMEM, DN_EIO. */
dn_status dn_shard_file_refuse(const dn_shard_file *f, int error);

/* The shape of a list. */
hid_t dn_list_space(int64_t count);

#endif
