/*
 * The index of shards: a child process reads attributes, labels and the address of every chunk or
 * encoded image with HDF5; the parent validates what it leaves. See include/dn/shard.h and
 * docs/security.md.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xxhash.h>

#include "data/shard_reader.h"
#include "dn/child.h"
#include "dn/file.h"
#include "dn/hdf5.h"
#include "dn/image.h"

enum { CHILD_VISITS = 100 * 1000 * 1000 }; /* chunks that HDF5 scans in a child: some 10 seconds */

static int is_encoded(const dn_shards *shards)
{
    return dn_is_encoded(&shards->manifest->info);
}

/* A chunk has at least one image, and its index entry in the file takes 13 bytes. */
int64_t dn_shards_most_chunks(const dn_shards *shards, const dn_manifest_shard *shard)
{
    if (is_encoded(shards))
        return shard->count;
    const int64_t most = shard->count < DN_SHARD_CHUNKS ? shard->count : DN_SHARD_CHUNKS;
    return most < shard->hdf5.bytes / 13 ? most : shard->hdf5.bytes / 13;
}

static int64_t chunks_of(const dn_manifest_shard *shard, int64_t chunk_images)
{
    return (shard->count + chunk_images - 1) / chunk_images;
}

/* ---- in the child: reading with HDF5 ---- */

static dn_status check_text(hid_t file, const char *path, const char *name, const char *expected)
{
    char text[64];
    DN_TRY(dn_hdf5_get_text(file, path, name, text, sizeof text));
    DN_CHECK(strcmp(text, expected) == 0, DN_ECORRUPT, "%s: found %s \"%s\", expected \"%s\"", path,
             name, text, expected);
    return DN_OK;
}

static dn_status check_integer(hid_t file, const char *path, const char *name, int64_t expected)
{
    int64_t integer;
    DN_TRY(dn_hdf5_get_integer(file, path, name, &integer));
    DN_CHECK(integer == expected, DN_ECORRUPT,
             "%s: found %s %" PRId64 ", expected %" PRId64 " as dataset.json says", path, name,
             integer, expected);
    return DN_OK;
}

static dn_status check_channels(hid_t file, const char *path, const char *name,
                                const double *expected, int channels)
{
    double found[DN_MAX_IMAGE_CHANNELS];
    DN_TRY(dn_hdf5_get(file, path, name, H5T_NATIVE_DOUBLE, channels, found));
    for (int c = 0; c < channels; c++)
        DN_CHECK(found[c] == expected[c], DN_ECORRUPT,
                 "%s: channel %d: found %s %.17g, expected %.17g as dataset.json says", path, c,
                 name, found[c], expected[c]);
    return DN_OK;
}

/* Checks that the shard is the one that dataset.json describes. */
static dn_status check_attributes(hid_t file, const char *path, const dn_shards *shards,
                                  const dn_manifest_shard *shard)
{
    dn_shard_attribute list[DN_SHARD_ATTRIBUTES];
    const int count = dn_shard_attributes(shards->manifest, shard, list);
    for (int i = 0; i < count; i++) {
        const dn_shard_attribute *const a = &list[i];
        if (a->text)
            DN_TRY(check_text(file, path, a->name, a->text));
        else if (a->channels)
            DN_TRY(
                check_channels(file, path, a->name, a->channels, shards->manifest->info.channels));
        else
            DN_TRY(check_integer(file, path, a->name, a->integer));
    }
    return DN_OK;
}

/* Checks that they equal dataset.json's; shorter ones are stored with trailing zeros. */
static dn_status check_class_names(hid_t file, const char *path, const dn_manifest *manifest)
{
    const unsigned classes = (unsigned)manifest->info.classes;
    const char *const *const names = manifest->class_names;
    size_t size = 1;
    for (unsigned i = 0; i < classes; i++)
        size = strlen(names[i]) >= size ? strlen(names[i]) + 1 : size;
    char *const found = calloc(classes, size);
    DN_CHECK(found, DN_ENOMEM, "%s: out of memory for %u class names", path, classes);
    const hid_t type = dn_hdf5_text_type(size);
    dn_status status = dn_hdf5_read(file, path, DN_SHARD_CLASS_NAMES, type, classes, found);
    for (unsigned i = 0; i < classes && status == DN_OK; i++)
        if (strncmp(found + (size_t)i * size, names[i], size) != 0)
            status = dn_fail(DN_ECORRUPT, "%s: found class name %u \"%.*s\", expected \"%s\"", path,
                             i, (int)size, found + (size_t)i * size, names[i]);
    H5Tclose(type);
    free(found);
    return status;
}

/* Checks that they equal dataset.json's. */
static dn_status check_label_sets(hid_t file, const char *path, const dn_manifest *manifest)
{
    const int sets = manifest->info.label_sets, classes = manifest->info.classes;
    const size_t size = (size_t)sets * (size_t)classes;
    if (sets == 0)
        return DN_OK;
    uint8_t *const found = malloc(size);
    DN_CHECK(found, DN_ENOMEM, "%s: out of memory for %d label sets", path, sets);
    dn_status status =
        dn_hdf5_read(file, path, DN_SHARD_LABEL_SETS, H5T_NATIVE_UINT8, (int64_t)size, found);
    if (status == DN_OK && memcmp(found, manifest->label_sets, size) != 0)
        status = dn_fail(DN_ECORRUPT,
                         "%s: found other " DN_SHARD_LABEL_SETS " than dataset.json says", path);
    free(found);
    return status;
}

/* Whether the data set is uint8 of `shape`, in chunks of whole images with only the zstd filter;
 * *chunk_images = images per chunk. */
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

/* The location of the chunk that begins with image `first` of the shard. */
static dn_status find_chunk(hid_t images, const char *path, int64_t first, struct chunk *chunk)
{
    const hsize_t corner[4] = {(hsize_t)first};
    unsigned mask;
    haddr_t address;
    hsize_t bytes;
    DN_CHECK(H5Dget_chunk_info_by_coord(images, corner, &mask, &address, &bytes) >= 0, DN_ECORRUPT,
             "%s: HDF5 does not find the chunk of image %" PRId64, path, first);
    *chunk = (struct chunk){
        .address = (int64_t)address, .bytes = (int64_t)bytes, .compressed = !(mask & 1)};
    return DN_OK;
}

/* Adds the shard's chunks to the index. */
static dn_status list_chunks(hid_t images, const char *path, const dn_shards *shards,
                             const dn_manifest_shard *shard)
{
    const dn_data_info *const info = &shards->manifest->info;
    const hsize_t shape[4] = {(hsize_t)shard->count, (hsize_t)info->channels, (hsize_t)info->height,
                              (hsize_t)info->width};
    struct chunk *const chunk = &shards->chunk[shards->first_chunk[shard->index]];
    hsize_t step;
    DN_CHECK(is_as_specified(images, shape, &step), DN_ECORRUPT,
             "%s: " DN_SHARD_IMAGES " is not uint8 (%" PRId64
             ", %d, %d, %d) in chunks of whole images with filter %d",
             path, shard->count, info->channels, info->height, info->width, DN_SHARD_ZSTD_FILTER);
    const int64_t images_of_chunk = shards->chunk_images[shard->index] = (int64_t)step;
    const int64_t count = chunks_of(shard, images_of_chunk);
    DN_CHECK(count <= dn_shards_most_chunks(shards, shard), DN_ECORRUPT,
             "%s: found %" PRId64 " chunks, expected at most %" PRId64 " in a file of %" PRId64
             " bytes",
             path, count, dn_shards_most_chunks(shards, shard), shard->hdf5.bytes);
    for (int64_t i = 0; i < count; i++)
        DN_TRY(find_chunk(images, path, i * images_of_chunk, &chunk[i]));
    return DN_OK;
}

static dn_status read_images(hid_t file, const char *path, const dn_shards *shards,
                             const dn_manifest_shard *shard)
{
    hid_t images;
    dn_status status = dn_hdf5_open_set(file, path, DN_SHARD_IMAGES, H5D_CHUNKED, &images);
    if (status == DN_OK)
        status = list_chunks(images, path, shards, shard);
    H5Dclose(images);
    return status;
}

/* Adds the shard's encoded images to the index. */
static dn_status list_encoded(hid_t file, const char *path, const dn_shards *shards,
                              const dn_manifest_shard *shard)
{
    const int64_t count = shard->count;
    struct chunk *const image = &shards->chunk[shards->first_chunk[shard->index]];
    uint64_t *const offset = malloc((3 * (size_t)count + 1) * sizeof *offset);
    uint64_t *const hash = offset + count + 1;
    int32_t *const size = (int32_t *)(hash + count);
    int64_t address, bytes;
    dn_status status;
    DN_CHECK(offset, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", path, count);
    DN_TRY_OR_DONE(dn_hdf5_find_bytes(file, path, DN_SHARD_ENCODED, &address, &bytes));
    DN_TRY_OR_DONE(
        dn_hdf5_read(file, path, DN_SHARD_OFFSETS, H5T_NATIVE_UINT64, count + 1, offset));
    DN_TRY_OR_DONE(dn_hdf5_read(file, path, DN_SHARD_HASHES, H5T_NATIVE_UINT64, count, hash));
    DN_TRY_OR_DONE(dn_hdf5_read(file, path, DN_SHARD_SIZES, H5T_NATIVE_INT32, 2 * count, size));
    shards->chunk_images[shard->index] = 1;
    for (int64_t i = 0; i < count && status == DN_OK; i++) {
        if (offset[i] >= offset[i + 1] || offset[i + 1] > (uint64_t)bytes)
            status = dn_fail(DN_ECORRUPT,
                             "%s: image %" PRId64 " is not within the %" PRId64
                             " bytes of " DN_SHARD_ENCODED,
                             path, i, bytes);
        else
            image[i] = (struct chunk){.address = address + (int64_t)offset[i],
                                      .bytes = (int64_t)(offset[i + 1] - offset[i]),
                                      .hash = hash[i],
                                      .width = size[2 * i],
                                      .height = size[2 * i + 1]};
    }
done:
    free(offset);
    return status;
}

static dn_status read_labels(hid_t file, const char *path, const dn_shards *shards,
                             const dn_manifest_shard *shard)
{
    uint16_t *const labels = shards->labels + shard->first;
    char hash[17];
    DN_TRY(dn_hdf5_read(file, path, DN_SHARD_LABELS, H5T_NATIVE_UINT16, shard->count, labels));
    snprintf(hash, sizeof hash, "%016" PRIx64,
             XXH3_64bits(labels, (size_t)shard->count * sizeof *labels));
    return check_text(file, path, DN_SHARD_LABELS_HASH, hash);
}

static dn_status read_shard(const char *path, const dn_shards *shards,
                            const dn_manifest_shard *shard)
{
    dn_status status;
    const hid_t file = dn_hdf5_open(path);
    DN_CHECK(file >= 0, DN_ECORRUPT, "%s: damaged: HDF5 cannot open it", path);
    DN_TRY_OR_DONE(check_attributes(file, path, shards, shard));
    DN_TRY_OR_DONE(check_class_names(file, path, shards->manifest));
    DN_TRY_OR_DONE(check_label_sets(file, path, shards->manifest));
    DN_TRY_OR_DONE(is_encoded(shards) ? list_encoded(file, path, shards, shard)
                                      : read_images(file, path, shards, shard));
    DN_TRY_OR_DONE(read_labels(file, path, shards, shard));
done:
    H5Fclose(file);
    return status;
}

/* HDF5 hides the reason of a system error; errno, set to 0 before, still has it. */
static dn_status explain(dn_status status, const char *path)
{
    static const int refusals[] = {EIO, EACCES, EMFILE, ENFILE, ESTALE};
    const int error = errno;
    if (status != DN_ECORRUPT && status != DN_ENOENT)
        return status;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        DN_CHECK(error != refusals[i], DN_EIO, "%s: cannot read: %s", path, strerror(error));
    DN_CHECK(
        error != ENOMEM, DN_ECORRUPT,
        "%s: HDF5 asks for more memory than there is, expected a sound file, of less than %d GiB",
        path, DN_CHILD_GIB);
    return status;
}

/* The progress of a child that the parent sees. */
struct progress {
    char path[PATH_MAX]; /* of the shard being read */
    int next;            /* shard */
};

struct child_work {
    const dn_shards *shards;
    struct progress *progress;
    int end; /* the child reads the shards before it */
};

/* Reads as many shards as a child has time for: HDF5 scans all chunks to find one. */
static dn_status read_some(void *user)
{
    const struct child_work *const work = user;
    const dn_manifest_split *const split = work->shards->split;
    struct progress *const p = work->progress;
    for (int64_t visits = 0; p->next < work->end && visits < CHILD_VISITS; p->next++) {
        const dn_manifest_shard *const shard = &split->shard[p->next];
        DN_TRY(dn_join_path(p->path, work->shards->folder, shard->hdf5.name));
        errno = 0;
        DN_TRY(explain(read_shard(p->path, work->shards, shard), p->path));
        const int64_t chunks = chunks_of(shard, work->shards->chunk_images[p->next]);
        visits += is_encoded(work->shards) ? chunks : chunks * chunks;
    }
    return DN_OK;
}

/* ---- the index ---- */

static dn_status check_chunk(const char *path, const struct chunk *chunk, int64_t number,
                             int64_t file_bytes, int64_t images_bytes)
{
    DN_CHECK(chunk->bytes > 0 && chunk->address >= 0 && chunk->address < file_bytes &&
                 chunk->bytes <= file_bytes - chunk->address,
             DN_ECORRUPT, "%s: chunk %" PRId64 " is not within the %" PRId64 " bytes", path, number,
             file_bytes);
    if (images_bytes == 0) {
        DN_CHECK(chunk->bytes <= DN_SHARD_CHUNK_BYTES, DN_ECORRUPT,
                 "%s: image %" PRId64 ": found %" PRId64 " bytes, expected at most %d", path,
                 number, chunk->bytes, DN_SHARD_CHUNK_BYTES);
        DN_CHECK(chunk->width >= 1 && chunk->width <= DN_IMAGE_SIDE && chunk->height >= 1 &&
                     chunk->height <= DN_IMAGE_SIDE,
                 DN_ECORRUPT, "%s: image %" PRId64 ": found a size of %dx%d, expected 1 to %d",
                 path, number, chunk->width, chunk->height, DN_IMAGE_SIDE);
        return DN_OK;
    }
    DN_CHECK(chunk->compressed ? images_bytes >> DN_SHARD_EXPANSION_BITS <= chunk->bytes
                               : images_bytes == chunk->bytes,
             DN_ECORRUPT,
             "%s: chunk %" PRId64 ": found %" PRId64 " bytes, which cannot hold images of %" PRId64,
             path, number, chunk->bytes, images_bytes);
    return DN_OK;
}

/* Checks that the index of the shard is possible for the file in its present state. */
static dn_status check_shard(const dn_shards *shards, const dn_manifest_shard *shard)
{
    const struct chunk *const chunk = &shards->chunk[shards->first_chunk[shard->index]];
    const int64_t images = shards->chunk_images[shard->index];
    const int64_t image = (int64_t)dn_image_values(&shards->manifest->info);
    const uint16_t *const labels = shards->labels + shard->first;
    const int most_labels = dn_label_count(&shards->manifest->info);
    char path[PATH_MAX];
    int64_t bytes;
    DN_TRY(dn_join_path(path, shards->folder, shard->hdf5.name));
    DN_TRY(dn_file_size(path, &bytes));
    DN_CHECK(images >= 1 && images <= shard->count && images * image <= DN_SHARD_CHUNK_BYTES &&
                 chunks_of(shard, images) <= dn_shards_most_chunks(shards, shard),
             DN_ECORRUPT, "%s: found chunks of %" PRId64 " images, expected at most %d bytes", path,
             images, DN_SHARD_CHUNK_BYTES);
    for (int64_t i = 0; i < chunks_of(shard, images); i++)
        DN_TRY(check_chunk(path, &chunk[i], i, bytes, images * image));
    for (int64_t i = 0; i < shard->count; i++)
        DN_CHECK(labels[i] < most_labels, DN_ECORRUPT,
                 "%s: image %" PRId64 " has label %d, expected 0 to %d", path, i, labels[i],
                 most_labels - 1);
    return DN_OK;
}

size_t dn_shards_index_bytes(const dn_shards *shards)
{
    const int count = shards->split->shards;
    return (size_t)count * sizeof *shards->chunk_images +
           (size_t)shards->first_chunk[count] * sizeof *shards->chunk +
           (size_t)shards->split->count * sizeof *shards->labels;
}

void dn_shards_use_index(dn_shards *shards, void *index)
{
    const int count = shards->split->shards;
    shards->chunk_images = index;
    shards->chunk = (struct chunk *)(shards->chunk_images + count);
    shards->labels = (uint16_t *)(shards->chunk + shards->first_chunk[count]);
}

/* Has children read the shards from *next on. After a failure *next is the shard that failed, as
 * far as the child can be trusted. */
static dn_status read_shards(const dn_shards *shards, int *next, int end)
{
    struct progress *const p = dn_child_pages(sizeof *p);
    dn_status status = DN_OK;
    DN_CHECK(p, DN_ENOMEM, "%s: out of memory", shards->folder);
    strcpy(p->path, shards->folder);
    while (*next < end && status == DN_OK) {
        const int begin = p->next = *next;
        status = dn_child_run(p->path, read_some, &(struct child_work){shards, p, end});
        if (status == DN_OK && (p->next <= begin || p->next > end))
            status = dn_fail(DN_ECORRUPT, "%s: HDF5 went astray in its shards", shards->folder);
        if (status == DN_OK || (p->next > begin && p->next < end))
            *next = p->next;
    }
    dn_child_pages_free(p, sizeof *p);
    return status;
}

/* The first shard of a part. */
static int part_begin(const dn_shards *shards, int part, int parts)
{
    return (int)((int64_t)shards->split->shards * part / parts);
}

dn_status dn_shards_read_index(const dn_shards *shards, int part, int parts)
{
    int next = part_begin(shards, part, parts);
    return read_shards(shards, &next, part_begin(shards, part + 1, parts));
}

/* Children that are forked later, for another split, do not inherit the validated index. */
static void keep_from_children(const dn_shards *shards)
{
    madvise(shards->chunk_images, dn_shards_index_bytes(shards), MADV_DONTFORK);
}

dn_status dn_shards_check_index(const dn_shards *shards, int part, int parts)
{
    const int end = part_begin(shards, part + 1, parts);
    for (int i = part_begin(shards, part, parts); i < end; i++)
        DN_TRY(check_shard(shards, &shards->split->shard[i]));
    keep_from_children(shards);
    return DN_OK;
}

dn_status dn_shards_try_index(dn_shards *shards)
{
    const int count = shards->split->shards;
    dn_failure *const failure = shards->failure = calloc((size_t)count, sizeof *failure);
    DN_CHECK(failure, DN_ENOMEM, "%s: out of memory", shards->folder);
    for (int next = 0; next < count; next++) {
        const dn_status status = read_shards(shards, &next, count);
        if (status != DN_OK)
            dn_failure_keep(&failure[next], status);
    }
    for (int i = 0; i < count; i++)
        if (failure[i].status == DN_OK)
            dn_failure_keep(&failure[i], check_shard(shards, &shards->split->shard[i]));
    keep_from_children(shards);
    return DN_OK;
}
