/*
 * create_records to-tfrecord: exports records to TFRecord files, with the side files that other
 * programs read; see tfrecord.h and docs/tfrecords.md.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/json.h"
#include "tfrecord/tfrecord.h"
#include "writer/writer.h"

struct export_job {
    dn_writer writer; /* with the manifest of the records */
    dn_records_options options;
    const char *folder; /* of the records; that of the TFRecords is options.out */
    int in_place;       /* both folders are the same */
    dn_shards *shards[DN_SPLITS];
    char prefix[64]; /* of the files' names */
    int is_trial;    /* only compares side files, does not write them */
    int owns_side;   /* existing side files are of an earlier export of these records */
    int made;
};

/* ---- names ---- */

/* prefix = the part before "-train-00000-of-00004.h5" of the first shard's name, if it is one word.
 */
static void find_prefix(struct export_job *x)
{
    const dn_manifest *const m = x->writer.manifest;
    char mark[16];
    snprintf(mark, sizeof mark, "-%s-", dn_split_name(m->shard[0].split));
    const char *const name = m->shard[0].hdf5.name, *end = strstr(name, mark);
    for (const char *next = end; next; next = strstr(next + 1, mark))
        end = next;
    if (!end || end == name || (size_t)(end - name) >= sizeof x->prefix)
        snprintf(x->prefix, sizeof x->prefix, "records");
    else
        snprintf(x->prefix, sizeof x->prefix, "%.*s", (int)(end - name), name);
}

/* 1 if the shard's TFRecord file exists, with the size in dataset.json. */
static int has_file(const struct export_job *x, const dn_manifest_shard *shard)
{
    char path[PATH_MAX];
    return x->in_place && shard->tfrecord.name[0] &&
           dn_join_path(path, x->folder, shard->tfrecord.name) == DN_OK &&
           dn_manifest_check_size(path, &shard->tfrecord) == DN_OK;
}

/* *same = 1 if the file `name` exists with these bytes. If it exists with others, or cannot be
 * read, that is DN_EINVAL unless it `may_differ`. */
static dn_status compare_file(const struct export_job *x, const char *name, const void *bytes,
                              size_t size, int may_differ, int *same)
{
    char path[PATH_MAX];
    uint8_t *found;
    size_t found_size;
    *same = 0;
    DN_TRY(dn_join_path(path, x->options.out, name));
    const dn_status status = dn_file_load_most(path, (int64_t)size, &found, &found_size);
    if (status == DN_ENOENT)
        return DN_OK;
    const int is_larger = status == DN_ECORRUPT;
    if (status == DN_ENOMEM || !(may_differ || is_larger))
        DN_TRY(status);
    *same = found && found_size == size && memcmp(found, bytes, size) == 0;
    free(found);
    DN_CHECK(
        *same || may_differ, DN_EINVAL,
        "%s: found other bytes than those of this command; move it away, or name another --out",
        path);
    return DN_OK;
}

/* ---- the shards ---- */

/* Writes the file unless it exists; replaces one that dataset.json names. */
static dn_status save_shard(const struct export_job *x, dn_manifest_shard *shard, int is_noted,
                            const char *bytes, size_t size)
{
    dn_manifest_file *const file = &shard->tfrecord;
    int same;
    DN_TRY(compare_file(x, file->name, bytes, size, is_noted, &same));
    if (!same)
        return dn_writer_save(&x->writer, file, shard->count, bytes, size);
    file->bytes = (int64_t)size;
    file->hash = XXH3_64bits(bytes, size);
    return DN_OK;
}

static dn_status export_shard(void *context, dn_manifest_shard *shard)
{
    struct export_job *const x = context;
    const dn_manifest *const m = x->writer.manifest;
    char *bytes = NULL;
    size_t size;
    if (has_file(x, shard))
        return DN_OK;
    const int is_noted = x->in_place && shard->tfrecord.name[0];
    snprintf(shard->tfrecord.name, sizeof shard->tfrecord.name, "%s-%s.tfrecord-%05d-of-%05d",
             x->prefix, dn_split_name(shard->split), shard->index, m->split[shard->split].shards);
    dn_status status = dn_tfrecord_encode_shard(m, shard, x->shards[shard->split], &bytes, &size);
    if (status == DN_OK)
        status = save_shard(x, shard, is_noted, bytes, size);
    free(bytes);
    return status;
}

static int lacks_file(const struct export_job *x)
{
    const dn_manifest *const m = x->writer.manifest;
    for (int i = 0; i < m->shards; i++)
        if (!has_file(x, &m->shard[i]))
            return 1;
    return 0;
}

static dn_status export_shards(struct export_job *x)
{
    DN_TRY(dn_each_shard(x->writer.manifest, export_shard, x));
    x->made = 1;
    return x->in_place ? dn_manifest_save(x->writer.manifest, x->folder) : DN_OK;
}

/* ---- files beside them ---- */

static const char info_name[] = "dataset_info.json";

/* A feature of tensorflow_datasets of that class, with its members. */
static json_t *describe_feature(const char *class, const char *name, json_t *members)
{
    return json_pack("{s:o,s:o}", "pythonClassName",
                     json_sprintf("tensorflow_datasets.core.features.%s", class), name, members);
}

static json_t *describe_integer(void)
{
    return describe_feature(
        "tensor_feature.Tensor", "tensor",
        json_pack("{s:s,s:s,s:{}}", "dtype", "int64", "encoding", "none", "shape"));
}

static json_t *describe_text(void)
{
    return describe_feature("text_feature.Text", "text", json_object());
}

/* The feature of images; -1 stands for varying sizes. */
static json_t *describe_image(const dn_data_info *info)
{
    const int is_encoded = dn_is_encoded(info);
    json_t *const image = json_pack("{s:s,s:{s:[o,o,o]}}", "dtype", "uint8", "shape", "dimensions",
                                    json_sprintf("%d", is_encoded ? -1 : info->height),
                                    json_sprintf("%d", is_encoded ? -1 : info->width),
                                    json_sprintf("%d", info->channels));
    if (!is_encoded)
        json_object_set_new(image, "encodingFormat", json_string("png"));
    return describe_feature("image_feature.Image", "image", image);
}

static json_t *describe_label(int classes)
{
    return describe_feature("class_label_feature.ClassLabel", "classLabel",
                            json_pack("{s:o}", "numClasses", json_sprintf("%d", classes)));
}

/* features.json: the keys of the examples, except image/filename, which is optional. */
static json_t *describe_features(const dn_manifest *m)
{
    json_t *const features =
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "image/class/label", describe_label(m->info.classes),
                  "image/class/text", describe_text(), "image/encoded", describe_image(&m->info),
                  "image/format", describe_text(), "image/height", describe_integer(),
                  "image/width", describe_integer());
    return describe_feature("features_dict.FeaturesDict", "featuresDict",
                            json_pack("{s:o}", "features", features));
}

static json_t *describe_split(const dn_manifest *m, dn_split_id split)
{
    json_t *const lengths = json_array();
    int64_t bytes = 0;
    for (int i = 0; i < m->split[split].shards; i++) {
        const dn_manifest_shard *const shard = &m->split[split].shard[i];
        json_array_append_new(lengths, json_sprintf("%" PRId64, shard->count));
        bytes += shard->tfrecord.bytes;
    }
    return json_pack("{s:s,s:s,s:o,s:o}", "name", dn_split_name(split), "filepathTemplate",
                     "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "shardLengths", lengths,
                     "numBytes", json_sprintf("%" PRId64, bytes));
}

/* dataset_info.json: the splits, and the keys of supervised training. */
static json_t *describe_set(const struct export_job *x)
{
    const dn_manifest *const m = x->writer.manifest;
    json_t *const splits = json_array();
    for (int s = 0; s < DN_SPLITS; s++)
        if (m->split[s].shards > 0)
            json_array_append_new(splits, describe_split(m, (dn_split_id)s));
    return json_pack("{s:s,s:s,s:s,s:o,s:{s:{s:[{s:s},{s:s}]}}}", "name", x->prefix, "version",
                     "1.0.0", "fileFormat", "tfrecord", "splits", splits, "supervisedKeys", "tuple",
                     "items", "featureKey", "image/encoded", "featureKey", "image/class/label");
}

/* Writes a side file, or in a trial compares it. */
static dn_status save_text(const struct export_job *x, const char *name, const char *text,
                           size_t size)
{
    char path[PATH_MAX];
    int same;
    DN_TRY(dn_join_path(path, x->options.out, name));
    DN_TRY(compare_file(x, name, text, size, x->owns_side, &same));
    return same || x->is_trial ? DN_OK : dn_file_write(path, text, size);
}

/* The same for JSON, which it takes over. */
static dn_status save_json(const struct export_job *x, const char *name, json_t *json)
{
    char *const text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    DN_CHECK(text, DN_ENOMEM, "%s: out of memory", name);
    const dn_status status = save_text(x, name, text, strlen(text));
    free(text);
    return status;
}

/* Saves the class names, one per line by label; slim expects the label before the name. */
static dn_status save_names(const struct export_job *x, const char *name, int with_label,
                            const char *const *names, int count)
{
    char *text = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&text, &size);
    for (int i = 0; stream && i < count; i++) {
        if (with_label)
            fprintf(stream, "%d:", i);
        fprintf(stream, "%s\n", names[i]);
    }
    const int good = stream && fclose(stream) == 0;
    const dn_status status =
        good ? save_text(x, name, text, size) : dn_fail(DN_ENOMEM, "%s: out of memory", name);
    free(text);
    return status;
}

static dn_status save_side_files(const struct export_job *x)
{
    const dn_manifest *const m = x->writer.manifest;
    DN_TRY(save_json(x, "features.json", describe_features(m)));
    if (!x->is_trial) /* it has the sizes of the TFRecords */
        DN_TRY(save_json(x, info_name, describe_set(x)));
    DN_TRY(save_names(x, "image.class.label.labels.txt", 0, m->class_names, m->info.classes));
    return save_names(x, "labels.txt", 1, m->class_names, m->info.classes);
}

/* Keeps what two exports of the same records have in common; in place the number of shards may
 * differ, as the records may have been made anew. */
static void drop_sizes(json_t *info, int in_place)
{
    json_t *split;
    size_t i;
    if (in_place)
        json_object_del(info, "splits");
    json_array_foreach(json_object_get(info, "splits"), i, split)
        json_object_del(split, "numBytes");
}

/* DN_EINVAL, before any TFRecord is written, if a side file is another program's. */
static dn_status check_side_files(struct export_job *x)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, x->options.out, info_name));
    if (access(path, F_OK) == 0) {
        json_t *found = NULL;
        const dn_status status = dn_json_load(&found, path);
        if (status != DN_ECORRUPT) /* a file that is not JSON is another program's */
            DN_TRY(status);
        json_t *const info = describe_set(x);
        drop_sizes(found, x->in_place);
        drop_sizes(info, x->in_place);
        const int is_ours = json_equal(found, info);
        json_decref(found);
        json_decref(info);
        DN_CHECK(is_ours, DN_EINVAL,
                 "%s: found that of other TFRecords; move it away, or name another --out", path);
        x->owns_side = x->in_place;
    }
    x->is_trial = 1;
    const dn_status status = save_side_files(x);
    x->is_trial = 0;
    return status;
}

/* ---- all of it ---- */

/* Refuses another folder that has records, whose TFRecords would be replaced. */
static dn_status check_out(struct export_job *x)
{
    const char *const out = x->options.out;
    char from[PATH_MAX], to[PATH_MAX], path[PATH_MAX];
    x->in_place = realpath(x->folder, from) && realpath(out, to) && strcmp(from, to) == 0;
    DN_TRY(dn_join_path(path, out, "dataset.json"));
    DN_CHECK(x->in_place || access(path, F_OK) != 0, DN_EINVAL,
             "--out: found records in %s, expected a folder without dataset.json", out);
    DN_TRY(dn_join_path(path, out, DN_JOURNAL_NAME));
    DN_CHECK(x->in_place || access(path, F_OK) != 0, DN_EINVAL,
             "--out: found records that are being made in %s, expected a folder without %s", out,
             DN_JOURNAL_NAME);
    return DN_OK;
}

/* *lacks = 1 if there are files to write, for which the shards are opened. */
static dn_status load_records(struct export_job *x, int *lacks)
{
    DN_TRY(dn_manifest_load(&x->writer.manifest, x->folder));
    DN_CHECK(x->writer.manifest->info.label_sets == 0, DN_EINVAL,
             "%s: found images with sets of classes, expected one class each, as a TFRecord has",
             x->folder);
    find_prefix(x);
    *lacks = lacks_file(x);
    for (int s = 0; *lacks && s < DN_SPLITS; s++)
        if (x->writer.manifest->split[s].shards > 0)
            DN_TRY(dn_shards_open(&x->shards[s], x->folder, (dn_split_id)s));
    return DN_OK;
}

static dn_status export_records(struct export_job *x)
{
    int lock = -1, made = 0, lacks;
    dn_status status;
    dn_manifest *there; /* the manifest before the lock, as others may still replace the records */
    DN_TRY(dn_manifest_load(&there, x->folder));
    free(there);
    DN_TRY(check_out(x));
    DN_TRY(dn_make_folders_counted(x->options.out, &made));
    DN_TRY_OR_DONE(dn_writer_lock(x->options.out, 0, &lock));
    DN_TRY_OR_DONE(load_records(x, &lacks));
    DN_TRY_OR_DONE(check_side_files(x));
    if (lacks)
        DN_TRY_OR_DONE(export_shards(x));
    DN_TRY_OR_DONE(save_side_files(x));
done:
    dn_writer_unlock(x->options.out, lock);
    if (status != DN_OK)
        dn_remove_folders(x->options.out, made);
    return status;
}

dn_status dn_to_tfrecord(const char *folder, const char *out, int *made)
{
    struct export_job x = {.options = {.out = out ? out : folder}, .folder = folder};
    x.writer.options = &x.options;
    const dn_status status = export_records(&x);
    *made = x.made;
    for (int s = 0; s < DN_SPLITS; s++)
        dn_shards_close(&x.shards[s]);
    dn_writer_end(&x.writer);
    return status;
}
