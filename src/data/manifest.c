/*
 * dataset.json, read and written with jansson; see include/dn/shard.h.
 *
 * What is loaded is checked in full (ranges, sums, plain file names), so that its users need not.
 */
#include "dn/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "dn/file.h"

static const char file_name[] = "dataset.json";
static const char format_name[] = "dn_dist data set";

const char *dn_split_name(dn_split_id split)
{
    return split == DN_TRAIN ? "train" : "test";
}

void dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                         dn_shard_attribute list[DN_SHARD_ATTRIBUTES])
{
    const dn_shard_attribute attributes[DN_SHARD_ATTRIBUTES] = {
        {"format", "dn_dist image shard", 0, DN_ECORRUPT},
        {"format_version", NULL, DN_SHARD_FORMAT_VERSION, DN_EINVAL},
        {"dataset", manifest->info.dataset, 0, DN_ECORRUPT},
        {"split", dn_split_name(shard->split), 0, DN_ECORRUPT},
        {"shard_index", NULL, shard->index, DN_ECORRUPT},
        {"shard_count", NULL, manifest->split[shard->split].shards, DN_ECORRUPT},
        {"count", NULL, shard->count, DN_ECORRUPT}};
    memcpy(list, attributes, sizeof attributes);
}

dn_status dn_manifest_create(dn_manifest **manifest, const dn_shard_info *info,
                             const int shards[DN_SPLITS])
{
    const int count = shards[DN_TRAIN] + shards[DN_TEST];
    dn_manifest *const m = *manifest =
        calloc(1, sizeof *m + (size_t)count * sizeof(dn_manifest_shard));
    DN_CHECK(m, DN_ENOMEM, "out of memory for a data set's description");
    m->info = *info;
    m->shards = count;
    dn_manifest_shard *next = m->shard;
    for (int s = 0; s < DN_SPLITS; s++) {
        m->split[s] = (dn_manifest_split){.shards = shards[s], .shard = next};
        for (int i = 0; i < shards[s]; i++)
            *next++ = (dn_manifest_shard){.split = (dn_split_id)s, .index = i};
    }
    return DN_OK;
}

static dn_status parse_hash(uint64_t *hash, const char *what, const char *text)
{
    char *end;
    *hash = strtoull(text, &end, 16);
    DN_CHECK(strlen(text) == 16 && *end == '\0', DN_ECORRUPT,
             "%s: found the checksum \"%s\", expected 16 hex digits", what, text);
    return DN_OK;
}

static dn_status parse_file(dn_manifest_file *file, json_t *json)
{
    const char *name, *hash;
    json_int_t bytes;
    json_error_t error;
    DN_CHECK(json_unpack_ex(json, &error, 0, "{s:s,s:I,s:s}", "file", &name, "bytes", &bytes,
                            "xxh3", &hash) == 0,
             DN_ECORRUPT, "a shard's entry is not valid: %s", error.text);
    DN_CHECK(strlen(name) < sizeof file->name && !strchr(name, '/') && name[0] != '.', DN_ECORRUPT,
             "found the file name \"%s\", expected a plain one", name);
    strcpy(file->name, name);
    file->bytes = bytes;
    return parse_hash(&file->hash, name, hash);
}

static dn_status parse_split(dn_manifest_split *split, const json_t *shards, int64_t count)
{
    for (int i = 0; i < split->shards; i++) {
        dn_manifest_shard *const shard = &split->shard[i];
        json_t *const entry = json_array_get(shards, (size_t)i);
        DN_TRY(parse_file(&shard->hdf5, entry));
        DN_TRY(parse_file(&shard->tfrecord, json_object_get(entry, "tfrecord")));
        shard->first = split->count;
        shard->count = json_integer_value(json_object_get(entry, "count"));
        DN_CHECK(shard->count >= 1, DN_ECORRUPT,
                 "%s: found a count of %" PRId64 ", expected at least 1", shard->hdf5.name,
                 shard->count);
        split->count += shard->count;
    }
    DN_CHECK(split->count == count, DN_ECORRUPT,
             "found shards with %" PRId64 " images, expected %" PRId64 " as \"count\" says",
             split->count, count);
    return DN_OK;
}

static dn_status parse_channels(double *x, int channels, const json_t *array)
{
    for (int c = 0; c < channels; c++) {
        const json_t *const number = json_array_get(array, (size_t)c);
        DN_CHECK(json_is_number(number), DN_ECORRUPT,
                 "\"mean\" and \"std\" must each hold %d numbers", channels);
        x[c] = json_number_value(number);
    }
    return DN_OK;
}

/* Only the first two keys keep their meaning in every version. */
static dn_status check_version(json_t *root)
{
    const char *format = "";
    int version = 0;
    json_unpack(root, "{s?s,s?i}", "format", &format, "format_version", &version);
    DN_CHECK(strcmp(format, format_name) == 0, DN_ECORRUPT,
             "found the format \"%s\", expected \"%s\"", format, format_name);
    DN_CHECK(version == DN_SHARD_FORMAT_VERSION, DN_EINVAL,
             "found format_version %d, expected %d; delete the folder and make it again with this "
             "version's create_records",
             version, DN_SHARD_FORMAT_VERSION);
    return DN_OK;
}

static dn_status check_info(const dn_shard_info *info, const char *name)
{
    DN_CHECK(strlen(name) < sizeof info->dataset, DN_ECORRUPT,
             "found a name of %zu bytes, expected at most %zu", strlen(name),
             sizeof info->dataset - 1);
    DN_CHECK(info->channels >= 1 && info->channels <= DN_MAX_IMAGE_CHANNELS && info->height >= 1 &&
                 info->height <= 65535 && info->width >= 1 && info->width <= 65535 &&
                 info->classes >= 1 && info->classes <= 65535,
             DN_ECORRUPT, "found %dx%dx%d images of %d classes, expected 1 to %d channels",
             info->channels, info->height, info->width, info->classes, DN_MAX_IMAGE_CHANNELS);
    return DN_OK;
}

static dn_status parse_manifest(dn_manifest **manifest, json_t *root)
{
    dn_shard_info info = {0};
    const char *name, *source = "0000000000000000";
    int level, shards[DN_SPLITS];
    json_t *names, *mean, *std, *list[DN_SPLITS];
    json_int_t count[DN_SPLITS];
    json_error_t error;
    DN_TRY(check_version(root));
    DN_CHECK(json_unpack_ex(root, &error, 0,
                            "{s:s,s?s,s:i,s:i,s:i,s:i,s:i,s:o,s:o,s:o,s:{s:{s:I,s:o},s:{s:I,s:o}}}",
                            "dataset", &name, "source", &source, "channels", &info.channels,
                            "height", &info.height, "width", &info.width, "classes", &info.classes,
                            "zstd_level", &level, "class_names", &names, "mean", &mean, "std", &std,
                            "splits", "train", "count", &count[DN_TRAIN], "shards", &list[DN_TRAIN],
                            "test", "count", &count[DN_TEST], "shards", &list[DN_TEST]) == 0,
             DN_ECORRUPT, "not valid: %s", error.text);
    DN_TRY(check_info(&info, name));
    strcpy(info.dataset, name);
    DN_CHECK(json_array_size(names) == (size_t)info.classes, DN_ECORRUPT,
             "found %zu class names, expected %d", json_array_size(names), info.classes);
    DN_TRY(parse_channels(info.mean, info.channels, mean));
    DN_TRY(parse_channels(info.std, info.channels, std));
    for (int s = 0; s < DN_SPLITS; s++) {
        shards[s] = (int)json_array_size(list[s]);
        DN_CHECK(shards[s] >= 1, DN_ECORRUPT, "found no %s shards, expected at least 1",
                 dn_split_name(s));
    }
    DN_TRY(dn_manifest_create(manifest, &info, shards));
    (*manifest)->zstd_level = level;
    DN_TRY(parse_hash(&(*manifest)->source, "source", source));
    for (int s = 0; s < DN_SPLITS; s++)
        DN_TRY(parse_split(&(*manifest)->split[s], list[s], count[s]));
    return DN_OK;
}

dn_status dn_manifest_load(dn_manifest **manifest, const char *folder)
{
    char path[PATH_MAX];
    json_error_t error;
    *manifest = NULL;
    DN_TRY(dn_join_path(path, folder, file_name));
    DN_CHECK(access(path, F_OK) == 0, DN_ENOENT,
             "%s: %s; make the data set with create_records NAME --out %s", path, strerror(errno),
             folder);
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    DN_CHECK(root, DN_ECORRUPT, "%s: line %d is not valid JSON: %s", path, error.line, error.text);
    const dn_status status = parse_manifest(manifest, root);
    json_decref(root);
    if (status == DN_OK)
        return DN_OK;
    free(*manifest);
    *manifest = NULL;
    return dn_fail(status, "%s: %s", path, dn_message());
}

static json_t *file_to_json(const dn_manifest_file *file)
{
    return json_pack("{s:s,s:I,s:o}", "file", file->name, "bytes", (json_int_t)file->bytes, "xxh3",
                     json_sprintf("%016" PRIx64, file->hash));
}

static json_t *split_to_json(const dn_manifest_split *split)
{
    json_t *const shards = json_array();
    for (int i = 0; i < split->shards; i++) {
        json_t *const shard = file_to_json(&split->shard[i].hdf5);
        json_object_set_new(shard, "count", json_integer(split->shard[i].count));
        json_object_set_new(shard, "tfrecord", file_to_json(&split->shard[i].tfrecord));
        json_array_append_new(shards, shard);
    }
    return json_pack("{s:I,s:o}", "count", (json_int_t)split->count, "shards", shards);
}

static json_t *to_json(const dn_manifest *m)
{
    json_t *const names = json_array(), *const mean = json_array(), *const std = json_array();
    for (int i = 0; i < m->info.classes; i++)
        json_array_append_new(names, json_string(m->class_names[i]));
    for (int c = 0; c < m->info.channels; c++) {
        json_array_append_new(mean, json_real(m->info.mean[c]));
        json_array_append_new(std, json_real(m->info.std[c]));
    }
    return json_pack("{s:s,s:i,s:s,s:o,s:i,s:i,s:i,s:i,s:i,s:o,s:o,s:o,s:{s:o,s:o}}", "format",
                     format_name, "format_version", DN_SHARD_FORMAT_VERSION, "dataset",
                     m->info.dataset, "source", json_sprintf("%016" PRIx64, m->source), "channels",
                     m->info.channels, "height", m->info.height, "width", m->info.width, "classes",
                     m->info.classes, "zstd_level", m->zstd_level, "class_names", names, "mean",
                     mean, "std", std, "splits", "train", split_to_json(&m->split[DN_TRAIN]),
                     "test", split_to_json(&m->split[DN_TEST]));
}

dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, file_name));
    json_t *const root = to_json(manifest);
    char *const text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(root);
    DN_CHECK(text, DN_ENOMEM, "%s: out of memory", path);
    const dn_status status = dn_file_write(path, text, strlen(text));
    free(text);
    return status;
}

dn_status dn_manifest_check(const char *path, const dn_manifest_file *expected)
{
    int file;
    int64_t bytes;
    uint64_t hash;
    dn_status status = dn_file_open(path, &file, &bytes);
    if (status == DN_OK)
        status = dn_file_hash(file, path, bytes, &hash);
    if (file >= 0)
        close(file);
    if (status != DN_OK || (bytes == expected->bytes && hash == expected->hash))
        return status;
    return dn_fail(DN_ECORRUPT,
                   "%s: found %" PRId64 " bytes with checksum %016" PRIx64 ", expected %" PRId64
                   " with %016" PRIx64 " (damaged)",
                   path, bytes, hash, expected->bytes, expected->hash);
}
