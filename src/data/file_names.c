/*
 * The original file names of a shard's encoded images; see include/dn/shard.h and
 * docs/shard-format.md.
 *
 * Training does not need them, so they are read on demand, one shard at a time. HDF5 finds their
 * place in the file, in a child process; what it returns is validated.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "data/shard_reader.h"
#include "dn/child.h"
#include "dn/file.h"
#include "dn/hdf5.h"

/* The result of the child process. */
struct found {
    const char *path;       /* of the shard */
    int64_t address, bytes; /* of the names; 0: none */
    char hash[17];
};

static dn_status find_names(void *user)
{
    struct found *const p = user;
    const hid_t file = dn_hdf5_open(p->path);
    int64_t address, bytes;
    DN_CHECK(file >= 0, DN_ECORRUPT, "%s: damaged: HDF5 cannot open it", p->path);
    const dn_status status =
        dn_hdf5_find_bytes(file, p->path, DN_SHARD_FILE_NAMES, &address, &bytes);
    if (status == DN_ENOENT)
        return DN_OK;
    DN_TRY(status);
    DN_TRY(dn_hdf5_get_text(file, p->path, DN_SHARD_FILES_HASH, p->hash, sizeof p->hash));
    p->address = address;
    p->bytes = bytes;
    return DN_OK;
}

/* bytes = the names as stored in the file. */
static dn_status read_bytes(const char *path, const struct found *p, char *bytes)
{
    const size_t size = (size_t)p->bytes;
    int file;
    int64_t file_bytes;
    char hash[17];
    DN_TRY(dn_file_open(path, &file, &file_bytes));
    const dn_status status =
        p->address < 0 || p->bytes > file_bytes - p->address
            ? dn_fail(DN_ECORRUPT,
                      "%s: " DN_SHARD_FILE_NAMES " is not within the %" PRId64 " bytes", path,
                      file_bytes)
            : dn_file_read(file, path, bytes, size, p->address);
    close(file);
    DN_TRY(status);
    snprintf(hash, sizeof hash, "%016" PRIx64, XXH3_64bits(bytes, size));
    DN_CHECK(strncmp(hash, p->hash, sizeof hash) == 0, DN_ECORRUPT,
             "%s: " DN_SHARD_FILE_NAMES " is damaged: found bytes of checksum %s, expected %.16s",
             path, hash, p->hash);
    return DN_OK;
}

/* name(count) = the beginnings of the names in bytes(size), each terminated by a zero. */
static dn_status split_names(const char *path, char *bytes, int64_t size, int64_t count,
                             char **name)
{
    const char *const end = bytes + size;
    for (int64_t i = 0; i < count; i++) {
        const size_t left = (size_t)(end - bytes), length = strnlen(bytes, left);
        DN_CHECK(length < left && length <= DN_SHARD_FILE_NAME, DN_ECORRUPT,
                 "%s: file name %" PRId64 ": found %zu bytes%s, expected at most %d and a zero",
                 path, i, length, length < left ? "" : " and the end", DN_SHARD_FILE_NAME);
        name[i] = bytes;
        bytes += length + 1;
    }
    DN_CHECK(bytes == end, DN_ECORRUPT, "%s: found more file names than the expected %" PRId64,
             path, count);
    return DN_OK;
}

static dn_status load_names(const char *path, const struct found *p, dn_file_names *names)
{
    const int64_t count = names->shard->count;
    DN_CHECK(p->bytes >= count && p->bytes <= (DN_SHARD_FILE_NAME + 1) * count &&
                 p->bytes <= names->shard->hdf5.bytes,
             DN_ECORRUPT,
             "%s: found %" PRId64 " bytes of file names, expected %" PRId64 " to %" PRId64, path,
             p->bytes, count, (DN_SHARD_FILE_NAME + 1) * count);
    names->name = malloc((size_t)count * sizeof *names->name + (size_t)p->bytes);
    DN_CHECK(names->name, DN_ENOMEM, "%s: out of memory for %" PRId64 " file names", path, count);
    char *const bytes = (char *)(names->name + count);
    DN_TRY(read_bytes(path, p, bytes));
    return split_names(path, bytes, p->bytes, count, names->name);
}

/* Replaces the names in memory by those of `shard`. */
static dn_status open_names(const char *folder, const dn_manifest_shard *shard,
                            dn_file_names *names)
{
    char path[PATH_MAX];
    struct found *const p = dn_child_pages(sizeof *p);
    DN_CHECK(p, DN_ENOMEM, "%s: out of memory for file names", folder);
    dn_file_names_free(names);
    names->shard = shard;
    dn_status status = dn_join_path(path, folder, shard->hdf5.name);
    if (status == DN_OK) {
        p->path = path;
        status = dn_child_run(path, find_names, p);
    }
    if (status == DN_OK && p->bytes != 0)
        status = load_names(path, p, names);
    dn_child_pages_free(p, sizeof *p);
    if (status != DN_OK)
        dn_file_names_free(names);
    return status;
}

dn_status dn_shards_file_name(const dn_shards *shards, int64_t index, dn_file_names *names,
                              const char **name)
{
    dn_shard_place at;
    *name = NULL;
    if (!dn_is_encoded(&shards->manifest->info))
        return DN_OK;
    dn_shards_find(shards, index, &at);
    if (names->shard != at.shard)
        DN_TRY(open_names(shards->folder, at.shard, names));
    if (names->name && names->name[at.number][0])
        *name = names->name[at.number];
    return DN_OK;
}

void dn_file_names_free(dn_file_names *names)
{
    free(names->name);
    *names = (dn_file_names){0};
}
