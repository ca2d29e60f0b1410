/* The HDF5 file of a shard in memory; see shard_file.h. */
#include "writer/shard_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

hid_t dn_list_space(int64_t count)
{
    return H5Screate_simple(1, &(hsize_t){(hsize_t)count}, NULL);
}

static int put_attribute(const dn_shard_file *w, const dn_shard_attribute *a)
{
    if (a->text)
        return dn_hdf5_put_text(w->file, a->name, a->text);
    if (a->channels)
        return dn_hdf5_put(w->file, a->name, H5T_IEEE_F64LE,
                           dn_list_space(w->manifest->info.channels), a->channels);
    return dn_hdf5_put_integer(w->file, a->name, a->integer);
}

static int put_attributes(const dn_shard_file *w)
{
    dn_shard_attribute list[DN_SHARD_ATTRIBUTES];
    const int count = dn_shard_attributes(w->manifest, w->shard, list);
    int good = 1;
    for (int i = 0; good && i < count; i++)
        good = put_attribute(w, &list[i]);
    return good;
}

/* Writes the class names as strings of one length, padded with zeros. */
static int put_class_names(const dn_shard_file *w)
{
    const size_t count = (size_t)w->manifest->info.classes;
    const char *const *const names = w->manifest->class_names;
    size_t length = 1;
    for (size_t i = 0; i < count; i++)
        length = strlen(names[i]) > length ? strlen(names[i]) : length;
    char *const padded = calloc(count, length);
    for (size_t i = 0; padded && i < count; i++)
        memcpy(padded + i * length, names[i], strlen(names[i]));
    const hid_t type = dn_hdf5_text_type(length);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    const int good = padded && dn_hdf5_write(w->file, DN_SHARD_CLASS_NAMES, type,
                                             dn_list_space((int64_t)count), padded);
    H5Tclose(type);
    free(padded);
    return good;
}

/* Writes a dn_presence for each label set and class; nothing if labels are classes. */
static int put_label_sets(const dn_shard_file *w)
{
    const dn_data_info *const info = &w->manifest->info;
    const hsize_t shape[2] = {(hsize_t)info->label_sets, (hsize_t)info->classes};
    return info->label_sets == 0 ||
           dn_hdf5_write(w->file, DN_SHARD_LABEL_SETS, H5T_STD_U8LE,
                         H5Screate_simple(2, shape, NULL), w->manifest->label_sets);
}

static int put_labels(const dn_shard_file *w, const uint16_t *labels)
{
    const int64_t count = w->shard->count;
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, XXH3_64bits(labels, (size_t)count * sizeof *labels));
    return dn_hdf5_write(w->file, DN_SHARD_LABELS, H5T_STD_U16LE, dn_list_space(count), labels) &&
           dn_hdf5_put_text(w->file, DN_SHARD_LABELS_HASH, hash);
}

dn_status dn_shard_file_open(dn_shard_file *f, const dn_manifest *manifest,
                             const dn_manifest_shard *shard)
{
    *f = (dn_shard_file){.manifest = manifest, .shard = shard, .file = H5I_INVALID_HID};
    f->memory = memfd_create("shard", MFD_CLOEXEC);
    DN_CHECK(f->memory >= 0, DN_ENOMEM, "%s: no file in memory: %s", shard->hdf5.name,
             strerror(errno));
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->memory);
    return DN_OK;
}

int dn_shard_file_create(dn_shard_file *f, const uint16_t *labels)
{
    static int is_told;
    if (!is_told) /* otherwise HDF5 would retry the failed writes at exit, and crash */
        H5dont_atexit();
    is_told = 1;
    errno = 0;
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = H5Pcreate(H5P_FILE_CREATE);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* only dn_fail reports failures */
    H5Pset_fapl_stdio(access);             /* the default driver does not accept a link */
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_obj_track_times(creation, 0);
    f->file = H5Fcreate(f->path, H5F_ACC_TRUNC, creation, access);
    H5Pclose(creation);
    H5Pclose(access);
    return put_attributes(f) && put_class_names(f) && put_label_sets(f) && put_labels(f, labels);
}

int dn_shard_file_finish(dn_shard_file *f)
{
    const int good = H5Fclose(f->file) >= 0;
    /* even on success HDF5 pushes an error about the unknown filter, and the process cannot exit
     * cleanly while a thread's error stack is not empty */
    H5Eclear2(H5E_DEFAULT);
    return good;
}

int dn_shard_file_map(dn_shard_file *f)
{
    struct stat info;
    if (fstat(f->memory, &info) != 0)
        return 0;
    void *const bytes =
        mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, f->memory, 0);
    if (bytes == MAP_FAILED)
        return 0;
    f->bytes = bytes;
    f->size = (size_t)info.st_size;
    return 1;
}

void dn_shard_file_close(dn_shard_file *f)
{
    if (f->bytes)
        munmap(f->bytes, f->size);
    close(f->memory);
}

dn_status dn_shard_file_refuse(const dn_shard_file *f, int error)
{
    return dn_fail(error && error != ENOMEM ? DN_EIO : DN_ENOMEM,
                   "%s: cannot make it in memory: %s", f->shard->hdf5.name,
                   strerror(error ? error : ENOMEM));
}
