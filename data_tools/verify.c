/*
 * Verifying a folder of records; see records.h.
 *
 * Every shard is read again, and where it has TFRecords these are compared with it image by image.
 * The checksum of an HDF5 file comes before its content, as HDF5 is no reader of damaged files; of
 * a TFRecord file after it, as the content's messages say where the fault is.
 */
#include "records.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "dn/file.h"
#include "dn/limits.h"
#include "making.h"
#include "pixel_sums.h"

struct verify {
    const char *folder;
    dn_manifest *manifest;
    dn_shards *shards[DN_SPLITS];
    dn_pixel_sums sums; /* of the train split */
};

/* The pixels of a shard, which dn_shards_read checks, add to mean and std. */
static dn_status sum_pixels(struct verify *v, const dn_manifest_shard *shard)
{
    const dn_shard_info *const info = &v->manifest->info;
    uint8_t *const pixels = malloc((size_t)shard->count * dn_image_values(info));
    DN_CHECK(pixels, DN_ENOMEM, "%s/%s: out of memory for %" PRId64 " images", v->folder,
             shard->hdf5.name, shard->count);
    const dn_status status =
        dn_shards_read(v->shards[shard->split], shard->first, shard->count, pixels);
    if (status == DN_OK && shard->split == DN_TRAIN)
        dn_pixel_sums_add(&v->sums, info, pixels, shard->count);
    free(pixels);
    return status;
}

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    struct verify *const v = context;
    if (shard->tfrecord.name[0])
        DN_TRY(dn_tfrecord_compare(v->folder, v->manifest, shard, v->shards[shard->split]));
    return dn_is_encoded(&v->manifest->info) ? DN_OK : sum_pixels(v, shard);
}

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

/* What the threads hold of shards at once is no more than there is. */
static dn_status check_memory(const struct verify *v)
{
    const double image = (double)dn_image_values(&v->manifest->info), left = dn_memory_left("");
    const int threads = omp_get_max_threads();
    const int at_once = threads < v->manifest->shards ? threads : v->manifest->shards;
    for (int i = 0; i < v->manifest->shards; i++) {
        const dn_manifest_shard *const shard = &v->manifest->shard[i];
        const double bytes = (double)shard->count * image;
        DN_CHECK(bytes * at_once <= left, DN_ENOMEM,
                 "%s/%s: verifying %d such at once takes %.0f MiB, found %.0f MiB left (--jobs)",
                 v->folder, shard->hdf5.name, at_once, bytes * at_once / 0x1p20, left / 0x1p20);
    }
    return DN_OK;
}

/* ---- verifying encoded shards ---- */

/* The image has its checksum, is sound, and adds to mean and std. */
static dn_status verify_image(const dn_shards *shards, int64_t index, dn_buffer *bytes,
                              dn_pixels *pixels)
{
    char name[PATH_MAX + 64];
    dn_encoded file = {.name = name};
    DN_TRY(dn_shards_read_encoded(shards, index, bytes, &file.size));
    file.bytes = bytes->bytes;
    dn_shards_name_image(shards, index, name, sizeof name);
    return dn_image_decode(&file, NULL, 1, pixels);
}

/* Every image of the split, by all threads; each holds one. */
static dn_status verify_encoded(struct verify *v, dn_split_id split)
{
    dn_failure failure = {0};
    atomic_int failed = 0;
#pragma omp parallel
    {
        dn_buffer bytes = {0};
        dn_pixels pixels = {0};
        dn_pixel_sums sums = {0};
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < v->manifest->split[split].count; i++) {
            if (failed)
                continue;
            const dn_status status = verify_image(v->shards[split], i, &bytes, &pixels);
            if (status == DN_OK && split == DN_TRAIN)
                dn_pixel_sums_add_image(&sums, &pixels);
#pragma omp critical(dn_records)
            dn_failure_keep(&failure, status);
            if (status != DN_OK)
                failed = 1;
        }
        dn_pixel_sums_merge(&v->sums, &sums);
        dn_buffer_free(&bytes);
        dn_buffer_free(&pixels.rgb);
    }
    return dn_failure_report(&failure);
}

static dn_status verify_images(struct verify *v)
{
    DN_TRY(check_memory(v));
    for (int s = 0; dn_is_encoded(&v->manifest->info) && s < DN_SPLITS; s++)
        DN_TRY(verify_encoded(v, (dn_split_id)s));
    return dn_each_shard(v->manifest, verify_shard, v);
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(dn_shards_open(&v.shards[s], folder, (dn_split_id)s));
    DN_TRY_OR_DONE(verify_images(&v));
    DN_TRY_OR_DONE(check_statistics(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    free(v.manifest);
    return status;
}
