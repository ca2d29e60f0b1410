/*
 * Writes HDF5 shards of encoded images; see writer.h and docs/shard-format.md.
 *
 * HDF5 writes everything but the images' bytes, for which it only reserves space.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "writer/shard_file.h"
#include "writer/writer.h"

void dn_stored_image_free(dn_stored_image *image)
{
    dn_buffer_free(&image->bytes);
    free(image->name);
    *image = (dn_stored_image){0};
}

void dn_stored_images_free(dn_stored_image *image, int64_t count)
{
    for (int64_t i = 0; image && i < count; i++)
        dn_stored_image_free(&image[i]);
    free(image);
}

/* The HDF5 data sets of a shard, in one block of memory. */
struct lists {
    uint64_t *offsets, *hashes; /* (N + 1), (N) */
    int32_t *sizes;             /* (N, 2) */
    uint16_t *labels;           /* (N) */
    char *names;                /* (names_size) in a separate block; NULL: none is known */
    size_t names_size;
};

/* Concatenates the names of files, each terminated by a zero. */
static int fill_names(struct lists *l, const dn_stored_image *image, size_t count)
{
    int known = 0;
    for (size_t i = 0; i < count; i++)
        known += image[i].name != NULL;
    if (known == 0)
        return 1;
    FILE *const stream = open_memstream(&l->names, &l->names_size);
    for (size_t i = 0; stream && i < count; i++)
        fprintf(stream, "%s%c", image[i].name ? image[i].name : "", '\0');
    return stream && fclose(stream) == 0;
}

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
    return fill_names(l, image, count);
}

/* *at = the file offset of `bytes` reserved bytes. */
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

static int write_names(hid_t file, const struct lists *l)
{
    char hash[17];
    if (!l->names)
        return 1;
    snprintf(hash, sizeof hash, "%016" PRIx64, XXH3_64bits(l->names, l->names_size));
    return dn_hdf5_write(file, DN_SHARD_FILE_NAMES, H5T_STD_U8LE,
                         dn_list_space((int64_t)l->names_size), l->names) &&
           dn_hdf5_put_text(file, DN_SHARD_FILES_HASH, hash);
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
           write_names(f->file, l) && reserve_bytes(f->file, l->offsets[count], at);
}

/* Copies the images and frees each one, so that only one copy of the shard is in memory. */
static void move_images(uint8_t *to, dn_stored_image *image, int64_t count)
{
    for (int64_t i = 0; i < count; to += image[i++].size) {
        memcpy(to, image[i].bytes.bytes, image[i].size);
        dn_buffer_free(&image[i].bytes);
    }
}

dn_status dn_writer_save_encoded(const dn_writer *w, dn_manifest_shard *shard,
                                 dn_stored_image *image)
{
    dn_shard_file file;
    struct lists lists = {0};
    haddr_t at = 0;
    DN_TRY(dn_shard_file_open(&file, w->manifest, shard));
    int good = fill_lists(&lists, image, (size_t)shard->count);
    if (good) {
#pragma omp critical(dn_hdf5)
        {
            good = write_lists(&file, &lists, &at);
            good = dn_shard_file_finish(&file) && good;
        }
    }
    good = good && dn_shard_file_map(&file);
    const int error = errno;
    free(lists.offsets);
    free(lists.names);
    if (good)
        move_images(file.bytes + at, image, shard->count);
    const dn_status status =
        good ? dn_writer_save(w, &shard->hdf5, shard->count, file.bytes, file.size)
             : dn_shard_file_refuse(&file, error);
    dn_shard_file_close(&file);
    return status;
}
