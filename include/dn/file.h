/*
 * Folders and files: what is written appears whole or not at all, and what is read is read whole.
 *
 * A file is written under its final name and DN_PARTIAL after it, flushed to the disk and renamed:
 * when the final name exists, all its bytes are on the disk. Thread-safe for different paths.
 * Failures name the file or folder and what the system said.
 */
#ifndef DN_FILE_H
#define DN_FILE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* What a file's name ends in until it is whole. */
#define DN_PARTIAL ".partial"

/* path = folder/name, or DN_EINVAL where that is too long. */
dn_status dn_join_path(char path[PATH_MAX], const char *folder, const char *name);

/* 1 where `path` is a folder, or a link to one. */
int dn_is_folder(const char *path);

/* Makes the folder `path` and the missing ones above it; one that exists is no failure. DN_EIO:
 * then none is left that it made. */
dn_status dn_make_folders(const char *path);

/* The same; *made = how many of the last parts of `path` it made, 0 where that was there; "." and
 * ".." behind one that it made count as made. */
dn_status dn_make_folders_counted(const char *path, int *made);

/* Removes the folder `path` and those above it, `count` in all with "." and "..", up to the first
 * that is not empty. */
void dn_remove_folders(const char *path, int count);

/* Makes the file `path` of bytes(size), in place of one of that name or that it is a link to. On
 * DN_EIO nothing partial is left; unless it was the folder that could not be flushed, `path` is as
 * it was. A device or a pipe is written into. */
dn_status dn_file_write(const char *path, const void *bytes, size_t size);

/* Where `path` is written until it is whole, and what that then gets the name of: the file that a
 * link leads to. Both are `path` where that is a device or a pipe, which is written into. DN_EIO
 * for a link to nothing, DN_EINVAL. */
dn_status dn_file_places(const char *path, const char *suffix, char partial[PATH_MAX],
                         char target[PATH_MAX]);

/* The same with another suffix than DN_PARTIAL, where two processes may write the file. */
dn_status dn_file_write_as(const char *path, const char *suffix, const void *bytes, size_t size);

/* For an output, before the work. DN_EINVAL where a regular file that is not empty stands there and
 * has no `start` (at most 64 bytes) at byte `at`, as files of the kind do: none replaces records, a
 * checkpoint or a photograph by a slip; and where a folder does. DN_ENOENT: not even its folder is
 * there. */
dn_status dn_file_check_kind(const char *path, const char *kind, int64_t at, const char *start);

/* 1 where `path` is still the open file, which may have been deleted, moved or replaced; errno =
 * ENOENT where nothing stands there. */
int dn_file_is_at(int file, const char *path);

/* Gives what is on the disk as `old` the name `path`, which is then on the disk, too, in place of a
 * file of that name. DN_EIO. */
dn_status dn_file_rename(const char *old, const char *path);

/* Writes bytes(size) to the open file `path`, from where it stands. DN_EIO. */
dn_status dn_file_append(int file, const char *path, const void *bytes, size_t size);

/* Opens a file to read, which the caller closes; *size = its bytes. On DN_ENOENT and DN_EIO *file
 * is -1. */
dn_status dn_file_open(const char *path, int *file, int64_t *size);

/* *size = the bytes of a file that can be read; as dn_file_open. */
dn_status dn_file_size(const char *path, int64_t *size);

/* bytes(size) = those at the offset `at` of the open file `path`. DN_EIO, or DN_ECORRUPT where the
 * file is shorter. */
dn_status dn_file_read(int file, const char *path, void *bytes, size_t size, int64_t at);

/* *hash = XXH3-64 with seed 0 of the first `size` bytes of the open file `path`. As dn_file_read;
 * DN_ENOMEM. */
dn_status dn_file_hash(int file, const char *path, int64_t size, uint64_t *hash);

/* *bytes(*size) = the whole file and a zero after it, to be freed by the caller; NULL after a
 * failure. As dn_file_open and dn_file_read; DN_ENOMEM. */
dn_status dn_file_load(const char *path, uint8_t **bytes, size_t *size);

/* The same of a file of at most so many bytes; DN_ECORRUPT where it has more. */
dn_status dn_file_load_most(const char *path, int64_t most, uint8_t **bytes, size_t *size);

#endif
