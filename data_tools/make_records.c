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
    const char *out;
    dn_manifest *manifest;
    uint8_t *pixels[DN_SPLITS]; /* the originals */
    uint16_t *labels[DN_SPLITS];
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
    DN_TRY(dn_manifest_create(manifest, &set->info, shards));
    dn_manifest *const m = *manifest;
    m->zstd_level = options->zstd_level;
    memcpy(m->class_names, set->class_names, (size_t)m->info.classes * sizeof *m->class_names);
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = set->count[s];
    for (int i = 0; i < m->shards; i++)
        plan_shard(&m->shard[i], set, shards[m->shard[i].split]);
    return DN_OK;
}

/* Reads the originals of a split. */
static dn_status load(struct make *k, const dn_dataset *set, const char *source, dn_split_id s)
{
    const size_t count = (size_t)set->count[s];
    k->pixels[s] = malloc(count * dn_image_values(&set->info));
    k->labels[s] = malloc(count * sizeof *k->labels[s]);
    DN_CHECK(k->pixels[s] && k->labels[s], DN_ENOMEM, "%s: out of memory", source);
    const dn_status status = set->load(source, s, k->pixels[s], k->labels[s]);
    if (status != DN_ENOENT)
        return status;
    char reason[1024];
    snprintf(reason, sizeof reason, "%s", dn_message());
    return dn_fail(status, "%s; %s", reason, set->hint);
}

/* Measures a file that was written. */
static dn_status measure(const char *path, int64_t images, dn_manifest_file *file)
{
    DN_TRY(dn_manifest_measure(path, file));
    dn_info("%s: %" PRId64 " images, %.1f MB", file->name, images, (double)file->bytes / 1e6);
    return DN_OK;
}

static dn_status append_sample(const dn_manifest *m, const uint8_t *image, int label,
                               dn_tfrecord *file)
{
    uint8_t *record;
    size_t size;
    DN_TRY(dn_sample_encode(m, image, label, &record, &size));
    const dn_status status = dn_tfrecord_append(file, record, size);
    free(record);
    return status;
}

static dn_status make_tfrecord(const struct make *k, dn_manifest_shard *shard)
{
    const size_t image = dn_image_values(&k->manifest->info);
    dn_tfrecord *file = NULL;
    char path[PATH_MAX];
    dn_status status;
    DN_TRY_OR_DONE(dn_join_path(path, k->out, shard->tfrecord.name));
    DN_TRY_OR_DONE(dn_tfrecord_create(&file, path));
    for (int64_t i = shard->first; i < shard->first + shard->count; i++)
        DN_TRY_OR_DONE(append_sample(k->manifest, k->pixels[shard->split] + (size_t)i * image,
                                     k->labels[shard->split][i], file));
    DN_TRY_OR_DONE(dn_tfrecord_save(file));
    DN_TRY_OR_DONE(measure(path, shard->count, &shard->tfrecord));
done:
    dn_tfrecord_close(&file);
    return status;
}

static dn_status make_hdf5(const struct make *k, dn_manifest_shard *shard)
{
    uint8_t *pixels;
    uint16_t *labels;
    char path[PATH_MAX];
    dn_status status;
    DN_TRY(dn_join_path(path, k->out, shard->hdf5.name));
    DN_TRY_OR_DONE(dn_records_read(k->out, k->manifest, shard, &pixels, &labels));
    DN_TRY_OR_DONE(dn_shard_write(path, k->manifest, shard, pixels, labels));
    DN_TRY_OR_DONE(measure(path, shard->count, &shard->hdf5));
done:
    free(labels);
    free(pixels);
    return status;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    DN_TRY(make_tfrecord(context, shard));
    return make_hdf5(context, shard);
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
    struct make k = {.out = options->out};
    dn_manifest *former = NULL;
    char source[PATH_MAX];
    dn_status status;
    DN_TRY_OR_DONE(dn_records_load(&former, set, k.out));
    DN_TRY_OR_DONE(dn_dataset_find(set, options->source, source));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY_OR_DONE(load(&k, set, source, (dn_split_id)s));
    DN_TRY_OR_DONE(plan(&k.manifest, set, options));
    DN_TRY_OR_DONE(dn_make_folders(k.out));
    DN_TRY_OR_DONE(remove_former(k.out, former));
    dn_shard_info *const info = &k.manifest->info;
    dn_records_statistics(info, k.pixels[DN_TRAIN], set->count[DN_TRAIN], info->mean, info->std);
    DN_TRY_OR_DONE(dn_records_each(k.manifest, make_shard, &k));
    DN_TRY_OR_DONE(dn_manifest_save(k.manifest, k.out));
done:
    for (int s = 0; s < DN_SPLITS; s++) {
        free(k.pixels[s]);
        free(k.labels[s]);
    }
    dn_manifest_destroy(&k.manifest);
    dn_manifest_destroy(&former);
    return status;
}
