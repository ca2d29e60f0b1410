/*
 * create_records NAME: original files -> TFRecord shards -> HDF5 shards -> dataset.json.
 *
 * The HDF5 shards are made from the TFRecord files just written, so these are proved readable and
 * the second half serves TFRecords of any origin. Shards are independent jobs on threads.
 */
#include "records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel_sums.h"
#include "dn/file.h"
#include "jobs.h"
#include "sample.h"
#include "shard_writer.h"
#include "tfrecord.h"

/* What the jobs share. */
struct build {
    const dn_dataset *set;
    const void *source;
    const char *out;
    dn_manifest *manifest;
    dn_channel_sums *sums; /* one per job */
};

/* The index of a shard's first image. */
static int64_t first_image(const dn_manifest_split *split, int index)
{
    return split->count * index / split->shards;
}

static dn_status plan_shards(const dn_dataset *set, dn_manifest *m)
{
    for (int i = 0; i < dn_records_jobs(m); i++) {
        dn_split s;
        int k;
        dn_manifest_shard *const shard = dn_records_job(m, i, &s, &k);
        const int n = m->split[s].shards;
        shard->count = first_image(&m->split[s], k + 1) - first_image(&m->split[s], k);
        snprintf(shard->tfrecord.name, sizeof shard->tfrecord.name, "%s-%s.tfrecord-%05d-of-%05d",
                 set->prefix, dn_split_name(s), k, n);
        snprintf(shard->hdf5.name, sizeof shard->hdf5.name, "%s-%s-%05d-of-%05d.h5", set->prefix,
                 dn_split_name(s), k, n);
    }
    return DN_OK;
}

static dn_status plan(dn_manifest **manifest, const dn_dataset *set, const int64_t *count,
                      const dn_records_options *options)
{
    const int64_t train = count[DN_TRAIN], test = count[DN_TEST];
    DN_CHECK(options->shards <= train, DN_EINVAL,
             "--shards: found %d, expected 1 to the %" PRId64 " images of the train split",
             options->shards, train);
    const int shards[DN_SPLITS] = {options->shards,
                                   (int)((options->shards * test + train - 1) / train)};
    DN_TRY(dn_manifest_create(manifest, set->classes, shards));
    dn_manifest *const m = *manifest;
    snprintf(m->dataset, sizeof m->dataset, "%s", set->name);
    m->channels = set->channels;
    m->height = set->height;
    m->width = set->width;
    m->zstd_level = options->zstd_level;
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = count[s];
    for (int i = 0; i < set->classes; i++)
        DN_TRY(dn_manifest_set_class(m, i, set->class_names[i]));
    return plan_shards(set, m);
}

static dn_status temporary_path(char path[PATH_MAX], const struct build *b,
                                const dn_manifest_file *file)
{
    char name[sizeof file->name + 8];
    snprintf(name, sizeof name, "%s.tmp", file->name);
    return dn_join_path(path, b->out, name);
}

/* Gives the written temporary file its name and measures it, or removes it after a failure. */
static dn_status publish(const struct build *b, const char *temporary, dn_manifest_shard *shard,
                         dn_manifest_file *file, dn_status written)
{
    char path[PATH_MAX];
    if (written != DN_OK) {
        unlink(temporary);
        return written;
    }
    DN_TRY(dn_join_path(path, b->out, file->name));
    DN_TRY(dn_file_publish(temporary, path));
    DN_TRY(dn_records_measure(b->out, file));
    dn_info("%s: %" PRId64 " images, %.1f MB", file->name, shard->count, (double)file->bytes / 1e6);
    return DN_OK;
}

static dn_status write_samples(struct build *b, int job, dn_sample_codec *codec,
                               dn_tfrecord_writer *writer)
{
    const dn_dataset *const set = b->set;
    dn_split split;
    int index, label;
    const dn_manifest_shard *const shard = dn_records_job(b->manifest, job, &split, &index);
    const int64_t first = first_image(&b->manifest->split[split], index);
    uint8_t *const image = malloc(dn_dataset_image_bytes(set));
    const uint8_t *record;
    size_t size;
    dn_status status = DN_OK;
    if (!image)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", shard->tfrecord.name));
    for (int64_t i = first; i < first + shard->count; i++) {
        DN_TRY_OR_DONE(set->read(b->source, split, i, image, &label));
        DN_TRY_OR_DONE(dn_sample_encode(codec, image, label, &record, &size));
        DN_TRY_OR_DONE(dn_tfrecord_write(writer, record, size));
        if (split == DN_TRAIN)
            dn_channel_sums_add(&b->sums[job], image, set->channels, set->height * set->width);
    }
done:
    free(image);
    return status;
}

static dn_status make_tfrecord(void *context, int job)
{
    struct build *const b = context;
    dn_split split;
    int index;
    dn_manifest_shard *const shard = dn_records_job(b->manifest, job, &split, &index);
    dn_sample_codec *codec = NULL;
    dn_tfrecord_writer *writer = NULL;
    char temporary[PATH_MAX];
    DN_TRY(temporary_path(temporary, b, &shard->tfrecord));
    dn_status status;
    DN_TRY_OR_DONE(dn_sample_codec_create(&codec, b->manifest));
    DN_TRY_OR_DONE(dn_tfrecord_create(&writer, temporary));
    DN_TRY_OR_DONE(write_samples(b, job, codec, writer));
    DN_TRY_OR_DONE(dn_tfrecord_finish(&writer));
done:
    if (writer) {
        char message[1024]; /* of the failure that came first */
        snprintf(message, sizeof message, "%s", dn_message());
        dn_tfrecord_finish(&writer);
        dn_fail(status, "%s", message);
    }
    dn_sample_codec_destroy(&codec);
    return publish(b, temporary, shard, &shard->tfrecord, status);
}

static dn_status convert_samples(dn_tfrecord_reader *reader, const char *name,
                                 dn_sample_codec *codec, dn_shard_writer *writer, int64_t count)
{
    const uint8_t *record, *image;
    size_t size;
    int label;
    for (int64_t i = 0;; i++) {
        DN_TRY(dn_tfrecord_next(reader, &record, &size));
        DN_CHECK(record || i == count, DN_ECORRUPT,
                 "%s: found %" PRId64 " records, expected %" PRId64, name, i, count);
        if (!record)
            return DN_OK;
        const dn_status status = dn_sample_decode(codec, record, size, &image, &label);
        if (status != DN_OK) {
            char reason[512];
            snprintf(reason, sizeof reason, "%s", dn_message());
            return dn_fail(status, "%s: record %" PRId64 ": %s", name, i, reason);
        }
        DN_TRY(dn_shard_writer_add(writer, image, label));
    }
}

static dn_status make_hdf5(void *context, int job)
{
    struct build *const b = context;
    dn_split split;
    int index;
    dn_manifest_shard *const shard = dn_records_job(b->manifest, job, &split, &index);
    dn_sample_codec *codec = NULL;
    dn_tfrecord_reader *reader = NULL;
    dn_shard_writer *writer = NULL;
    char source[PATH_MAX], temporary[PATH_MAX];
    DN_TRY(dn_join_path(source, b->out, shard->tfrecord.name));
    DN_TRY(temporary_path(temporary, b, &shard->hdf5));
    dn_status status;
    DN_TRY_OR_DONE(dn_sample_codec_create(&codec, b->manifest));
    DN_TRY_OR_DONE(dn_tfrecord_open(&reader, source));
    DN_TRY_OR_DONE(dn_shard_writer_create(&writer, temporary, b->manifest, split, index));
    DN_TRY_OR_DONE(convert_samples(reader, source, codec, writer, shard->count));
    DN_TRY_OR_DONE(dn_shard_writer_finish(&writer));
done:
    dn_shard_writer_abandon(&writer);
    dn_tfrecord_close(&reader);
    dn_sample_codec_destroy(&codec);
    return publish(b, temporary, shard, &shard->hdf5, status);
}

static int names_file(const dn_manifest *manifest, const char *name)
{
    for (int i = 0; i < dn_records_jobs(manifest); i++) {
        dn_split split;
        int index;
        const dn_manifest_shard *const shard = dn_records_job(manifest, i, &split, &index);
        if (strcmp(shard->tfrecord.name, name) == 0 || strcmp(shard->hdf5.name, name) == 0)
            return 1;
    }
    return 0;
}

/* Removes the files of the former records that the new ones have not replaced. */
static void remove_former(const char *folder, const dn_manifest *former,
                          const dn_manifest *manifest)
{
    for (int i = 0; former && i < dn_records_jobs(former); i++) {
        dn_split split;
        int index;
        const dn_manifest_shard *const shard = dn_records_job(former, i, &split, &index);
        const char *const names[] = {shard->tfrecord.name, shard->hdf5.name};
        for (int k = 0; k < 2; k++) {
            char path[PATH_MAX];
            if (!names_file(manifest, names[k]) && dn_join_path(path, folder, names[k]) == DN_OK)
                unlink(path);
        }
    }
}

/* A folder without dataset.json is not taken for a data set while its shards change. */
static dn_status remove_manifest(const char *folder)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, "dataset.json"));
    DN_CHECK(unlink(path) == 0 || errno == ENOENT, DN_EIO, "%s: cannot remove: %s", path,
             strerror(errno));
    return DN_OK;
}

static dn_status write_all(struct build *b, const dn_records_options *options)
{
    dn_manifest *const m = b->manifest;
    const int jobs = dn_records_jobs(m);
    DN_TRY(dn_make_folders(b->out));
    DN_TRY(remove_manifest(b->out));
    b->sums = calloc((size_t)jobs, sizeof *b->sums);
    DN_CHECK(b->sums, DN_ENOMEM, "%s: out of memory", b->out);
    DN_TRY(dn_jobs_run(jobs, options->jobs, make_tfrecord, b));
    for (int i = 1; i < jobs; i++)
        dn_channel_sums_merge(&b->sums[0], &b->sums[i]);
    dn_channel_sums_result(&b->sums[0], m->channels, m->mean, m->deviation);
    DN_TRY(dn_jobs_run(jobs, options->jobs, make_hdf5, b));
    return dn_manifest_save(m, b->out);
}

dn_status dn_records_build(const dn_dataset *set, const dn_records_options *options)
{
    struct build b = {.set = set, .out = options->out};
    dn_manifest *former = NULL;
    void *source = NULL;
    int64_t count[DN_SPLITS];
    char folder[PATH_MAX];
    dn_status status;
    DN_TRY_OR_DONE(dn_records_load(&former, set, options->out));
    DN_TRY_OR_DONE(dn_dataset_find_source(set, options->source, folder));
    dn_info("%s: reading %s", set->name, folder);
    DN_TRY_OR_DONE(set->open(&source, folder, count));
    b.source = source;
    DN_TRY_OR_DONE(plan(&b.manifest, set, count, options));
    DN_TRY_OR_DONE(write_all(&b, options));
    remove_former(options->out, former, b.manifest);
done:
    free(b.sums);
    dn_manifest_destroy(&b.manifest);
    dn_manifest_destroy(&former);
    set->close(&source);
    return status;
}
