/*
 * The table of raw data sets, the search for their files, and reading them; see records.h.
 *
 * zlib reads files that are not gzipped as they are, and checks the CRC of those that are.
 */
#include "records.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "dn/file.h"

const dn_raw_set *const dn_raw_sets[] = {
    &dn_raw_cifar10,
    &dn_raw_fashion_mnist,
    NULL,
};

dn_status dn_raw_file_find(char path[PATH_MAX], const char *folder, const char *name)
{
    char dotted[64];
    snprintf(dotted, sizeof dotted, "%s", name);
    char *const idx = strstr(dotted, "-idx");
    if (idx)
        *idx = '.';
    for (int i = 0; i < 4; i++) {
        struct stat info;
        errno = ENOENT; /* what a folder of that name amounts to */
        if (snprintf(path, PATH_MAX, "%s/%s%s", folder, i < 2 ? name : dotted, i % 2 ? "" : ".gz") <
                PATH_MAX &&
            stat(path, &info) == 0 && S_ISREG(info.st_mode))
            return DN_OK;
    }
    return dn_fail(DN_ENOENT, "%s/%s: cannot read: %s", folder, name, strerror(errno));
}

static int has_probe(const dn_raw_form *form, const char *folder)
{
    char path[PATH_MAX];
    return dn_raw_file_find(path, folder, form->probe) == DN_OK;
}

/* `folder` may hold the files itself or be the one above. */
static int search_folder(const dn_raw_form *form, const char *folder, char found[PATH_MAX])
{
    if (!folder || !*folder)
        return 0;
    if (dn_join_path(found, folder, form->subfolder) == DN_OK && has_probe(form, found))
        return 1;
    return snprintf(found, PATH_MAX, "%s", folder) < PATH_MAX && has_probe(form, folder);
}

static int search_form(const dn_raw_set *set, const dn_raw_form *form, const char *folder,
                       char found[PATH_MAX])
{
    if (folder)
        return search_folder(form, folder, found);
    return search_folder(form, ".", found) || search_folder(form, getenv("DN_SOURCE_DIR"), found) ||
           search_folder(form, set->package_folder, found);
}

dn_status dn_raw_set_find(const dn_raw_set *set, const char *folder, char source[PATH_MAX])
{
    const char *const name = set->info.dataset;
    const dn_raw_form *const form = set->form;
    if (search_form(set, form, folder, source)) {
        dn_info("%s: reading %s", name, source);
        return DN_OK;
    }
    for (int i = 1; i < DN_RAW_FORMS && form[i].name; i++)
        DN_CHECK(!search_form(set, &form[i], folder, source), DN_ENOENT,
                 "%s: found the %s version of %s, expected the %s one, %s; %s", source,
                 form[i].name, name, form->name, form->subfolder, set->hint);
    DN_CHECK(!folder, DN_ENOENT, "%s: found no %s/%s nor %s there; %s", folder, form->subfolder,
             form->probe, form->probe, set->hint);
    return dn_fail(DN_ENOENT,
                   "%s: no %s/%s in the current folder nor in $DN_SOURCE_DIR, and no --source; %s",
                   name, form->subfolder, form->probe, set->hint);
}

dn_status dn_raw_set_load(const dn_raw_set *set, const char *source, uint8_t *pixels[DN_SPLITS],
                          uint16_t *labels[DN_SPLITS])
{
    for (int s = 0; s < DN_SPLITS; s++) {
        const size_t count = (size_t)set->count[s];
        pixels[s] = malloc(count * dn_image_values(&set->info));
        labels[s] = malloc(count * sizeof *labels[s]);
        DN_CHECK(pixels[s] && labels[s], DN_ENOMEM, "%s: out of memory", source);
        const dn_status status = set->load(source, (dn_split_id)s, pixels[s], labels[s]);
        if (status == DN_ENOENT)
            return dn_fail(status, "%s; %s", dn_message(), set->hint);
        DN_TRY(status);
    }
    return DN_OK;
}

/* Reads bytes(size), fewer only at the end of the file. zlib's message names the file. */
static dn_status unpack_bytes(gzFile file, void *bytes, size_t size, size_t *found)
{
    int code;
    *found = (size_t)gzread(file, bytes, (unsigned)size);
    const char *const message = gzerror(file, &code);
    DN_CHECK(code == Z_OK, code == Z_ERRNO ? DN_EIO : DN_ECORRUPT, "%s", message);
    return DN_OK;
}

static dn_status unpack_file(gzFile file, const char *path, const uint32_t *header, size_t words,
                             uint8_t *bytes, size_t size)
{
    const size_t head = words * sizeof *header;
    size_t found, more;
    uint8_t last[2] = {0};
    for (size_t i = 0; i < words; i++) {
        uint32_t word = 0;
        DN_TRY(unpack_bytes(file, &word, sizeof word, &found));
        DN_CHECK(found == sizeof word, DN_ECORRUPT, "%s: found %zu bytes, expected %zu", path,
                 i * sizeof word + found, head + size);
        DN_CHECK(ntohl(word) == header[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %zu of the header, expected %" PRIu32, path,
                 ntohl(word), i, header[i]);
    }
    /* The last byte with room for one more: without it zlib does not ask for the CRC behind it, and
     * takes a file that lacks it for whole. */
    DN_TRY(unpack_bytes(file, bytes, size - 1, &found));
    DN_TRY(unpack_bytes(file, last, sizeof last, &more));
    bytes[size - 1] = last[0];
    found += more;
    DN_CHECK(found == size, DN_ECORRUPT, "%s: found %zu%s bytes, expected %zu", path, head + found,
             found > size ? " or more" : "", head + size);
    return DN_OK;
}

dn_status dn_raw_file_read(const char *path, const uint32_t *header, size_t words, uint8_t *bytes,
                           size_t size)
{
    errno = ENOMEM; /* where gzopen fails without an error of the system */
    const gzFile file = gzopen(path, "rb");
    DN_CHECK(file, DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    const dn_status status = unpack_file(file, path, header, words, bytes, size);
    gzclose(file);
    return status;
}
