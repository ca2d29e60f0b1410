/*
 * create_records verify: reads both forms of every shard again and compares them image by image.
 *
 * The content is checked before the files' checksums: its messages say where the fault is.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"
#include "records.h"

/* What the jobs share. */
struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *shards[DN_SPLITS];
    dn_pixel_sums sums; /* of the train split */
};

/* pixels and labels, from the TFRecords, are those of the HDF5 shard. */
static dn_status compare_images(const struct verify *v, const dn_manifest_shard *shard,
                                const uint8_t *pixels, const uint16_t *labels, uint8_t *hdf5_pixels)
{
    const dn_shards *const hdf5 = v->shards[shard->split];
    const uint16_t *const expected = dn_shards_source(hdf5, NULL).labels + shard->first;
    const size_t image = dn_image_values(&v->manifest->info);
    DN_TRY(dn_shards_read(hdf5, shard->first, shard->count, hdf5_pixels));
    for (int64_t i = 0; i < shard->count; i++) {
        DN_CHECK(labels[i] == expected[i], DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found label %d, expected %d as in HDF5", v->folder,
                 shard->tfrecord.name, i, labels[i], expected[i]);
        const size_t at = (size_t)i * image;
        DN_CHECK(memcmp(pixels + at, hdf5_pixels + at, image) == 0, DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found pixels that differ from those in HDF5",
                 v->folder, shard->tfrecord.name, i);
    }
    return DN_OK;
}

static dn_status check_checksum(const struct verify *v, const dn_manifest_file *expected)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, v->folder, expected->name));
    return dn_manifest_check(path, expected);
}

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    struct verify *const v = context;
    const dn_shard_info *const info = &v->manifest->info;
    uint8_t *pixels, *const hdf5_pixels = malloc((size_t)shard->count * dn_image_values(info));
    uint16_t *labels;
    dn_status status;
    DN_TRY_OR_DONE(dn_records_read(v->folder, v->manifest, shard, &pixels, &labels));
    if (!hdf5_pixels)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", v->folder));
    DN_TRY_OR_DONE(compare_images(v, shard, pixels, labels, hdf5_pixels));
    DN_TRY_OR_DONE(check_checksum(v, &shard->tfrecord));
    DN_TRY_OR_DONE(check_checksum(v, &shard->hdf5));
    if (shard->split == DN_TRAIN)
        dn_pixel_sums_add(&v->sums, info, pixels, shard->count);
done:
    free(labels);
    free(pixels);
    free(hdf5_pixels);
    return status;
}

static dn_status check_statistics(const struct verify *v)
{
    const dn_shard_info *const found = &v->manifest->info;
    dn_shard_info expected = *found;
    dn_pixel_sums_finish(&v->sums, v->manifest->split[DN_TRAIN].count, &expected);
    for (int c = 0; c < found->channels; c++)
        DN_CHECK(found->mean[c] == expected.mean[c] && found->std[c] == expected.std[c],
                 DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, found->mean[c], found->std[c], expected.mean[c], expected.std[c]);
    return DN_OK;
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(dn_shards_open(&v.shards[s], folder, (dn_split_id)s));
    DN_TRY_OR_DONE(dn_records_each(v.manifest, verify_shard, &v));
    DN_TRY_OR_DONE(check_statistics(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    dn_manifest_destroy(&v.manifest);
    return status;
}
