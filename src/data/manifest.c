/*
 * dataset.json, read and written with jansson; see include/dn/shard.h.
 *
 * What is loaded is checked in full (members, ranges, sums, plain file names), so that its users
 * need not: no product of an image's bytes and a count overflows, and no count asks for more memory
 * than the files' sizes can account for.
 */
#include "dn/shard.h"

#include <dirent.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/json.h"

static const char file_name[] = "dataset.json";
static const char format_name[] = "dn_dist data set";

/* The file's last line but the brace, and that: after it nothing, before it what it vouches for. */
static const char seal_format[] = "  \"xxh3\": \"%016" PRIx64 "\"\n}\n";

enum {
    SEALED_VERSION = 2,    /* version 1 has no seal, and no "source" */
    CHOICE_VERSION = 3,    /* until then pixel shards alone, and all of them, had TFRecords */
    VAL_VERSION = 4,       /* has a val split */
    SEAL_BYTES = 31,       /* of seal_format */
    MOST_NAME_BYTES = 255, /* of a class name */
    ENCODED_BYTES = 27,    /* the least of an image: one, its place, size, checksum and label */
};

const char *dn_split_name(dn_split_id split)
{
    static const char *const names[DN_SPLITS] = {"train", "test", "val"};
    return names[split];
}

int dn_shard_attributes(const dn_manifest *manifest, const dn_manifest_shard *shard,
                        dn_shard_attribute list[DN_SHARD_ATTRIBUTES])
{
    const dn_shard_attribute attributes[DN_SHARD_ATTRIBUTES] = {
        {.name = "format",
         .text = dn_is_encoded(&manifest->info) ? "dn_dist encoded image shard"
                                                : "dn_dist image shard"},
        {.name = "format_version", .integer = DN_SHARD_FORMAT_VERSION},
        {.name = "dataset", .text = manifest->info.dataset},
        {.name = "split", .text = dn_split_name(shard->split)},
        {.name = "shard_index", .integer = shard->index},
        {.name = "shard_count", .integer = manifest->split[shard->split].shards},
        {.name = "count", .integer = shard->count},
        {.name = "mean", .channels = manifest->info.mean},
        {.name = "std", .channels = manifest->info.std}};
    memcpy(list, attributes, sizeof attributes);
    return DN_SHARD_ATTRIBUTES - (dn_is_encoded(&manifest->info) ? 2 : 0);
}

/* A manifest with room for the shards and, behind them, so many bytes. */
static dn_status allocate(dn_manifest **manifest, const dn_shard_info *info,
                          const int shards[DN_SPLITS], size_t more)
{
    size_t count = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        count += (size_t)shards[s];
    dn_manifest *const m = *manifest =
        calloc(1, sizeof *m + count * sizeof(dn_manifest_shard) + more);
    DN_CHECK(m, DN_ENOMEM, "out of memory for a data set's description");
    m->info = *info;
    m->shards = (int)count;
    dn_manifest_shard *next = m->shard;
    for (int s = 0; s < DN_SPLITS; s++) {
        m->split[s] = (dn_manifest_split){.shards = shards[s], .shard = next};
        for (int i = 0; i < shards[s]; i++)
            *next++ = (dn_manifest_shard){.split = (dn_split_id)s, .index = i};
    }
    return DN_OK;
}

dn_status dn_manifest_create(dn_manifest **manifest, const dn_shard_info *info,
                             const int shards[DN_SPLITS])
{
    return allocate(manifest, info, shards, 0);
}

/* Only lower-case digits, as they are written. */
static dn_status parse_hash(uint64_t *hash, const char *what, const char *text)
{
    DN_CHECK(strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16, DN_ECORRUPT,
             "%s: found the checksum \"%s\", expected 16 hex digits", what, text);
    *hash = strtoull(text, NULL, 16);
    return DN_OK;
}

static dn_status check_integer(const char *what, json_int_t found, int64_t least, int64_t most)
{
    DN_CHECK(found >= least && found <= most, DN_ECORRUPT,
             "%s: found %" JSON_INTEGER_FORMAT ", expected %" PRId64 " to %" PRId64, what, found,
             least, most);
    return DN_OK;
}

static dn_status parse_file(dn_manifest_file *file, const char *name, json_int_t bytes,
                            const char *hash)
{
    DN_CHECK(strlen(name) < sizeof file->name && !strchr(name, '/') && name[0] != '.' && name[0] &&
                 dn_is_one_line(name),
             DN_ECORRUPT, "found the file name \"%s\", expected a plain one", name);
    strcpy(file->name, name);
    DN_TRY(check_integer(name, bytes, 1, INT64_C(1) << 46));
    file->bytes = bytes;
    return parse_hash(&file->hash, name, hash);
}

/* The labels stand in the file as they are, the images as zstd frames, or encoded (`image` is 0).
 */
static dn_status check_count(const dn_manifest_shard *shard, json_int_t count, size_t image)
{
    const char *const name = shard->hdf5.name;
    const int64_t bytes = shard->hdf5.bytes;
    const int64_t most_labels = bytes / (int64_t)sizeof(uint16_t);
    const int64_t most_images =
        image > 0 ? (bytes << DN_SHARD_EXPANSION_BITS) / (int64_t)image : bytes / ENCODED_BYTES;
    DN_TRY(check_integer(name, count, 1, UINT32_MAX));
    DN_CHECK(count <= most_labels && count <= most_images, DN_ECORRUPT,
             "%s: found %" JSON_INTEGER_FORMAT " images of %zu bytes, expected at most %" PRId64
             " in a file of %" PRId64 " bytes",
             name, count, image, most_labels < most_images ? most_labels : most_images, bytes);
    return DN_OK;
}

static dn_status parse_shard(dn_manifest_shard *shard, json_t *entry, size_t image, int version)
{
    const char *name[2] = {NULL}, *hash[2];
    json_int_t bytes[2], count;
    json_error_t error;
    DN_CHECK(json_unpack_ex(entry, &error, JSON_STRICT, "{s:s,s:I,s:s,s:I,s?{s:s,s:I,s:s}}", "file",
                            &name[0], "bytes", &bytes[0], "xxh3", &hash[0], "count", &count,
                            "tfrecord", "file", &name[1], "bytes", &bytes[1], "xxh3",
                            &hash[1]) == 0,
             DN_ECORRUPT, "a shard's entry is not valid: %s", error.text);
    DN_TRY(parse_file(&shard->hdf5, name[0], bytes[0], hash[0]));
    DN_CHECK(version >= CHOICE_VERSION || (name[1] != NULL) == (image > 0), DN_ECORRUPT,
             "%s: found %s tfrecord in format_version %d, expected one where images have one size "
             "only",
             shard->hdf5.name, name[1] ? "a" : "no", version);
    if (name[1])
        DN_TRY(parse_file(&shard->tfrecord, name[1], bytes[1], hash[1]));
    DN_TRY(check_count(shard, count, image));
    shard->count = count;
    return DN_OK;
}

static dn_status parse_split(dn_manifest_split *split, const json_t *shards, json_int_t count,
                             size_t image, int version)
{
    for (int i = 0; i < split->shards; i++) {
        dn_manifest_shard *const shard = &split->shard[i];
        DN_TRY(parse_shard(shard, json_array_get(shards, (size_t)i), image, version));
        shard->first = split->count;
        split->count += shard->count; /* of 2^23 shards at most */
    }
    DN_CHECK(split->count == count, DN_ECORRUPT,
             "found shards with %" PRId64 " images, expected %" JSON_INTEGER_FORMAT
             " as \"count\" says",
             split->count, count);
    return check_integer("\"count\"", count, 1, UINT32_MAX);
}

static dn_status parse_channels(double *x, const char *what, int channels, const json_t *array)
{
    DN_CHECK(json_array_size(array) == (size_t)channels, DN_ECORRUPT,
             "\"%s\": found %zu numbers, expected %d numbers", what, json_array_size(array),
             channels);
    for (int c = 0; c < channels; c++) {
        const json_t *const number = json_array_get(array, (size_t)c);
        DN_CHECK(json_is_number(number), DN_ECORRUPT, "\"%s\" must hold %d numbers", what,
                 channels);
        x[c] = json_number_value(number);
    }
    return DN_OK;
}

/* Pixels are between 0 and 1, and are divided by std as a float. */
static dn_status check_statistics(const dn_shard_info *info)
{
    for (int c = 0; c < info->channels; c++) {
        DN_CHECK(info->mean[c] >= 0 && info->mean[c] <= 1, DN_ECORRUPT,
                 "channel %d: found a mean of %g, expected 0 to 1", c, info->mean[c]);
        DN_CHECK(info->std[c] >= 1e-12 && info->std[c] <= 1, DN_ECORRUPT,
                 "channel %d: found a std of %g, expected one above 0 and up to 1", c,
                 info->std[c]);
    }
    return DN_OK;
}

/* Only the first two keys keep their meaning in every version. */
static dn_status check_version(json_t *root, int *version)
{
    const char *format = "";
    json_int_t found = 0;
    json_unpack(root, "{s?s,s?I}", "format", &format, "format_version", &found);
    DN_CHECK(strcmp(format, format_name) == 0, DN_ECORRUPT,
             "found the format \"%s\", expected \"%s\"", format, format_name);
    DN_CHECK(found >= 1 && found <= VAL_VERSION, DN_EINVAL,
             "found format_version %" JSON_INTEGER_FORMAT
             ", expected 1 to %d; delete the folder and make it again with this version's "
             "create_records",
             found, VAL_VERSION);
    *version = (int)found;
    return DN_OK;
}

/* The bytes are those that create_records wrote. */
static dn_status check_seal(const char *text, size_t size)
{
    char seal[SEAL_BYTES + 1];
    const size_t content = size > SEAL_BYTES ? size - SEAL_BYTES : 0;
    const uint64_t hash = XXH3_64bits(text, content);
    snprintf(seal, sizeof seal, seal_format, hash);
    DN_CHECK(content > 0 && memcmp(text + content, seal, SEAL_BYTES) == 0, DN_ECORRUPT,
             "found bytes of checksum %016" PRIx64
             ", expected those that its last line vouches for; make it again, create_records "
             "alone may write it",
             hash);
    return DN_OK;
}

/* The members of dataset.json, as jansson takes them apart. */
struct members {
    const char *format, *name, *source, *conversion, *seal;
    json_int_t version, channels, height, width, classes, level, count[DN_SPLITS];
    json_t *names, *mean, *std, *shards[DN_SPLITS];
};

static dn_status unpack_members(struct members *m, json_t *root)
{
    json_error_t error;
    *m = (struct members){0};
    DN_CHECK(json_unpack_ex(root, &error, JSON_STRICT,
                            "{s:s,s:I,s:s,s?s,s?s,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,"
                            "s:{s:{s:I,s:o},s:{s:I,s:o},s?{s:I,s:o}},s?s}",
                            "format", &m->format, "format_version", &m->version, "dataset",
                            &m->name, "source", &m->source, "conversion", &m->conversion,
                            "channels", &m->channels, "height", &m->height, "width", &m->width,
                            "classes", &m->classes, "zstd_level", &m->level, "class_names",
                            &m->names, "mean", &m->mean, "std", &m->std, "splits", "train", "count",
                            &m->count[DN_TRAIN], "shards", &m->shards[DN_TRAIN], "test", "count",
                            &m->count[DN_TEST], "shards", &m->shards[DN_TEST], "val", "count",
                            &m->count[DN_VAL], "shards", &m->shards[DN_VAL], "xxh3", &m->seal) == 0,
             DN_ECORRUPT, "not valid: %s", error.text);
    const int sealed = m->version >= SEALED_VERSION;
    DN_CHECK((m->source != NULL) == sealed && (m->seal != NULL) == sealed, DN_ECORRUPT,
             "found format_version %d %s \"source\" or \"xxh3\", expected both from version %d on",
             (int)m->version, sealed ? "without" : "with", SEALED_VERSION);
    DN_CHECK((m->shards[DN_VAL] != NULL) == (m->version >= VAL_VERSION), DN_ECORRUPT,
             "found format_version %d %s a val split, expected one from version %d on",
             (int)m->version, m->shards[DN_VAL] ? "with" : "without", VAL_VERSION);
    return DN_OK;
}

static dn_status parse_info(dn_shard_info *info, const struct members *m)
{
    DN_CHECK(strlen(m->name) < sizeof info->dataset && dn_is_one_line(m->name), DN_ECORRUPT,
             "found the data set \"%s\", expected a name of at most %zu bytes", m->name,
             sizeof info->dataset - 1);
    strcpy(info->dataset, m->name);
    DN_TRY(check_integer("channels", m->channels, 1, DN_MAX_IMAGE_CHANNELS));
    const int is_encoded =
        m->version >= SEALED_VERSION && m->height == 0 && m->width == 0 && m->channels == 3;
    DN_TRY(check_integer("height", m->height, !is_encoded, DN_SHARD_CHUNK_BYTES));
    DN_TRY(check_integer("width", m->width, !is_encoded, DN_SHARD_CHUNK_BYTES));
    DN_TRY(check_integer("classes", m->classes, 1, DN_MAX_CLASSES));
    DN_TRY(check_integer("zstd_level", m->level, 1, 22));
    info->channels = (int)m->channels;
    info->height = (int)m->height;
    info->width = (int)m->width;
    info->classes = (int)m->classes;
    DN_CHECK(dn_image_values(info) <= DN_SHARD_CHUNK_BYTES, DN_ECORRUPT,
             "found %dx%dx%d images, expected at most %d bytes", info->channels, info->height,
             info->width, DN_SHARD_CHUNK_BYTES);
    DN_TRY(parse_channels(info->mean, "mean", info->channels, m->mean));
    DN_TRY(parse_channels(info->std, "std", info->channels, m->std));
    return check_statistics(info);
}

/* The names are `classes` different ones; *bytes = of all, with their closing zeros. */
static dn_status check_names(const json_t *names, int classes, size_t *bytes)
{
    *bytes = 0;
    DN_CHECK(json_array_size(names) == (size_t)classes, DN_ECORRUPT,
             "found %zu class names, expected %d", json_array_size(names), classes);
    json_t *const different = json_object();
    dn_status status = DN_OK;
    for (int i = 0; i < classes && status == DN_OK; i++) {
        const json_t *const entry = json_array_get(names, (size_t)i);
        const char *const name = json_is_string(entry) ? json_string_value(entry) : "";
        const size_t length = strlen(name);
        *bytes += length + 1;
        if (length < 1 || length > MOST_NAME_BYTES || !dn_is_one_line(name))
            status = dn_fail(DN_ECORRUPT,
                             "class name %d: found \"%s\", expected a text of 1 to %d bytes", i,
                             name, MOST_NAME_BYTES);
        else if (json_object_get(different, name))
            status = dn_fail(DN_ECORRUPT, "class name %d: found \"%s\" a second time", i, name);
        else if (json_object_set_new(different, name, json_null()) != 0)
            status = dn_fail(DN_ENOMEM, "out of memory for %d class names", classes);
    }
    json_decref(different);
    return status;
}

/* The manifest with its class names behind the shards, in the one block. */
static dn_status create_loaded(dn_manifest **manifest, const dn_shard_info *info,
                               const int shards[DN_SPLITS], const json_t *names)
{
    size_t bytes;
    DN_TRY(check_names(names, info->classes, &bytes));
    DN_TRY(allocate(manifest, info, shards, (size_t)info->classes * sizeof(char *) + bytes));
    const char **const list = (const char **)&(*manifest)->shard[(*manifest)->shards];
    char *text = (char *)(list + info->classes);
    for (int i = 0; i < info->classes; i++) {
        list[i] = strcpy(text, json_string_value(json_array_get(names, (size_t)i)));
        text += strlen(text) + 1;
    }
    (*manifest)->class_names = list;
    return DN_OK;
}

dn_status dn_manifest_describe(dn_manifest **manifest, const dn_shard_info *info,
                               const json_t *names)
{
    *manifest = NULL;
    return create_loaded(manifest, info, (const int[DN_SPLITS]){0}, names);
}

int dn_manifest_is_same(const dn_manifest *a, const dn_manifest *b)
{
    const dn_shard_info *const x = &a->info, *const y = &b->info;
    const size_t numbers = (size_t)x->channels * sizeof *x->mean;
    int is_same = strcmp(x->dataset, y->dataset) == 0 && x->channels == y->channels &&
                  x->height == y->height && x->width == y->width && x->classes == y->classes &&
                  memcmp(x->mean, y->mean, numbers) == 0 && memcmp(x->std, y->std, numbers) == 0 &&
                  a->source == b->source;
    for (int s = 0; s < DN_SPLITS; s++)
        is_same = is_same && a->split[s].count == b->split[s].count;
    for (int c = 0; is_same && c < x->classes; c++)
        is_same = strcmp(a->class_names[c], b->class_names[c]) == 0;
    return is_same;
}

/* Only encoded images may have been converted. */
static dn_status parse_conversion(dn_manifest *manifest, const char *text)
{
    DN_CHECK(strlen(text) < sizeof manifest->conversion && dn_is_one_line(text) &&
                 (!*text || dn_is_encoded(&manifest->info)),
             DN_ECORRUPT, "conversion: found \"%s\", expected a text of at most %zu bytes", text,
             sizeof manifest->conversion - 1);
    strcpy(manifest->conversion, text);
    return DN_OK;
}

static dn_status parse_manifest(dn_manifest **manifest, json_t *root)
{
    struct members m;
    dn_shard_info info = {0};
    int shards[DN_SPLITS];
    DN_TRY(unpack_members(&m, root));
    DN_TRY(parse_info(&info, &m));
    for (int s = 0; s < DN_SPLITS; s++) {
        shards[s] = (int)json_array_size(m.shards[s]);
        DN_CHECK(shards[s] >= 1 || !m.shards[s], DN_ECORRUPT,
                 "found no %s shards, expected at least 1", dn_split_name((dn_split_id)s));
    }
    DN_TRY(create_loaded(manifest, &info, shards, m.names));
    DN_TRY(parse_conversion(*manifest, m.conversion ? m.conversion : ""));
    (*manifest)->zstd_level = (int)m.level;
    if (m.source)
        DN_TRY(parse_hash(&(*manifest)->source, "source", m.source));
    for (int s = 0; s < DN_SPLITS && m.shards[s]; s++)
        DN_TRY(parse_split(&(*manifest)->split[s], m.shards[s], m.count[s], dn_image_values(&info),
                           (int)m.version));
    return DN_OK;
}

static dn_status parse_text(dn_manifest **manifest, const char *text, size_t size)
{
    json_error_t error;
    int version = 0;
    json_t *const root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    DN_CHECK(root, DN_ECORRUPT, "line %d is not valid JSON: %s", error.line, error.text);
    dn_status status = check_version(root, &version);
    if (status == DN_OK && version >= SEALED_VERSION)
        status = check_seal(text, size);
    if (status == DN_OK)
        status = parse_manifest(manifest, root);
    json_decref(root);
    if (status == DN_OK)
        (*manifest)->hash = XXH3_64bits(text, size);
    return status;
}

/* Whether an entry of `folder` is a folder of records, whose path is then in `path`. */
static int find_below(const char *folder, char path[PATH_MAX])
{
    char file[PATH_MAX];
    int is_found = 0;
    DIR *const entries = opendir(folder);
    for (const struct dirent *e; !is_found && entries && (e = readdir(entries));)
        is_found = e->d_name[0] != '.' && dn_join_path(path, folder, e->d_name) == DN_OK &&
                   dn_join_path(file, path, file_name) == DN_OK && access(file, F_OK) == 0;
    if (entries)
        closedir(entries);
    return is_found;
}

/* `status` of reading the manifest, which is not there: what the folder may be instead. */
static dn_status tell_missing(dn_status status, const char *folder)
{
    char below[PATH_MAX], parent[PATH_MAX];
    if (!dn_is_folder(folder)) {
        snprintf(parent, sizeof parent, "%s", folder);
        const int is_near = find_below(dirname(parent), below);
        return dn_fail(status, "%s; make the data set with create_records NAME --out %s%s%s",
                       dn_message(), folder, is_near ? "; there is one in " : "",
                       is_near ? below : "");
    }
    if (find_below(folder, below))
        return dn_fail(status, "%s: found no %s, but one in %s, expected that folder", folder,
                       file_name, below);
    return dn_fail(status,
                   "%s: found a folder without %s, expected records; make them with create_records "
                   "FOLDER --source %s --out DIR, or of a known data set with its name for FOLDER",
                   folder, file_name, folder);
}

dn_status dn_manifest_read(uint8_t **text, size_t *size, const char *folder)
{
    char path[PATH_MAX];
    *text = NULL;
    DN_TRY(dn_join_path(path, folder, file_name));
    const dn_status status = dn_file_load_most(path, DN_MANIFEST_BYTES, text, size);
    return status == DN_ENOENT ? tell_missing(status, folder) : status;
}

dn_status dn_manifest_parse(dn_manifest **manifest, const char *what, const uint8_t *text,
                            size_t size)
{
    *manifest = NULL;
    const dn_status status = parse_text(manifest, (const char *)text, size);
    if (status == DN_OK)
        return DN_OK;
    free(*manifest);
    *manifest = NULL;
    return dn_fail(status, "%s: %s", what, dn_message());
}

dn_status dn_manifest_load(dn_manifest **manifest, const char *folder)
{
    char path[PATH_MAX];
    uint8_t *text;
    size_t size;
    *manifest = NULL;
    DN_TRY(dn_manifest_read(&text, &size, folder));
    DN_TRY(dn_join_path(path, folder, file_name));
    const dn_status status = dn_manifest_parse(manifest, path, text, size);
    free(text);
    return status;
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
        if (split->shard[i].tfrecord.name[0])
            json_object_set_new(shard, "tfrecord", file_to_json(&split->shard[i].tfrecord));
        json_array_append_new(shards, shard);
    }
    return json_pack("{s:I,s:o}", "count", (json_int_t)split->count, "shards", shards);
}

/* The oldest that can say it. */
static int choose_version(const dn_manifest *m)
{
    if (m->split[DN_VAL].shards > 0)
        return VAL_VERSION;
    for (int i = 0; i < m->shards; i++)
        if ((m->shard[i].tfrecord.name[0] != '\0') == dn_is_encoded(&m->info))
            return CHOICE_VERSION;
    return SEALED_VERSION;
}

static json_t *to_json(const dn_manifest *m)
{
    json_t *const names = json_array();
    for (int i = 0; i < m->info.classes; i++)
        json_array_append_new(names, json_string(m->class_names[i]));
    return json_pack("{s:s,s:i,s:s,s:o,s:s*,s:i,s:i,s:i,s:i,s:i,s:o,s:o,s:o,s:{s:o,s:o,s:o*}}",
                     "format", format_name, "format_version", choose_version(m), "dataset",
                     m->info.dataset, "source", json_sprintf("%016" PRIx64, m->source),
                     "conversion", m->conversion[0] ? m->conversion : NULL, "channels",
                     m->info.channels, "height", m->info.height, "width", m->info.width, "classes",
                     m->info.classes, "zstd_level", m->zstd_level, "class_names", names, "mean",
                     dn_json_numbers(m->info.mean, m->info.channels), "std",
                     dn_json_numbers(m->info.std, m->info.channels), "splits", "train",
                     split_to_json(&m->split[DN_TRAIN]), "test", split_to_json(&m->split[DN_TEST]),
                     "val", m->split[DN_VAL].shards > 0 ? split_to_json(&m->split[DN_VAL]) : NULL);
}

dn_status dn_manifest_save(const dn_manifest *manifest, const char *folder)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, file_name));
    json_t *const root = to_json(manifest);
    char *const text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)), *sealed;
    json_decref(root);
    DN_CHECK(text, DN_ENOMEM, "%s: out of memory", path);
    const size_t content = strlen(text);
    memcpy(text + content - 2, ",\n", 2); /* in place of "\n}" */
    sealed = realloc(text, content + SEAL_BYTES + 1);
    if (sealed)
        snprintf(sealed + content, SEAL_BYTES + 1, seal_format, XXH3_64bits(sealed, content));
    const dn_status status = sealed ? dn_file_write(path, sealed, content + SEAL_BYTES)
                                    : dn_fail(DN_ENOMEM, "%s: out of memory", path);
    free(sealed ? sealed : text);
    return status;
}

dn_status dn_manifest_check_size(const char *path, const dn_manifest_file *expected)
{
    int64_t bytes;
    DN_TRY(dn_file_size(path, &bytes));
    DN_CHECK(bytes == expected->bytes, DN_ECORRUPT,
             "%s: found %" PRId64 " bytes, expected %" PRId64, path, bytes, expected->bytes);
    return DN_OK;
}

dn_status dn_manifest_check(const char *path, const dn_manifest_file *expected)
{
    int file;
    int64_t bytes;
    uint64_t hash = 0;
    dn_status status = dn_file_open(path, &file, &bytes);
    const int is_as_long = status == DN_OK && bytes == expected->bytes;
    if (is_as_long)
        status = dn_file_hash(file, path, bytes, &hash);
    if (file >= 0)
        close(file);
    DN_TRY(status);
    DN_CHECK(is_as_long, DN_ECORRUPT, "%s: found %" PRId64 " bytes, expected %" PRId64 " (damaged)",
             path, bytes, expected->bytes);
    DN_CHECK(hash == expected->hash, DN_ECORRUPT,
             "%s: found bytes of checksum %016" PRIx64 ", expected %016" PRIx64 " (damaged)", path,
             hash, expected->hash);
    return DN_OK;
}
