/*
 * Records of a tree of class folders; see folder.h.
 *
 * Every image is read twice: to decode it, for mean and std and as proof that it is sound, and into
 * its shard. A checksum tells that both were the same.
 */
#include "folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "dn/image.h"
#include "making.h"
#include "pixel_sums.h"

enum { SHARD_BYTES = 64 << 20, MOST_SHARDS = 99999 };

struct make_folder {
    dn_making making;
    dn_folder folder;
    dn_status (*scan)(dn_folder *f);
    dn_pixel_sums sums; /* of the train split */
    int64_t bad;        /* images left out */
};

/* ---- every image once ---- */

static dn_status join_image(char path[PATH_MAX], const dn_folder *f, const dn_folder_image *image)
{
    return dn_join_path(path, f->source, image->path);
}

/* What one thread uses. */
struct decoder {
    dn_buffer bytes;
    dn_pixels pixels;
    dn_pixel_sums sums;
};

/* Opens the image's file, or the archive that it is in; *size = its bytes. */
static dn_status open_image(const dn_folder_image *image, const char *path, int *file,
                            int64_t *size)
{
    int64_t all;
    DN_TRY(dn_file_open(image->archive ? image->archive : path, file, &all));
    *size = image->archive ? image->size : all;
    return DN_OK;
}

/* *size bytes of the image, at least one. */
static dn_status read_image(const dn_folder_image *image, const char *path, dn_buffer *bytes,
                            int64_t *size)
{
    int file;
    dn_status status = open_image(image, path, &file, size);
    if (status == DN_OK && (*size < 1 || *size > DN_SHARD_CHUNK_BYTES))
        status = dn_fail(DN_EINVAL, "%s: found %" PRId64 " bytes, expected an image of 1 to %d",
                         path, *size, DN_SHARD_CHUNK_BYTES);
    if (status == DN_OK)
        status = dn_buffer_grow(bytes, (size_t)*size);
    if (status == DN_OK)
        status = dn_file_read(file, path, bytes->bytes, (size_t)*size, image->at);
    if (file >= 0)
        close(file);
    return status;
}

/* Reads and decodes the image, and notes what it is. */
static dn_status decode_image(const dn_folder *f, dn_folder_image *image, struct decoder *d)
{
    char path[PATH_MAX];
    DN_TRY(join_image(path, f, image));
    DN_TRY(read_image(image, path, &d->bytes, &image->size));
    const size_t size = (size_t)image->size;
    const dn_encoded file = {.bytes = d->bytes.bytes, .size = size, .name = path};
    DN_TRY(dn_image_decode(&file, NULL, 1, &d->pixels));
    image->hash = XXH3_64bits(file.bytes, size);
    image->width = d->pixels.width;
    image->height = d->pixels.height;
    if (image->split == DN_TRAIN)
        dn_pixel_sums_add_image(&d->sums, &d->pixels);
    return DN_OK;
}

/* The file is at fault, not the machine. */
static int is_bad(dn_status status)
{
    return status == DN_EINVAL || status == DN_ENOENT || status == DN_ECORRUPT;
}

/* Decodes all, by all threads. What is wrong with one is noted in it; where that ends the work,
 * those after it are left out, those before it never: the first is the same on any number of
 * threads. */
static void decode_images(struct make_folder *k)
{
    dn_folder *const f = &k->folder;
    _Atomic int64_t last = INT64_MAX;
#pragma omp parallel
    {
        struct decoder d = {0};
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t i = 0; i < f->images; i++) {
            dn_folder_image *const image = &f->image[i];
            if (i > last)
                continue;
            const dn_status status = decode_image(f, image, &d);
            if (status == DN_OK)
                continue;
            image->status = (int8_t)status;
            image->fault = strdup(dn_message());
            if (f->options->on_bad_image == DN_BAD_SKIP && is_bad(status))
                continue;
            for (int64_t old = last; i < old && !atomic_compare_exchange_weak(&last, &old, i);)
                ;
        }
        dn_pixel_sums_merge(&k->sums, &d.sums);
        dn_buffer_free(&d.bytes);
        dn_buffer_free(&d.pixels.rgb);
    }
}

/* The first image whose fault ends the work. */
static dn_status check_images(const dn_folder *f)
{
    for (int64_t i = 0; i < f->images; i++) {
        const dn_status status = f->image[i].status;
        const char *const fault = f->image[i].fault ? f->image[i].fault : "out of memory";
        DN_CHECK(status == DN_OK || is_bad(status), status, "%s", fault);
        DN_CHECK(status == DN_OK || f->options->on_bad_image == DN_BAD_SKIP, status,
                 "%s; --on-bad-image skip leaves such images out", fault);
    }
    return DN_OK;
}

/* Names the bad images and leaves them out. */
static void drop_bad(struct make_folder *k)
{
    dn_folder *const f = &k->folder;
    int64_t kept = 0;
    for (int64_t i = 0; i < f->images; i++) {
        dn_folder_image *const image = &f->image[i];
        if (image->status == DN_OK) {
            f->image[kept++] = *image;
            continue;
        }
        dn_warn("%s; left out", image->fault ? image->fault : image->path);
        free(image->path);
        free(image->fault);
    }
    k->bad = f->images - kept;
    f->images = kept;
}

/* Each class has an image to train on, or, of a test split that is drawn, an image. */
static dn_status check_classes(const dn_folder *f)
{
    char *const seen = calloc((size_t)f->classes, 1);
    DN_CHECK(seen, DN_ENOMEM, "%s: out of memory", f->source);
    for (int64_t i = 0; i < f->images; i++)
        if (f->image[i].split == DN_TRAIN || f->is_drawn)
            seen[f->image[i].label] = 1;
    const char *const missing = memchr(seen, 0, (size_t)f->classes);
    const ptrdiff_t at = missing ? missing - seen : 0;
    free(seen);
    DN_CHECK(!missing, DN_EINVAL, "%s: class %s: found no sound image, expected at least one",
             f->source, f->class_names[at]);
    return DN_OK;
}

/* ---- the plan ---- */

/* As for the known sets, of the images' checksums in place of their pixels. */
static dn_status hash_source(const dn_folder *f, const int64_t count[DN_SPLITS], uint64_t *hash)
{
    XXH3_state_t *const state = XXH3_createState();
    DN_CHECK(state, DN_ENOMEM, "%s: out of memory", f->source);
    const dn_folder_image *image = f->image;
    *hash = 0;
    for (int s = 0; s < DN_SPLITS; image += count[s++]) {
        XXH3_64bits_reset_withSeed(state, *hash);
        for (int64_t i = 0; i < count[s]; i++)
            XXH3_64bits_update(state, &image[i].hash, sizeof image[i].hash);
        *hash = XXH3_64bits_digest(state);
        XXH3_64bits_reset_withSeed(state, *hash);
        for (int64_t i = 0; i < count[s]; i++)
            XXH3_64bits_update(state, &image[i].label, sizeof image[i].label);
        *hash = XXH3_64bits_digest(state);
    }
    XXH3_freeState(state);
    return DN_OK;
}

/* So many that a shard of the train split has some 64 MB. */
static int choose_shards(const dn_folder *f, int64_t train)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < train; i++)
        bytes += f->image[i].size;
    int64_t shards = (bytes + SHARD_BYTES / 2) / SHARD_BYTES;
    shards = shards < train ? shards : train;
    return shards < 1 ? 1 : shards < MOST_SHARDS ? (int)shards : MOST_SHARDS;
}

static dn_status plan_folder(struct make_folder *k, dn_shard_info *info)
{
    const dn_folder *const f = &k->folder;
    int64_t count[DN_SPLITS] = {0};
    for (int64_t i = 0; i < f->images; i++)
        count[f->image[i].split]++;
    for (int s = 0; s < DN_SPLITS; s++)
        DN_CHECK(count[s] >= 1 && count[s] <= UINT32_MAX, DN_EINVAL,
                 "%s: found %" PRId64 " sound images for the %s split, expected 1 to %u", f->source,
                 count[s], dn_split_name((dn_split_id)s), UINT32_MAX);
    info->channels = 3;
    info->classes = f->classes;
    const int asked = k->making.options->shards;
    DN_TRY(dn_making_plan(&k->making, info, (const char *const *)f->class_names, count,
                          asked ? asked : choose_shards(f, count[DN_TRAIN])));
    dn_pixel_statistics(&k->sums, &k->making.manifest->info);
    return hash_source(f, count, &k->making.manifest->source);
}

/* ---- shards ---- */

/* bytes(image->size) = the file, which is as it was. */
static dn_status read_again(const dn_folder *f, const dn_folder_image *image, uint8_t *bytes)
{
    char path[PATH_MAX];
    int file;
    int64_t size;
    DN_TRY(join_image(path, f, image));
    dn_status status = open_image(image, path, &file, &size);
    if (status == DN_OK && size == image->size)
        status = dn_file_read(file, path, bytes, (size_t)size, image->at);
    if (file >= 0)
        close(file);
    DN_TRY(status);
    DN_CHECK(size == image->size && XXH3_64bits(bytes, (size_t)size) == image->hash, DN_EIO,
             "%s: found other bytes than at first: it was changed meanwhile", path);
    return DN_OK;
}

static dn_status make_shard(void *context, dn_manifest_shard *shard)
{
    const struct make_folder *const k = context;
    const dn_manifest *const m = k->making.manifest;
    const int64_t before = shard->split == DN_TRAIN ? 0 : m->split[DN_TRAIN].count;
    const dn_folder_image *const image = k->folder.image + before + shard->first;
    dn_encoded_shard file;
    dn_status status = dn_encoded_shard_create(&file, m, shard, image);
    uint8_t *next = file.encoded;
    for (int64_t i = 0; status == DN_OK && i < shard->count; next += image[i++].size)
        status = read_again(&k->folder, &image[i], next);
    if (status == DN_OK)
        status = dn_making_save(&k->making, &shard->hdf5, shard->count, file.bytes, file.size);
    dn_encoded_shard_free(&file);
    return status;
}

/* ---- all of it ---- */

/* The data set's name, and its shards': the source's last word, of characters that may stand
 * anywhere, or "folder". */
static void name_set(const char *source, char *name, size_t size)
{
    char whole[PATH_MAX];
    const char *const path = realpath(source, whole), *const slash = path ? strrchr(path, '/') : "";
    snprintf(name, size, "%s", path && slash[1] && slash[1] != '.' ? slash + 1 : "folder");
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '_';
}

static dn_status make_records(struct make_folder *k, dn_shard_info *info, int *made)
{
    dn_folder *const f = &k->folder;
    DN_TRY(dn_making_begin(&k->making, info->dataset));
    DN_TRY(k->scan(f));
    decode_images(k);
    DN_TRY(check_images(f));
    drop_bad(k);
    DN_TRY(check_classes(f));
    DN_TRY(plan_folder(k, info));
    DN_TRY(dn_making_check(&k->making, f->source));
    if (!dn_making_is_complete(&k->making, k->making.manifest->split[DN_TRAIN].shards)) {
        DN_TRY(dn_making_write(&k->making, make_shard, k));
        *made = 1;
    }
    dn_info("%s: %" PRId64 " images, %" PRId64 " other files passed over, %" PRId64
            " bad images left out",
            f->source, f->images, f->passed_over, k->bad);
    return DN_OK;
}

dn_status dn_folder_make(const dn_raw_set *set, const dn_records_options *options,
                         char out[PATH_MAX], int *made)
{
    char source[PATH_MAX];
    *made = 0;
    DN_CHECK(set || options->source, DN_EINVAL,
             "FOLDER: found no --source, expected the folder of images");
    dn_shard_info info = {0};
    if (set)
        DN_TRY(dn_raw_set_find(set, options, source));
    else
        name_set(options->source, info.dataset, sizeof info.dataset);
    if (set)
        info = set->info;
    const int length = options->out ? snprintf(out, PATH_MAX, "%s", options->out)
                       : set        ? snprintf(out, PATH_MAX, "%s", set->folder)
                                    : snprintf(out, PATH_MAX, "data/%s", info.dataset);
    DN_CHECK(length < PATH_MAX, DN_EINVAL, "--out: the path is too long");
    dn_records_options asked = *options;
    asked.out = out;
    struct make_folder k = {
        .making = {.options = &asked, .prefix = set ? set->prefix : info.dataset},
        .folder = {.source = set ? source : options->source, .options = &asked},
        .scan = set ? set->scan : dn_folder_scan};
    const dn_status status = make_records(&k, &info, made);
    dn_folder_free(&k.folder);
    dn_making_end(&k.making);
    return status;
}
