/*
 * Reader of HDF5 image shards; see include/dn/shard.h and docs/shard-format.md.
 *
 * HDF5 has one global lock and decompresses inside it. So it is used at open only, for attributes,
 * labels and the address of every chunk; reading is pread and zstd. Whatever a chunk's entry says
 * was checked at open against the file's size, so a read can only fail on the bytes themselves.
 */
#include "dn/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "dn/file.h"
#include "dn/hdf5.h"

struct shard {
    const dn_manifest_shard *entry;
    char path[PATH_MAX];
    int fd;
    int64_t chunk_images; /* images of a chunk; the last one is padded with zeros to as many */
};

struct chunk {
    const struct shard *shard;
    int64_t first, count; /* images of the split */
    int64_t address, bytes;
    int compressed;
};

struct dn_shards {
    dn_manifest *manifest;
    const dn_manifest_split *split; /* the manifest's */
    struct shard *shard;            /* (split->shards) */
    int64_t chunk_count;
    struct chunk *chunk;
    uint16_t *labels;
};

static dn_status check_attribute(hid_t file, const char *path, const dn_shard_attribute *expected)
{
    const char *const name = expected->name;
    char text[64];
    int64_t integer;
    if (expected->text) {
        DN_TRY(dn_hdf5_get_text(file, path, name, text, sizeof text));
        DN_CHECK(strcmp(text, expected->text) == 0, expected->failure,
                 "%s: found %s \"%s\", expected \"%s\"", path, name, text, expected->text);
    } else {
        DN_TRY(dn_hdf5_get(file, path, name, H5T_NATIVE_INT64, &integer));
        DN_CHECK(integer == expected->integer, expected->failure,
                 "%s: found %s %" PRId64 ", expected %" PRId64, path, name, integer,
                 expected->integer);
    }
    return DN_OK;
}

/* The shard is the one that dataset.json means. */
static dn_status check_attributes(hid_t file, const dn_shards *shards, const struct shard *shard)
{
    dn_shard_attribute list[DN_SHARD_ATTRIBUTES];
    dn_shard_attributes(shards->manifest, shard->entry, list);
    for (int i = 0; i < DN_SHARD_ATTRIBUTES; i++)
        DN_TRY(check_attribute(file, shard->path, &list[i]));
    return DN_OK;
}

/* Whether the data set is uint8 of `shape`, in chunks of whole images with the zstd filter alone;
 * *chunk_images = the images of a chunk. */
static int is_as_specified(hid_t images, const hsize_t shape[4], hsize_t *chunk_images)
{
    const hid_t space = H5Dget_space(images), type = H5Dget_type(images);
    const hid_t properties = H5Dget_create_plist(images);
    hsize_t size[4], part[4];
    unsigned flags, config;
    size_t values = 0;
    const int good = H5Sget_simple_extent_ndims(space) == 4 &&
                     H5Sget_simple_extent_dims(space, size, NULL) == 4 &&
                     memcmp(size, shape, sizeof size) == 0 && H5Tequal(type, H5T_STD_U8LE) > 0 &&
                     H5Pget_layout(properties) == H5D_CHUNKED &&
                     H5Pget_chunk(properties, 4, part) == 4 && part[0] >= 1 &&
                     part[0] <= shape[0] && memcmp(part + 1, shape + 1, 3 * sizeof *part) == 0 &&
                     H5Pget_nfilters(properties) == 1 &&
                     H5Pget_filter2(properties, 0, &flags, &values, NULL, 0, NULL, &config) ==
                         DN_SHARD_ZSTD_FILTER;
    H5Pclose(properties);
    H5Tclose(type);
    H5Sclose(space);
    *chunk_images = good ? part[0] : 0;
    return good;
}

/* Where the chunk that begins with image `first` of the shard stands. */
static dn_status find_chunk(hid_t images, const struct shard *shard, int64_t first,
                            struct chunk *chunk)
{
    const hsize_t corner[4] = {(hsize_t)first}, size = (hsize_t)shard->entry->hdf5.bytes;
    const int64_t left = shard->entry->count - first;
    unsigned mask;
    haddr_t address;
    hsize_t bytes;
    DN_CHECK(H5Dget_chunk_info_by_coord(images, corner, &mask, &address, &bytes) >= 0 &&
                 bytes > 0 && address < size && bytes <= size - address,
             DN_ECORRUPT, "%s: the chunk of image %" PRId64 " is not within the %llu bytes",
             shard->path, first, (unsigned long long)size);
    *chunk = (struct chunk){.shard = shard,
                            .first = shard->entry->first + first,
                            .count = left < shard->chunk_images ? left : shard->chunk_images,
                            .address = (int64_t)address,
                            .bytes = (int64_t)bytes,
                            .compressed = !(mask & 1)};
    return DN_OK;
}

/* Appends the shard's chunks to the table. */
static dn_status list_chunks(hid_t images, dn_shards *shards, struct shard *shard)
{
    const dn_shard_info *const info = &shards->manifest->info;
    const hsize_t shape[4] = {(hsize_t)shard->entry->count, (hsize_t)info->channels,
                              (hsize_t)info->height, (hsize_t)info->width};
    hsize_t step;
    DN_CHECK(is_as_specified(images, shape, &step), DN_ECORRUPT,
             "%s: " DN_SHARD_IMAGES " is not uint8 (%" PRId64
             ", %d, %d, %d) in chunks of whole images with filter %d",
             shard->path, shard->entry->count, info->channels, info->height, info->width,
             DN_SHARD_ZSTD_FILTER);
    shard->chunk_images = (int64_t)step;
    const hsize_t count = (shape[0] + step - 1) / step;
    struct chunk *const grown =
        realloc(shards->chunk, ((size_t)shards->chunk_count + count) * sizeof *grown);
    DN_CHECK(grown, DN_ENOMEM, "%s: out of memory", shard->path);
    shards->chunk = grown;
    for (hsize_t i = 0; i < count; i++)
        DN_TRY(find_chunk(images, shard, (int64_t)(i * step), &grown[shards->chunk_count++]));
    return DN_OK;
}

static dn_status read_labels(hid_t file, const dn_shards *shards, const struct shard *shard)
{
    const int64_t count = shard->entry->count;
    uint16_t *const labels = shards->labels + shard->entry->first;
    char hash[17];
    DN_TRY(dn_hdf5_read(file, shard->path, DN_SHARD_LABELS, H5T_NATIVE_UINT16, count, labels));
    snprintf(hash, sizeof hash, "%016" PRIx64, XXH3_64bits(labels, (size_t)count * sizeof *labels));
    DN_TRY(check_attribute(file, shard->path,
                           &(dn_shard_attribute){DN_SHARD_LABELS_HASH, hash, 0, DN_ECORRUPT}));
    for (int64_t i = 0; i < count; i++)
        DN_CHECK(labels[i] < shards->manifest->info.classes, DN_ECORRUPT,
                 "%s: image %" PRId64 " has label %d, expected 0 to %d", shard->path, i, labels[i],
                 shards->manifest->info.classes - 1);
    return DN_OK;
}

static dn_status open_shard(dn_shards *shards, const char *folder, struct shard *shard)
{
    const dn_manifest_file *const expected = &shard->entry->hdf5;
    int64_t bytes;
    dn_status status;
    DN_TRY(dn_join_path(shard->path, folder, expected->name));
    DN_TRY(dn_file_open(shard->path, &shard->fd, &bytes));
    DN_CHECK(bytes == expected->bytes, DN_ECORRUPT,
             "%s: found %" PRId64 " bytes, expected %" PRId64, shard->path, bytes, expected->bytes);
    const hid_t file = dn_hdf5_open(shard->path);
    DN_CHECK(file >= 0, DN_ECORRUPT, "%s: damaged: HDF5 cannot open it", shard->path);
    const hid_t images = H5Dopen2(file, DN_SHARD_IMAGES, H5P_DEFAULT);
    DN_TRY_OR_DONE(check_attributes(file, shards, shard));
    DN_TRY_OR_DONE(list_chunks(images, shards, shard));
    DN_TRY_OR_DONE(read_labels(file, shards, shard));
done:
    H5Dclose(images);
    H5Fclose(file);
    return status;
}

dn_status dn_shards_check(const dn_shards *shards, int part, int parts)
{
    for (int i = part; i < shards->split->shards; i += parts)
        DN_TRY(dn_manifest_check(shards->shard[i].path, &shards->split->shard[i].hdf5));
    return DN_OK;
}

dn_status dn_shards_open(dn_shards **shards, const char *folder, dn_split_id id)
{
    dn_status status;
    dn_shards *const s = *shards = calloc(1, sizeof *s);
    DN_CHECK(s, DN_ENOMEM, "%s: out of memory", folder);
    DN_TRY_OR_DONE(dn_manifest_load(&s->manifest, folder));
    const dn_manifest_split *const split = s->split = &s->manifest->split[id];
    s->labels = malloc((size_t)split->count * sizeof *s->labels);
    s->shard = calloc((size_t)split->shards, sizeof *s->shard);
    for (int i = 0; s->shard && i < split->shards; i++)
        s->shard[i] = (struct shard){.entry = &split->shard[i], .fd = -1};
    if (!s->labels || !s->shard)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", folder));
    for (int i = 0; i < split->shards; i++)
        DN_TRY_OR_DONE(open_shard(s, folder, &s->shard[i]));
done:
    if (status != DN_OK)
        dn_shards_close(shards);
    return status;
}

void dn_shards_close(dn_shards **shards)
{
    if (!*shards)
        return;
    for (int i = 0; (*shards)->shard && i < (*shards)->split->shards; i++)
        if ((*shards)->shard[i].fd >= 0)
            close((*shards)->shard[i].fd);
    free((*shards)->manifest);
    free((*shards)->labels);
    free((*shards)->chunk);
    free((*shards)->shard);
    free(*shards);
    *shards = NULL;
}

dn_source dn_shards_source(const dn_shards *shards, dn_read_fn *read)
{
    return (dn_source){.info = shards->manifest->info,
                       .count = shards->split->count,
                       .labels = shards->labels,
                       .read = read};
}

/* images(size) = the content of a chunk as it is stored: a zstd frame, or the images. */
static dn_status unpack_chunk(const struct chunk *chunk, const uint8_t *stored, uint8_t *images,
                              size_t size)
{
    const char *const path = chunk->shard->path;
    const int64_t image = chunk->first - chunk->shard->entry->first;
    size_t found = (size_t)chunk->bytes;
    if (chunk->compressed)
        found = ZSTD_decompress(images, size, stored, found);
    else if (found == size)
        memcpy(images, stored, size);
    DN_CHECK(!ZSTD_isError(found), DN_ECORRUPT,
             "%s: the chunk of image %" PRId64 " at byte %" PRId64 " is damaged: %s", path, image,
             chunk->address, ZSTD_getErrorName(found));
    DN_CHECK(found == size, DN_ECORRUPT,
             "%s: the chunk of image %" PRId64 " holds %zu bytes, expected %zu", path, image, found,
             size);
    return DN_OK;
}

/* Those of the chunk's images that are of [first, last) go to their places in pixels. */
static dn_status read_chunk(const struct chunk *c, size_t image, int64_t first, int64_t last,
                            uint8_t *pixels)
{
    const int64_t begin = c->first > first ? c->first : first;
    const int64_t end = c->first + c->count < last ? c->first + c->count : last;
    if (begin >= end)
        return DN_OK;
    const size_t size = (size_t)c->shard->chunk_images * image; /* with the padding */
    uint8_t *const stored = malloc((size_t)c->bytes + size), *const whole = stored + c->bytes;
    dn_status status;
    DN_CHECK(stored, DN_ENOMEM, "%s: out of memory for a chunk", c->shard->path);
    DN_TRY_OR_DONE(
        dn_file_read(c->shard->fd, c->shard->path, stored, (size_t)c->bytes, c->address));
    DN_TRY_OR_DONE(unpack_chunk(c, stored, whole, size));
    memcpy(pixels + (size_t)(begin - first) * image, whole + (size_t)(begin - c->first) * image,
           (size_t)(end - begin) * image);
done:
    free(stored);
    return status;
}

dn_status dn_shards_read(const dn_shards *shards, int64_t first, int64_t count, uint8_t *pixels)
{
    const size_t image = dn_image_values(&shards->manifest->info);
    dn_failure failure = {0};
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < shards->chunk_count; i++) {
        const dn_status status = read_chunk(&shards->chunk[i], image, first, first + count, pixels);
#pragma omp critical(dn_shards)
        dn_failure_keep(&failure, status);
    }
    return dn_failure_report(&failure);
}
