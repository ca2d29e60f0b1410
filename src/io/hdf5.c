/* Attributes and data sets of HDF5 files; see include/dn/hdf5.h. */
#include "dn/hdf5.h"

#include <string.h>

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
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail alone */
    H5Pset_file_locking(access, 0, 1);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    return file;
}

dn_status dn_hdf5_get(hid_t file, const char *path, const char *name, hid_t type, void *value)
{
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    const hid_t space = H5Aget_space(attribute), found = H5Aget_type(attribute);
    const int good = H5Sget_simple_extent_npoints(space) == 1 &&
                     H5Tget_class(found) == H5Tget_class(type) && /* NaN is no integer */
                     H5Aread(attribute, type, value) >= 0;
    H5Tclose(found);
    H5Sclose(space);
    H5Aclose(attribute);
    DN_CHECK(good, DN_ECORRUPT, "%s: attribute %s is missing or not as specified", path, name);
    return DN_OK;
}

dn_status dn_hdf5_get_text(hid_t file, const char *path, const char *name, char *text, size_t size)
{
    const hid_t type = dn_hdf5_text_type(size);
    const dn_status status = dn_hdf5_get(file, path, name, type, text);
    H5Tclose(type);
    text[size - 1] = '\0';
    return status;
}

dn_status dn_hdf5_read(hid_t file, const char *path, const char *name, hid_t type, int64_t count,
                       void *values)
{
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(set);
    const int good = H5Sget_simple_extent_npoints(space) == count &&
                     H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    H5Sclose(space);
    H5Dclose(set);
    DN_CHECK(good, DN_ECORRUPT, "%s: %s is missing or not as specified", path, name);
    return DN_OK;
}
