/*
 * Making and verifying a folder of records; see records.h.
 *
 * make: raw data set -> TFRecord shards -> HDF5 shards -> dataset.json. The HDF5 shards are made
 * from the TFRecord files just written, so these are proved readable and the second half serves
 * TFRecords of any origin.
 * verify: reads both forms of every shard again and compares them image by image. The checksum of
 * an HDF5 file comes before its content, as HDF5 is no reader of damaged files; of a TFRecord file
 * after it, as the content's messages say where the fault is.
 */
#include "records.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>
#include <xxhash.h>

#include "dn/file.h"
#include "dn/limits.h"
#include "making.h"
#include "pixel_sums.h"

/* ---- making ---- */

struct make {
    dn_making making;
    const dn_raw_set *set;
    uint8_t *pixels[DN_SPLITS]; /* the raw data set */
    uint16_t *labels[DN_SPLITS];
};

/* The manifest's checksum of the raw data set. */
static uint64_t hash_source(const struct make *k)
{
    const dn_raw_set *const set = k->set;
    uint64_t hash = 0;
    for (int s = 0; s < DN_SPLITS; s++) {
        const size_t count = (size_t)set->count[s];
        hash = XXH3_64bits_withSeed(k->pixels[s], count * dn_image_values(&set->info), hash);
        hash = XXH3_64bits_withSeed(k->labels[s], count * sizeof *k->labels[s], hash);
    }
    return hash;
}

static dn_status plan_records(struct make *k)
{
    const dn_raw_set *const set = k->set;
    dn_pixel_sums sums = {0};
    DN_TRY(dn_making_plan(&k->making, &set->info, set->class_names, set->count,
                          k->making.options->shards));
    dn_manifest *const m = k->making.manifest;
    dn_pixel_sums_add(&sums, &m->info, k->pixels[DN_TRAIN], set->count[DN_TRAIN]);
    dn_pixel_statistics(&sums, &m->info);
    m->source = hash_source(k);
    return DN_OK;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    const struct make *const k = context;
    const dn_manifest *const m = k->making.manifest;
    const size_t image = dn_image_values(&k->set->info);
    const uint8_t *const raw = k->pixels[shard->split] + (size_t)shard->first * image;
    const uint16_t *const raw_labels = k->labels[shard->split] + shard->first;
    char *tfrecord = NULL;
    uint8_t *hdf5 = NULL, *pixels = NULL;
    uint16_t *labels = NULL;
    size_t size;
    dn_status status;
    DN_TRY_OR_DONE(dn_tfrecord_encode(m, shard, raw, raw_labels, &tfrecord, &size));
    DN_TRY_OR_DONE(dn_making_save(&k->making, &shard->tfrecord, shard->count, tfrecord, size));
    DN_TRY_OR_DONE(dn_tfrecord_load(k->making.options->out, m, shard, &pixels, &labels));
    DN_TRY_OR_DONE(dn_shard_encode(m, shard, pixels, labels, &hdf5, &size));
    DN_TRY_OR_DONE(dn_making_save(&k->making, &shard->hdf5, shard->count, hdf5, size));
done:
    free(tfrecord);
    free(hdf5);
    free(pixels);
    free(labels);
    return status;
}

static dn_status make_records(struct make *k, int *made)
{
    const dn_records_options *const options = k->making.options;
    DN_TRY(dn_making_begin(&k->making, k->set->info.dataset));
    const int complete = dn_making_is_complete(&k->making, options->shards);
    char source[PATH_MAX];
    const dn_status found = dn_raw_set_find(k->set, options->source, source);
    if (found == DN_ENOENT && complete && !options->source)
        return DN_OK;
    DN_TRY(found);
    DN_TRY(dn_raw_set_load(k->set, source, k->pixels, k->labels));
    DN_TRY(plan_records(k));
    DN_TRY(dn_making_check(&k->making, source));
    if (complete)
        return DN_OK;
    DN_TRY(dn_making_write(&k->making, make_shard, k));
    *made = 1;
    return DN_OK;
}

dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made)
{
    struct make k = {.making = {.options = options, .prefix = set->prefix}, .set = set};
    *made = 0;
    const dn_status status = make_records(&k, made);
    for (int s = 0; s < DN_SPLITS; s++) {
        free(k.pixels[s]);
        free(k.labels[s]);
    }
    dn_making_end(&k.making);
    return status;
}

/* ---- verifying ---- */

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

static dn_status verify_shard(void *context, dn_manifest_shard *shard)
{
    struct verify *const v = context;
    const dn_shard_info *const info = &v->manifest->info;
    uint8_t *pixels = NULL, *const hdf5_pixels =
                                malloc((size_t)shard->count * dn_image_values(info));
    uint16_t *labels = NULL;
    char path[PATH_MAX];
    dn_status status;
    DN_TRY_OR_DONE(dn_join_path(path, v->folder, shard->tfrecord.name));
    DN_TRY_OR_DONE(dn_manifest_check_size(path, &shard->tfrecord)); /* it is read whole */
    DN_TRY_OR_DONE(dn_tfrecord_load(v->folder, v->manifest, shard, &pixels, &labels));
    if (!hdf5_pixels)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", v->folder));
    DN_TRY_OR_DONE(compare_images(v, shard, pixels, labels, hdf5_pixels));
    DN_TRY_OR_DONE(dn_manifest_check(path, &shard->tfrecord));
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
        const double bytes = 2 * (double)shard->count * image + (double)shard->tfrecord.bytes;
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
    if (!dn_is_encoded(&v->manifest->info)) {
        DN_TRY(check_memory(v));
        return dn_each_shard(v->manifest, verify_shard, v);
    }
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY(verify_encoded(v, (dn_split_id)s));
    return DN_OK;
}

dn_status dn_records_verify(const char *folder)
{
    struct verify v = {.folder = folder};
    dn_status status;
    DN_TRY_OR_DONE(dn_manifest_load(&v.manifest, folder));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(dn_shards_open(&v.shards[s], folder, (dn_split_id)s));
    for (int s = 0; s < DN_SPLITS && dn_is_encoded(&v.manifest->info); s++)
        DN_TRY_OR_DONE(dn_shards_check(v.shards[s]));
    DN_TRY_OR_DONE(verify_images(&v));
    DN_TRY_OR_DONE(check_statistics(&v));
done:
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&v.shards[s]);
    free(v.manifest);
    return status;
}
