/*
 * Unpacks archives; see unpack.h.
 *
 * The folder is new, so it contains nothing but the archive's files, and in particular no link.
 */
#include "archives/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "dn/file.h"

enum { BLOCK = 1 << 16, MOST_ENTRIES = 1 << 20 };

struct unpacking {
    const char *path;
    const char *folder;
    struct archive *archive;
    int64_t left; /* bytes still allowed */
};

dn_status dn_temporary_path(char path[PATH_MAX])
{
    const char *const folder = getenv("TMPDIR");
    return dn_join_path(path, folder && *folder ? folder : "/var/tmp", "create_records.XXXXXX");
}

/* 1 for a relative path that does not lead upwards. */
static int stays_below(const char *name)
{
    if (!name || name[0] == '/' || name[0] == '\0')
        return 0;
    for (const char *word = name; word; word = strchr(word, '/'), word += word != NULL)
        if (strcspn(word, "/") == 2 && word[0] == '.' && word[1] == '.')
            return 0;
    return 1;
}

static dn_status check_entry(const struct unpacking *u, struct archive_entry *entry)
{
    const char *const name = archive_entry_pathname(entry);
    const unsigned kind = archive_entry_filetype(entry);
    DN_CHECK(stays_below(name), DN_ECORRUPT,
             "%s: found an entry \"%s\", expected paths below the archive's folder", u->path,
             name ? name : "?");
    DN_CHECK((kind == AE_IFREG || kind == AE_IFDIR) && !archive_entry_hardlink(entry), DN_ECORRUPT,
             "%s: found the entry %s, a link or device, expected files and folders", u->path, name);
    return DN_OK;
}

/* Writes the entry's bytes, at most u->left. */
static dn_status write_entry(struct unpacking *u, const char *path, int file)
{
    char *const block = malloc(BLOCK);
    dn_status status = block ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", path);
    while (status == DN_OK) {
        const la_ssize_t size = archive_read_data(u->archive, block, BLOCK);
        if (size == 0)
            break;
        if (size < 0)
            status = dn_fail(DN_ECORRUPT, "%s: %s", u->path, archive_error_string(u->archive));
        else if ((u->left -= size) < 0)
            status =
                dn_fail(DN_ECORRUPT, "%s: found more bytes than there should be in it", u->path);
        else
            status = dn_file_append(file, path, block, (size_t)size);
    }
    free(block);
    return status;
}

static dn_status unpack_entry(struct unpacking *u, struct archive_entry *entry)
{
    char path[PATH_MAX];
    DN_TRY(check_entry(u, entry));
    DN_TRY(dn_join_path(path, u->folder, archive_entry_pathname(entry)));
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return dn_make_folders(path);
    char *const slash = strrchr(path, '/');
    *slash = '\0';
    DN_TRY(dn_make_folders(path));
    *slash = '/';
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    DN_CHECK(file >= 0, DN_EIO, "%s: cannot write %s: %s", u->path, path, strerror(errno));
    dn_status status = write_entry(u, path, file);
    if (close(file) != 0 && status == DN_OK)
        status = dn_fail(DN_EIO, "%s: cannot write: %s", path, strerror(errno));
    return status;
}

static dn_status unpack_entries(struct unpacking *u)
{
    struct archive *const a = u->archive;
    struct archive_entry *entry;
    int code = archive_read_open_filename(a, u->path, BLOCK);
    for (int entries = 0; code >= ARCHIVE_WARN && code != ARCHIVE_EOF; entries++) {
        code = archive_read_next_header(a, &entry);
        if (code < ARCHIVE_WARN || code == ARCHIVE_EOF)
            break;
        DN_CHECK(entries < MOST_ENTRIES, DN_ECORRUPT, "%s: found more than %d entries", u->path,
                 MOST_ENTRIES);
        DN_TRY(unpack_entry(u, entry));
    }
    DN_CHECK(code == ARCHIVE_EOF, DN_ECORRUPT, "%s: not a sound archive: %s", u->path,
             archive_error_string(a));
    return DN_OK;
}

/* ---- folders ---- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

void dn_remove_folder(const char *folder)
{
    enum { OPEN = 16 };
    nftw(folder, remove_entry, OPEN, FTW_DEPTH | FTW_PHYS);
}

static dn_status put_in_place(const char *old, const char *new)
{
    DN_CHECK(!dn_is_folder(new) || rmdir(new) == 0, DN_EIO,
             "%s: cannot be put in place: %s; remove it, and run the command again", new,
             strerror(errno));
    return dn_file_rename(old, new);
}

/* Flushes the file system that the folder is on. */
static dn_status flush(const char *folder)
{
    const int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int is_flushed = file >= 0 && syncfs(file) == 0, error = errno;
    if (file >= 0)
        close(file);
    DN_CHECK(is_flushed, DN_EIO, "%s: cannot write: %s", folder, strerror(error));
    return DN_OK;
}

struct moving {
    const char *from, *folder;
};

/* A dn_entry_fn. */
static dn_status move_entry(void *user, const char *name)
{
    const struct moving *const m = user;
    char old[PATH_MAX], new[PATH_MAX];
    DN_TRY(dn_join_path(old, m->from, name));
    DN_TRY(dn_join_path(new, m->folder, name));
    return put_in_place(old, new);
}

dn_status dn_move_entries(const char *from, const char *folder)
{
    struct moving m = {from, folder};
    DN_TRY(flush(from));
    return dn_folder_walk(from, move_entry, &m);
}

dn_status dn_unpack(const char *archive, const char *folder, int64_t most)
{
    struct unpacking u = {.path = archive, .folder = folder, .left = most};
    dn_remove_folder(folder);
    DN_TRY(dn_make_folders(folder));
    dn_info("%s: unpacking", archive);
    u.archive = archive_read_new();
    DN_CHECK(u.archive, DN_ENOMEM, "%s: out of memory", archive);
    archive_read_support_filter_gzip(u.archive);
    archive_read_support_filter_bzip2(u.archive);
    archive_read_support_filter_xz(u.archive);
    archive_read_support_format_tar(u.archive);
    archive_read_support_format_zip(u.archive);
    const dn_status status = unpack_entries(&u);
    archive_read_free(u.archive);
    if (status != DN_OK)
        dn_remove_folder(folder);
    return status;
}
