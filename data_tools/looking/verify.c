/*
 * Verifying a folder of records; see looking.h.
 *
 * First the sizes and checksums of all files. A file that is not right is read all the same, to
 * name the images at fault: HDF5 opens it in a child process only, and every chunk and image has a
 * checksum of its own. What a thread holds is a chunk of pixels, or an image.
 */
#include "looking/looking.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/child.h"
#include "dn/file.h"
#include "dn/image.h"
#include "making/pixel_sums.h"
#include "tfrecord/tfrecord.h"

enum { MOST_FAULTS = 20 }; /* that are named */
enum { HDF5, TFRECORD, FORMS };

struct file {
    dn_failure failure; /* of the whole: its size, checksum, or index */
    int64_t faults;     /* of its images */
    int is_open;        /* its images can be read */
};

/* They are told in the order of files and images. */
struct fault {
    int64_t file, image;
    dn_failure what;
};

struct verify {
    const char *folder;
    dn_shards *shards[DN_SPLITS];
    const dn_manifest *manifest; /* the shards' */
    void *index[DN_SPLITS];
    struct file (*file)[FORMS]; /* (manifest->shards) */
    struct fault fault[MOST_FAULTS + 1];
    int64_t faults;
    dn_failure stopped; /* by what is no fault of the records */
    dn_pixel_sums sums; /* of the train split */
};

/* ---- faults ---- */

/* Keeps the thread's message as a fault of an image of the file, or, image -1, of the whole. The
 * shard is the manifest's. */
static void note_fault(struct verify *v, const dn_manifest_shard *shard, int form, int64_t image,
                       dn_status status)
{
    const int64_t number = shard - v->manifest->shard;
    const struct fault found = {.file = number * FORMS + form, .image = image};
    if (status == DN_OK)
        return;
#pragma omp critical(dn_verify)
    if (status == DN_ENOMEM) {
        dn_failure_keep(&v->stopped, status);
    } else {
        int64_t at = v->faults < MOST_FAULTS ? v->faults : MOST_FAULTS;
        for (; at > 0 && (v->fault[at - 1].file > found.file ||
                          (v->fault[at - 1].file == found.file && v->fault[at - 1].image > image));
             at--)
            v->fault[at] = v->fault[at - 1];
        v->fault[at] = found;
        dn_failure_keep(&v->fault[at].what, status);
        v->file[number][form].faults++;
        v->faults++;
    }
}

/* Names the faults; the first is the status. */
static dn_status report_faults(const struct verify *v)
{
    DN_TRY(dn_failure_report(&v->stopped));
    if (v->faults > 1)
        for (int i = 0; i < v->faults && i < MOST_FAULTS; i++)
            dn_warn("%s", v->fault[i].what.message);
    const dn_status status = dn_failure_report(&v->fault[0].what);
    return v->faults > 1 ? dn_fail(status, "%s; this is the first of %" PRId64 " faults",
                                   v->fault[0].what.message, v->faults)
                         : status;
}

/* ---- files ---- */

/* The size and checksum of every file. */
static void check_files(struct verify *v)
{
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < v->manifest->shards * FORMS; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i / FORMS];
        const dn_manifest_file *const file = i % FORMS == HDF5 ? &shard->hdf5 : &shard->tfrecord;
        char path[PATH_MAX];
        dn_status status = file->name[0] ? dn_join_path(path, v->folder, file->name) : DN_OK;
        if (file->name[0] && status == DN_OK)
            status = dn_manifest_check(path, file);
        dn_failure_keep(&v->file[i / FORMS][i % FORMS].failure, status);
    }
}

/* Finds labels and images in every shard of the split where that is possible. */
static dn_status open_shards(struct verify *v, dn_split_id split)
{
    dn_shards *const shards = v->shards[split];
    v->index[split] = dn_child_pages(dn_shards_index_bytes(shards));
    DN_CHECK(v->index[split], DN_ENOMEM, "%s: out of memory", v->folder);
    dn_shards_use_index(shards, v->index[split]);
    for (int i = 0; i < v->manifest->split[split].shards; i++) {
        const dn_manifest_shard *const shard = &v->manifest->split[split].shard[i];
        struct file *const file = &v->file[shard - v->manifest->shard][HDF5];
        const dn_status status = dn_shards_index_shard(shards, i);
        file->is_open = status == DN_OK;
        dn_failure_keep(&file->failure, status);
    }
    return DN_OK;
}

/* Where no image explains what is wrong with a file, the file itself is named. */
static void note_files(struct verify *v)
{
    for (int i = 0; i < v->manifest->shards * FORMS; i++) {
        const struct file *const file = &v->file[i / FORMS][i % FORMS];
        if (file->faults == 0)
            note_fault(v, &v->manifest->shard[i / FORMS], i % FORMS, -1,
                       dn_failure_report(&file->failure));
    }
}

/* ---- pixels ---- */

/* The TFRecord file of a shard, while it is read. */
struct examples {
    dn_tfrecord file;
    char path[PATH_MAX];
    int is_open; /* 0: there is none, or no further record can be read */
    uint8_t *image;
};

static void close_examples(struct examples *e)
{
    if (e->is_open)
        close(e->file.file);
    dn_buffer_free(&e->file.buffer);
    free(e->image);
    *e = (struct examples){0};
}

static dn_status open_examples(struct examples *e, const struct verify *v,
                               const dn_manifest_shard *shard)
{
    DN_TRY(dn_join_path(e->path, v->folder, shard->tfrecord.name));
    e->file.path = e->path;
    e->image = malloc(dn_image_values(&v->manifest->info));
    DN_CHECK(e->image, DN_ENOMEM, "%s: out of memory for an image", e->path);
    DN_TRY(dn_file_open(e->path, &e->file.file, &e->file.size));
    e->is_open = 1;
    return DN_OK;
}

/* The next record, or none where `is_end`. */
static dn_status next_example(struct examples *e, int64_t count, int is_end, const uint8_t **record,
                              size_t *size)
{
    DN_TRY(dn_tfrecord_next(&e->file, record, size));
    DN_CHECK((*record == NULL) == is_end, DN_ECORRUPT,
             "%s: found %s than the expected %" PRId64 " records", e->path,
             is_end ? "more" : "fewer", count);
    return DN_OK;
}

/* The record is image `number` of the shard, which HDF5 has as `pixels`, or NULL: not at all. */
static dn_status compare_example(const struct examples *e, const dn_shard_info *info,
                                 const uint8_t *record, size_t size, int64_t number,
                                 const uint8_t *pixels, uint16_t expected)
{
    uint16_t label;
    const dn_status status = dn_example_decode(info, record, size, e->image, &label);
    DN_CHECK(status == DN_OK, status, "%s: record %" PRId64 ": %s", e->path, number, dn_message());
    DN_CHECK(label == expected, DN_ECORRUPT,
             "%s: record %" PRId64 ": found label %d, expected %d as in HDF5", e->path, number,
             label, expected);
    DN_CHECK(!pixels || memcmp(e->image, pixels, dn_image_values(info)) == 0, DN_ECORRUPT,
             "%s: record %" PRId64 ": found pixels that differ from those in HDF5", e->path,
             number);
    return DN_OK;
}

/* Reads as many records as the chunk has images. */
static void compare_chunk(struct verify *v, const dn_manifest_shard *shard,
                          const dn_shard_place *chunk, const uint8_t *pixels, struct examples *e)
{
    const dn_shard_info *const info = &v->manifest->info;
    const uint16_t *const labels = dn_shards_source(v->shards[shard->split], NULL).labels;
    for (int64_t i = 0; i < chunk->count && e->is_open; i++) {
        const int64_t number = chunk->first + i;
        const uint8_t *record;
        size_t size;
        dn_status status = next_example(e, shard->count, 0, &record, &size);
        const int is_read = status == DN_OK;
        if (is_read)
            status = compare_example(e, info, record, size, number,
                                     pixels ? pixels + (size_t)i * dn_image_values(info) : NULL,
                                     labels[shard->first + number]);
        note_fault(v, shard, TFRECORD, number, status);
        if (!is_read)
            close_examples(e);
    }
}

/* The pixels of the chunk, or NULL after a fault. */
static const uint8_t *read_chunk(struct verify *v, const dn_manifest_shard *shard,
                                 const dn_shard_place *chunk, dn_buffer *buffer)
{
    dn_status status =
        dn_buffer_grow(buffer, (size_t)chunk->count * dn_image_values(&v->manifest->info));
    if (status == DN_OK)
        status = dn_shards_read(v->shards[shard->split], shard->first + chunk->first, chunk->count,
                                buffer->bytes);
    if (status == DN_ECORRUPT)
        dn_fail(status, "%s (images %" PRId64 " to %" PRId64 ")", dn_message(), chunk->first,
                chunk->first + chunk->count - 1);
    note_fault(v, shard, HDF5, chunk->first, status);
    return status == DN_OK ? buffer->bytes : NULL;
}

static void verify_pixels(struct verify *v, const dn_manifest_shard *shard)
{
    struct examples examples = {0};
    dn_buffer buffer = {0};
    dn_shard_place chunk = {0};
    const uint8_t *record;
    size_t size;
    if (shard->tfrecord.name[0])
        note_fault(v, shard, TFRECORD, -1, open_examples(&examples, v, shard));
    for (int64_t i = 0; i < shard->count; i = chunk.first + chunk.count) {
        dn_shards_find(v->shards[shard->split], shard->first + i, &chunk);
        const uint8_t *const pixels = read_chunk(v, shard, &chunk, &buffer);
        if (pixels && shard->split == DN_TRAIN)
            dn_pixel_sums_add(&v->sums, &v->manifest->info, pixels, chunk.count);
        compare_chunk(v, shard, &chunk, pixels, &examples);
    }
    if (examples.is_open)
        note_fault(v, shard, TFRECORD, shard->count,
                   next_example(&examples, shard->count, 1, &record, &size));
    close_examples(&examples);
    dn_buffer_free(&buffer);
}

static void verify_all_pixels(struct verify *v)
{
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < v->manifest->shards; i++)
        if (v->file[i][HDF5].is_open)
            verify_pixels(v, &v->manifest->shard[i]);
}

/* ---- encoded images ---- */

/* The image has its checksum, is sound, and of the size that the shard says. */
static dn_status verify_image(const dn_shards *shards, int64_t index, const dn_shard_place *place,
                              dn_buffer *bytes, dn_pixels *pixels)
{
    char name[PATH_MAX + 64];
    dn_encoded file = {.name = name};
    DN_TRY(dn_shards_read_encoded(shards, index, bytes, &file.size));
    file.bytes = bytes->bytes;
    dn_shards_name_image(shards, index, name, sizeof name);
    DN_TRY(dn_image_decode(&file, NULL, 1, pixels));
    DN_CHECK(pixels->width == place->width && pixels->height == place->height, DN_ECORRUPT,
             "%s: found %dx%d pixels, expected %dx%d as " DN_SHARD_SIZES " says", name,
             pixels->width, pixels->height, place->width, place->height);
    return DN_OK;
}

static void verify_encoded(struct verify *v, const dn_manifest_shard *shard)
{
    const dn_shards *const shards = v->shards[shard->split];
#pragma omp parallel
    {
        dn_buffer bytes = {0};
        dn_pixels pixels = {0};
        dn_pixel_sums sums = {0};
        dn_shard_place place;
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < shard->count; i++) {
            dn_shards_find(shards, shard->first + i, &place);
            const dn_status status =
                verify_image(shards, shard->first + i, &place, &bytes, &pixels);
            note_fault(v, shard, HDF5, i, status);
            if (status == DN_OK && shard->split == DN_TRAIN)
                dn_pixel_sums_add_image(&sums, &pixels);
        }
        dn_pixel_sums_merge(&v->sums, &sums);
        dn_buffer_free(&bytes);
        dn_buffer_free(&pixels.rgb);
    }
    if (shard->tfrecord.name[0])
        note_fault(v, shard, TFRECORD, -1,
                   dn_tfrecord_compare(v->folder, v->manifest, shard, shards));
}

static void verify_all_encoded(struct verify *v)
{
    for (int i = 0; i < v->manifest->shards; i++)
        if (v->file[i][HDF5].is_open)
            verify_encoded(v, &v->manifest->shard[i]);
}

/* ---- all of it ---- */

static dn_status check_statistics(const struct verify *v)
{
    const dn_shard_info *const found = &v->manifest->info;
    dn_shard_info expected = *found;
    dn_pixel_statistics(&v->sums, &expected);
    for (int c = 0; c < found->channels; c++)
        DN_CHECK(found->mean[c] == expected.mean[c] && found->std[c] == expected.std[c],
                 DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, found->mean[c], found->std[c], expected.mean[c], expected.std[c]);
    return DN_OK;
}

static dn_status verify_records(struct verify *v)
{
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY(dn_shards_load(&v->shards[s], v->folder, (dn_split_id)s, INT_MAX, 1));
    DN_CHECK(dn_shards_hash(v->shards[DN_TRAIN]) == dn_shards_hash(v->shards[DN_TEST]), DN_EIO,
             "%s/dataset.json: found other bytes than at first: it was changed meanwhile",
             v->folder);
    v->manifest = dn_shards_manifest(v->shards[DN_TRAIN]);
    v->file = calloc((size_t)v->manifest->shards, sizeof *v->file);
    DN_CHECK(v->file, DN_ENOMEM, "%s: out of memory", v->folder);
    check_files(v);
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY(open_shards(v, (dn_split_id)s));
    if (dn_is_encoded(&v->manifest->info))
        verify_all_encoded(v);
    else
        verify_all_pixels(v);
    note_files(v);
    DN_TRY(report_faults(v));
    return check_statistics(v);
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    const dn_status status = verify_records(&v);
    for (int s = 0; s < DN_SPLITS; s++) {
        if (v.index[s])
            dn_child_pages_free(v.index[s], dn_shards_index_bytes(v.shards[s]));
        dn_shards_close(&v.shards[s]);
    }
    free(v.file);
    return status;
}
