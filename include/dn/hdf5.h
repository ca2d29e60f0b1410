/*
 * Attributes and data sets of HDF5 files, as shards and checkpoints write and read them.
 *
 * A hid_t is negative on failure. HDF5 calls on it fail too, so only the last of a chain of calls
 * is checked. Not thread-safe: HDF5 may have been built without its lock. Not collective.
 */
#ifndef DN_HDF5_H
#define DN_HDF5_H

#include <stddef.h>
#include <stdint.h>

#include <hdf5.h>

#include "dn/status.h"

/* The type of a UTF-8 text in `size` bytes, the last one zero; the caller closes it. */
hid_t dn_hdf5_text_type(size_t size);

/* Write an attribute of the file; dn_hdf5_put closes `space`. Return 0 if HDF5 fails. */
int dn_hdf5_put(hid_t file, const char *name, hid_t type, hid_t space, const void *value);
int dn_hdf5_put_integer(hid_t file, const char *name, int64_t value);
int dn_hdf5_put_text(hid_t file, const char *name, const char *text);

/* Creates a data set and the groups in its name, and closes `space` and `properties`. No times are
 * stored, so the same data give the same bytes. The caller closes the data set. */
hid_t dn_hdf5_create_set(hid_t group, const char *name, hid_t type, hid_t space, hid_t properties);

/* Creates a data set, writes it and closes `space`. Returns 0 if HDF5 fails. */
int dn_hdf5_write(hid_t group, const char *name, hid_t type, hid_t space, const void *values);

/* Opens a file for reading, without a lock: nobody writes to it, and some file systems do not
 * support locks. The caller closes it. */
hid_t dn_hdf5_open(const char *path);

/* Opens bytes(size) as a file, without a copy: they must outlive it and do not change. The caller
 * closes it. */
hid_t dn_hdf5_open_bytes(uint8_t *bytes, size_t size);

/* Creates a file in *bytes, which must stay in place while the file is open. The caller closes the
 * file and, even if HDF5 failed, frees *bytes, which may be more than the file. */
hid_t dn_hdf5_create_bytes(uint8_t **bytes);

/* Read an attribute of `count` elements, of an integer, or of a text with its closing zero in at
 * most `size` bytes; the stored type must match. Errors: DN_ECORRUPT (names file and attribute). */
dn_status dn_hdf5_get(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                      void *values);
dn_status dn_hdf5_get_integer(hid_t file, const char *path, const char *name, int64_t *value);
dn_status dn_hdf5_get_text(hid_t file, const char *path, const char *name, char *text, size_t size);

/* Opens a data set, which the caller closes, also on failure. Errors: DN_ENOENT (missing),
 * DN_EINVAL (the name is too long), DN_ECORRUPT (another layout, or the name or values refer to
 * another file: a file must not cause others to be read). */
dn_status dn_hdf5_open_set(hid_t file, const char *path, const char *name, H5D_layout_t layout,
                           hid_t *set);

/* Reads a contiguous data set of `count` elements of that type; texts may be shorter than the type.
 * Errors: as dn_hdf5_open_set. */
dn_status dn_hdf5_read(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                       void *values);

/* *address, *bytes = offset in the file and size of a contiguous list of uint8, at least one byte.
 * The caller checks that the file is long enough. Errors: as dn_hdf5_open_set. */
dn_status dn_hdf5_find_bytes(hid_t file, const char *path, const char *name, int64_t *address,
                             int64_t *bytes);

#endif
