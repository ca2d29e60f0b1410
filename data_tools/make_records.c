/*
 * create_records NAME: original files -> TFRecord shards -> HDF5 shards -> dataset.json.
 *
 * The HDF5 shards are made from the TFRecord files just written, so these are proved readable and
 * the second half serves TFRecords of any origin.
 */
#include "records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/file.h"
#include "sample.h"
#include "shard_writer.h"
#include "tfrecord.h"

/* What the jobs share. */
struct make {
    const dn_dataset *set;
    void *source;
    const char *out;
    dn_manifest *manifest;
    dn_channel_sums sums;
};

static void plan_shard(dn_manifest_shard *shard, const dn_dataset *set, int shards)
{
    const int64_t count = set->count[shard->split];
    const char *const split = dn_split_name(shard->split);
    shard->first = count * shard->index / shards;
    shard->count = count * (shard->index + 1) / shards - shard->first;
    snprintf(shard->tfrecord.name, sizeof shard->tfrecord.name, "%s-%s.tfrecord-%05d-of-%05d",
             set->prefix, split, shard->index, shards);
    snprintf(shard->hdf5.name, sizeof shard->hdf5.name, "%s-%s-%05d-of-%05d.h5", set->prefix, split,
             shard->index, shards);
}

static dn_status plan(dn_manifest **manifest, const dn_dataset *set,
                      const dn_records_options *options)
{
    const int64_t train = set->count[DN_TRAIN], test = set->count[DN_TEST];
    DN_CHECK(options->shards <= train, DN_EINVAL,
             "--shards: found %d, expected 1 to the %" PRId64 " images of the train split",
             options->shards, train);
    const int shards[DN_SPLITS] = {options->shards,
                                   (int)((options->shards * test + train - 1) / train)};
    DN_TRY(dn_manifest_create(manifest, set->classes, shards));
    dn_manifest *const m = *manifest;
    m->dataset = set->name;
    m->channels = set->channels;
    m->height = set->height;
    m->width = set->width;
    m->zstd_level = options->zstd_level;
    memcpy(m->class_names, set->class_names, (size_t)set->classes * sizeof *m->class_names);
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = set->count[s];
    for (int i = 0; i < m->shards; i++)
        plan_shard(&m->shard[i], set, shards[m->shard[i].split]);
    return DN_OK;
}

/* Measures a file that was written. */
static dn_status measure(const struct make *k, int64_t images, dn_manifest_file *file)
{
    DN_TRY(dn_records_measure(k->out, file));
    dn_info("%s: %" PRId64 " images, %.1f MB", file->name, images, (double)file->bytes / 1e6);
    return DN_OK;
}

/* `image` is room for one. */
static dn_status copy_sample(struct make *k, dn_split_id split, int64_t index, uint8_t *image,
                             dn_tfrecord *file)
{
    int label;
    uint8_t *record;
    size_t size;
    DN_TRY(k->set->read(k->source, split, index, image, &label));
    DN_TRY(dn_sample_encode(k->manifest, image, label, &record, &size));
    const dn_status status = dn_tfrecord_append(file, record, size);
    free(record);
    if (split == DN_TRAIN)
        dn_channel_sums_add(&k->sums, k->manifest, image);
    return status;
}

static dn_status make_tfrecord(void *context, dn_manifest_shard *shard)
{
    struct make *const k = context;
    dn_tfrecord *file = NULL;
    char path[PATH_MAX];
    dn_status status;
    uint8_t *const image = malloc(dn_manifest_image_bytes(k->manifest));
    if (!image)
        DN_TRY_OR_DONE(dn_fail(DN_ENOMEM, "%s: out of memory", shard->tfrecord.name));
    DN_TRY_OR_DONE(dn_join_path(path, k->out, shard->tfrecord.name));
    DN_TRY_OR_DONE(dn_tfrecord_create(&file, path));
    for (int64_t i = 0; i < shard->count; i++)
        DN_TRY_OR_DONE(copy_sample(k, shard->split, shard->first + i, image, file));
    DN_TRY_OR_DONE(dn_tfrecord_save(file));
    DN_TRY_OR_DONE(measure(k, shard->count, &shard->tfrecord));
done:
    dn_tfrecord_close(&file);
    free(image);
    return status;
}

static dn_status make_hdf5(void *context, dn_manifest_shard *shard)
{
    struct make *const k = context;
    uint8_t *images;
    uint16_t *labels;
    char path[PATH_MAX];
    dn_status status;
    DN_TRY(dn_join_path(path, k->out, shard->hdf5.name));
    DN_TRY_OR_DONE(dn_records_read(k->out, k->manifest, shard, &images, &labels));
    DN_TRY_OR_DONE(dn_shard_write(path, k->manifest, shard, images, labels));
    DN_TRY_OR_DONE(measure(k, shard->count, &shard->hdf5));
done:
    free(labels);
    free(images);
    return status;
}

static dn_status remove_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, name));
    DN_CHECK(unlink(path) == 0 || errno == ENOENT, DN_EIO, "%s: cannot remove: %s", path,
             strerror(errno));
    return DN_OK;
}

/* dataset.json first: without it the folder is not taken for a data set. */
static dn_status remove_former(const char *folder, const dn_manifest *former)
{
    DN_TRY(remove_file(folder, "dataset.json"));
    for (int i = 0; former && i < former->shards; i++) {
        DN_TRY(remove_file(folder, former->shard[i].tfrecord.name));
        DN_TRY(remove_file(folder, former->shard[i].hdf5.name));
    }
    return DN_OK;
}

dn_status dn_records_make(const dn_dataset *set, const dn_records_options *options)
{
    struct make k = {.set = set, .out = options->out};
    dn_manifest *former = NULL;
    dn_status status;
    DN_TRY_OR_DONE(dn_records_load(&former, set, options->out));
    DN_TRY_OR_DONE(dn_dataset_open(set, options->source, &k.source));
    DN_TRY_OR_DONE(plan(&k.manifest, set, options));
    DN_TRY_OR_DONE(dn_make_folders(k.out));
    DN_TRY_OR_DONE(remove_former(k.out, former));
    DN_TRY_OR_DONE(dn_records_each(k.manifest, options->jobs, make_tfrecord, &k));
    dn_channel_sums_result(&k.sums, k.manifest, k.manifest->mean, k.manifest->deviation);
    DN_TRY_OR_DONE(dn_records_each(k.manifest, options->jobs, make_hdf5, &k));
    DN_TRY_OR_DONE(dn_manifest_save(k.manifest, k.out));
done:
    dn_dataset_close(set, &k.source);
    dn_manifest_destroy(&k.manifest);
    dn_manifest_destroy(&former);
    return status;
}
