/* Records which shards are whole; see journal.h. */
#include "writer/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/file.h"

/* An entry is this header, the notes, and the XXH3-64 of both. */
struct entry {
    uint64_t key;
    int64_t shard, count, notes_size;
    struct {
        int64_t bytes;
        uint64_t hash;
    } file[2];
};

static void set_file(dn_manifest_file *file, const struct entry *e, int i)
{
    file->bytes = e->file[i].bytes;
    file->hash = e->file[i].hash;
}

/* Takes the entry at `bytes`. Returns its size; 0 if it is damaged or has another key, or if out of
 * memory. */
static size_t take_entry(dn_journal *j, const uint8_t *bytes, size_t left)
{
    struct entry e;
    uint64_t hash;
    if (left < sizeof e + sizeof hash)
        return 0;
    memcpy(&e, bytes, sizeof e);
    if (e.key != j->key || e.shard < 0 || e.shard >= j->manifest->shards || e.notes_size < 0 ||
        (uint64_t)e.notes_size > left - sizeof e - sizeof hash)
        return 0;
    const size_t content = sizeof e + (size_t)e.notes_size;
    memcpy(&hash, bytes + content, sizeof hash);
    uint8_t *const copy = hash == XXH3_64bits(bytes, content) ? malloc(content) : NULL;
    if (!copy)
        return 0;
    dn_manifest_shard *const shard = &j->manifest->shard[e.shard];
    free(j->entry[e.shard]);
    j->entry[e.shard] = memcpy(copy, bytes, content);
    shard->count = e.count;
    set_file(&shard->hdf5, &e, 0);
    set_file(&shard->tfrecord, &e, 1);
    return content + sizeof hash;
}

static int has_file(const char *folder, const dn_manifest_file *file)
{
    char path[PATH_MAX];
    return !file->name[0] || (dn_join_path(path, folder, file->name) == DN_OK &&
                              dn_manifest_check(path, file) == DN_OK);
}

/* Drops shards whose files have changed. */
static void check_files(dn_journal *j, const char *folder)
{
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < j->manifest->shards; i++) {
        dn_manifest_shard *const shard = &j->manifest->shard[i];
        if (j->entry[i] && has_file(folder, &shard->hdf5) && has_file(folder, &shard->tfrecord))
            continue;
        free(j->entry[i]);
        j->entry[i] = NULL;
    }
}

static dn_status refuse(const dn_journal *j, int error)
{
    return dn_fail(DN_EIO, "%s: cannot write: %s", j->path, strerror(error));
}

dn_status dn_journal_open(dn_journal *j, const char *folder, uint64_t key, dn_manifest *manifest)
{
    uint8_t *bytes;
    size_t size, at = 0, more;
    *j = (dn_journal){.key = key, .manifest = manifest, .file = -1};
    j->entry = calloc((size_t)manifest->shards, sizeof *j->entry);
    DN_CHECK(j->entry, DN_ENOMEM, "%s: out of memory", folder);
    DN_TRY(dn_join_path(j->path, folder, DN_JOURNAL_NAME));
    j->file = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (j->file < 0)
        return refuse(j, errno);
    DN_TRY(dn_file_load(j->path, &bytes, &size));
    while ((more = take_entry(j, bytes + at, size - at)) > 0)
        at += more;
    free(bytes);
    j->size = (int64_t)at;
    if (ftruncate(j->file, j->size) != 0)
        return refuse(j, errno);
    check_files(j, folder);
    return DN_OK;
}

/* Appends all bytes, or none. */
static dn_status append(dn_journal *j, const uint8_t *bytes, size_t size)
{
    dn_status status = dn_file_append(j->file, j->path, bytes, size);
    const int error = status == DN_OK ? dn_file_flush(j->file) : 0;
    if (error)
        status = refuse(j, error);
    if (status != DN_OK)
        return ftruncate(j->file, j->size) == 0 ? status : refuse(j, errno);
    j->size += (int64_t)size;
    return DN_OK;
}

dn_status dn_journal_add(dn_journal *j, const dn_manifest_shard *shard, const void *notes,
                         size_t size)
{
    const struct entry e = {.key = j->key,
                            .shard = shard - j->manifest->shard,
                            .count = shard->count,
                            .notes_size = (int64_t)size,
                            .file = {{shard->hdf5.bytes, shard->hdf5.hash},
                                     {shard->tfrecord.bytes, shard->tfrecord.hash}}};
    const size_t content = sizeof e + size;
    uint8_t *const bytes = malloc(content + sizeof(uint64_t));
    DN_CHECK(bytes, DN_ENOMEM, "%s: out of memory", j->path);
    memcpy(bytes, &e, sizeof e);
    if (size > 0)
        memcpy(bytes + sizeof e, notes, size);
    const uint64_t hash = XXH3_64bits(bytes, content);
    memcpy(bytes + content, &hash, sizeof hash);
    dn_status status;
#pragma omp critical(dn_journal)
    status = append(j, bytes, content + sizeof hash);
    if (status == DN_OK)
        j->entry[e.shard] = bytes;
    else
        free(bytes);
    return status;
}

const void *dn_journal_find(const dn_journal *j, const dn_manifest_shard *shard, size_t *size)
{
    const uint8_t *const bytes = j->entry[shard - j->manifest->shard];
    struct entry e = {0};
    if (bytes)
        memcpy(&e, bytes, sizeof e);
    if (size)
        *size = (size_t)e.notes_size;
    return bytes ? bytes + sizeof e : NULL;
}

int dn_journal_count(const dn_journal *j)
{
    int count = 0;
    for (int i = 0; j->entry && i < j->manifest->shards; i++)
        count += j->entry[i] != NULL;
    return count;
}

void dn_journal_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        dn_warn("%s: cannot remove: %s", path, strerror(errno));
}

void dn_journal_close(dn_journal *j, int stays)
{
    if (!j->manifest)
        return;
    if (j->file >= 0 && !stays)
        dn_journal_remove(j->path);
    if (j->file >= 0)
        close(j->file);
    for (int i = 0; j->entry && i < j->manifest->shards; i++)
        free(j->entry[i]);
    free(j->entry);
    *j = (dn_journal){0};
}
