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
#include <unistd.h>

#include <zlib.h>

#include "dn/file.h"

const dn_raw_set *const dn_raw_sets[] = {
    &dn_raw_cifar10,
    &dn_raw_fashion_mnist,
    NULL,
};

static int has_probe(const dn_raw_set *set, const char *folder)
{
    char probe[PATH_MAX];
    return dn_join_path(probe, folder, set->probe) == DN_OK && access(probe, F_OK) == 0;
}

/* `folder` may hold the files itself or be the one above. */
static int search_folder(const dn_raw_set *set, const char *folder, char found[PATH_MAX])
{
    if (!folder || !*folder)
        return 0;
    if (dn_join_path(found, folder, set->subfolder) == DN_OK && has_probe(set, found))
        return 1;
    return snprintf(found, PATH_MAX, "%s", folder) < PATH_MAX && has_probe(set, folder);
}

/* found = the folder of the files. */
static dn_status find_source(const dn_raw_set *set, const char *folder, char found[PATH_MAX])
{
    if (folder)
        DN_CHECK(search_folder(set, folder, found), DN_ENOENT,
                 "%s: found no %s/%s nor %s there; %s", folder, set->subfolder, set->probe,
                 set->probe, set->hint);
    else
        DN_CHECK(search_folder(set, ".", found) ||
                     search_folder(set, getenv("DN_SOURCE_DIR"), found) ||
                     search_folder(set, set->package_folder, found),
                 DN_ENOENT,
                 "%s: no %s/%s in the current folder nor in $DN_SOURCE_DIR, and no --source; %s",
                 set->info.dataset, set->subfolder, set->probe, set->hint);
    dn_info("%s: reading %s", set->info.dataset, found);
    return DN_OK;
}

dn_status dn_raw_set_load(const dn_raw_set *set, const char *folder, uint8_t *pixels[DN_SPLITS],
                          uint16_t *labels[DN_SPLITS])
{
    char source[PATH_MAX];
    DN_TRY(find_source(set, folder, source));
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
    DN_CHECK(code == Z_OK, DN_ECORRUPT, "%s", message);
    return DN_OK;
}

static dn_status unpack_file(gzFile file, const char *path, const uint32_t *header, size_t words,
                             uint8_t *bytes, size_t size)
{
    size_t found, more;
    for (size_t i = 0; i < words; i++) {
        uint32_t word = 0;
        DN_TRY(unpack_bytes(file, &word, sizeof word, &found));
        DN_CHECK(ntohl(word) == header[i], DN_ECORRUPT,
                 "%s: found %" PRIu32 " in word %zu of the header, expected %" PRIu32, path,
                 ntohl(word), i, header[i]);
    }
    DN_TRY(unpack_bytes(file, bytes, size, &found));
    DN_TRY(unpack_bytes(file, &(uint8_t){0}, 1, &more)); /* gzip's CRC stands at the end */
    const size_t head = words * sizeof *header;
    DN_CHECK(found == size && more == 0, DN_ECORRUPT, "%s: found %zu%s bytes, expected %zu", path,
             head + found + more, more ? " or more" : "", head + size);
    return DN_OK;
}

dn_status dn_raw_file_read(const char *folder, const char *name, const uint32_t *header,
                           size_t words, uint8_t *bytes, size_t size)
{
    char path[PATH_MAX];
    DN_TRY(dn_join_path(path, folder, name));
    errno = ENOMEM; /* where gzopen fails without an error of the system */
    const gzFile file = gzopen(path, "rb");
    DN_CHECK(file, errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s", path,
             strerror(errno));
    const dn_status status = unpack_file(file, path, header, words, bytes, size);
    gzclose(file);
    return status;
}
