/*
 * Folders and published files; see include/dn/file.h.
 *
 * fsync before rename: without it a crash can leave the new name on an empty file. The folder is
 * flushed afterwards so that the new name itself outlives a crash.
 */
#include "dn/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dn_status make_folder(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0)
        return DN_OK;
    const int error = errno; /* EEXIST, but also EROFS or EACCES for a folder that is there */
    if (stat(path, &info) == 0) {
        DN_CHECK(S_ISDIR(info.st_mode), DN_EIO, "%s: found a file, expected a folder", path);
        return DN_OK;
    }
    return dn_fail(DN_EIO, "%s: cannot make the folder: %s", path, strerror(error));
}

dn_status dn_make_folders(const char *path)
{
    char part[PATH_MAX];
    const size_t length = strlen(path);
    DN_CHECK(length > 0 && length < sizeof part, DN_EINVAL,
             "a folder's path: found %zu characters, expected 1 to %zu", length, sizeof part - 1);
    memcpy(part, path, length + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        DN_TRY(make_folder(part));
        *slash = '/';
    }
    return make_folder(part);
}

/* Returns 0, or -1 with errno set. */
static int flush_to_disk(const char *path)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    const int result = fsync(file), error = errno;
    close(file);
    errno = error;
    return result;
}

static void folder_of(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) : 0;
    if (!slash)
        snprintf(folder, PATH_MAX, ".");
    else
        snprintf(folder, PATH_MAX, "%.*s", length ? length : 1, path);
}

dn_status dn_file_publish(const char *temporary, const char *final)
{
    char folder[PATH_MAX];
    if (flush_to_disk(temporary) != 0 || rename(temporary, final) != 0) {
        const int error = errno;
        unlink(temporary);
        return dn_fail(DN_EIO, "%s: cannot write: %s", final, strerror(error));
    }
    folder_of(final, folder);
    if (flush_to_disk(folder) != 0 && errno != EINVAL) /* some file systems cannot flush folders */
        return dn_fail(DN_EIO, "%s: cannot flush the folder: %s", folder, strerror(errno));
    return DN_OK;
}
