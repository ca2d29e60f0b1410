/* dataset.json of a folder of records, and checks of the files that it lists; see
 * include/dn/manifest.h. */
#include "data/manifest_text.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/file.h"
#include "dn/json.h"

static const char file_name[] = "dataset.json";

const char *dn_split_name(dn_split_id split)
{
    static const char *const names[DN_SPLITS] = {"train", "test", "val"};
    return names[split];
}

dn_status dn_manifest_create(dn_manifest **manifest, const dn_data_info *info,
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

int dn_manifest_has_unknown(const dn_manifest *m)
{
    return m->label_sets && memchr(m->label_sets, DN_UNKNOWN,
                                   (size_t)m->info.label_sets * (size_t)m->info.classes) != NULL;
}

int dn_manifest_labels_are_same(const dn_manifest *a, const dn_manifest *b)
{
    const dn_data_info *const x = &a->info, *const y = &b->info;
    int is_same = x->classes == y->classes && x->label_sets == y->label_sets;
    for (int c = 0; is_same && c < x->classes; c++)
        is_same = strcmp(a->class_names[c], b->class_names[c]) == 0;
    if (is_same && x->label_sets > 0)
        is_same =
            memcmp(a->label_sets, b->label_sets, (size_t)x->label_sets * (size_t)x->classes) == 0;
    return is_same;
}

void dn_manifest_label_text(const dn_manifest *m, int label, char *text, size_t size)
{
    const int classes = m->info.classes;
    size_t used = 0;
    if (!m->label_sets) {
        snprintf(text, size, "%s", m->class_names[label]);
        return;
    }
    const uint8_t *const has = m->label_sets + (size_t)label * (size_t)classes;
    for (int c = 0; c < classes && used < size; c++)
        if (has[c] != DN_ABSENT)
            used += (size_t)snprintf(text + used, size - used, "%s%s%s", used ? "|" : "",
                                     has[c] == DN_UNKNOWN ? "?" : "", m->class_names[c]);
    if (used == 0)
        snprintf(text, size, "(no class)");
}

int dn_manifest_is_same(const dn_manifest *a, const dn_manifest *b)
{
    const dn_data_info *const x = &a->info, *const y = &b->info;
    const size_t numbers = (size_t)x->channels * sizeof *x->mean;
    int is_same = strcmp(x->dataset, y->dataset) == 0 && x->channels == y->channels &&
                  x->height == y->height && x->width == y->width &&
                  memcmp(x->mean, y->mean, numbers) == 0 && memcmp(x->std, y->std, numbers) == 0 &&
                  a->source == b->source && dn_manifest_labels_are_same(a, b);
    for (int s = 0; s < DN_SPLITS; s++)
        is_same = is_same && a->split[s].count == b->split[s].count;
    return is_same;
}

typedef struct search {
    const char *folder;
    char *path; /* of the records that were found */
    int is_found;
} search;

/* A dn_entry_fn. */
static dn_status look_at(void *user, const char *name)
{
    search *const s = user;
    char file[PATH_MAX];
    if (!s->is_found && name[0] != '.' && dn_join_path(s->path, s->folder, name) == DN_OK &&
        dn_join_path(file, s->path, file_name) == DN_OK)
        s->is_found = access(file, F_OK) == 0;
    return DN_OK;
}

/* Whether `folder` contains a folder of records; `path` is then its path. For a hint, so that a
 * folder that cannot be read has none. */
static int find_below(const char *folder, char path[PATH_MAX])
{
    search s = {.folder = folder, .path = path};
    (void)dn_folder_walk(folder, look_at, &s);
    return s.is_found;
}

/* Adds to `status`, the failure to read a missing manifest, what the folder may be instead. */
static dn_status explain_missing(dn_status status, const char *folder)
{
    char below[PATH_MAX], parent[PATH_MAX];
    if (!dn_is_folder(folder)) {
        dn_failure missing = {0}; /* the search may record another */
        dn_failure_keep(&missing, status);
        snprintf(parent, sizeof parent, "%s", folder);
        const int is_near = find_below(dirname(parent), below);
        return dn_fail(status, "%s; make the data set with create_records NAME --out %s%s%s",
                       missing.message, folder, is_near ? "; there is one in " : "",
                       is_near ? below : "");
    }
    if (find_below(folder, below))
        return dn_fail(status, "%s: found no %s, but one in %s, expected that folder", folder,
                       file_name, below);
    DN_CHECK(dn_join_path(below, folder, DN_JOURNAL_NAME) != DN_OK || access(below, F_OK) != 0,
             status,
             "%s: found records that are not all made yet, expected %s; give create_records the "
             "same command again, which resumes",
             folder, file_name);
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
    return status == DN_ENOENT ? explain_missing(status, folder) : status;
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

/* NULL if the split is empty. */
static json_t *split_to_json(const dn_manifest_split *split)
{
    if (split->shards == 0)
        return NULL;
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

json_t *dn_manifest_label_sets(const dn_manifest *m)
{
    json_t *const sets = m->info.label_sets > 0 ? json_array() : NULL;
    const uint8_t *has = m->label_sets;
    for (int s = 0; s < m->info.label_sets; s++, has += m->info.classes) {
        json_t *const set = json_array(), *const unknown = json_array();
        for (int c = 0; c < m->info.classes; c++)
            if (has[c] != DN_ABSENT)
                json_array_append_new(has[c] == DN_UNKNOWN ? unknown : set, json_integer(c));
        if (json_array_size(unknown) > 0)
            json_array_append(set, unknown);
        json_decref(unknown);
        json_array_append_new(sets, set);
    }
    return sets;
}

static json_t *to_json(const dn_manifest *m)
{
    const int version = DN_MANIFEST_VERSION + (m->info.label_sets > 0) + dn_manifest_has_unknown(m);
    json_t *const names = json_array();
    for (int i = 0; i < m->info.classes; i++)
        json_array_append_new(names, json_string(m->class_names[i]));
    return json_pack(
        "{s:s,s:i,s:s,s:o,s:s*,s:i,s:i,s:i,s:i,s:i,s:o,s:o*,s:o,s:o,s:{s:o*,s:o,s:o*}}", "format",
        DN_MANIFEST_FORMAT, "format_version", version, "dataset", m->info.dataset, "source",
        json_sprintf("%016" PRIx64, m->source), "conversion",
        m->conversion[0] ? m->conversion : NULL, "channels", m->info.channels, "height",
        m->info.height, "width", m->info.width, "classes", m->info.classes, "zstd_level",
        m->zstd_level, "class_names", names, "label_sets", dn_manifest_label_sets(m), "mean",
        dn_json_numbers(m->info.mean, m->info.channels), "std",
        dn_json_numbers(m->info.std, m->info.channels), "splits", "train",
        split_to_json(&m->split[DN_TRAIN]), "test", split_to_json(&m->split[DN_TEST]), "val",
        split_to_json(&m->split[DN_VAL]));
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
    memcpy(text + content - 2, ",\n", 2); /* replaces "\n}" */
    sealed = realloc(text, content + DN_MANIFEST_SEAL_BYTES + 1);
    if (sealed)
        snprintf(sealed + content, DN_MANIFEST_SEAL_BYTES + 1, DN_MANIFEST_SEAL,
                 XXH3_64bits(sealed, content));
    const dn_status status = sealed ? dn_file_write(path, sealed, content + DN_MANIFEST_SEAL_BYTES)
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
    uint64_t hash;
    DN_TRY(dn_manifest_check_size(path, expected));
    DN_TRY(dn_file_open(path, &file, &bytes));
    const dn_status status = dn_file_hash(file, path, expected->bytes, &hash);
    close(file);
    DN_TRY(status);
    DN_CHECK(hash == expected->hash, DN_ECORRUPT,
             "%s: found bytes of checksum %016" PRIx64 ", expected %016" PRIx64 " (damaged)", path,
             hash, expected->hash);
    return DN_OK;
}
