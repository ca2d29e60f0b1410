/*
 * Writer of HDF5 image shards; see records.h and docs/shard-format.md.
 *
 * Chunks are compressed here, one zstd frame each, and handed to HDF5 as they are; so compressing
 * needs no filter plug-in, and several shards are compressed at once. Every HDF5 call stands in the
 * critical section dn_hdf5, as a library built without its own lock requires. HDF5 writes to a file
 * in memory, made by memfd_create: libhdf5 1.10 ends in a segmentation fault when a disk is full,
 * and cannot read again what its core driver makes in this file format.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "dn/file.h"
#include "dn/hdf5.h"
#include "records.h"

struct writer {
    const dn_manifest *manifest;
    const dn_manifest_shard *shard;
    int64_t chunk_images; /* images of a chunk */
    hid_t file, images;
};

/* Largest power of two that keeps a chunk within 256 KiB and a shard at 16 chunks or more: large
 * enough to compress and read well, small enough to shuffle by chunks. */
static int64_t choose_chunk_images(size_t image_bytes, int64_t count)
{
    int64_t images = 1;
    while ((2 * (size_t)images * image_bytes <= 256 * 1024 && 2 * images * 16 <= count) ||
           count > images * DN_SHARD_CHUNKS)
        images *= 2;
    return images;
}

/* The shape of a list. */
static hid_t list_space(int64_t count)
{
    return H5Screate_simple(1, &(hsize_t){(hsize_t)count}, NULL);
}

static int put_attribute(const struct writer *w, const dn_shard_attribute *a)
{
    if (a->text)
        return dn_hdf5_put_text(w->file, a->name, a->text);
    if (a->channels)
        return dn_hdf5_put(w->file, a->name, H5T_IEEE_F64LE, list_space(w->manifest->info.channels),
                           a->channels);
    return dn_hdf5_put_integer(w->file, a->name, a->integer);
}

static int put_attributes(const struct writer *w)
{
    dn_shard_attribute list[DN_SHARD_ATTRIBUTES];
    int good = 1;
    dn_shard_attributes(w->manifest, w->shard, list);
    for (int i = 0; good && i < DN_SHARD_ATTRIBUTES; i++)
        good = put_attribute(w, &list[i]);
    return good;
}

/* Class names as strings of one length, padded with zeros. */
static int put_class_names(const struct writer *w)
{
    const unsigned classes = (unsigned)w->manifest->info.classes;
    const char *const *const names = w->manifest->class_names;
    size_t length = 1;
    for (unsigned i = 0; i < classes; i++)
        length = strlen(names[i]) > length ? strlen(names[i]) : length;
    char *const padded = calloc(classes, length);
    for (unsigned i = 0; padded && i < classes; i++)
        memcpy(padded + (size_t)i * length, names[i], strlen(names[i]));
    const hid_t type = dn_hdf5_text_type(length);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    const int good =
        padded && dn_hdf5_write(w->file, DN_SHARD_CLASS_NAMES, type, list_space(classes), padded);
    H5Tclose(type);
    free(padded);
    return good;
}

static int put_labels(const struct writer *w, const uint16_t *labels)
{
    const int64_t count = w->shard->count;
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, XXH3_64bits(labels, (size_t)count * sizeof *labels));
    return dn_hdf5_write(w->file, DN_SHARD_LABELS, H5T_STD_U16LE, list_space(count), labels) &&
           dn_hdf5_put_text(w->file, DN_SHARD_LABELS_HASH, hash);
}

static hid_t create_images(const struct writer *w)
{
    const dn_shard_info *const info = &w->manifest->info;
    const hsize_t size[4] = {(hsize_t)w->shard->count, (hsize_t)info->channels,
                             (hsize_t)info->height, (hsize_t)info->width};
    const hsize_t part[4] = {(hsize_t)w->chunk_images, size[1], size[2], size[3]};
    const unsigned level = (unsigned)w->manifest->zstd_level;
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 4, part);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    /* Optional: a mandatory filter could not be named without its plug-in. */
    H5Pset_filter(properties, DN_SHARD_ZSTD_FILTER, H5Z_FLAG_OPTIONAL, 1, &level);
    return dn_hdf5_create_set(w->file, DN_SHARD_IMAGES, H5T_STD_U8LE,
                              H5Screate_simple(4, size, NULL), properties);
}

/* Writes all but the chunks. Returns 0 when HDF5 fails, which in memory only its lack can cause. */
static int create_shard(struct writer *w, const char *path, const uint16_t *labels)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = H5Pcreate(H5P_FILE_CREATE);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail alone */
    H5Pset_fapl_stdio(access);             /* the default driver wants a path that is no link */
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_obj_track_times(creation, 0);
    w->file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    H5Pclose(creation);
    H5Pclose(access);
    const int good = put_attributes(w) && put_class_names(w) && put_labels(w, labels);
    w->images = good ? create_images(w) : H5I_INVALID_HID;
    return w->images >= 0;
}

static int close_shard(struct writer *w)
{
    int good = H5Dclose(w->images) >= 0;
    good = H5Fclose(w->file) >= 0 && good;
    /* HDF5 notes even on success that it does not know the filter, and cannot end the process in
     * peace while the error stack of a thread holds anything */
    H5Eclear2(H5E_DEFAULT);
    return good;
}

/* Writes the chunks, the last one padded with zeros. Returns 0 where there was no memory. */
static int write_chunks(const struct writer *w, const uint8_t *images)
{
    const size_t image = dn_image_values(&w->manifest->info);
    const size_t bytes = (size_t)w->chunk_images * image, bound = ZSTD_compressBound(bytes);
    ZSTD_CCtx *const zstd = ZSTD_createCCtx();
    uint8_t *const padded = calloc(1, bytes + bound), *const frame = padded + bytes;
    int good = zstd && padded;
    if (good) {
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, w->manifest->zstd_level);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    }
    for (int64_t first = 0; good && first < w->shard->count; first += w->chunk_images) {
        const hsize_t corner[4] = {(hsize_t)first};
        const int64_t left = w->shard->count - first;
        const uint8_t *chunk = images + (size_t)first * image;
        if (left < w->chunk_images)
            chunk = memcpy(padded, chunk, (size_t)left * image);
        const size_t size = ZSTD_compress2(zstd, frame, bound, chunk, bytes);
        good = !ZSTD_isError(size);
#pragma omp critical(dn_hdf5)
        good = good && H5Dwrite_chunk(w->images, H5P_DEFAULT, 0, corner, size, frame) >= 0;
    }
    free(padded);
    ZSTD_freeCCtx(zstd);
    return good;
}

dn_status dn_shard_encode(const dn_manifest *manifest, const dn_manifest_shard *shard,
                          const uint8_t *images, const uint16_t *labels, uint8_t **bytes,
                          size_t *size)
{
    struct writer w = {.manifest = manifest, .shard = shard};
    w.chunk_images = choose_chunk_images(dn_image_values(&manifest->info), shard->count);
    *bytes = NULL;
    const int memory = memfd_create("shard", MFD_CLOEXEC);
    DN_CHECK(memory >= 0, DN_ENOMEM, "%s: no file in memory: %s", shard->hdf5.name,
             strerror(errno));
    char path[32];
    int good;
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
#pragma omp critical(dn_hdf5)
    good = create_shard(&w, path, labels);
    good = good && write_chunks(&w, images);
#pragma omp critical(dn_hdf5)
    good = close_shard(&w) && good;
    const dn_status status = good ? dn_file_load(path, bytes, size)
                                  : dn_fail(DN_ENOMEM, "%s: out of memory", shard->hdf5.name);
    close(memory);
    return status;
}
