/*
 * The table of raw data sets; finds, downloads and reads their files; see sets.h.
 */
#include "sets/sets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archives/packed.h"
#include "archives/unpack.h"
#include "dn/child.h"
#include "dn/file.h"
#include "sets/fetch.h"
#include "writer/writer.h"

const dn_raw_set *const dn_raw_sets[] = {
    &dn_raw_cifar10,       &dn_raw_cifar100, &dn_raw_mnist,
    &dn_raw_fashion_mnist, &dn_raw_svhn,     &dn_raw_tiny_imagenet,
    &dn_raw_imagenet,      &dn_raw_folder,   NULL,
};

const char *const dn_raw_digits[10] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

/* ---- finding the files ---- */

dn_status dn_raw_file_find(char path[PATH_MAX], const char *folder, const char *name)
{
    char dotted[64], odd[PATH_MAX] = "";
    snprintf(dotted, sizeof dotted, "%s", name);
    char *const idx = strstr(dotted, "-idx");
    if (idx)
        *idx = '.';
    for (int i = 0; i < 4; i++) {
        struct stat info;
        errno = ENOENT; /* for a path that is too long */
        if (snprintf(path, PATH_MAX, "%s/%s%s", folder, i < 2 ? name : dotted,
                     i % 2 ? "" : ".gz") >= PATH_MAX ||
            stat(path, &info) != 0)
            continue;
        if (S_ISREG(info.st_mode))
            return DN_OK;
        strcpy(odd, path);
    }
    DN_CHECK(!odd[0], DN_ENOENT, "%s: found a folder or a device, expected a file", odd);
    return dn_fail(DN_ENOENT, "%s/%s: cannot read: %s", folder, name, strerror(errno));
}

static int has_probe(const dn_raw_form *form, const char *folder)
{
    char path[PATH_MAX];
    struct stat info;
    if (form->probe[strlen(form->probe) - 1] != '/')
        return dn_raw_file_find(path, folder, form->probe) == DN_OK;
    return dn_join_path(path, folder, form->probe) == DN_OK && stat(path, &info) == 0;
}

/* Searches `folder` and its subfolder of the form. */
static int search_folder(const dn_raw_form *form, const char *folder, char found[PATH_MAX])
{
    if (!folder || !*folder)
        return 0;
    if (dn_join_path(found, folder, form->subfolder) == DN_OK && has_probe(form, found))
        return 1;
    return snprintf(found, PATH_MAX, "%s", folder) < PATH_MAX && has_probe(form, folder);
}

/* The folder of downloads without --source. */
static void name_downloads(const dn_raw_set *set, char folder[PATH_MAX])
{
    snprintf(folder, PATH_MAX, "data/downloads/%s", set->prefix);
}

/* The current folder often has a folder such as `train`, which says little. */
static int search_form(const dn_raw_set *set, const dn_raw_form *form, const char *folder,
                       char found[PATH_MAX])
{
    char downloads[PATH_MAX];
    if (folder)
        return search_folder(form, folder, found);
    name_downloads(set, downloads);
    return (form->probe[strlen(form->probe) - 1] != '/' && search_folder(form, ".", found)) ||
           search_folder(form, getenv("DN_SOURCE_DIR"), found) ||
           search_folder(form, set->package_folder, found) || search_folder(form, downloads, found);
}

int dn_raw_set_search(const dn_raw_set *set, const char *folder, char source[PATH_MAX])
{
    for (const dn_raw_form *form = set->form; form < set->form + DN_RAW_FORMS && form->name; form++)
        if (!form->is_other && search_form(set, form, folder, source))
            return 1;
    return 0;
}

/* Explains why the search failed. */
static dn_status refuse_search(const dn_raw_set *set, const char *folder)
{
    const char *const name = set->info.dataset;
    const dn_raw_form *const form = set->form;
    char found[PATH_MAX];
    DN_CHECK(!folder || access(folder, F_OK) != 0 || dn_is_folder(folder), DN_EINVAL,
             "%s: found a file, expected the folder that it is in", folder);
    DN_CHECK(!folder || access(folder, X_OK) == 0 || errno == ENOENT || errno == ENOTDIR, DN_EIO,
             "%s: cannot read: %s", folder, strerror(errno));
    for (int i = 1; i < DN_RAW_FORMS && form[i].name; i++)
        DN_CHECK(!form[i].is_other || !search_form(set, &form[i], folder, found), DN_ENOENT,
                 "%s: found the %s version of %s, expected the %s one, %s; %s", found, form[i].name,
                 name, form->name, form->subfolder, set->hint);
    DN_CHECK(!folder, DN_ENOENT, "%s: found no %s/%s nor %s there; %s", folder, form->subfolder,
             form->probe, form->probe, set->hint);
    return dn_fail(DN_ENOENT,
                   "%s: no %s/%s in the current folder nor in $DN_SOURCE_DIR, and no --source; %s",
                   name, form->subfolder, form->probe, set->hint);
}

/* ---- downloading ---- */

/* The number of archives to download, from the first on; those of --extra are the last. */
static int count_archives(const dn_raw_set *set, const dn_records_options *options)
{
    int count = 0;
    while (count < DN_RAW_ARCHIVES && set->archive[count].name &&
           (options->extra || !set->archive[count].is_extra))
        count++;
    return count;
}

static dn_status check_download(const dn_raw_set *set, const dn_records_options *options)
{
    const int archives = count_archives(set, options);
    const char *const url = options->url, *const name = set->info.dataset;
    DN_CHECK(archives > 0, DN_EINVAL, "%s: its authors give the files to registered users only; %s",
             name, set->hint);
    DN_CHECK(!url || archives == 1 || url[strlen(url) - 1] == '/', DN_EINVAL,
             "--url: found '%s', expected the URL of a folder, with '/' at its end: %s has %d "
             "files",
             url, name, archives);
    DN_CHECK(!options->sha256 || (url && archives == 1), DN_EINVAL,
             "--sha256: found it %s, expected it with the --url of one file",
             url ? "with several files" : "without --url");
    DN_CHECK(!options->sha256 || (strlen(options->sha256) == 64 &&
                                  strspn(options->sha256, "0123456789abcdefABCDEF") == 64),
             DN_EINVAL, "--sha256: found '%s', expected 64 hex digits", options->sha256);
    return DN_OK;
}

static dn_status unpack_archive(const dn_raw_set *set, const dn_raw_archive *archive,
                                const char *path, const char *folder)
{
    char new[PATH_MAX], found[PATH_MAX];
    DN_CHECK(snprintf(new, PATH_MAX, "%s.unpacked" DN_PARTIAL, path) < PATH_MAX, DN_EINVAL,
             "%s: the path is too long", path);
    DN_TRY(dn_unpack(path, new, 2 * archive->unpacked));
    const dn_status status = dn_raw_set_search(set, new, found)
                                 ? dn_move_entries(new, folder)
                                 : dn_fail(DN_ECORRUPT, "%s: found no %s/%s in it", path,
                                           set->form->subfolder, set->form->probe);
    dn_remove_folder(new);
    return status;
}

/* Downloads one archive into the folder and unpacks it. A file from another server than the
 * authors' has no known checksum, and is removed if it cannot be unpacked. */
static dn_status get_archive(const dn_raw_set *set, const dn_raw_archive *archive,
                             const dn_records_options *options, const char *folder)
{
    char path[PATH_MAX];
    const char *const url = options->url;
    const char *const base[DN_RAW_MIRRORS] = {url ? url : set->mirror[0],
                                              url ? NULL : set->mirror[1]};
    DN_TRY(dn_join_path(path, folder, archive->name));
    const dn_fetch file = {.path = path,
                           .name = archive->name,
                           .digest = url ? options->sha256 : archive->digest,
                           .bytes = url ? 0 : archive->bytes,
                           .timeout = options->timeout};
    DN_TRY(dn_fetch_file(&file, base, DN_RAW_MIRRORS));
    if (!archive->unpacked)
        return DN_OK;
    const dn_status status = unpack_archive(set, archive, path, folder);
    if (status == DN_ECORRUPT && !file.digest)
        remove(path);
    return status;
}

static dn_status get_missing(const dn_raw_set *set, const dn_records_options *options,
                             const char *folder)
{
    char found[PATH_MAX];
    for (int i = 0; i < count_archives(set, options); i++) {
        const dn_raw_archive *const archive = &set->archive[i];
        const int is_there = archive->unpacked
                                 ? dn_raw_set_search(set, folder, found)
                                 : dn_raw_file_find(found, folder, archive->name) == DN_OK;
        if (is_there)
            dn_info("%s: found %s, so %s is not downloaded", set->info.dataset, found,
                    archive->name);
        else
            DN_TRY(get_archive(set, archive, options, folder));
    }
    return DN_OK;
}

static dn_status get_files(const dn_raw_set *set, const dn_records_options *options,
                           const char *folder)
{
    int lock;
    DN_TRY(check_download(set, options));
    DN_TRY(dn_make_folders(folder));
    DN_TRY(dn_writer_lock(folder, 1, &lock)); /* a second process finds the files */
    const dn_status status = get_missing(set, options, folder);
    dn_writer_unlock(folder, lock);
    return status;
}

dn_status dn_raw_set_find(const dn_raw_set *set, const dn_records_options *options,
                          char source[PATH_MAX])
{
    char folder[PATH_MAX];
    const char *wanted = options->source;
    if (options->download) {
        if (!wanted) {
            name_downloads(set, folder);
            wanted = folder;
        }
        DN_TRY(get_files(set, options, wanted));
    } else {
        DN_CHECK(!options->url && !options->sha256, DN_EINVAL,
                 "--%s: found it without --download, expected both",
                 options->url ? "url" : "sha256");
    }
    if (!dn_raw_set_search(set, wanted, source))
        return refuse_search(set, wanted);
    dn_info("%s: reading %s", set->info.dataset, source);
    return DN_OK;
}

/* ---- reading the files ---- */

dn_status dn_raw_split_create(dn_raw_split *split, const dn_raw_set *set, int64_t count)
{
    const size_t images = (size_t)count, image = dn_image_values(&set->info);
    *split = (dn_raw_split){.count = count, .bytes = images * (image + sizeof *split->labels)};
    split->labels = dn_child_pages(split->bytes);
    if (!split->labels) {
        *split = (dn_raw_split){0};
        return dn_fail(DN_ENOMEM, "%s: out of memory for %" PRId64 " images", set->info.dataset,
                       count);
    }
    split->pixels = (uint8_t *)(split->labels + images);
    return DN_OK;
}

void dn_raw_split_free(dn_raw_split *split)
{
    if (split->labels)
        dn_child_pages_free(split->labels, split->bytes);
    *split = (dn_raw_split){0};
}

/* Adds advice to a failure because of missing or wrong files: --download only downloads an archive
 * if none of its files exist, and another server than the authors' may send anything. */
static dn_status advise(const dn_raw_set *set, const char *source,
                        const dn_records_options *options, dn_status status)
{
    if (status == DN_ENOENT && set->archive[0].unpacked && options->download)
        return dn_fail(status, "%s; remove what is in %s, then %s", dn_message(), source,
                       set->hint);
    if (status == DN_ENOENT)
        return dn_fail(status, "%s; %s", dn_message(), set->hint);
    if (status == DN_ECORRUPT && options->url && !options->sha256)
        return dn_fail(status, "%s; remove the file, and run --download again", dn_message());
    return status;
}

dn_status dn_raw_set_load(const dn_raw_set *set, const char *source,
                          const dn_records_options *options, dn_raw_split split[DN_SPLITS])
{
    for (int s = 0; s <= DN_TEST; s++) {
        const dn_status status = set->load(set, source, options, (dn_split_id)s, &split[s]);
        if (status != DN_OK)
            return advise(set, source, options, status);
        if (split[s].count != set->count[s] && !options->extra)
            dn_warn("%s: found %" PRId64 " images for the %s split, the authors' files have "
                    "%" PRId64,
                    source, split[s].count, dn_split_name((dn_split_id)s), set->count[s]);
    }
    return DN_OK;
}

dn_status dn_raw_file_check_count(const char *path, int64_t count, int64_t image)
{
    enum { EXPANSION = 1032 }; /* largest compression ratio of deflate */
    int64_t bytes;
    DN_TRY(dn_file_size(path, &bytes));
    const int64_t fit = bytes * EXPANSION / image, most = INT_MAX / image;
    DN_CHECK(count >= 1 && count <= (fit < most ? fit : most), DN_ECORRUPT,
             "%s: found %" PRId64 " images in a file of %" PRId64 " bytes, expected 1 to %" PRId64,
             path, count, bytes, fit < most ? fit : most);
    return DN_OK;
}

dn_status dn_raw_file_words(const char *path, uint32_t word[2])
{
    size_t found;
    dn_packed *file;
    dn_status status = dn_packed_open(&file, path);
    if (status == DN_OK)
        status = dn_packed_read(file, word, 2 * sizeof *word, &found);
    dn_packed_close(&file);
    DN_TRY(status);
    DN_CHECK(found == 2 * sizeof *word, DN_ECORRUPT, "%s: found %zu bytes, expected %zu or more",
             path, found, 2 * sizeof *word);
    for (size_t i = 0; i < 2; i++)
        word[i] = ntohl(word[i]);
    return DN_OK;
}

static dn_status read_whole(dn_packed *file, const char *path, const uint32_t *header, size_t words,
                            uint8_t *bytes, size_t size)
{
    const size_t head = words * sizeof *header;
    size_t found, more;
    uint8_t last[2] = {0};
    for (size_t i = 0; i < words; i++) {
        uint32_t word = 0;
        DN_TRY(dn_packed_read(file, &word, sizeof word, &found));
        DN_CHECK(found == sizeof word, DN_ECORRUPT, "%s: found %zu bytes, expected %zu", path,
                 i * sizeof word + found, head + size);
        DN_CHECK(ntohl(word) == header[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %zu of the header, expected %" PRIu32, path,
                 ntohl(word), i, header[i]);
    }
    /* Reads the last byte with room for one more, which checks the end of the file. */
    DN_TRY(dn_packed_read(file, bytes, size - 1, &found));
    DN_TRY(dn_packed_read(file, last, sizeof last, &more));
    bytes[size - 1] = last[0];
    found += more;
    DN_CHECK(found == size, DN_ECORRUPT, "%s: found %zu%s bytes, expected %zu", path, head + found,
             found > size ? " or more" : "", head + size);
    return DN_OK;
}

dn_status dn_raw_file_read(const char *path, const uint32_t *header, size_t words, uint8_t *bytes,
                           size_t size)
{
    dn_packed *file;
    dn_status status = dn_packed_open(&file, path);
    if (status == DN_OK)
        status = read_whole(file, path, header, words, bytes, size);
    dn_packed_close(&file);
    return status;
}
