/*
 * Making a folder of records from one of the known data sets; see records.h.
 *
 * Raw data set -> HDF5 shards, and TFRecord shards beside them -> dataset.json.
 */
#include "records.h"

#include <stdlib.h>

#include <xxhash.h>

#include "making.h"
#include "pixel_sums.h"

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
    uint8_t *hdf5 = NULL;
    size_t size;
    dn_status status = DN_OK;
    if (shard->tfrecord.name[0])
        status = dn_tfrecord_encode(m, shard, raw, raw_labels, &tfrecord, &size);
    if (status == DN_OK && tfrecord)
        status = dn_making_save(&k->making, &shard->tfrecord, shard->count, tfrecord, size);
    DN_TRY_OR_DONE(status);
    DN_TRY_OR_DONE(dn_shard_encode(m, shard, raw, raw_labels, &hdf5, &size));
    DN_TRY_OR_DONE(dn_making_save(&k->making, &shard->hdf5, shard->count, hdf5, size));
done:
    free(tfrecord);
    free(hdf5);
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
