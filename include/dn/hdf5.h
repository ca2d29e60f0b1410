/*
 * Attributes and data sets of HDF5 files, as shards and checkpoints write and read them.
 *
 * HDF5 calls on an object that could not be opened fail in their turn, so only the last of a chain
 * of calls is tested. Not thread-safe: HDF5 may have been built without its lock.
 */
#ifndef DN_HDF5_H
#define DN_HDF5_H

#include <stddef.h>
#include <stdint.h>

#include <hdf5.h>

#include "dn/status.h"

/* The type of a UTF-8 text in `size` bytes, the last of them zero; the caller closes it. */
hid_t dn_hdf5_text_type(size_t size);

/* Write an attribute of the file, and close `space`; 0 when HDF5 fails. */
int dn_hdf5_put(hid_t file, const char *name, hid_t type, hid_t space, const void *value);
int dn_hdf5_put_integer(hid_t file, const char *name, int64_t value);
int dn_hdf5_put_text(hid_t file, const char *name, const char *text);

/* Creates a data set, and the groups in its name, and closes `space` and `properties`. It has no
 * times: the same data give the same bytes. */
hid_t dn_hdf5_create_set(hid_t group, const char *name, hid_t type, hid_t space, hid_t properties);

/* Creates a data set, writes it and closes `space`; 0 when HDF5 fails. */
int dn_hdf5_write(hid_t group, const char *name, hid_t type, hid_t space, const void *values);

/* Opens a file to read, without a lock: nobody writes, and some file systems have none. */
hid_t dn_hdf5_open(const char *path);

/* Read an attribute of `count` elements, of one, of a text with its closing zero in at most `size`
 * bytes; what is stored must be of that type. DN_ECORRUPT names file and attribute. */
dn_status dn_hdf5_get_list(hid_t file, const char *path, const char *name, hid_t type,
                           int64_t count, void *values);
dn_status dn_hdf5_get(hid_t file, const char *path, const char *name, hid_t type, void *value);
dn_status dn_hdf5_get_text(hid_t file, const char *path, const char *name, char *text, size_t size);

/* Opens a data set, which the caller closes, after a failure too. DN_ENOENT where it is missing,
 * DN_EINVAL where its name is too long, DN_ECORRUPT where it has another layout, or its name or
 * values lead out of the file: a file that is read makes nobody read another. */
dn_status dn_hdf5_open_set(hid_t file, const char *path, const char *name, H5D_layout_t layout,
                           hid_t *set);

/* Reads a contiguous data set of `count` elements of that type, texts of at most its size; as
 * dn_hdf5_open_set. */
dn_status dn_hdf5_read(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                       void *values);

/* Where the bytes of a contiguous list of uint8 stand in the file: *bytes of them, at least one; as
 * dn_hdf5_open_set. Whether the file is so long, the caller checks. */
dn_status dn_hdf5_find_bytes(hid_t file, const char *path, const char *name, int64_t *address,
                             int64_t *bytes);

#endif
