/*
 * Writer of HDF5 image shards; see shard_writer.h.
 *
 * Chunks are compressed here, one zstd frame each, and handed to HDF5 as they are; so compressing
 * needs no filter plug-in and runs outside HDF5's lock. Every HDF5 call stands in the critical
 * section dn_hdf5, as a library built without its own lock requires. HDF5 builds the file in memory
 * (its core driver) and we write it to the disk, since libhdf5 1.10 ends in a segmentation fault
 * when a disk is full. The memory is taken over when the file is closed: H5Fget_file_image, which
 * reads an open file, spoils the checksum of the superblock.
 */
#include "shard_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>
#include <xxhash.h>
#include <zstd.h>

struct dn_shard_writer {
    char path[PATH_MAX];
    const dn_manifest *manifest;
    dn_split split;
    int index;
    int64_t count, added;
    size_t image_bytes, chunk_images;
    uint16_t *labels; /* (count) */
    uint8_t *chunk;   /* (chunk_images, channels, height, width) */
    void *frame;
    size_t frame_capacity;
    ZSTD_CCtx *zstd;
    uint8_t *memory; /* the file, once HDF5 has closed it */
    hid_t file, images;
};

/* Largest power of two that keeps a chunk within 256 KiB and a shard at 16 chunks or more: large
 * enough to compress and read well, small enough to shuffle by chunks. */
static size_t choose_chunk_images(size_t image_bytes, int64_t count)
{
    size_t images = 1;
    while (2 * images * image_bytes <= 256 * 1024 && (int64_t)(2 * images) * 16 <= count)
        images *= 2;
    return images;
}

/* The file is in memory, so this is what makes HDF5 refuse. */
static dn_status out_of_memory(const dn_shard_writer *w)
{
    return dn_fail(DN_ENOMEM, "%s: out of memory", w->path);
}

static int put_attribute(hid_t file, const char *name, hid_t type, hid_t space, const void *value)
{
    const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const int good = H5Awrite(attribute, type, value) >= 0;
    H5Aclose(attribute);
    H5Sclose(space);
    return good;
}

static int put_string(hid_t file, const char *name, const char *text)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    const int good = put_attribute(file, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return good;
}

static int put_integer(hid_t file, const char *name, int64_t value)
{
    return put_attribute(file, name, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &value);
}

static int put_numbers(hid_t file, const char *name, const double *values, int count)
{
    const hsize_t size = (hsize_t)count;
    return put_attribute(file, name, H5T_IEEE_F64LE, H5Screate_simple(1, &size, NULL), values);
}

static int put_attributes(const dn_shard_writer *w)
{
    const dn_manifest *const m = w->manifest;
    return put_string(w->file, DN_SHARD_FORMAT, DN_SHARD_FORMAT_NAME) &&
           put_integer(w->file, DN_SHARD_VERSION, DN_SHARD_FORMAT_VERSION) &&
           put_string(w->file, DN_SHARD_DATASET, m->dataset) &&
           put_string(w->file, DN_SHARD_SPLIT, dn_split_name(w->split)) &&
           put_integer(w->file, DN_SHARD_INDEX, w->index) &&
           put_integer(w->file, DN_SHARD_SHARDS, m->split[w->split].shards) &&
           put_integer(w->file, DN_SHARD_COUNT, w->count) &&
           put_numbers(w->file, DN_SHARD_MEAN, m->mean, m->channels) &&
           put_numbers(w->file, DN_SHARD_STD, m->deviation, m->channels);
}

/* A one-dimensional data set, written at once. */
static int put_list(const dn_shard_writer *w, const char *name, hid_t type, int64_t count,
                    const void *values)
{
    const hsize_t size = (hsize_t)count;
    const hid_t space = H5Screate_simple(1, &size, NULL),
                properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(properties, 0); /* the same data give the same bytes */
    const hid_t set = H5Dcreate2(w->file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    int good = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    good = H5Dclose(set) >= 0 && good;
    H5Pclose(properties);
    H5Sclose(space);
    return good;
}

/* Class names as strings of one length, padded with zeros. */
static int put_class_names(const dn_shard_writer *w)
{
    const dn_manifest *const m = w->manifest;
    size_t length = 1;
    for (int i = 0; i < m->classes; i++)
        if (strlen(m->class_names[i]) > length)
            length = strlen(m->class_names[i]);
    char *const names = calloc((size_t)m->classes, length + 1);
    if (!names)
        return 0;
    for (int i = 0; i < m->classes; i++)
        memcpy(names + (size_t)i * length, m->class_names[i], strlen(m->class_names[i]));
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, length);
    H5Tset_cset(type, H5T_CSET_UTF8);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    const int good = put_list(w, DN_SHARD_CLASS_NAMES, type, m->classes, names);
    H5Tclose(type);
    free(names);
    return good;
}

static hid_t create_images(const dn_shard_writer *w)
{
    const hsize_t c = (hsize_t)w->manifest->channels, h = (hsize_t)w->manifest->height;
    const hsize_t v = (hsize_t)w->manifest->width;
    const hsize_t size[4] = {(hsize_t)w->count, c, h, v}, part[4] = {w->chunk_images, c, h, v};
    const unsigned level = (unsigned)w->manifest->zstd_level;
    const hid_t space = H5Screate_simple(4, size, NULL), properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(properties, 0);
    H5Pset_chunk(properties, 4, part);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    /* Optional: a mandatory filter could not be named without its plug-in. */
    H5Pset_filter(properties, DN_SHARD_ZSTD_FILTER, H5Z_FLAG_OPTIONAL, 1, &level);
    const hid_t images = H5Dcreate2(w->file, DN_SHARD_IMAGES, H5T_STD_U8LE, space, H5P_DEFAULT,
                                    properties, H5P_DEFAULT);
    H5Pclose(properties);
    H5Sclose(space);
    return images;
}

/* The core driver's memory is ours from the moment it is freed by closing the file. */
static void *image_malloc(size_t size, H5FD_file_image_op_t operation, void *owner)
{
    (void)operation, (void)owner;
    return malloc(size);
}

static void *image_copy(void *to, const void *from, size_t size, H5FD_file_image_op_t operation,
                        void *owner)
{
    (void)operation, (void)owner;
    return memcpy(to, from, size);
}

static void *image_realloc(void *image, size_t size, H5FD_file_image_op_t operation, void *owner)
{
    (void)operation, (void)owner;
    return realloc(image, size);
}

static herr_t image_free(void *image, H5FD_file_image_op_t operation, void *owner)
{
    if (operation == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
        *(uint8_t **)owner = image;
    else
        free(image);
    return 0;
}

static void *same_owner(void *owner)
{
    return owner;
}

static herr_t forget_owner(void *owner)
{
    (void)owner;
    return 0;
}

/* Files of this access are built in memory, which is *memory after closing. */
static void keep_memory(hid_t access, uint8_t **memory)
{
    enum { GROWTH = 1 << 22 }; /* bytes */
    H5FD_file_image_callbacks_t callbacks = {.image_malloc = image_malloc,
                                             .image_memcpy = image_copy,
                                             .image_realloc = image_realloc,
                                             .image_free = image_free,
                                             .udata_copy = same_owner,
                                             .udata_free = forget_owner,
                                             .udata = memory};
    H5Pset_fapl_core(access, GROWTH, 0);
    H5Pset_file_image_callbacks(access, &callbacks);
}

static int create_file(dn_shard_writer *w)
{
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = H5Pcreate(H5P_FILE_CREATE);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* failures are reported by dn_fail alone */
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    keep_memory(access, &w->memory);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    H5Pset_obj_track_times(creation, 0);
    w->file = H5Fcreate(w->path, H5F_ACC_TRUNC, creation, access);
    H5Pclose(creation);
    H5Pclose(access);
    if (w->file < 0 || !put_attributes(w) || !put_class_names(w))
        return 0;
    w->images = create_images(w);
    return w->images >= 0;
}

static dn_status allocate(dn_shard_writer *w)
{
    const size_t bytes = w->chunk_images * w->image_bytes;
    w->frame_capacity = ZSTD_compressBound(bytes);
    w->labels = malloc((size_t)w->count * sizeof *w->labels);
    w->chunk = malloc(bytes);
    w->frame = malloc(w->frame_capacity);
    w->zstd = ZSTD_createCCtx();
    if (!w->labels || !w->chunk || !w->frame || !w->zstd)
        return out_of_memory(w);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, w->manifest->zstd_level);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    return DN_OK;
}

dn_status dn_shard_writer_create(dn_shard_writer **writer, const char *path,
                                 const dn_manifest *manifest, dn_split split, int index)
{
    dn_shard_writer *const w = *writer = calloc(1, sizeof *w);
    DN_CHECK(w, DN_ENOMEM, "%s: out of memory", path);
    snprintf(w->path, sizeof w->path, "%s", path);
    w->manifest = manifest;
    w->split = split;
    w->index = index;
    w->count = manifest->split[split].shard[index].count;
    w->image_bytes =
        (size_t)manifest->channels * (size_t)manifest->height * (size_t)manifest->width;
    w->chunk_images = choose_chunk_images(w->image_bytes, w->count);
    w->file = w->images = H5I_INVALID_HID;
    dn_status status = allocate(w);
    if (status == DN_OK) {
        int good;
#pragma omp critical(dn_hdf5)
        good = create_file(w);
        if (!good)
            status = out_of_memory(w);
    }
    if (status != DN_OK)
        dn_shard_writer_abandon(writer);
    return status;
}

/* Compresses and writes the chunk that ends with the image added last, padded with zeros. */
static dn_status write_chunk(dn_shard_writer *w)
{
    const size_t bytes = w->chunk_images * w->image_bytes;
    const size_t first = (size_t)(w->added - 1) / w->chunk_images * w->chunk_images;
    const size_t used = ((size_t)w->added - first) * w->image_bytes;
    const hsize_t corner[4] = {first};
    memset(w->chunk + used, 0, bytes - used);
    const size_t size = ZSTD_compress2(w->zstd, w->frame, w->frame_capacity, w->chunk, bytes);
    DN_CHECK(!ZSTD_isError(size), DN_ENOMEM, "%s: cannot compress: %s", w->path,
             ZSTD_getErrorName(size));
    herr_t result;
#pragma omp critical(dn_hdf5)
    result = H5Dwrite_chunk(w->images, H5P_DEFAULT, 0, corner, size, w->frame);
    return result < 0 ? out_of_memory(w) : DN_OK;
}

dn_status dn_shard_writer_add(dn_shard_writer *writer, const uint8_t *image, int label)
{
    dn_shard_writer *const w = writer;
    DN_CHECK(w->added < w->count, DN_EINVAL, "%s: found more than the expected %" PRId64 " images",
             w->path, w->count);
    memcpy(w->chunk + (size_t)w->added % w->chunk_images * w->image_bytes, image, w->image_bytes);
    w->labels[w->added++] = (uint16_t)label;
    if ((size_t)w->added % w->chunk_images == 0 || w->added == w->count)
        return write_chunk(w);
    return DN_OK;
}

/* Labels and their checksum, then the file in memory is whole. */
static int finish_file(dn_shard_writer *w)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64,
             XXH3_64bits(w->labels, (size_t)w->count * sizeof *w->labels));
    int good = put_list(w, DN_SHARD_LABELS, H5T_STD_U16LE, w->count, w->labels) &&
               put_string(w->file, DN_SHARD_LABELS_HASH, hash);
    good = H5Fclose(w->file) >= 0 && good;
    w->file = H5I_INVALID_HID;
    return good;
}

static dn_status copy_to_disk(const dn_shard_writer *w)
{
    enum { END_OF_FILE = 28 }; /* where superblocks of version 2 and 3 hold the file's size */
    uint64_t size;
    memcpy(&size, w->memory + END_OF_FILE, sizeof size);
    FILE *const file = fopen(w->path, "wbe");
    int good = file && fwrite(w->memory, size, 1, file) == 1;
    if (file)
        good = fclose(file) == 0 && good;
    DN_CHECK(good, DN_EIO, "%s: cannot write: %s", w->path, strerror(errno));
    return DN_OK;
}

static dn_status finish(dn_shard_writer *w)
{
    int good;
    DN_CHECK(w->added == w->count, DN_EINVAL, "%s: found %" PRId64 " images, expected %" PRId64,
             w->path, w->added, w->count);
#pragma omp critical(dn_hdf5)
    good = finish_file(w);
    return good && w->memory ? copy_to_disk(w) : out_of_memory(w);
}

dn_status dn_shard_writer_finish(dn_shard_writer **writer)
{
    const dn_status status = finish(*writer);
    dn_shard_writer_abandon(writer);
    return status;
}

void dn_shard_writer_abandon(dn_shard_writer **writer)
{
    dn_shard_writer *const w = *writer;
    if (!w)
        return;
#pragma omp critical(dn_hdf5)
    {
        if (w->file >= 0)
            H5Fclose(w->file);
        /* HDF5 notes even on success that it does not know the filter, and cannot end the process
         * in peace while the error stack of a thread holds anything */
        H5Eclear2(H5E_DEFAULT);
    }
    free(w->memory);
    ZSTD_freeCCtx(w->zstd);
    free(w->frame);
    free(w->chunk);
    free(w->labels);
    free(w);
    *writer = NULL;
}
