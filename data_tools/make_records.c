/*
 * create_records NAME: raw data set -> TFRecord shards -> HDF5 shards -> dataset.json.
 *
 * The HDF5 shards are made from the TFRecord files just written, so these are proved readable and
 * the second half serves TFRecords of any origin.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/file.h"
#include "records.h"
#include "tfrecord.h"

/* What the jobs share. */
struct make {
    const dn_raw_set *set;
    const dn_records_options *options;
    dn_manifest *former, *manifest; /* of the records that are replaced, and of the new ones */
    uint8_t *pixels[DN_SPLITS];     /* the raw data set */
    uint16_t *labels[DN_SPLITS];
};

/* Leaves `former` NULL where there are no records of use. */
static dn_status load_former(struct make *k)
{
    const char *const name = k->set->info.dataset, *const folder = k->options->out;
    const dn_status status = dn_manifest_load(&k->former, folder);
    if (!k->former)
        return status == DN_EINVAL ? status : DN_OK;
    DN_CHECK(strcmp(k->former->info.dataset, name) == 0, DN_EINVAL,
             "%s/dataset.json: found %s, expected %s; name another --out", folder,
             k->former->info.dataset, name);
    return DN_OK;
}

static int has_size(const char *folder, const dn_manifest_file *file)
{
    char path[PATH_MAX];
    struct stat info;
    return dn_join_path(path, folder, file->name) == DN_OK && stat(path, &info) == 0 &&
           info.st_size == file->bytes;
}

/* The former records are those that were asked for. */
static int is_complete(const dn_manifest *former, const dn_records_options *options)
{
    int complete = former && former->zstd_level == options->zstd_level &&
                   former->split[DN_TRAIN].shards == options->shards;
    for (int i = 0; complete && i < former->shards; i++)
        complete = has_size(options->out, &former->shard[i].tfrecord) &&
                   has_size(options->out, &former->shard[i].hdf5);
    return complete;
}

static dn_status load_split(struct make *k, const char *source, dn_split_id s)
{
    const size_t count = (size_t)k->set->count[s];
    k->pixels[s] = malloc(count * dn_image_values(&k->set->info));
    k->labels[s] = malloc(count * sizeof *k->labels[s]);
    DN_CHECK(k->pixels[s] && k->labels[s], DN_ENOMEM, "%s: out of memory", source);
    const dn_status status = k->set->load(source, s, k->pixels[s], k->labels[s]);
    return status == DN_ENOENT ? dn_fail(status, "%s; %s", dn_message(), k->set->hint) : status;
}

static void plan_shard(const dn_raw_set *set, int shards, dn_manifest_shard *shard)
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

/* Makes the manifest, in which the files' sizes and checksums are missing yet. */
static dn_status plan_records(struct make *k)
{
    const dn_raw_set *const set = k->set;
    const int64_t train = set->count[DN_TRAIN], test = set->count[DN_TEST];
    const int asked = k->options->shards;
    DN_CHECK(asked <= train, DN_EINVAL,
             "--shards: found %d, expected 1 to the %" PRId64 " images of the train split", asked,
             train);
    const int shards[DN_SPLITS] = {asked, (int)((asked * test + train - 1) / train)};
    DN_TRY(dn_manifest_create(&k->manifest, &set->info, shards));
    dn_manifest *const m = k->manifest;
    m->class_names = set->class_names;
    m->zstd_level = k->options->zstd_level;
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = set->count[s];
    for (int i = 0; i < m->shards; i++)
        plan_shard(set, shards[m->shard[i].split], &m->shard[i]);
    dn_pixel_sums sums = {0};
    dn_pixel_sums_add(&sums, &m->info, k->pixels[DN_TRAIN], train);
    dn_pixel_sums_finish(&sums, train, &m->info);
    return DN_OK;
}

static dn_status remove_record_file(const char *folder, const char *name)
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
    DN_TRY(remove_record_file(folder, "dataset.json"));
    for (int i = 0; former && i < former->shards; i++) {
        DN_TRY(remove_record_file(folder, former->shard[i].tfrecord.name));
        DN_TRY(remove_record_file(folder, former->shard[i].hdf5.name));
    }
    return DN_OK;
}

/* Appends an image of the split to the stream. */
static dn_status append_image(const struct make *k, dn_split_id split, int64_t image, FILE *stream)
{
    const size_t values = dn_image_values(&k->manifest->info);
    uint8_t *record;
    size_t size;
    DN_TRY(dn_example_encode(k->manifest, k->pixels[split] + (size_t)image * values,
                             k->labels[split][image], &record, &size));
    const dn_status status = dn_tfrecord_append(stream, record, size);
    free(record);
    return status;
}

/* *bytes(size) = the shard's TFRecord file, to be freed by the caller, after a failure too. */
static dn_status encode_tfrecord(const struct make *k, const dn_manifest_shard *shard, char **bytes,
                                 size_t *size)
{
    FILE *const stream = open_memstream(bytes, size);
    dn_status status = DN_OK;
    DN_CHECK(stream, DN_ENOMEM, "%s: out of memory", shard->tfrecord.name);
    for (int64_t i = 0; i < shard->count && status == DN_OK; i++)
        status = append_image(k, shard->split, shard->first + i, stream);
    if (fclose(stream) != 0 && status == DN_OK)
        status = dn_fail(DN_ENOMEM, "%s: out of memory", shard->tfrecord.name);
    return status;
}

/* Writes a file of a shard of so many images, and notes its size and checksum. */
static dn_status save_file(const struct make *k, dn_manifest_file *file, int64_t images,
                           const void *bytes, size_t size)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, k->options->out, file->name));
    DN_TRY(dn_file_write(path, bytes, size));
    file->bytes = (int64_t)size;
    file->hash = XXH3_64bits(bytes, size);
    dn_info("%s: %" PRId64 " images, %.1f MB", file->name, images, (double)size / 1e6);
    return DN_OK;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    const struct make *const k = context;
    char *tfrecord = NULL;
    uint8_t *hdf5 = NULL, *pixels = NULL;
    uint16_t *labels = NULL;
    size_t size;
    dn_status status;
    DN_TRY_OR_DONE(encode_tfrecord(k, shard, &tfrecord, &size));
    DN_TRY_OR_DONE(save_file(k, &shard->tfrecord, shard->count, tfrecord, size));
    DN_TRY_OR_DONE(dn_records_read(k->options->out, k->manifest, shard, &pixels, &labels));
    DN_TRY_OR_DONE(dn_shard_encode(k->manifest, shard, pixels, labels, &hdf5, &size));
    DN_TRY_OR_DONE(save_file(k, &shard->hdf5, shard->count, hdf5, size));
done:
    free(tfrecord);
    free(hdf5);
    free(pixels);
    free(labels);
    return status;
}

static dn_status make_all(struct make *k)
{
    char source[PATH_MAX];
    DN_TRY(dn_raw_set_find(k->set, k->options->source, source));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY(load_split(k, source, (dn_split_id)s));
    DN_TRY(plan_records(k));
    DN_TRY(dn_make_folders(k->options->out));
    DN_TRY(remove_former(k->options->out, k->former));
    DN_TRY(dn_records_each(k->manifest, make_shard, k));
    return dn_manifest_save(k->manifest, k->options->out);
}

dn_status dn_records_make(const dn_raw_set *set, const dn_records_options *options, int *made)
{
    struct make k = {.set = set, .options = options};
    dn_status status = load_former(&k);
    *made = status == DN_OK && !is_complete(k.former, options);
    if (*made)
        status = make_all(&k);
    for (int s = 0; s < DN_SPLITS; s++) {
        free(k.pixels[s]);
        free(k.labels[s]);
    }
    dn_manifest_destroy(&k.manifest);
    dn_manifest_destroy(&k.former);
    return status;
}
