/*
 * Folders and files; see include/dn/file.h.
 *
 * fsync before rename: otherwise a crash can leave the new name on an empty file. The folder is
 * flushed afterwards, so that the new name survives a crash, too.
 */
#include "dn/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

enum { WALKS = 100 }; /* retries, each because another process removed what was created */

dn_status dn_join_path(char path[PATH_MAX], const char *folder, const char *name)
{
    const int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    DN_CHECK(length < PATH_MAX, DN_EINVAL, "%s: the path is too long", folder);
    return DN_OK;
}

int dn_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

dn_status dn_folder_walk(const char *path, dn_entry_fn *each, void *user)
{
    DIR *const folder = opendir(path);
    dn_status status = DN_OK;
    DN_CHECK(folder, errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read the folder: %s", path,
             strerror(errno));
    while (status == DN_OK) {
        errno = 0; /* readdir returns NULL at the end, too */
        const struct dirent *const entry = readdir(folder);
        if (entry == NULL && errno != 0)
            status = dn_fail(DN_EIO, "%s: cannot read the folder: %s", path, strerror(errno));
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = each(user, entry->d_name);
    }
    closedir(folder);
    return status;
}

/* Whether the path ends in "." or "..", which are not created. Removes slashes at its end. */
static int is_dots(char *path)
{
    const char *const name = basename(path);
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* *made counts the trailing components that were created, and dots after them; it restarts at one
 * that existed. DN_ENOENT: the path or its parent has disappeared. */
static dn_status make_folder(char *path, int *made)
{
    if ((*made > 0 && is_dots(path)) || mkdir(path, 0777) == 0) {
        ++*made;
        return DN_OK;
    }
    const int error = errno; /* EEXIST, but also EROFS or EACCES for an existing folder */
    struct stat info;        /* one snapshot: another process may remove and recreate it */
    const int found = stat(path, &info) == 0;
    if (found && S_ISDIR(info.st_mode)) {
        *made = 0;
        return DN_OK;
    }
    DN_CHECK(!found, DN_EIO, "%s: found a file, expected a folder", path);
    DN_CHECK(error != EEXIST || lstat(path, &info) != 0 || !S_ISLNK(info.st_mode), DN_EIO,
             "%s: found a link to nothing, expected a folder", path);
    return dn_fail(error == ENOENT || error == EEXIST ? DN_ENOENT : DN_EIO,
                   "%s: cannot make the folder: %s", path, strerror(error));
}

dn_status dn_make_folders(const char *path)
{
    int made;
    return dn_make_folders_counted(path, &made);
}

/* Creates the components of the path in order. On failure removes those that it created. */
static dn_status make_parts(const char *path, int *made)
{
    char part[PATH_MAX];
    dn_status status = DN_OK;
    *made = 0;
    for (size_t end = 1; path[end - 1] != '\0' && status == DN_OK; end++) {
        if (path[end - 1] == '/' || (path[end] != '/' && path[end] != '\0'))
            continue;
        snprintf(part, sizeof part, "%.*s", (int)end, path);
        status = make_folder(part, made);
    }
    if (status != DN_OK)
        dn_remove_folders(dirname(part), *made);
    return status;
}

dn_status dn_make_folders_counted(const char *path, int *made)
{
    const size_t length = strlen(path);
    dn_status status = DN_ENOENT;
    *made = 0;
    DN_CHECK(length > 0 && length < PATH_MAX, DN_EINVAL,
             "a folder's path: found %zu characters, expected 1 to %d", length, PATH_MAX - 1);
    for (int i = 0; i < WALKS && status == DN_ENOENT; i++)
        status = make_parts(path, made);
    return status == DN_ENOENT ? DN_EIO : status;
}

void dn_remove_folders(const char *path, int count)
{
    char part[PATH_MAX]; /* dirname modifies it */
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part; count > 0 && (is_dots(at) || rmdir(at) == 0); count--)
        at = dirname(part);
}

int dn_file_flush(int file)
{
    return fsync(file) == 0 || errno == EINVAL ? 0 : errno;
}

/* Writes bytes(size) and flushes them to the disk. Returns 0, or an errno. */
static int write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *const file = fopen(path, "we");
    if (!file)
        return errno;
    const int good = fwrite(bytes, 1, size, file) == size && fflush(file) == 0;
    const int error = good ? dn_file_flush(fileno(file)) : errno;
    return fclose(file) == 0 || error ? error : errno;
}

/* Flushes the folder that `path` is in. Returns 0, or an errno. */
static int flush_folder(const char *path)
{
    char copy[PATH_MAX]; /* dirname modifies it */
    snprintf(copy, sizeof copy, "%s", path);
    const int file = open(dirname(copy), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return errno;
    const int error = dn_file_flush(file);
    close(file);
    return error;
}

dn_status dn_file_rename(const char *old, const char *path)
{
    DN_CHECK(rename(old, path) == 0, DN_EIO, "%s: cannot write: %s", path, strerror(errno));
    const int error = flush_folder(path);
    DN_CHECK(!error, DN_EIO, "%s: cannot flush its folder: %s", path, strerror(error));
    return DN_OK;
}

dn_status dn_file_write(const char *path, const void *bytes, size_t size)
{
    return dn_file_write_as(path, DN_PARTIAL, bytes, size);
}

/* Whether the name refers to an open file, such as /dev/stdout. */
static int is_descriptor(const char *path)
{
    return strncmp(path, "/dev/std", 8) == 0 || strncmp(path, "/dev/fd/", 8) == 0 ||
           strncmp(path, "/proc/", 6) == 0;
}

dn_status dn_file_places(const char *path, const char *suffix, char partial[PATH_MAX],
                         char target[PATH_MAX])
{
    struct stat info;
    const int found = stat(path, &info) == 0;
    const int is_plain =
        !is_descriptor(path) && (!found || S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
    DN_CHECK(found || lstat(path, &info) != 0, DN_EIO, "%s: cannot write: a dangling link", path);
    if (!found || !is_plain || !realpath(path, target))
        snprintf(target, PATH_MAX, "%s", path);
    const int length = snprintf(partial, PATH_MAX, "%s%s", target, is_plain ? suffix : "");
    DN_CHECK(strlen(path) < PATH_MAX && length < PATH_MAX, DN_EINVAL, "%s: the path is too long",
             path);
    return DN_OK;
}

dn_status dn_file_write_as(const char *path, const char *suffix, const void *bytes, size_t size)
{
    char target[PATH_MAX], partial[PATH_MAX];
    DN_TRY(dn_file_places(path, suffix, partial, target));
    const int is_plain = strcmp(partial, target) != 0;
    const int error = write_bytes(partial, bytes, size);
    dn_status status = DN_OK;
    if (error)
        status = dn_fail(DN_EIO, "%s: cannot write: %s", path, strerror(error));
    else if (is_plain)
        status = dn_file_rename(partial, target);
    if (status != DN_OK && is_plain)
        unlink(partial);
    return status;
}

/* Checks that the folder of `path` exists. */
static dn_status check_folder_of(const char *path)
{
    const char *const slash = strrchr(path, '/');
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 0, path);
    DN_CHECK(!folder[0] || dn_is_folder(folder), DN_ENOENT, "%s: cannot write: no folder %s", path,
             folder);
    return DN_OK;
}

dn_status dn_file_check_kind(const char *path, const char *kind, int64_t at, const char *start)
{
    const size_t length = strlen(start);
    char found[64] = "";
    struct stat info;
    int64_t size;
    int file;
    assert(length <= sizeof found);
    DN_CHECK(!dn_is_folder(path), DN_EINVAL, "%s: found a folder, expected a file to write", path);
    DN_TRY(check_folder_of(path));
    if (is_descriptor(path) || stat(path, &info) != 0 || !S_ISREG(info.st_mode) ||
        info.st_size == 0)
        return DN_OK;
    DN_TRY(dn_file_open(path, &file, &size));
    const dn_status status =
        size >= at + (int64_t)length ? dn_file_read(file, path, found, length, at) : DN_OK;
    close(file);
    DN_TRY(status);
    DN_CHECK(memcmp(found, start, length) == 0, DN_EINVAL,
             "%s: found a file that is no %s, which is not replaced; name another", path, kind);
    return DN_OK;
}

int dn_file_is_at(int file, const char *path)
{
    struct stat own, there;
    errno = 0;
    return stat(path, &there) == 0 && fstat(file, &own) == 0 && own.st_dev == there.st_dev &&
           own.st_ino == there.st_ino;
}

dn_status dn_file_append(int file, const char *path, const void *bytes, size_t size)
{
    for (const char *at = bytes; size > 0;) {
        const ssize_t part = write(file, at, size);
        DN_CHECK(part > 0 || (part < 0 && errno == EINTR), DN_EIO, "%s: cannot write: %s", path,
                 strerror(errno));
        at += part > 0 ? part : 0;
        size -= part > 0 ? (size_t)part : 0;
    }
    return DN_OK;
}

dn_status dn_file_open(const char *path, int *file, int64_t *size)
{
    struct stat info;
    *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it may be a pipe */
    const int found = *file >= 0 && fstat(*file, &info) == 0, error = errno;
    if (found && S_ISREG(info.st_mode)) {
        *size = info.st_size;
        return DN_OK;
    }
    if (*file >= 0)
        close(*file);
    *file = -1;
    DN_CHECK(found, error == ENOENT || error == ENOTDIR || error == ELOOP ? DN_ENOENT : DN_EIO,
             "%s: cannot read: %s", path, strerror(error));
    return dn_fail(DN_EIO, "%s: cannot read: %s", path,
                   S_ISDIR(info.st_mode) ? strerror(EISDIR) : "no regular file");
}

dn_status dn_file_size(const char *path, int64_t *size)
{
    int file;
    DN_TRY(dn_file_open(path, &file, size));
    close(file);
    return DN_OK;
}

dn_status dn_file_read(int file, const char *path, void *bytes, size_t size, int64_t at)
{
    for (size_t done = 0; done < size;) {
        const ssize_t part = pread(file, (uint8_t *)bytes + done, size - done, at + (int64_t)done);
        if (part < 0 && errno == EINTR)
            continue;
        DN_CHECK(part >= 0, DN_EIO, "%s: cannot read: %s", path, strerror(errno));
        DN_CHECK(part > 0, DN_ECORRUPT, "%s: cut short: nothing at byte %" PRId64, path,
                 at + (int64_t)done);
        done += (size_t)part;
    }
    return DN_OK;
}

dn_status dn_file_hash(int file, const char *path, int64_t size, uint64_t *hash)
{
    uint8_t block[1 << 16];
    dn_status status = DN_OK;
    XXH3_state_t *const state = XXH3_createState();
    DN_CHECK(state, DN_ENOMEM, "%s: out of memory", path);
    XXH3_64bits_reset(state);
    for (int64_t at = 0; at < size && status == DN_OK; at += (int64_t)sizeof block) {
        const int64_t left = size - at;
        const size_t part = left < (int64_t)sizeof block ? (size_t)left : sizeof block;
        status = dn_file_read(file, path, block, part, at);
        if (status == DN_OK)
            XXH3_64bits_update(state, block, part);
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return status;
}

dn_status dn_file_load(const char *path, uint8_t **bytes, size_t *size)
{
    return dn_file_load_most(path, INT64_MAX, bytes, size);
}

dn_status dn_file_load_most(const char *path, int64_t most, uint8_t **bytes, size_t *size)
{
    int file;
    int64_t found;
    *bytes = NULL;
    DN_TRY(dn_file_open(path, &file, &found));
    *size = (size_t)found;
    uint8_t *const room = found > most ? NULL : malloc(*size + 1);
    const dn_status status =
        found > most
            ? dn_fail(DN_ECORRUPT, "%s: found %" PRId64 " bytes, expected at most %" PRId64, path,
                      found, most)
        : room ? dn_file_read(file, path, room, *size, 0)
               : dn_fail(DN_ENOMEM, "%s: out of memory for %zu bytes", path, *size);
    close(file);
    if (status != DN_OK) {
        free(room);
        return status;
    }
    room[*size] = 0;
    *bytes = room;
    return DN_OK;
}
