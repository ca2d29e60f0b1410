/*
 * create_records verify: reads both forms of every shard again and compares them image by image.
 *
 * The content is checked before the files' checksums: its messages say where the fault is.
 */
#include "records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dn/file.h"

/* What the jobs share. */
struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *shards[DN_SPLITS];
    uint8_t *pixels[DN_SPLITS]; /* from HDF5 */
};

/* Opens the HDF5 shards of a split and reads them. */
static dn_status read_split(struct verify *v, dn_split_id split)
{
    DN_TRY(dn_shards_open(&v->shards[split], v->folder, split));
    const int64_t count = v->manifest->split[split].count;
    v->pixels[split] = malloc((size_t)count * dn_image_values(&v->manifest->info));
    DN_CHECK(v->pixels[split], DN_ENOMEM, "%s: out of memory", v->folder);
    return dn_shards_read(v->shards[split], 0, count, v->pixels[split]);
}

/* pixels and labels, from the TFRecords, are those of the HDF5 shard. */
static dn_status compare(const struct verify *v, const dn_manifest_shard *shard,
                         const uint8_t *pixels, const uint16_t *labels)
{
    const size_t bytes = dn_image_values(&v->manifest->info);
    const uint16_t *const expected = dn_shards_source(v->shards[shard->split], NULL).labels;
    for (int64_t i = 0; i < shard->count; i++) {
        const int64_t image = shard->first + i;
        DN_CHECK(labels[i] == expected[image], DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found label %d, expected %d as in HDF5", v->folder,
                 shard->tfrecord.name, i, labels[i], expected[image]);
        DN_CHECK(memcmp(pixels + (size_t)i * bytes, v->pixels[shard->split] + (size_t)image * bytes,
                        bytes) == 0,
                 DN_ECORRUPT,
                 "%s/%s: record %" PRId64 ": found pixels that differ from those in HDF5",
                 v->folder, shard->tfrecord.name, i);
    }
    return DN_OK;
}

static dn_status check_file(const struct verify *v, const dn_manifest_file *expected)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, v->folder, expected->name));
    return dn_manifest_check(path, expected);
}

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    const struct verify *const v = context;
    uint8_t *pixels;
    uint16_t *labels;
    dn_status status;
    DN_TRY_OR_DONE(dn_records_read(v->folder, v->manifest, shard, &pixels, &labels));
    DN_TRY_OR_DONE(compare(v, shard, pixels, labels));
    DN_TRY_OR_DONE(check_file(v, &shard->tfrecord));
    DN_TRY_OR_DONE(check_file(v, &shard->hdf5));
done:
    free(labels);
    free(pixels);
    return status;
}

static dn_status check_statistics(const struct verify *v)
{
    const dn_shard_info *const info = &v->manifest->info;
    double mean[DN_MAX_IMAGE_CHANNELS], std[DN_MAX_IMAGE_CHANNELS];
    dn_records_statistics(info, v->pixels[DN_TRAIN], v->manifest->split[DN_TRAIN].count, mean, std);
    for (int c = 0; c < info->channels; c++)
        DN_CHECK(mean[c] == info->mean[c] && std[c] == info->std[c], DN_ECORRUPT,
                 "%s/dataset.json: channel %d: found mean %.17g and std %.17g, expected %.17g and "
                 "%.17g",
                 v->folder, c, info->mean[c], info->std[c], mean[c], std[c]);
    return DN_OK;
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(read_split(&v, (dn_split_id)s));
    DN_TRY_OR_DONE(dn_records_each(v.manifest, verify_shard, &v));
    DN_TRY_OR_DONE(check_statistics(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++) {
        dn_shards_close(&v.shards[s]);
        free(v.pixels[s]);
    }
    dn_manifest_destroy(&v.manifest);
    return status;
}
