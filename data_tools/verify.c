/*
 * create_records verify: reads both forms of every shard again and compares them image by image.
 *
 * The content is checked before the files' checksums: its messages say where the fault is.
 */
#include "records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel_sums.h"
#include "jobs.h"
#include "sample.h"
#include "tfrecord.h"

/* What the jobs share. */
struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *shards[DN_SPLITS];
    dn_channel_sums *sums; /* one per job */
};

/* Walks through the images of a split, one decompressed chunk at a time. */
struct walk {
    const dn_shards *shards;
    int64_t chunk, first, count, next; /* chunk in memory and its images; the next image */
    uint8_t *images;
    size_t image_bytes;
};

static dn_status start_walk(struct walk *w, const dn_shards *shards, int64_t image)
{
    const dn_shard_info *const info = dn_shards_info(shards);
    int64_t largest = 1, first, count;
    *w = (struct walk){.shards = shards, .chunk = -1, .next = image};
    w->image_bytes = (size_t)info->channels * (size_t)info->height * (size_t)info->width;
    for (int64_t i = 0; i < dn_shards_chunks(shards); i++) {
        dn_shards_chunk_range(shards, i, &first, &count);
        largest = count > largest ? count : largest;
        if (first + count <= image)
            w->chunk = i;
    }
    w->images = malloc((size_t)largest * w->image_bytes);
    DN_CHECK(w->images, DN_ENOMEM, "out of memory for a chunk of %" PRId64 " images", largest);
    return DN_OK;
}

static dn_status next_image(struct walk *w, const uint8_t **image)
{
    if (w->next >= w->first + w->count) {
        w->chunk++;
        dn_shards_chunk_range(w->shards, w->chunk, &w->first, &w->count);
        DN_TRY(dn_shards_read(w->shards, w->chunk, w->images));
    }
    *image = w->images + (size_t)(w->next++ - w->first) * w->image_bytes;
    return DN_OK;
}

static dn_status compare_record(dn_sample_codec *codec, const uint8_t *record, size_t size,
                                const uint8_t *image, size_t image_bytes, int label)
{
    const uint8_t *found;
    int found_label;
    DN_TRY(dn_sample_decode(codec, record, size, &found, &found_label));
    DN_CHECK(found_label == label, DN_ECORRUPT, "found label %d, expected %d as in HDF5",
             found_label, label);
    DN_CHECK(memcmp(found, image, image_bytes) == 0, DN_ECORRUPT,
             "found pixels that differ from those in HDF5");
    return DN_OK;
}

static dn_status compare_shard(struct verify *v, int job, int64_t first, dn_tfrecord_reader *reader,
                               dn_sample_codec *codec, struct walk *walk)
{
    const dn_manifest *const m = v->manifest;
    dn_split split;
    int index;
    const dn_manifest_shard *const shard = dn_records_job(m, job, &split, &index);
    const uint8_t *record, *image;
    size_t size;
    for (int64_t i = 0;; i++) {
        DN_TRY(dn_tfrecord_next(reader, &record, &size));
        DN_CHECK((record != NULL) == (i < shard->count), DN_ECORRUPT,
                 "%s/%s: found %s than the expected %" PRId64 " records", v->folder,
                 shard->tfrecord.name, record ? "more" : "fewer", shard->count);
        if (!record)
            return DN_OK;
        DN_TRY(next_image(walk, &image));
        if (split == DN_TRAIN)
            dn_channel_sums_add(&v->sums[job], image, m->channels, m->height * m->width);
        const dn_status status = compare_record(codec, record, size, image, walk->image_bytes,
                                                dn_shards_labels(v->shards[split])[first + i]);
        if (status != DN_OK) {
            char reason[512];
            snprintf(reason, sizeof reason, "%s", dn_message());
            return dn_fail(status, "%s/%s: record %" PRId64 ": %s", v->folder, shard->tfrecord.name,
                           i, reason);
        }
    }
}

static dn_status check_file(const struct verify *v, const dn_manifest_file *expected)
{
    dn_manifest_file found = *expected;
    DN_TRY(dn_records_measure(v->folder, &found));
    DN_CHECK(found.bytes == expected->bytes && found.hash == expected->hash, DN_ECORRUPT,
             "%s/%s: found %" PRId64 " bytes with checksum %016" PRIx64 ", expected %" PRId64
             " with %016" PRIx64,
             v->folder, found.name, found.bytes, found.hash, expected->bytes, expected->hash);
    return DN_OK;
}

static dn_status verify_shard(void *context, int job)
{
    struct verify *const v = context;
    dn_split split;
    int index;
    const dn_manifest_shard *const shard = dn_records_job(v->manifest, job, &split, &index);
    int64_t first = 0;
    for (int i = 0; i < index; i++)
        first += v->manifest->split[split].shard[i].count;
    struct walk walk = {0};
    dn_sample_codec *codec = NULL;
    dn_tfrecord_reader *reader = NULL;
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, v->folder, shard->tfrecord.name));
    dn_status status;
    DN_TRY_OR_DONE(dn_tfrecord_open(&reader, path));
    DN_TRY_OR_DONE(dn_sample_codec_create(&codec, v->manifest));
    DN_TRY_OR_DONE(start_walk(&walk, v->shards[split], first));
    DN_TRY_OR_DONE(compare_shard(v, job, first, reader, codec, &walk));
    DN_TRY_OR_DONE(check_file(v, &shard->tfrecord));
    DN_TRY_OR_DONE(check_file(v, &shard->hdf5));
done:
    free(walk.images);
    dn_sample_codec_destroy(&codec);
    dn_tfrecord_close(&reader);
    return status;
}

static dn_status check_sums(const struct verify *v, const dn_channel_sums *sums)
{
    const dn_manifest *const m = v->manifest;
    double mean[DN_MAX_CHANNELS], deviation[DN_MAX_CHANNELS];
    dn_channel_sums_result(sums, m->channels, mean, deviation);
    for (int c = 0; c < m->channels; c++)
        DN_CHECK(mean[c] == m->mean[c] && deviation[c] == m->deviation[c], DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, m->mean[c], m->deviation[c], mean[c], deviation[c]);
    return DN_OK;
}

dn_status dn_records_verify(const char *folder, int jobs)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(dn_shards_open(&v.shards[s], folder, dn_split_name(s)));
    const int count = dn_records_jobs(v.manifest);
    v.sums = calloc((size_t)count, sizeof *v.sums);
    if (!v.sums)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", folder));
    DN_TRY_OR_DONE(dn_jobs_run(count, jobs, verify_shard, &v));
    for (int i = 1; i < count; i++)
        dn_channel_sums_merge(&v.sums[0], &v.sums[i]);
    DN_TRY_OR_DONE(check_sums(&v, &v.sums[0]));
done:
    free(v.sums);
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    dn_manifest_destroy(&v.manifest);
    return status;
}
