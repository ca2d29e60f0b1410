/* Attributes and data sets of HDF5 files; see include/dn/hdf5.h. */
#include "dn/hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROWTH = 4 << 20 }; /* of a file in memory, bytes */

hid_t dn_hdf5_text_type(size_t size)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

int dn_hdf5_put(hid_t file, const char *name, hid_t type, hid_t space, const void *value)
{
    const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const int good = H5Awrite(attribute, type, value) >= 0;
    H5Aclose(attribute);
    H5Sclose(space);
    return good;
}

int dn_hdf5_put_integer(hid_t file, const char *name, int64_t value)
{
    return dn_hdf5_put(file, name, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &value);
}

int dn_hdf5_put_text(hid_t file, const char *name, const char *text)
{
    const hid_t type = dn_hdf5_text_type(strlen(text) + 1);
    const int good = dn_hdf5_put(file, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return good;
}

hid_t dn_hdf5_create_set(hid_t group, const char *name, hid_t type, hid_t space, hid_t properties)
{
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(properties, 0);
    const hid_t set = H5Dcreate2(group, name, type, space, links, properties, H5P_DEFAULT);
    H5Pclose(links);
    H5Pclose(properties);
    H5Sclose(space);
    return set;
}

int dn_hdf5_write(hid_t group, const char *name, hid_t type, hid_t space, const void *values)
{
    const hid_t set = dn_hdf5_create_set(group, name, type, space, H5Pcreate(H5P_DATASET_CREATE));
    const int good = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    return H5Dclose(set) >= 0 && good;
}

hid_t dn_hdf5_open(const char *path)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail only */
    H5Pset_file_locking(access, 0, 1);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    return file;
}

/* ---- a file in memory: HDF5 would copy it for each property list and file, and at the end, so its
 * allocator is one that leaves the bytes to the caller ---- */

static void *give_bytes(size_t size, H5FD_file_image_op_t operation, void *bytes)
{
    (void)size, (void)operation;
    return bytes;
}

static void *grow_bytes(void *old, size_t size, H5FD_file_image_op_t operation, void *bytes)
{
    (void)operation;
    void *const grown = realloc(old, size);
    if (grown != NULL)
        *(void **)bytes = grown;
    return grown;
}

static void *copy_nothing(void *to, const void *from, size_t size, H5FD_file_image_op_t operation,
                          void *bytes)
{
    (void)from, (void)size, (void)operation, (void)bytes;
    return to;
}

static herr_t free_nothing(void *memory, H5FD_file_image_op_t operation, void *bytes)
{
    (void)memory, (void)operation, (void)bytes;
    return 0;
}

static void *share_bytes(void *bytes)
{
    return bytes;
}

static herr_t keep_bytes(void *bytes)
{
    (void)bytes;
    return 0;
}

hid_t dn_hdf5_open_bytes(uint8_t *bytes, size_t size)
{
    H5FD_file_image_callbacks_t no_copies = {.image_malloc = give_bytes,
                                             .image_memcpy = copy_nothing,
                                             .image_free = free_nothing,
                                             .udata_copy = share_bytes,
                                             .udata_free = keep_bytes,
                                             .udata = bytes};
    char name[64]; /* one that no file can have, and no other bytes */
    snprintf(name, sizeof name, "/dev/null/%p", (void *)bytes);
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail only */
    H5Pset_fapl_core(access, 1, 0);
    H5Pset_file_image_callbacks(access, &no_copies);
    const int is_set = H5Pset_file_image(access, bytes, size) >= 0;
    const hid_t file = is_set ? H5Fopen(name, H5F_ACC_RDONLY, access) : H5I_INVALID_HID;
    H5Pclose(access);
    return file;
}

hid_t dn_hdf5_create_bytes(uint8_t **bytes)
{
    H5FD_file_image_callbacks_t owned = {.image_realloc = grow_bytes,
                                         .image_free = free_nothing,
                                         .udata_copy = share_bytes,
                                         .udata_free = keep_bytes,
                                         .udata = bytes};
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    *bytes = NULL;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail only */
    H5Pset_fapl_core(access, GROWTH, 0);
    H5Pset_file_image_callbacks(access, &owned);
    /* HDF5 looks for a file first: the name is one that no file can have. */
    const hid_t file = H5Fcreate("/dev/null/bytes", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    return file;
}

/* Whether the stored type equals `type`, except that a text may be shorter. */
static int is_stored_as(hid_t stored, hid_t type)
{
    const int is_text = H5Tget_class(type) == H5T_STRING;
    return H5Tget_class(stored) == H5Tget_class(type) &&
           (is_text ? H5Tis_variable_str(stored) == 0 && H5Tget_size(stored) <= H5Tget_size(type)
                    : H5Tget_size(stored) == H5Tget_size(type));
}

dn_status dn_hdf5_get(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                      void *values)
{
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    const hid_t space = H5Aget_space(attribute), stored = H5Aget_type(attribute);
    const int good = H5Sget_simple_extent_npoints(space) == count && is_stored_as(stored, type) &&
                     H5Aread(attribute, type, values) >= 0;
    H5Tclose(stored);
    H5Sclose(space);
    H5Aclose(attribute);
    DN_CHECK(good, DN_ECORRUPT, "%s: attribute %s is missing or not as specified", path, name);
    return DN_OK;
}

dn_status dn_hdf5_get_integer(hid_t file, const char *path, const char *name, int64_t *value)
{
    return dn_hdf5_get(file, path, name, H5T_NATIVE_INT64, 1, value);
}

dn_status dn_hdf5_get_text(hid_t file, const char *path, const char *name, char *text, size_t size)
{
    const hid_t type = dn_hdf5_text_type(size);
    const dn_status status = dn_hdf5_get(file, path, name, type, 1, text);
    H5Tclose(type);
    text[size - 1] = '\0';
    return status;
}

/* Refuses links in the name or its groups: they may lead to any file of this machine. */
static dn_status check_links(hid_t file, const char *path, const char *name)
{
    char part[256]; /* "optimizer", "optimizer/momentum", ... */
    H5L_info_t link;
    for (size_t end = 0; name[end] != '\0'; end += name[end] == '/') {
        end += strcspn(name + end, "/");
        DN_CHECK(snprintf(part, sizeof part, "%.*s", (int)end, name) < (int)sizeof part, DN_EINVAL,
                 "%s: %s: the name is too long", path, name);
        DN_CHECK(H5Lget_info(file, part, &link, H5P_DEFAULT) >= 0, DN_ENOENT, "%s: %s is missing",
                 path, part);
        DN_CHECK(link.type == H5L_TYPE_HARD, DN_ECORRUPT,
                 "%s: %s: found a link, expected the values in this file", path, part);
    }
    return DN_OK;
}

dn_status dn_hdf5_open_set(hid_t file, const char *path, const char *name, H5D_layout_t layout,
                           hid_t *set)
{
    *set = H5I_INVALID_HID;
    DN_TRY(check_links(file, path, name));
    *set = H5Dopen2(file, name, H5P_DEFAULT);
    const hid_t properties = H5Dget_create_plist(*set);
    const int good = H5Pget_layout(properties) == layout && H5Pget_external_count(properties) == 0;
    H5Pclose(properties);
    DN_CHECK(good, DN_ECORRUPT,
             "%s: %s: found no data set or one that is external, virtual or %s, expected the "
             "values in this file",
             path, name, layout == H5D_CHUNKED ? "in one piece" : "chunked");
    return DN_OK;
}

static dn_status read_values(hid_t set, const char *path, const char *name, hid_t type,
                             int64_t count, void *values)
{
    const hid_t space = H5Dget_space(set), stored = H5Dget_type(set);
    const int is_type = is_stored_as(stored, type);
    const int good = is_type && H5Sget_simple_extent_npoints(space) == count &&
                     H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    H5Tclose(stored);
    H5Sclose(space);
    DN_CHECK(is_type, DN_ECORRUPT, "%s: %s: found another type than specified", path, name);
    DN_CHECK(good, DN_ECORRUPT, "%s: %s is not as specified", path, name);
    return DN_OK;
}

dn_status dn_hdf5_read(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                       void *values)
{
    hid_t set;
    dn_status status = dn_hdf5_open_set(file, path, name, H5D_CONTIGUOUS, &set);
    if (status == DN_OK)
        status = read_values(set, path, name, type, count, values);
    H5Dclose(set);
    return status;
}

dn_status dn_hdf5_find_bytes(hid_t file, const char *path, const char *name, int64_t *address,
                             int64_t *bytes)
{
    hid_t set;
    const dn_status status = dn_hdf5_open_set(file, path, name, H5D_CONTIGUOUS, &set);
    const hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    const haddr_t found = H5Dget_offset(set);
    *bytes = H5Sget_simple_extent_npoints(space);
    *address = (int64_t)found;
    const int good = H5Tequal(type, H5T_STD_U8LE) > 0 && H5Sget_simple_extent_ndims(space) == 1 &&
                     found <= INT64_MAX && *bytes > 0 && *bytes <= INT64_MAX - *address;
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(set);
    DN_TRY(status);
    DN_CHECK(good, DN_ECORRUPT, "%s: %s is not a list of uint8", path, name);
    return DN_OK;
}
