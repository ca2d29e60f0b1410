/*
 * The text of dataset.json, parsed with jansson.
 *
 * Everything is validated (members, ranges, sums, plain file names), so that users need not check:
 * no product of an image's bytes and a count overflows, and no count requires more memory than the
 * files' sizes justify.
 */
#include "data/manifest_text.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/json.h"
#include "dn/shard.h"

enum {
    MOST_NAME_BYTES = 255, /* of a class name */
    ENCODED_BYTES = 27     /* least of an image: one byte, its offset, size, checksum and label */
};

/* Accepts only lower-case digits, as written. */
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

/* Checks `count` against the file's size: labels are stored uncompressed, images as zstd frames or
 * encoded (`image` is 0). */
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

static dn_status parse_shard(dn_manifest_shard *shard, json_t *entry, size_t image)
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
    if (name[1])
        DN_TRY(parse_file(&shard->tfrecord, name[1], bytes[1], hash[1]));
    DN_TRY(check_count(shard, count, image));
    shard->count = count;
    return DN_OK;
}

static dn_status parse_split(dn_manifest_split *split, const json_t *shards, json_int_t count,
                             size_t image)
{
    for (int i = 0; i < split->shards; i++) {
        dn_manifest_shard *const shard = &split->shard[i];
        DN_TRY(parse_shard(shard, json_array_get(shards, (size_t)i), image));
        shard->first = split->count;
        split->count += shard->count; /* no overflow: at most 2^23 shards */
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

/* Pixels are in [0, 1] and are divided by std as a float. */
static dn_status check_statistics(const dn_data_info *info)
{
    for (int c = 0; c < info->channels; c++) {
        DN_CHECK(info->mean[c] >= 0 && info->mean[c] <= 1, DN_ECORRUPT,
                 "channel %d: found a mean of %g, expected 0 to 1", c, info->mean[c]);
        DN_CHECK(info->std[c] >= 1e-12 && info->std[c] <= 1, DN_ECORRUPT,
                 "channel %d: found a std of %g, expected 1e-12 to 1", c, info->std[c]);
    }
    return DN_OK;
}

/* 1 if a set ends with a list, of unknown classes. */
static int has_unknown(const json_t *sets)
{
    int found = 0;
    for (size_t s = 0; s < json_array_size(sets) && !found; s++) {
        const json_t *const set = json_array_get(sets, s);
        found = json_is_array(json_array_get(set, json_array_size(set) - 1));
    }
    return found;
}

/* Only the first two keys have the same meaning in every version. */
static dn_status check_version(json_t *root)
{
    const char *format = "";
    json_int_t found = 0;
    json_unpack(root, "{s?s,s?I}", "format", &format, "format_version", &found);
    DN_CHECK(strcmp(format, DN_MANIFEST_FORMAT) == 0, DN_ECORRUPT,
             "found the format \"%s\", expected \"%s\"", format, DN_MANIFEST_FORMAT);
    const json_t *const sets = json_object_get(root, "label_sets");
    const int expected = DN_MANIFEST_VERSION + (sets != NULL) + has_unknown(sets);
    DN_CHECK(found == expected, DN_EINVAL,
             "found format_version %" JSON_INTEGER_FORMAT
             ", expected %d; delete the folder and make it again with this version's "
             "create_records",
             found, expected);
    return DN_OK;
}

/* Checks that the bytes are those that create_records wrote. */
static dn_status check_seal(const char *text, size_t size)
{
    char seal[DN_MANIFEST_SEAL_BYTES + 1];
    const size_t content = size > DN_MANIFEST_SEAL_BYTES ? size - DN_MANIFEST_SEAL_BYTES : 0;
    const uint64_t hash = XXH3_64bits(text, content);
    snprintf(seal, sizeof seal, DN_MANIFEST_SEAL, hash);
    DN_CHECK(content > 0 && memcmp(text + content, seal, DN_MANIFEST_SEAL_BYTES) == 0, DN_ECORRUPT,
             "found bytes of checksum %016" PRIx64
             ", expected the checksum in its last line; make the records again, since only "
             "create_records may write it",
             hash);
    return DN_OK;
}

/* The members of dataset.json as jansson unpacks them. */
struct members {
    const char *format, *name, *source, *conversion, *seal;
    json_int_t version, channels, height, width, classes, level, count[DN_SPLITS];
    json_t *names, *sets, *mean, *std, *shards[DN_SPLITS];
};

static dn_status unpack_members(struct members *m, json_t *root)
{
    json_error_t error;
    *m = (struct members){0};
    DN_CHECK(json_unpack_ex(
                 root, &error, JSON_STRICT,
                 "{s:s,s:I,s:s,s:s,s?s,s:I,s:I,s:I,s:I,s:I,s:o,s?o,s:o,s:o,"
                 "s:{s?{s:I,s:o},s:{s:I,s:o},s?{s:I,s:o}},s:s}",
                 "format", &m->format, "format_version", &m->version, "dataset", &m->name, "source",
                 &m->source, "conversion", &m->conversion, "channels", &m->channels, "height",
                 &m->height, "width", &m->width, "classes", &m->classes, "zstd_level", &m->level,
                 "class_names", &m->names, "label_sets", &m->sets, "mean", &m->mean, "std", &m->std,
                 "splits", "train", "count", &m->count[DN_TRAIN], "shards", &m->shards[DN_TRAIN],
                 "test", "count", &m->count[DN_TEST], "shards", &m->shards[DN_TEST], "val", "count",
                 &m->count[DN_VAL], "shards", &m->shards[DN_VAL], "xxh3", &m->seal) == 0,
             DN_ECORRUPT, "not valid: %s", error.text);
    return DN_OK;
}

static dn_status parse_info(dn_data_info *info, const struct members *m)
{
    DN_CHECK(strlen(m->name) < sizeof info->dataset && dn_is_one_line(m->name), DN_ECORRUPT,
             "found the data set \"%s\", expected a name of at most %zu bytes", m->name,
             sizeof info->dataset - 1);
    strcpy(info->dataset, m->name);
    DN_TRY(check_integer("channels", m->channels, 1, DN_MAX_IMAGE_CHANNELS));
    const int is_encoded = m->height == 0 && m->width == 0 && m->channels == 3;
    DN_TRY(check_integer("height", m->height, !is_encoded, DN_MAX_IMAGE_BYTES));
    DN_TRY(check_integer("width", m->width, !is_encoded, DN_MAX_IMAGE_BYTES));
    DN_TRY(check_integer("classes", m->classes, 1, DN_MAX_CLASSES));
    DN_TRY(check_integer("zstd_level", m->level, 1, 22));
    info->channels = (int)m->channels;
    info->height = (int)m->height;
    info->width = (int)m->width;
    info->classes = (int)m->classes;
    info->label_sets = (int)json_array_size(m->sets);
    DN_CHECK(dn_image_values(info) <= DN_MAX_IMAGE_BYTES, DN_ECORRUPT,
             "found %dx%dx%d images, expected at most %d bytes", info->channels, info->height,
             info->width, DN_MAX_IMAGE_BYTES);
    DN_TRY(parse_channels(info->mean, "mean", info->channels, m->mean));
    DN_TRY(parse_channels(info->std, "std", info->channels, m->std));
    return check_statistics(info);
}

/* Checks that the names are `classes` distinct ones; *bytes = their total size with closing zeros.
 */
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

/* has(classes) = `presence` for the classes in the list, which are in increasing order; those in a
 * list at its end are unknown. */
static dn_status parse_set(uint8_t *has, int set, int classes, const json_t *list,
                           dn_presence presence)
{
    DN_CHECK(json_is_array(list), DN_ECORRUPT, "label set %d: found no list, expected classes",
             set);
    json_int_t last = -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *const entry = json_array_get(list, i);
        const json_int_t class = json_is_integer(entry) ? json_integer_value(entry) : -1;
        if (json_array_size(entry) > 0 && i + 1 == json_array_size(list) && presence == DN_PRESENT)
            return parse_set(has, set, classes, entry, DN_UNKNOWN);
        DN_CHECK(class > last && class < classes && has[class] == DN_ABSENT, DN_ECORRUPT,
                 "label set %d: found an entry that is no class after %" JSON_INTEGER_FORMAT
                 ", expected increasing numbers below %d, each once",
                 set, last, classes);
        has[class] = (uint8_t)presence;
        last = class;
    }
    return DN_OK;
}

/* *bytes = the size of the label sets. */
static dn_status check_sets(const json_t *sets, const dn_data_info *info, size_t *bytes)
{
    const int count = info->label_sets, classes = info->classes;
    *bytes = (size_t)count * (size_t)classes;
    DN_CHECK(!sets || (json_is_array(sets) && count >= 1 && count <= UINT16_MAX &&
                       *bytes <= DN_LABEL_SETS_BYTES),
             DN_ECORRUPT,
             "found %zu label sets of %d classes, expected 1 to %d, and a product of at most %d",
             json_array_size(sets), classes, UINT16_MAX, DN_LABEL_SETS_BYTES);
    return DN_OK;
}

/* Creates the manifest with class names and label sets after the shards, in one block. */
static dn_status create_loaded(dn_manifest **manifest, const dn_data_info *info,
                               const int shards[DN_SPLITS], const json_t *names, const json_t *sets)
{
    const int classes = info->classes;
    size_t text_bytes, set_bytes;
    DN_TRY(check_names(names, classes, &text_bytes));
    DN_TRY(check_sets(sets, info, &set_bytes));
    DN_TRY(dn_manifest_create(manifest, info, shards,
                              (size_t)classes * sizeof(char *) + text_bytes + set_bytes));
    const char **const list = (const char **)&(*manifest)->shard[(*manifest)->shards];
    char *text = (char *)(list + classes);
    for (int i = 0; i < classes; i++) {
        list[i] = strcpy(text, json_string_value(json_array_get(names, (size_t)i)));
        text += strlen(text) + 1;
    }
    (*manifest)->class_names = list;
    uint8_t *const has = (uint8_t *)text; /* zeroed */
    for (int s = 0; s < info->label_sets; s++)
        DN_TRY(parse_set(has + (size_t)s * (size_t)classes, s, classes,
                         json_array_get(sets, (size_t)s), DN_PRESENT));
    (*manifest)->label_sets = sets ? has : NULL;
    return DN_OK;
}

dn_status dn_manifest_describe(dn_manifest **manifest, const dn_data_info *info,
                               const json_t *names, const json_t *sets)
{
    *manifest = NULL;
    const dn_status status = create_loaded(manifest, info, (const int[DN_SPLITS]){0}, names, sets);
    if (status != DN_OK) {
        free(*manifest);
        *manifest = NULL;
    }
    return status;
}

/* Only encoded images can have been converted. */
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
    dn_data_info info = {0};
    int shards[DN_SPLITS];
    DN_TRY(unpack_members(&m, root));
    DN_TRY(parse_info(&info, &m));
    for (int s = 0; s < DN_SPLITS; s++) {
        shards[s] = (int)json_array_size(m.shards[s]);
        DN_CHECK(shards[s] >= 1 || !m.shards[s], DN_ECORRUPT,
                 "found no %s shards, expected at least 1", dn_split_name((dn_split_id)s));
    }
    DN_TRY(create_loaded(manifest, &info, shards, m.names, m.sets));
    DN_TRY(parse_conversion(*manifest, m.conversion ? m.conversion : ""));
    (*manifest)->zstd_level = (int)m.level;
    DN_TRY(parse_hash(&(*manifest)->source, "source", m.source));
    for (int s = 0; s < DN_SPLITS; s++)
        if (m.shards[s])
            DN_TRY(parse_split(&(*manifest)->split[s], m.shards[s], m.count[s],
                               dn_image_values(&info)));
    return DN_OK;
}

static dn_status parse_text(dn_manifest **manifest, const char *text, size_t size)
{
    json_error_t error;
    json_t *const root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    DN_CHECK(root, DN_ECORRUPT, "line %d is not valid JSON: %s", error.line, error.text);
    dn_status status = check_version(root);
    if (status == DN_OK)
        status = check_seal(text, size);
    if (status == DN_OK)
        status = parse_manifest(manifest, root);
    json_decref(root);
    if (status == DN_OK)
        (*manifest)->hash = XXH3_64bits(text, size);
    return status;
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
