/*
 * Folders and files: a file is written completely or not at all, and is read completely.
 *
 * A file is written under its final name followed by DN_PARTIAL, flushed to disk and renamed: once
 * the final name exists, all its bytes are on disk. Thread-safe for different paths. Not
 * collective. Error messages name the file or folder and the system's reason.
 */
#ifndef DN_FILE_H
#define DN_FILE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* Suffix of a file's name until the file is complete. */
#define DN_PARTIAL ".partial"

/* path = folder/name. Errors: DN_EINVAL (too long). */
dn_status dn_join_path(char path[PATH_MAX], const char *folder, const char *name);

/* Returns 1 if `path` is a folder or a link to one, else 0. */
int dn_is_folder(const char *path);

/* Calls each(user, name) for the folder's entries, except "." and "..", in any order until one
 * fails. Errors: DN_ENOENT (there is no such folder), DN_EIO, those of `each`. */
typedef dn_status dn_entry_fn(void *user, const char *name);
dn_status dn_folder_walk(const char *path, dn_entry_fn *each, void *user);

/* Creates the folder `path` and the missing folders above it; succeeds if it exists. Errors:
 * DN_EINVAL (empty or too long), DN_EIO; the folders that were created are removed again. */
dn_status dn_make_folders(const char *path);

/* As dn_make_folders. *made = how many trailing components of `path` it created, 0 if the folder
 * existed; a "." or ".." after a created component counts as created. */
dn_status dn_make_folders_counted(const char *path, int *made);

/* Removes the folder given by `path` and those above it, up to the first that is not empty: `count`
 * components in all, "." and ".." included. */
void dn_remove_folders(const char *path, int count);

/* Writes bytes(size) to the file `path`, replacing an existing file; a link is followed. A device
 * or pipe is written to directly. Errors: DN_EINVAL (too long), DN_EIO; no partial file is left,
 * and `path` is unchanged unless it was the folder that could not be flushed. */
dn_status dn_file_write(const char *path, const void *bytes, size_t size);

/* partial = the name under which `path` is written; target = the name that it then gets: `path`, or
 * the file that the link `path` leads to. Both are `path` for a device or pipe, which is written to
 * directly. Errors: DN_EIO (a dangling link), DN_EINVAL (too long). */
dn_status dn_file_places(const char *path, const char *suffix, char partial[PATH_MAX],
                         char target[PATH_MAX]);

/* As dn_file_write with another suffix than DN_PARTIAL, if two processes may write the file. */
dn_status dn_file_write_as(const char *path, const char *suffix, const void *bytes, size_t size);

/* Checks an output file before the work starts, so that a mistyped name does not overwrite records,
 * a checkpoint or a photograph. Errors: DN_EINVAL (`path` is a folder, or a nonempty regular file
 * that does not have `start`, at most 64 bytes, at byte `at` as files of this kind do), DN_ENOENT
 * (the file's folder does not exist). */
dn_status dn_file_check_kind(const char *path, const char *kind, int64_t at, const char *start);

/* Returns 1 if `path` still names the open file, 0 if that was deleted, moved or replaced; errno =
 * ENOENT if nothing has that name. */
int dn_file_is_at(int file, const char *path);

/* Flushes the open file or folder to disk. Returns 0, or an errno; 0 also for a pipe or on a file
 * system that cannot flush it. */
int dn_file_flush(int file);

/* Renames the file `old`, which is on disk, to `path`, replacing an existing file, and flushes the
 * new name to disk. Errors: DN_EIO. */
dn_status dn_file_rename(const char *old, const char *path);

/* Writes bytes(size) to the open file `path` at its current offset. Errors: DN_EIO. */
dn_status dn_file_append(int file, const char *path, const void *bytes, size_t size);

/* Opens a file for reading; the caller closes it. *size = its size in bytes. Errors: DN_ENOENT,
 * DN_EIO; *file is then -1. */
dn_status dn_file_open(const char *path, int *file, int64_t *size);

/* *size = the size in bytes of a readable file. Errors: as dn_file_open. */
dn_status dn_file_size(const char *path, int64_t *size);

/* bytes(size) = the bytes at offset `at` of the open file `path`. Errors: DN_EIO, DN_ECORRUPT (the
 * file is shorter). */
dn_status dn_file_read(int file, const char *path, void *bytes, size_t size, int64_t at);

/* *hash = XXH3-64 with seed 0 of the first `size` bytes of the open file `path`. Errors: as
 * dn_file_read; DN_ENOMEM. */
dn_status dn_file_hash(int file, const char *path, int64_t size, uint64_t *hash);

/* *bytes(*size) = the whole file, followed by a zero byte; the caller frees it; NULL on failure.
 * Errors: as dn_file_open and dn_file_read; DN_ENOMEM. */
dn_status dn_file_load(const char *path, uint8_t **bytes, size_t *size);

/* As dn_file_load, of a file of at most `most` bytes. Errors: also DN_ECORRUPT (the file is
 * longer). */
dn_status dn_file_load_most(const char *path, int64_t most, uint8_t **bytes, size_t *size);

#endif
