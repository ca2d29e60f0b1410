/*
 * Reader of HDF5 image shards; see include/dn/shard.h and docs/shard-format.md.
 *
 * Shards are not trusted. A shard of pixels is verified against the manifest's checksum before HDF5
 * reads it, an encoded image against its own whenever it is read. What HDF5 returns about either is
 * in the index (shard_index.c). Reading uses pread and zstd, in all threads, without HDF5's global
 * lock.
 */
#include "data/shard_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "dn/child.h"
#include "dn/file.h"

/* ---- opening ---- */

/* Verifies every parts-th file, starting with file `part`. Encoded images have checksums of their
 * own, which are verified when they are read. */
static dn_status check_files(const dn_shards *shards, int part, int parts)
{
    const int is_encoded = dn_is_encoded(&shards->manifest->info);
    for (int i = part; i < shards->split->shards; i += parts) {
        char path[PATH_MAX];
        DN_TRY(dn_join_path(path, shards->folder, shards->split->shard[i].hdf5.name));
        DN_TRY((is_encoded ? dn_manifest_check_size
                           : dn_manifest_check)(path, &shards->split->shard[i].hdf5));
    }
    return DN_OK;
}

/* Reads dataset.json. */
static dn_status load(dn_shards **shards, const char *folder, dn_split_id id)
{
    dn_shards *const s = *shards = calloc(1, sizeof *s);
    DN_CHECK(s, DN_ENOMEM, "%s: out of memory", folder);
    DN_TRY(dn_manifest_load(&s->manifest, folder)); /* limits the length of the folder's path */
    strcpy(s->folder, folder);
    const dn_manifest_split *const split = s->split = &s->manifest->split[id];
    DN_CHECK(split->shards > 0, DN_EINVAL, "%s: found no %s split, expected one", folder,
             dn_split_name(id));
    s->first_chunk = calloc((size_t)split->shards + 1, sizeof *s->first_chunk);
    DN_CHECK(s->first_chunk, DN_ENOMEM, "%s: out of memory", folder);
    for (int i = 0; i < split->shards; i++)
        s->first_chunk[i + 1] = s->first_chunk[i] + dn_shards_most_chunks(s, &split->shard[i]);
    return DN_OK;
}

static dn_status make_pages(dn_shards *s)
{
    s->own_index = dn_child_pages(dn_shards_index_bytes(s));
    DN_CHECK(s->own_index, DN_ENOMEM, "%s: out of memory for %" PRId64 " labels", s->folder,
             s->split->count);
    dn_shards_use_index(s, s->own_index);
    return DN_OK;
}

static dn_status close_unless(dn_shards **shards, dn_status status)
{
    if (status != DN_OK)
        dn_shards_close(shards);
    return status;
}

dn_status dn_shards_load(dn_shards **shards, const char *folder, dn_split_id id, int part,
                         int parts)
{
    dn_status status = load(shards, folder, id);
    if (status == DN_OK)
        status = check_files(*shards, part, parts);
    return close_unless(shards, status);
}

dn_status dn_shards_open(dn_shards **shards, const char *folder, dn_split_id id)
{
    DN_TRY(dn_shards_load(shards, folder, id, 0, 1));
    dn_status status = make_pages(*shards);
    if (status == DN_OK)
        status = dn_shards_read_index(*shards, 0, 1);
    if (status == DN_OK)
        status = dn_shards_check_index(*shards, 0, 1);
    return close_unless(shards, status);
}

dn_status dn_shards_open_damaged(dn_shards **shards, const char *folder, dn_split_id id)
{
    dn_status status = load(shards, folder, id);
    if (status == DN_OK)
        status = make_pages(*shards);
    if (status == DN_OK)
        status = dn_shards_try_index(*shards);
    return close_unless(shards, status);
}

dn_status dn_shards_failure(const dn_shards *shards, int index)
{
    return dn_failure_report(&shards->failure[index]);
}

void dn_shards_close(dn_shards **shards)
{
    dn_shards *const s = *shards;
    if (!s)
        return;
    if (s->own_index)
        dn_child_pages_free(s->own_index, dn_shards_index_bytes(s));
    free(s->failure);
    free(s->first_chunk);
    free(s->manifest);
    free(s);
    *shards = NULL;
}

const dn_manifest *dn_shards_manifest(const dn_shards *shards)
{
    return shards->manifest;
}

dn_source dn_shards_source(const dn_shards *shards, dn_read_fn *read)
{
    return (dn_source){.info = shards->manifest->info,
                       .count = shards->split->count,
                       .labels = shards->labels,
                       .label_sets = shards->manifest->label_sets,
                       .read = read};
}

/* ---- reading ---- */

/* The shard that holds image `index` of the split. */
static const dn_manifest_shard *shard_of(const dn_shards *shards, int64_t index)
{
    const dn_manifest_shard *const shard = shards->split->shard;
    int low = 0, high = shards->split->shards - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (shard[middle].first <= index)
            low = middle;
        else
            high = middle - 1;
    }
    return &shard[low];
}

/* An open shard, and the images [first, end) of the split to read from it. */
struct span {
    const dn_manifest_shard *shard;
    const char *path;
    int file;
    size_t image;         /* bytes per image */
    int64_t chunk_images; /* images per chunk */
    int64_t first, end;
};

/* images(size) = the content of a stored chunk: a zstd frame, or the images themselves. */
static dn_status unpack_chunk(const struct span *span, const struct chunk *chunk,
                              const uint8_t *stored, uint8_t *images, size_t size)
{
    size_t found = (size_t)chunk->bytes;
    if (chunk->compressed)
        found = ZSTD_decompress(images, size, stored, found);
    else if (found == size)
        memcpy(images, stored, size);
    DN_CHECK(!ZSTD_isError(found), DN_ECORRUPT, "%s: the chunk at byte %" PRId64 " is damaged: %s",
             span->path, chunk->address, ZSTD_getErrorName(found));
    DN_CHECK(found == size, DN_ECORRUPT,
             "%s: the chunk at byte %" PRId64 " holds %zu bytes, expected %zu", span->path,
             chunk->address, found, size);
    return DN_OK;
}

/* Copies the chunk's images that are wanted to their places in pixels, which begin with the span's
 * first; the chunk begins with the split's image `at`. */
static dn_status read_chunk(const struct span *span, const struct chunk *chunk, int64_t at,
                            uint8_t *pixels)
{
    const int64_t end = at + span->chunk_images;
    const int64_t begin = at > span->first ? at : span->first;
    const int64_t count = (end < span->end ? end : span->end) - begin;
    const size_t size = (size_t)span->chunk_images * span->image; /* including padding */
    uint8_t *const stored = malloc((size_t)chunk->bytes + size);
    dn_status status;
    DN_CHECK(stored, DN_ENOMEM, "%s: out of memory for a chunk", span->path);
    uint8_t *const whole = stored + chunk->bytes;
    DN_TRY_OR_DONE(
        dn_file_read(span->file, span->path, stored, (size_t)chunk->bytes, chunk->address));
    DN_TRY_OR_DONE(unpack_chunk(span, chunk, stored, whole, size));
    memcpy(pixels + (size_t)(begin - span->first) * span->image,
           whole + (size_t)(begin - at) * span->image, (size_t)count * span->image);
done:
    free(stored);
    return status;
}

/* pixels = the span's images, read by all threads. */
static dn_status read_span(const struct span *span, const struct chunk *chunk, uint8_t *pixels)
{
    const int64_t step = span->chunk_images, shard_first = span->shard->first;
    dn_failure failure = {0};
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = (span->first - shard_first) / step; i <= (span->end - 1 - shard_first) / step;
         i++) {
        const dn_status status = read_chunk(span, &chunk[i], shard_first + i * step, pixels);
#pragma omp critical(dn_shards)
        dn_failure_keep(&failure, status);
    }
    return dn_failure_report(&failure);
}

dn_status dn_shards_read(const dn_shards *shards, int64_t first, int64_t count, uint8_t *pixels)
{
    const int64_t limit = first + count;
    dn_status status = DN_OK;
    assert(first >= 0 && limit <= shards->split->count);
    for (int64_t at = first; at < limit && status == DN_OK;) {
        const dn_manifest_shard *const shard = shard_of(shards, at);
        const int64_t end = shard->first + shard->count;
        char path[PATH_MAX];
        int64_t bytes;
        struct span span = {.shard = shard,
                            .path = path,
                            .image = dn_image_values(&shards->manifest->info),
                            .chunk_images = shards->chunk_images[shard->index],
                            .first = at,
                            .end = end < limit ? end : limit};
        DN_TRY(dn_join_path(path, shards->folder, shard->hdf5.name));
        DN_TRY(dn_file_open(path, &span.file, &bytes));
        status = read_span(&span, &shards->chunk[shards->first_chunk[shard->index]],
                           pixels + (size_t)(at - first) * span.image);
        close(span.file);
        at = span.end;
    }
    return status;
}

/* ---- encoded images ---- */

void dn_shards_name_image(const dn_shards *shards, int64_t index, char *text, size_t size)
{
    const dn_manifest_shard *const shard = shard_of(shards, index);
    snprintf(text, size, "%s/%s, image %" PRId64, shards->folder, shard->hdf5.name,
             index - shard->first);
}

void dn_shards_find(const dn_shards *shards, int64_t index, dn_shard_place *found)
{
    const dn_manifest_shard *const shard = shard_of(shards, index);
    const int64_t images = shards->chunk_images[shard->index];
    const int64_t number = index - shard->first, chunk = number / images;
    const struct chunk *const c = &shards->chunk[shards->first_chunk[shard->index] + chunk];
    const int64_t first = chunk * images, left = shard->count - first;
    *found = (dn_shard_place){.shard = shard,
                              .number = number,
                              .address = c->address,
                              .bytes = c->bytes,
                              .first = first,
                              .count = left < images ? left : images,
                              .hash = c->hash,
                              .width = c->width,
                              .height = c->height};
}

/* bytes = image `number` of the shard, from the file of that name in `folder`. */
static dn_status read_stored(const char *folder, const dn_manifest_shard *shard, int64_t number,
                             const struct chunk *image, uint8_t *bytes)
{
    const size_t size = (size_t)image->bytes;
    char path[PATH_MAX];
    int file;
    int64_t file_bytes;
    DN_TRY(dn_join_path(path, folder, shard->hdf5.name));
    DN_TRY(dn_file_open(path, &file, &file_bytes));
    const dn_status status = dn_file_read(file, path, bytes, size, image->address);
    close(file);
    DN_TRY(status);
    const uint64_t found = XXH3_64bits(bytes, size);
    DN_CHECK(found == image->hash, DN_ECORRUPT,
             "%s: image %" PRId64 " at byte %" PRId64 " is damaged: found bytes of checksum "
             "%016" PRIx64 ", expected %016" PRIx64,
             path, number, image->address, found, image->hash);
    return DN_OK;
}

dn_status dn_shards_read_encoded(const dn_shards *shards, int64_t index, dn_buffer *buffer,
                                 size_t *size)
{
    const dn_manifest_shard *const shard = shard_of(shards, index);
    const int64_t number = index - shard->first;
    const struct chunk *const image = &shards->chunk[shards->first_chunk[shard->index] + number];
    atomic_uchar *const copied = shards->copied ? &shards->copied[shard->index] : NULL;
    *size = (size_t)image->bytes;
    DN_TRY(dn_buffer_grow(buffer, *size));
    if (copied && atomic_load(copied)) {
        if (read_stored(shards->stage, shard, number, image, buffer->bytes) == DN_OK)
            return DN_OK;
        if (atomic_exchange(copied, 0))
            dn_warn_here("--stage: %s; the shard is read from its source", dn_message());
    }
    return read_stored(shards->folder, shard, number, image, buffer->bytes);
}
