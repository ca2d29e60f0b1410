/*
 * Writes HDF5 shards of pixels; see writer.h and docs/shard-format.md.
 *
 * Chunks are compressed here, one zstd frame each, and written to HDF5 as they are. So no filter
 * plug-in is needed, and several shards can be compressed in parallel.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "writer/shard_file.h"
#include "writer/writer.h"

struct writer {
    dn_shard_file shard;
    int64_t chunk_images; /* images of a chunk */
    hid_t images;
};

/* The largest power of two with chunks of at most 256 KiB and at least 16 full chunks a shard:
 * large enough to compress and read well, small enough to shuffle by chunks. */
static int64_t choose_chunk_images(size_t image_bytes, int64_t count)
{
    int64_t images = 1;
    while ((2 * (size_t)images * image_bytes <= 256 * 1024 && 2 * images * 16 <= count) ||
           count > images * DN_SHARD_CHUNKS)
        images *= 2;
    return images;
}

static hid_t create_images(const struct writer *w)
{
    const dn_data_info *const info = &w->shard.manifest->info;
    const hsize_t size[4] = {(hsize_t)w->shard.shard->count, (hsize_t)info->channels,
                             (hsize_t)info->height, (hsize_t)info->width};
    const hsize_t part[4] = {(hsize_t)w->chunk_images, size[1], size[2], size[3]};
    const unsigned level = (unsigned)w->shard.manifest->zstd_level;
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 4, part);
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    /* Optional, as a mandatory filter cannot be declared without its plug-in. */
    H5Pset_filter(properties, DN_SHARD_ZSTD_FILTER, H5Z_FLAG_OPTIONAL, 1, &level);
    return dn_hdf5_create_set(w->shard.file, DN_SHARD_IMAGES, H5T_STD_U8LE,
                              H5Screate_simple(4, size, NULL), properties);
}

/* Writes the chunks, the last one padded with zeros. Returns 0 if out of memory. */
static int write_chunks(const struct writer *w, const uint8_t *images)
{
    const size_t image = dn_image_values(&w->shard.manifest->info);
    const size_t bytes = (size_t)w->chunk_images * image, bound = ZSTD_compressBound(bytes);
    ZSTD_CCtx *const zstd = ZSTD_createCCtx();
    uint8_t *const padded = calloc(1, bytes + bound), *const frame = padded + bytes;
    int good = zstd && padded;
    if (good) {
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, w->shard.manifest->zstd_level);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    }
    for (int64_t first = 0; good && first < w->shard.shard->count; first += w->chunk_images) {
        const hsize_t corner[4] = {(hsize_t)first};
        const int64_t left = w->shard.shard->count - first;
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

dn_status dn_writer_save_pixels(const dn_writer *m, dn_manifest_shard *shard, const uint8_t *images,
                                const uint16_t *labels)
{
    struct writer w = {.images = H5I_INVALID_HID};
    w.chunk_images = choose_chunk_images(dn_image_values(&m->manifest->info), shard->count);
    DN_TRY(dn_shard_file_open(&w.shard, m->manifest, shard));
    int good;
#pragma omp critical(dn_hdf5)
    {
        good = dn_shard_file_create(&w.shard, labels);
        w.images = good ? create_images(&w) : H5I_INVALID_HID;
        good = w.images >= 0;
    }
    good = good && write_chunks(&w, images);
#pragma omp critical(dn_hdf5)
    {
        good = H5Dclose(w.images) >= 0 && good;
        good = dn_shard_file_finish(&w.shard) && good;
    }
    good = good && dn_shard_file_map(&w.shard);
    const dn_status status =
        good ? dn_writer_save(m, &shard->hdf5, shard->count, w.shard.bytes, w.shard.size)
             : dn_shard_file_refuse(&w.shard, errno);
    dn_shard_file_close(&w.shard);
    return status;
}
