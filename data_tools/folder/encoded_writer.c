/*
 * Writer of HDF5 shards of encoded images; see folder.h and docs/shard-format.md.
 *
 * HDF5 writes all but the images' bytes, for which it only sets a place aside.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder/folder.h"
#include "making/shard_file.h"

/* The data sets of a shard, in one block of memory. */
struct lists {
    uint64_t *offsets, *hashes; /* (N + 1), (N) */
    int32_t *sizes;             /* (N, 2) */
    uint16_t *labels;           /* (N) */
};

static int fill_lists(struct lists *l, const dn_stored_image *image, size_t count)
{
    l->offsets = malloc((2 * count + 1) * sizeof *l->offsets + count * (2 * sizeof *l->sizes) +
                        count * sizeof *l->labels);
    if (!l->offsets)
        return 0;
    l->hashes = l->offsets + count + 1;
    l->sizes = (int32_t *)(l->hashes + count);
    l->labels = (uint16_t *)(l->sizes + 2 * count);
    l->offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        l->offsets[i + 1] = l->offsets[i] + (uint64_t)image[i].size;
        l->hashes[i] = image[i].hash;
        l->sizes[2 * i] = image[i].width;
        l->sizes[2 * i + 1] = image[i].height;
        l->labels[i] = image[i].label;
    }
    return 1;
}

/* *at = the place in the file for so many bytes. */
static int reserve_bytes(hid_t file, uint64_t bytes, haddr_t *at)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    const hid_t set = dn_hdf5_create_set(file, DN_SHARD_ENCODED, H5T_STD_U8LE,
                                         dn_list_space((int64_t)bytes), properties);
    *at = H5Dget_offset(set);
    return H5Dclose(set) >= 0 && *at != HADDR_UNDEF;
}

static int write_lists(dn_shard_file *f, const struct lists *l, haddr_t *at)
{
    const int64_t count = f->shard->count;
    const hsize_t shape[2] = {(hsize_t)count, 2};
    return dn_shard_file_create(f, l->labels) &&
           dn_hdf5_write(f->file, DN_SHARD_OFFSETS, H5T_STD_U64LE, dn_list_space(count + 1),
                         l->offsets) &&
           dn_hdf5_write(f->file, DN_SHARD_SIZES, H5T_STD_I32LE, H5Screate_simple(2, shape, NULL),
                         l->sizes) &&
           dn_hdf5_write(f->file, DN_SHARD_HASHES, H5T_STD_U64LE, dn_list_space(count),
                         l->hashes) &&
           reserve_bytes(f->file, l->offsets[count], at);
}

/* The file as memory. */
static int map_file(dn_encoded_shard *s, int file)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return 0;
    void *const bytes =
        mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED)
        return 0;
    *s = (dn_encoded_shard){bytes, (size_t)info.st_size};
    return 1;
}

/* What has been copied is freed, so that the shard stands in memory but once. */
static void move_images(uint8_t *to, dn_stored_image *image, int64_t count)
{
    for (int64_t i = 0; i < count; to += image[i++].size) {
        memcpy(to, image[i].bytes.bytes, image[i].size);
        dn_buffer_free(&image[i].bytes);
    }
}

dn_status dn_encoded_shard_create(dn_encoded_shard *s, const dn_manifest *manifest,
                                  const dn_manifest_shard *shard, dn_stored_image *image)
{
    dn_shard_file file;
    struct lists lists;
    haddr_t at = 0;
    *s = (dn_encoded_shard){0};
    DN_TRY(dn_shard_file_open(&file, manifest, shard));
    int good = fill_lists(&lists, image, (size_t)shard->count);
    if (good) {
#pragma omp critical(dn_hdf5)
        {
            good = write_lists(&file, &lists, &at);
            good = dn_shard_file_finish(&file) && good;
        }
    }
    good = good && map_file(s, file.memory);
    const int error = errno;
    if (good)
        move_images(s->bytes + at, image, shard->count);
    free(lists.offsets);
    close(file.memory);
    return good ? DN_OK : dn_shard_file_refuse(&file, error);
}

void dn_encoded_shard_free(dn_encoded_shard *s)
{
    if (s->bytes)
        munmap(s->bytes, s->size);
    *s = (dn_encoded_shard){0};
}
