/*
 * Verifies a folder of records; see inspect.h.
 *
 * It first checks sizes and checksums of all files. A bad file is read all the same, to name the
 * bad images: HDF5 opens it in a child process only, and every chunk and image has its own
 * checksum. A thread holds one chunk of pixels, or one image.
 */
#include "inspect/inspect.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "dn/file.h"
#include "dn/image.h"
#include "dn/progress.h"
#include "tfrecord/tfrecord.h"
#include "writer/pixel_sums.h"

enum { MOST_FAULTS = 20 }; /* faults that are named */
enum { HDF5, TFRECORD, FORMS };

struct file {
    dn_failure failure; /* of the file: its size, checksum, or index */
    int64_t faults;     /* number of bad images */
    int is_open;        /* 1: its images can be read */
};

/* Faults are reported in the order of files and images. */
struct fault {
    int64_t file, image;
    dn_failure what;
};

struct verify {
    const char *folder;
    dn_shards *shards[DN_SPLITS];
    const dn_manifest *manifest; /* the shards' */
    struct file (*file)[FORMS];  /* (manifest->shards) */
    struct fault fault[MOST_FAULTS + 1];
    int64_t faults;
    dn_failure stopped; /* a failure that is not a fault of the records */
    dn_pixel_sums sums; /* of the train split */
    dn_progress progress;
};

/* ---- faults ---- */

/* Records the thread's message as a fault of an image of the file, or of the whole file (image -1).
 * The shard is one of the manifest. */
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

/* Names the faults; returns the first. */
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

/* Checks the size and the checksum of every file. */
static void check_files(struct verify *v)
{
    const int files = v->manifest->shards * FORMS;
    dn_progress_begin(&v->progress, "checksums:", "files", files);
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < files; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i / FORMS];
        const dn_manifest_file *const file = i % FORMS == HDF5 ? &shard->hdf5 : &shard->tfrecord;
        char path[PATH_MAX];
        dn_status status = file->name[0] ? dn_join_path(path, v->folder, file->name) : DN_OK;
        if (file->name[0] && status == DN_OK)
            status = dn_manifest_check(path, file);
        dn_failure_keep(&v->file[i / FORMS][i % FORMS].failure, status);
        dn_progress_add(&v->progress, 1);
    }
    dn_progress_end(&v->progress);
}

/* Records which files' images can be read. */
static void note_indexes(struct verify *v)
{
    for (int i = 0; i < v->manifest->shards; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i];
        struct file *const file = &v->file[i][HDF5];
        const dn_status status = dn_shards_failure(v->shards[shard->split], shard->index);
        file->is_open = status == DN_OK;
        dn_failure_keep(&file->failure, status);
    }
}

/* A bad file without a bad image is a fault itself. */
static void note_files(struct verify *v)
{
    for (int i = 0; i < v->manifest->shards * FORMS; i++) {
        const struct file *const file = &v->file[i / FORMS][i % FORMS];
        if (file->faults == 0)
            note_fault(v, &v->manifest->shard[i / FORMS], i % FORMS, -1,
                       dn_failure_report(&file->failure));
    }
}

/* ---- TFRecords ---- */

struct comparison {
    struct verify *verify;
    const dn_manifest_shard *shard;
};

/* A dn_record_fault. */
static void note_record(void *user, int64_t number, dn_status status)
{
    const struct comparison *const c = user;
    note_fault(c->verify, c->shard, TFRECORD, number, status);
}

/* ---- pixels ---- */

/* Reads the pixels of the chunk into the buffer. */
static dn_status read_chunk(const struct verify *v, const dn_manifest_shard *shard,
                            const dn_shard_place *chunk, dn_buffer *buffer)
{
    DN_TRY(dn_buffer_grow(buffer, (size_t)chunk->count * dn_image_values(&v->manifest->info)));
    const dn_status status = dn_shards_read(v->shards[shard->split], shard->first + chunk->first,
                                            chunk->count, buffer->bytes);
    if (status == DN_ECORRUPT)
        dn_fail(status, "%s (images %" PRId64 " to %" PRId64 ")", dn_message(), chunk->first,
                chunk->first + chunk->count - 1);
    return status;
}

static void verify_pixels(struct verify *v, const dn_manifest_shard *shard)
{
    dn_buffer buffer = {0};
    dn_shard_place chunk = {0};
    for (int64_t i = 0; i < shard->count; i = chunk.first + chunk.count) {
        dn_shards_find(v->shards[shard->split], shard->first + i, &chunk);
        const dn_status status = read_chunk(v, shard, &chunk, &buffer);
        note_fault(v, shard, HDF5, chunk.first, status);
        if (status == DN_OK && shard->split == DN_TRAIN)
            dn_pixel_sums_add(&v->sums, &v->manifest->info, buffer.bytes, chunk.count);
        dn_progress_add(&v->progress, chunk.count);
    }
    dn_buffer_free(&buffer);
}

/* ---- encoded images ---- */

/* Checks that the image has its checksum, can be decoded, and has the size in the shard. */
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

static void verify_names(struct verify *v, const dn_manifest_shard *shard)
{
    dn_file_names names = {0};
    const char *name;
    note_fault(v, shard, HDF5, -1,
               dn_shards_file_name(v->shards[shard->split], shard->first, &names, &name));
    dn_file_names_free(&names);
}

static void verify_encoded(struct verify *v, const dn_manifest_shard *shard)
{
    const dn_shards *const shards = v->shards[shard->split];
    verify_names(v, shard);
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
            dn_progress_add(&v->progress, 1);
        }
        dn_pixel_sums_merge(&v->sums, &sums);
        dn_buffer_free(&bytes);
        dn_buffer_free(&pixels.rgb);
    }
}

/* ---- all of it ---- */

/* Threads share the shards of pixels, but the images of an encoded shard, which may be large. */
static void verify_shards(struct verify *v)
{
    const int is_encoded = dn_is_encoded(&v->manifest->info);
    int64_t images = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        images += v->manifest->split[s].count;
    dn_progress_begin(&v->progress, "verifying:", "images", images);
#pragma omp parallel for schedule(dynamic) if (!is_encoded)
    for (int i = 0; i < v->manifest->shards; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i];
        if (!v->file[i][HDF5].is_open)
            continue;
        (is_encoded ? verify_encoded : verify_pixels)(v, shard);
        if (shard->tfrecord.name[0])
            dn_tfrecord_compare(v->folder, v->manifest, shard, v->shards[shard->split], note_record,
                                &(struct comparison){v, shard});
    }
    dn_progress_end(&v->progress);
}

static dn_status check_statistics(const struct verify *v)
{
    if (!v->shards[DN_TRAIN]) /* else --like defined them */
        return DN_OK;
    const dn_data_info *const found = &v->manifest->info;
    dn_data_info expected = *found;
    dn_pixel_statistics(&v->sums, &expected);
    for (int c = 0; c < found->channels; c++)
        DN_CHECK(found->mean[c] == expected.mean[c] && found->std[c] == expected.std[c],
                 DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, found->mean[c], found->std[c], expected.mean[c], expected.std[c]);
    return DN_OK;
}

static dn_status open_split(struct verify *v, dn_split_id id)
{
    DN_TRY(dn_shards_open_damaged(&v->shards[id], v->folder, id));
    DN_CHECK(dn_shards_manifest(v->shards[id])->hash ==
                 dn_shards_manifest(v->shards[DN_TEST])->hash,
             DN_EIO, "%s/dataset.json: found other bytes than at first: it was changed meanwhile",
             v->folder);
    return DN_OK;
}

static dn_status verify_records(struct verify *v)
{
    DN_TRY(open_split(v, DN_TEST)); /* which all records have */
    v->manifest = dn_shards_manifest(v->shards[DN_TEST]);
    for (int s = 0; s < DN_SPLITS; s++)
        if (!v->shards[s] && v->manifest->split[s].shards > 0)
            DN_TRY(open_split(v, (dn_split_id)s));
    v->file = calloc((size_t)v->manifest->shards, sizeof *v->file);
    DN_CHECK(v->file, DN_ENOMEM, "%s: out of memory", v->folder);
    check_files(v);
    note_indexes(v);
    verify_shards(v);
    note_files(v);
    DN_TRY(report_faults(v));
    return check_statistics(v);
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    const dn_status status = verify_records(&v);
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    free(v.file);
    return status;
}
