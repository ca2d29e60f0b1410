/*
 * Makes the shards of a folder's images; see folder_shards.h.
 *
 * Threads take the images in the order of the shards, and the thread that finishes a shard's last
 * image writes it. So few shards are in memory at a time.
 */
#include "folder/folder_shards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "dn/conversion.h"

/* ---- a shard in the journal ---- */

/* Followed by the `planned` checksums of files and the `planned` flags of images. */
struct notes {
    dn_pixel_sums sums;
    int64_t oriented;
};

enum { BAD = 1, DARK = 2 };

static dn_status note_shard(dn_folder_writer *k, int index)
{
    const dn_folder_shard *const s = &k->shard[index];
    const dn_folder_image *const image = k->folder.image + s->begin;
    const struct notes head = {s->sums, s->oriented};
    const size_t size = sizeof head + (size_t)s->planned * (sizeof image->hash + 1);
    uint8_t *const bytes = malloc(size), *next = bytes + sizeof head;
    DN_CHECK(bytes, DN_ENOMEM, "%s: out of memory", k->folder.source);
    memcpy(bytes, &head, sizeof head);
    for (int64_t i = 0; i < s->planned; i++, next += sizeof image->hash)
        memcpy(next, &image[i].hash, sizeof image->hash);
    for (int64_t i = 0; i < s->planned; i++)
        *next++ = (uint8_t)(image[i].is_bad * BAD | image[i].is_dark * DARK);
    const dn_status status =
        dn_journal_add(&k->writer.journal, &k->writer.manifest->shard[index], bytes, size);
    free(bytes);
    return status;
}

/* Restores what an earlier attempt found in a whole shard. */
static void recall_shard(dn_folder_writer *k, int index)
{
    dn_folder_shard *const s = &k->shard[index];
    dn_folder_image *const image = k->folder.image + s->begin;
    struct notes head;
    size_t size;
    const uint8_t *next =
        dn_journal_find(&k->writer.journal, &k->writer.manifest->shard[index], &size);
    if (!next || size != sizeof head + (size_t)s->planned * (sizeof image->hash + 1))
        return;
    memcpy(&head, next, sizeof head);
    next += sizeof head;
    for (int64_t i = 0; i < s->planned; i++, next += sizeof image->hash)
        memcpy(&image[i].hash, next, sizeof image->hash);
    for (int64_t i = 0; i < s->planned; i++) {
        image[i].is_bad = (*next & BAD) != 0;
        image[i].is_dark = (*next++ & DARK) != 0;
        if (image[i].is_bad)
            dn_warn("%s/%s: not sound, as an earlier attempt found; left out", k->folder.source,
                    image[i].path);
    }
    s->sums = head.sums;
    s->oriented = head.oriented;
    s->left = 0;
}

/* ---- images ---- */

/* Writes the shard when all its images are done. */
static dn_status write_shard(dn_folder_writer *k, int index)
{
    dn_folder_shard *const s = &k->shard[index];
    dn_manifest_shard *const shard = &k->writer.manifest->shard[index];
    shard->count = 0;
    for (int64_t i = 0; i < s->planned; i++)
        if (!k->folder.image[s->begin + i].is_bad)
            s->image[shard->count++] = s->image[i];
    for (int64_t i = shard->count; i < s->planned; i++)
        s->image[i] = (dn_stored_image){0};
    DN_CHECK(shard->count > 0, DN_EINVAL,
             "%s: found no sound image among the %" PRId64 " of %s, expected at least one",
             k->folder.source, s->planned, shard->hdf5.name);
    DN_TRY(dn_writer_save_encoded(&k->writer, shard, s->image));
    return note_shard(k, index);
}

static dn_status begin_shard(dn_folder_shard *s)
{
    int good;
#pragma omp critical(dn_folder)
    {
        if (!s->image)
            s->image = calloc((size_t)s->planned, sizeof *s->image);
        good = s->image != NULL;
    }
    DN_CHECK(good, DN_ENOMEM, "out of memory for %" PRId64 " images", s->planned);
    return DN_OK;
}

/* Reads and converts image i, and adds its pixels to the shard's sums. */
static dn_status make_image(dn_folder_writer *k, dn_folder_shard *s, int64_t i,
                            dn_converter *converter)
{
    dn_folder_image *const image = &k->folder.image[i];
    dn_stored_image *const stored = &s->image[i - s->begin];
    char path[PATH_MAX];
    dn_encoded file = {.name = path};
    dn_pixel_sums sums = {0};
    image->hash = 0;
    stored->label = image->label;
    DN_TRY(dn_folder_image_name(&k->folder, image, &stored->name));
    DN_TRY(dn_folder_read(&k->folder, image, path, &stored->bytes, &file.size));
    file.bytes = stored->bytes.bytes;
    image->hash = XXH3_64bits(file.bytes, file.size);
    const int drops_bits = dn_conversion_drops_bits(&k->conversion, &file);
    const int is_oriented = dn_exif_orientation(&file) != 1;
    DN_TRY(dn_convert(converter, &k->conversion, &file, &stored->bytes));
    DN_TRY(dn_image_decode(&file, NULL, 1, &converter->pixels));
    image->is_dark = drops_bits && dn_pixels_are_dark(&converter->pixels);
    stored->size = file.size;
    stored->hash = XXH3_64bits(file.bytes, file.size);
    stored->width = converter->pixels.width;
    stored->height = converter->pixels.height;
    if (image->split == DN_TRAIN)
        dn_pixel_sums_add_image(&sums, &converter->pixels);
    dn_pixel_sums_merge(&s->sums, &sums);
    if (is_oriented) {
#pragma omp atomic
        s->oriented++;
    }
    return DN_OK;
}

/* Makes the work end after the images before this one; -1: at once. */
static void keep_failure(dn_folder_writer *k, int64_t image, dn_status status)
{
#pragma omp critical(dn_folder)
    if (image < k->end) {
        k->failure.status = DN_OK;
        dn_failure_keep(&k->failure, status);
        k->end = image;
    }
}

/* Makes image i, and if it is the last one left in its shard writes the shard. */
static void do_image(dn_folder_writer *k, int index, int64_t i, dn_converter *converter)
{
    dn_folder_shard *const s = &k->shard[index];
    dn_status status = dn_writer_check_stop(&k->writer);
    if (status == DN_OK)
        status = begin_shard(s);
    if (status != DN_OK) {
        keep_failure(k, -1, status);
        return;
    }
    status = make_image(k, s, i, converter);
    const int is_bad = dn_folder_is_bad(status); /* not merely unreadable, which can be mended */
    const int skips = k->folder.options->on_bad_image == DN_BAD_SKIP;
    if (is_bad && skips) {
        char text[PATH_MAX + 256];
        snprintf(text, sizeof text, "%s; left out", dn_message());
        dn_progress_warn(&k->writer.progress, text);
        dn_stored_image_free(&s->image[i - s->begin]);
        k->folder.image[i].is_bad = 1;
    } else if (status != DN_OK) {
        if (is_bad)
            dn_fail(status, "%s; --on-bad-image skip leaves such images out", dn_message());
        else if (status == DN_EIO && skips)
            dn_fail(status, "%s; --on-bad-image skip leaves out bad images, no unreadable files",
                    dn_message());
        keep_failure(k, is_bad ? i : -1, status);
        return;
    }
    dn_progress_add(&k->writer.progress, 1);
    if (--s->left > 0)
        return;
    status = write_shard(k, index);
    dn_stored_images_free(s->image, s->planned);
    s->image = NULL;
    if (status != DN_OK)
        keep_failure(k, -1, status);
}

dn_status dn_folder_make_shards(dn_folder_writer *k)
{
    const int shards = k->writer.manifest->shards;
    k->end = INT64_MAX;
    for (int i = 0; i < shards; i++)
        recall_shard(k, i);
#pragma omp parallel
    {
        dn_converter converter = {0};
        int index = 0;
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t i = 0; i < k->folder.images; i++) {
            while (i >= k->shard[index].begin + k->shard[index].planned)
                index++;
            if (i < k->end && k->shard[index].left > 0)
                do_image(k, index, i, &converter);
        }
        dn_converter_free(&converter);
    }
    for (int i = 0; i < shards; i++)
        dn_stored_images_free(k->shard[i].image, k->shard[i].planned);
    return dn_failure_report(&k->failure);
}
