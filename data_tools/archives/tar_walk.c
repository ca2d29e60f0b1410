/*
 * Finds the files of a tar archive; see tar_walk.h.
 *
 * libarchive tells where headers begin. A file's bytes end in the last 512-byte block before the
 * next header, regardless of the number of the file's own headers.
 */
#include "archives/tar_walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "dn/file.h"

enum { TAR_BLOCK = 512, READ_BLOCK = 2048 };

/* The archive as libarchive reads it: from `next` to `end` of the file. */
struct part {
    int file;
    const char *path;
    int64_t begin, next, end;
    char block[READ_BLOCK];
};

static la_ssize_t read_part(struct archive *a, void *user, const void **block)
{
    struct part *const p = user;
    const int64_t left = p->end - p->next;
    ssize_t size;
    do
        size = pread(p->file, p->block, (size_t)(left < READ_BLOCK ? left : READ_BLOCK), p->next);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        archive_set_error(a, errno, "%s", strerror(errno));
    p->next += size > 0 ? size : 0;
    *block = p->block;
    return size;
}

static la_int64_t skip_part(struct archive *a, void *user, la_int64_t wanted)
{
    struct part *const p = user;
    const int64_t left = p->end - p->next, skipped = wanted < left ? wanted : left;
    (void)a;
    p->next += skipped;
    return skipped;
}

/* A file whose place is known once the next header is found. */
struct pending {
    char name[PATH_MAX];
    int64_t size; /* -1: none */
};

static dn_status visit_pending(struct pending *f, const struct part *p, int64_t next_header,
                               dn_tar_visit *visit, void *user)
{
    const int64_t size = f->size, room = p->end - p->begin; /* any number may be given */
    f->size = -1;
    if (size < 0)
        return DN_OK;
    const int64_t at =
        size > room ? 0 : next_header - (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    DN_CHECK(at >= TAR_BLOCK && at + size <= room, DN_ECORRUPT, "%s: found the entry %s cut off",
             p->path, f->name);
    return visit(user, f->name, p->begin + at, size);
}

static dn_status walk_entries(struct archive *a, const struct part *p, dn_tar_visit *visit,
                              void *user)
{
    struct pending f = {.size = -1};
    struct archive_entry *entry;
    int code;
    while ((code = archive_read_next_header(a, &entry)) >= ARCHIVE_WARN && code != ARCHIVE_EOF) {
        const char *const name = archive_entry_pathname(entry);
        DN_TRY(visit_pending(&f, p, archive_read_header_position(a), visit, user));
        if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || !name ||
            archive_entry_sparse_count(entry) > 0)
            continue;
        DN_CHECK(snprintf(f.name, sizeof f.name, "%s", name) < (int)sizeof f.name, DN_ECORRUPT,
                 "%s: found a name that is too long", p->path);
        f.size = archive_entry_size(entry);
    }
    DN_CHECK(code == ARCHIVE_EOF, DN_ECORRUPT, "%s: no sound tar archive: %s", p->path,
             archive_error_string(a));
    return visit_pending(&f, p, archive_read_header_position(a), visit, user);
}

dn_status dn_tar_walk(int file, const char *path, int64_t at, int64_t size, dn_tar_visit *visit,
                      void *user)
{
    struct part p = {.file = file, .path = path, .begin = at, .next = at, .end = at + size};
    struct archive *const a = archive_read_new();
    DN_CHECK(a, DN_ENOMEM, "%s: out of memory", path);
    archive_read_support_format_tar(a);
    archive_read_set_read_callback(a, read_part);
    archive_read_set_skip_callback(a, skip_part);
    archive_read_set_callback_data(a, &p);
    dn_status status =
        archive_read_open1(a) == ARCHIVE_OK
            ? walk_entries(a, &p, visit, user)
            : dn_fail(DN_ECORRUPT, "%s: no tar archive: %s", path, archive_error_string(a));
    archive_read_free(a);
    return status;
}
