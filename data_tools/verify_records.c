/*
 * create_records verify: reads both forms of every shard again and compares them image by image.
 *
 * The content is checked before the files' checksums: its messages say where the fault is.
 */
#include "records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the jobs share. */
struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *split[DN_SPLITS];
    dn_channel_sums sums;
};

/* images(count, channels, height, width) = the HDF5 shard's */
static dn_status read_hdf5(const dn_shards *split, const dn_manifest_shard *shard,
                           size_t image_bytes, uint8_t *images)
{
    for (int64_t i = 0; i < dn_shards_chunks(split); i++) {
        int64_t first, count;
        dn_shards_chunk_range(split, i, &first, &count);
        if (first >= shard->first && first < shard->first + shard->count)
            DN_TRY(dn_shards_read(split, i, images + (size_t)(first - shard->first) * image_bytes));
    }
    return DN_OK;
}

static dn_status compare(struct verify *v, const dn_manifest_shard *shard, const uint8_t *images,
                         const uint16_t *labels, const uint8_t *hdf5_images)
{
    const size_t bytes = dn_manifest_image_bytes(v->manifest);
    const uint16_t *const hdf5_labels = dn_shards_labels(v->split[shard->split]) + shard->first;
    for (int64_t i = 0; i < shard->count; i++) {
        DN_CHECK(labels[i] == hdf5_labels[i], DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found label %d, expected %d as in HDF5", v->folder,
                 shard->tfrecord.name, i, labels[i], hdf5_labels[i]);
        DN_CHECK(memcmp(images + (size_t)i * bytes, hdf5_images + (size_t)i * bytes, bytes) == 0,
                 DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found pixels that differ from those in HDF5",
                 v->folder, shard->tfrecord.name, i);
        if (shard->split == DN_TRAIN)
            dn_channel_sums_add(&v->sums, v->manifest, images + (size_t)i * bytes);
    }
    return DN_OK;
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

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    struct verify *const v = context;
    const size_t bytes = dn_manifest_image_bytes(v->manifest);
    uint8_t *images, *const hdf5_images = malloc((size_t)shard->count * bytes);
    uint16_t *labels;
    dn_status status;
    DN_TRY_OR_DONE(dn_records_read(v->folder, v->manifest, shard, &images, &labels));
    if (!hdf5_images)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s/%s: out of memory", v->folder, shard->hdf5.name));
    DN_TRY_OR_DONE(read_hdf5(v->split[shard->split], shard, bytes, hdf5_images));
    DN_TRY_OR_DONE(compare(v, shard, images, labels, hdf5_images));
    DN_TRY_OR_DONE(check_file(v, &shard->tfrecord));
    DN_TRY_OR_DONE(check_file(v, &shard->hdf5));
done:
    free(hdf5_images);
    free(labels);
    free(images);
    return status;
}

static dn_status check_sums(const struct verify *v)
{
    const dn_manifest *const m = v->manifest;
    double mean[DN_MAX_IMAGE_CHANNELS], deviation[DN_MAX_IMAGE_CHANNELS];
    dn_channel_sums_result(&v->sums, m, mean, deviation);
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
        DN_TRY_OR_DONE(dn_shards_open(&v.split[s], folder, dn_split_name(s)));
    DN_TRY_OR_DONE(dn_records_each(v.manifest, jobs, verify_shard, &v));
    DN_TRY_OR_DONE(check_sums(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.split[s]);
    dn_manifest_destroy(&v.manifest);
    return status;
}
