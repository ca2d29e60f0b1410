/*
 * Makes the records of a known data set; see records.h.
 *
 * The steps are: raw data set -> HDF5 shards, with TFRecord shards beside them -> dataset.json.
 */
#include "sets/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "tfrecord/tfrecord.h"
#include "writer/pixel_sums.h"
#include "writer/selection.h"
#include "writer/writer.h"

/* ---- which images are taken ---- */

static void copy_image(dn_raw_split *to, int64_t at, const dn_raw_split *from, int64_t image,
                       size_t size)
{
    memmove(to->pixels + (size_t)at * size, from->pixels + (size_t)image * size, size);
    to->labels[at] = from->labels[image];
}

/* Keeps the first `limit` images of each class whose new label in label[] is not -1. */
static void keep_images(dn_raw_split *split, size_t size, const int *label, int64_t limit,
                        int64_t *of_class)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < split->count; i++) {
        const int new = label[split->labels[i]];
        if (new < 0 || (limit && of_class[new] == limit))
            continue;
        of_class[new]++;
        copy_image(split, kept, split, i, size);
        split->labels[kept++] = (uint16_t) new;
    }
    split->count = kept;
}

/* Keeps the classes of --classes. names(*classes) = their names, which the new labels index. */
static dn_status keep_asked(const dn_raw_set *set, const dn_records_options *options,
                            const char *source, dn_raw_split split[DN_SPLITS], const char **names,
                            int *classes)
{
    const int all = set->info.classes;
    const size_t size = dn_image_values(&set->info);
    int64_t *const counts = calloc((size_t)all, DN_SPLITS * sizeof *counts + sizeof(int) + 1);
    int *const label = (int *)(counts + DN_SPLITS * all);
    uint8_t *const asked = (uint8_t *)(label + all);
    DN_CHECK(counts, DN_ENOMEM, "%s: out of memory", source);
    const dn_status status =
        dn_find_asked(options, set->info.dataset, set->class_names, all, asked);
    *classes = 0;
    for (int c = 0; c < all && status == DN_OK; c++) {
        label[c] = asked[c] ? *classes : -1;
        if (label[c] >= 0)
            names[(*classes)++] = set->class_names[c];
    }
    for (int s = 0; s < DN_SPLITS && status == DN_OK; s++)
        keep_images(&split[s], size, label, options->limit, counts + s * all);
    free(counts);
    return status;
}

/* Replaces the test split by images drawn from the train split. */
static dn_status draw_split(const dn_raw_set *set, const dn_records_options *options,
                            const char *source, dn_raw_split split[DN_SPLITS], int classes)
{
    dn_raw_split *const train = &split[DN_TRAIN], *const test = &split[DN_TEST];
    const size_t size = dn_image_values(&set->info);
    const int64_t left_out = test->count, count = train->count;
    int64_t kept = 0;
    dn_raw_split_free(test);
    int64_t *const order = malloc((size_t)count * sizeof *order + 1);
    DN_CHECK(order, DN_ENOMEM, "%s: out of memory", source);
    dn_status status = dn_draw_test(options, source, train->labels, sizeof *train->labels, count,
                                    classes, order, &kept);
    if (status == DN_OK)
        status = dn_raw_split_create(test, set, count - kept);
    for (int64_t i = kept; status == DN_OK && i < count; i++)
        copy_image(test, i - kept, train, order[i], size);
    for (int64_t i = 0; status == DN_OK && i < kept; i++)
        copy_image(train, i, train, order[i], size);
    train->count = kept;
    free(order);
    if (status == DN_OK)
        dn_info("%s: the test split is %" PRId64 " images of the train split; the authors' "
                "%" PRId64 " test images are left out",
                source, test->count, left_out);
    return status;
}

/* ---- from the raw data set to shards ---- */

struct make {
    dn_writer writer;
    const dn_raw_set *set;
    dn_raw_split split[DN_SPLITS]; /* the raw data set */
    const char **class_names;      /* of the selected classes */
};

/* The manifest's checksum of the raw data set. */
static uint64_t hash_source(const struct make *k)
{
    uint64_t hash = 0;
    for (const dn_raw_split *s = k->split; s <= k->split + DN_TEST; s++) {
        const size_t count = (size_t)s->count;
        hash = XXH3_64bits_withSeed(s->pixels, count * dn_image_values(&k->set->info), hash);
        hash = XXH3_64bits_withSeed(s->labels, count * sizeof *s->labels, hash);
    }
    return hash;
}

static dn_status plan_records(struct make *k, int classes)
{
    dn_data_info info = k->set->info;
    const int64_t count[DN_SPLITS] = {k->split[DN_TRAIN].count, k->split[DN_TEST].count};
    dn_pixel_sums sums = {0};
    info.classes = classes;
    DN_TRY(dn_writer_plan(&k->writer, &info, k->class_names, count,
                          dn_writer_shards(&k->writer, 0, 0, count[DN_TRAIN])));
    dn_manifest *const m = k->writer.manifest;
    dn_pixel_sums_add(&sums, &m->info, k->split[DN_TRAIN].pixels, count[DN_TRAIN]);
    dn_pixel_statistics(&sums, &m->info);
    m->source = hash_source(k);
    return DN_OK;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    const struct make *const k = context;
    const dn_manifest *const m = k->writer.manifest;
    const size_t image = dn_image_values(&k->set->info);
    const dn_raw_split *const split = &k->split[shard->split];
    const uint8_t *const raw = split->pixels + (size_t)shard->first * image;
    const uint16_t *const raw_labels = split->labels + shard->first;
    char *tfrecord = NULL;
    size_t size;
    dn_status status = DN_OK;
    if (shard->tfrecord.name[0])
        status = dn_tfrecord_encode(m, shard, raw, raw_labels, &tfrecord, &size);
    if (status == DN_OK && tfrecord)
        status = dn_writer_save(&k->writer, &shard->tfrecord, shard->count, tfrecord, size);
    free(tfrecord);
    return status == DN_OK ? dn_writer_save_pixels(&k->writer, shard, raw, raw_labels) : status;
}

/* 1 if the existing records have as many images as the authors' files, and no options select
 * others. */
static int is_all(const struct make *k)
{
    const dn_records_options *const o = k->writer.options;
    const dn_manifest *const m = k->writer.existing;
    return !o->source && !o->download && !o->extra && !o->classes && !o->limit &&
           o->val_fraction <= 0 && m->split[DN_TRAIN].count == k->set->count[DN_TRAIN] &&
           m->split[DN_TEST].count == k->set->count[DN_TEST];
}

static dn_status make_records(struct make *k, int *made)
{
    const dn_records_options *const options = k->writer.options;
    char source[PATH_MAX];
    int classes = 0;
    DN_TRY(dn_writer_begin(&k->writer, k->set->info.dataset));
    const dn_manifest *const existing = k->writer.existing;
    const int complete =
        existing &&
        dn_writer_is_complete(&k->writer,
                              dn_writer_shards(&k->writer, 0, 0, existing->split[DN_TRAIN].count));
    const dn_status found = dn_raw_set_find(k->set, options, source);
    if (found == DN_ENOENT && complete && is_all(k))
        return dn_writer_remove_journal(&k->writer);
    DN_TRY(found);
    DN_TRY(dn_raw_set_load(k->set, source, options, k->split));
    DN_TRY(keep_asked(k->set, options, source, k->split, k->class_names, &classes));
    if (options->val_fraction > 0)
        DN_TRY(draw_split(k->set, options, source, k->split, classes));
    DN_CHECK(k->split[DN_TEST].count > 0, DN_EINVAL,
             "%s: found no image for the test split, expected at least one", source);
    DN_TRY(plan_records(k, classes));
    DN_TRY(dn_writer_check_channels(&k->writer, source));
    DN_TRY(dn_writer_check_source(&k->writer, source));
    if (complete)
        return dn_writer_remove_journal(&k->writer);
    DN_TRY(dn_writer_write(&k->writer, make_shard, k));
    *made = 1;
    return DN_OK;
}

dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made)
{
    struct make k = {.writer = {.options = options, .prefix = set->prefix}, .set = set};
    *made = 0;
    k.class_names = malloc((size_t)set->info.classes * sizeof *k.class_names);
    const dn_status status = k.class_names
                                 ? make_records(&k, made)
                                 : dn_fail(DN_ENOMEM, "%s: out of memory", set->info.dataset);
    for (int s = 0; s < DN_SPLITS; s++)
        dn_raw_split_free(&k.split[s]);
    free(k.class_names);
    dn_writer_end(&k.writer);
    return status;
}
