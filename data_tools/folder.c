/*
 * Records of a tree of class folders; see folder.h.
 *
 * One pass over the images, by all threads in the order of the shards: each is read, proved sound
 * and converted, and who ends a shard's last image writes the shard. So shards are made side by
 * side, but in memory are few. Mean, std and the source's checksum follow from sums and checksums
 * that the journal keeps of each shard.
 */
#include "folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "making.h"
#include "pixel_sums.h"

enum { SHARD_BYTES = 64 << 20, MOST_SHARDS = 99999 };

/* A shard of images while it is made. */
struct making_shard {
    int64_t begin, planned; /* images of the folder */
    _Atomic int64_t left;   /* that are not yet done */
    dn_stored_image *image; /* (planned), NULL before the first */
    dn_pixel_sums sums;
    int64_t turned;
};

struct make_folder {
    dn_making making;
    dn_folder folder;
    dn_status (*scan)(dn_folder *f);
    struct making_shard *shard; /* (shards) */
    int64_t turned;             /* images that EXIF says are to be seen turned */
    _Atomic int64_t end;        /* images before it are to be done */
    dn_failure failure;         /* of image `end`, or where that is -1, not of an image */
};

/* ---- the files ---- */

static dn_status join_image(char path[PATH_MAX], const dn_folder *f, const dn_folder_image *image)
{
    return dn_join_path(path, f->source, image->path);
}

/* *size bytes of the image, at least one. */
static dn_status read_image(const dn_folder_image *image, const char *path, dn_buffer *bytes,
                            size_t *size)
{
    int file;
    int64_t found;
    dn_status status = dn_file_open(image->archive ? image->archive : path, &file, &found);
    if (image->archive)
        found = image->size;
    if (status == DN_OK && (found < 1 || found > DN_SHARD_CHUNK_BYTES))
        status = dn_fail(DN_EINVAL, "%s: found %" PRId64 " bytes, expected an image of 1 to %d",
                         path, found, DN_SHARD_CHUNK_BYTES);
    if (status == DN_OK)
        status = dn_buffer_grow(bytes, (size_t)found);
    if (status == DN_OK)
        status = dn_file_read(file, path, bytes->bytes, (size_t)found, image->at);
    if (file >= 0)
        close(file);
    *size = (size_t)found;
    return status;
}

/* The file is at fault, not the machine. */
static int is_bad(dn_status status)
{
    return status == DN_EINVAL || status == DN_ENOENT || status == DN_ECORRUPT;
}

/* Sizes of all files. *listing = a checksum of what tells without reading them that they are what
 * an earlier attempt read: names, sizes and times. */
static dn_status list_files(dn_folder *f, uint64_t *listing)
{
    dn_failure failure = {0};
#pragma omp parallel for schedule(dynamic, 64)
    for (int64_t i = 0; i < f->images; i++) {
        dn_folder_image *const image = &f->image[i];
        char path[PATH_MAX];
        struct stat info = {0};
        const dn_status status = join_image(path, f, image);
        if (status != DN_OK) {
#pragma omp critical(dn_folder)
            dn_failure_keep(&failure, status);
        } else if (stat(image->archive ? image->archive : path, &info) != 0) {
            info.st_size = 0; /* it is bad, as will be seen */
        }
        if (!image->archive)
            image->size = info.st_size;
        const int64_t facts[] = {image->size,          image->at,    info.st_mtim.tv_sec,
                                 info.st_mtim.tv_nsec, image->label, image->split};
        image->hash = XXH3_64bits_withSeed(image->path, strlen(image->path),
                                           XXH3_64bits(facts, sizeof facts));
    }
    *listing = (uint64_t)f->options->on_bad_image;
    for (int64_t i = 0; i < f->images; i++)
        *listing = XXH3_64bits_withSeed(&f->image[i].hash, sizeof f->image[i].hash, *listing);
    return dn_failure_report(&failure);
}

/* Checksums of all files, for records that exist: may they be replaced? */
static dn_status hash_files(dn_folder *f)
{
    dn_failure failure = {0};
    dn_progress progress;
    dn_progress_begin(&progress, "comparing:", "images", f->images);
#pragma omp parallel
    {
        dn_buffer bytes = {0};
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < f->images; i++) {
            char path[PATH_MAX];
            size_t size;
            dn_status status = join_image(path, f, &f->image[i]);
            if (status == DN_OK)
                status = read_image(&f->image[i], path, &bytes, &size);
            f->image[i].hash = status == DN_OK ? XXH3_64bits(bytes.bytes, size) : 0;
            if (!is_bad(status)) {
#pragma omp critical(dn_folder)
                dn_failure_keep(&failure, status);
            }
            dn_progress_add(&progress, 1);
        }
        dn_buffer_free(&bytes);
    }
    dn_progress_end(&progress);
    return dn_failure_report(&failure);
}

/* ---- the plan ---- */

/* As for the known sets, of the files' checksums in place of pixels. */
static dn_status hash_source(const dn_folder *f, uint64_t *hash)
{
    XXH3_state_t *const state = XXH3_createState();
    DN_CHECK(state, DN_ENOMEM, "%s: out of memory", f->source);
    const dn_folder_image *image = f->image, *const end = f->image + f->images;
    *hash = 0;
    for (int s = 0; s < DN_SPLITS; s++) {
        const dn_folder_image *const first = image;
        XXH3_64bits_reset_withSeed(state, *hash);
        for (; image < end && image->split == s; image++)
            XXH3_64bits_update(state, &image->hash, sizeof image->hash);
        *hash = XXH3_64bits_digest(state);
        XXH3_64bits_reset_withSeed(state, *hash);
        for (const dn_folder_image *i = first; i < image; i++)
            XXH3_64bits_update(state, &i->label, sizeof i->label);
        *hash = XXH3_64bits_digest(state);
    }
    XXH3_freeState(state);
    return DN_OK;
}

/* So many that a shard of the train split has some 64 MB, as the files are. */
static int choose_shards(const dn_folder *f, int64_t train)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < train; i++)
        bytes += f->image[i].size;
    int64_t shards = (bytes + SHARD_BYTES / 2) / SHARD_BYTES;
    shards = shards < train ? shards : train;
    return shards < 1 ? 1 : shards < MOST_SHARDS ? (int)shards : MOST_SHARDS;
}

static dn_status plan_folder(struct make_folder *k, const dn_shard_info *info)
{
    const dn_folder *const f = &k->folder;
    int64_t count[DN_SPLITS] = {0}, begin = 0;
    for (int64_t i = 0; i < f->images; i++)
        count[f->image[i].split]++;
    for (int s = 0; s < DN_SPLITS; s++)
        DN_CHECK(count[s] >= 1 && count[s] <= UINT32_MAX, DN_EINVAL,
                 "%s: found %" PRId64 " images for the %s split, expected 1 to %u", f->source,
                 count[s], dn_split_name((dn_split_id)s), UINT32_MAX);
    dn_shard_info with_classes = *info;
    with_classes.classes = f->classes;
    const int asked = k->making.options->shards;
    DN_TRY(dn_making_plan(&k->making, &with_classes, (const char *const *)f->class_names, count,
                          asked ? asked : choose_shards(f, count[DN_TRAIN])));
    const dn_manifest *const m = k->making.manifest;
    k->shard = calloc((size_t)m->shards, sizeof *k->shard);
    DN_CHECK(k->shard, DN_ENOMEM, "%s: out of memory", f->source);
    for (int i = 0; i < m->shards; begin += m->shard[i++].count) {
        k->shard[i].begin = begin;
        k->shard[i].planned = m->shard[i].count;
        k->shard[i].left = m->shard[i].count;
    }
    return DN_OK;
}

/* ---- what the journal has of a shard ---- */

/* Before planned checksums of files, and planned bytes: which images are bad. */
struct notes {
    dn_pixel_sums sums;
    int64_t turned;
};

static dn_status note_shard(struct make_folder *k, int index)
{
    const struct making_shard *const s = &k->shard[index];
    const dn_folder_image *const image = k->folder.image + s->begin;
    const struct notes head = {s->sums, s->turned};
    const size_t size = sizeof head + (size_t)s->planned * (sizeof image->hash + 1);
    uint8_t *const bytes = malloc(size), *next = bytes + sizeof head;
    DN_CHECK(bytes, DN_ENOMEM, "%s: out of memory", k->folder.source);
    memcpy(bytes, &head, sizeof head);
    for (int64_t i = 0; i < s->planned; i++, next += sizeof image->hash)
        memcpy(next, &image[i].hash, sizeof image->hash);
    for (int64_t i = 0; i < s->planned; i++)
        *next++ = image[i].is_bad;
    const dn_status status =
        dn_journal_add(&k->making.journal, &k->making.manifest->shard[index], bytes, size);
    free(bytes);
    return status;
}

/* Where the shard is whole, what an earlier attempt found in it. */
static void recall_shard(struct make_folder *k, int index)
{
    struct making_shard *const s = &k->shard[index];
    dn_folder_image *const image = k->folder.image + s->begin;
    struct notes head;
    size_t size;
    const uint8_t *next =
        dn_journal_find(&k->making.journal, &k->making.manifest->shard[index], &size);
    if (!next || size != sizeof head + (size_t)s->planned * (sizeof image->hash + 1))
        return;
    memcpy(&head, next, sizeof head);
    next += sizeof head;
    for (int64_t i = 0; i < s->planned; i++, next += sizeof image->hash)
        memcpy(&image[i].hash, next, sizeof image->hash);
    for (int64_t i = 0; i < s->planned; i++) {
        image[i].is_bad = *next++;
        if (image[i].is_bad)
            dn_warn("%s/%s: not sound, as an earlier attempt found; left out", k->folder.source,
                    image[i].path);
    }
    s->sums = head.sums;
    s->turned = head.turned;
    s->left = 0;
}

/* ---- images ---- */

/* The images that the shard is made of, all done. */
static dn_status write_shard(struct make_folder *k, int index)
{
    struct making_shard *const s = &k->shard[index];
    dn_manifest_shard *const shard = &k->making.manifest->shard[index];
    dn_encoded_shard file = {0};
    shard->count = 0;
    for (int64_t i = 0; i < s->planned; i++)
        if (!k->folder.image[s->begin + i].is_bad)
            s->image[shard->count++] = s->image[i];
    for (int64_t i = shard->count; i < s->planned; i++)
        s->image[i] = (dn_stored_image){0};
    DN_CHECK(shard->count > 0, DN_EINVAL,
             "%s: found no sound image among the %" PRId64 " of %s, expected at least one",
             k->folder.source, s->planned, shard->hdf5.name);
    dn_status status = dn_encoded_shard_create(&file, k->making.manifest, shard, s->image);
    if (status == DN_OK)
        status = dn_making_save(&k->making, &shard->hdf5, shard->count, file.bytes, file.size);
    dn_encoded_shard_free(&file);
    return status == DN_OK ? note_shard(k, index) : status;
}

static void free_images(struct making_shard *s)
{
    for (int64_t i = 0; s->image && i < s->planned; i++)
        dn_buffer_free(&s->image[i].bytes);
    free(s->image);
    s->image = NULL;
}

static dn_status begin_shard(struct making_shard *s)
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

/* Reads and converts image i, and adds it to the shard's sums. */
static dn_status make_image(struct make_folder *k, struct making_shard *s, int64_t i,
                            dn_converter *converter)
{
    dn_folder_image *const image = &k->folder.image[i];
    dn_stored_image *const stored = &s->image[i - s->begin];
    char path[PATH_MAX];
    int is_turned;
    dn_encoded file = {.name = path};
    dn_pixel_sums sums = {0};
    image->hash = 0;
    stored->label = image->label;
    DN_TRY(join_image(path, &k->folder, image));
    DN_TRY(read_image(image, path, &stored->bytes, &file.size));
    file.bytes = stored->bytes.bytes;
    stored->size = file.size;
    image->hash = XXH3_64bits(file.bytes, file.size);
    DN_TRY(dn_convert(converter, k->folder.options, &file, stored, &is_turned));
    if (image->split == DN_TRAIN)
        dn_pixel_sums_add_image(&sums, &converter->pixels);
    dn_pixel_sums_merge(&s->sums, &sums);
    if (is_turned) {
#pragma omp atomic
        s->turned++;
    }
    return DN_OK;
}

/* Ends the work after the images before this one; -1: at once. */
static void keep_failure(struct make_folder *k, int64_t image, dn_status status)
{
#pragma omp critical(dn_folder)
    if (image < k->end) {
        k->failure.status = DN_OK;
        dn_failure_keep(&k->failure, status);
        k->end = image;
    }
}

/* Image i, and where it is the last of its shard that was left, the shard. */
static void do_image(struct make_folder *k, int index, int64_t i, dn_converter *converter)
{
    struct making_shard *const s = &k->shard[index];
    dn_status status = dn_making_check_stop(&k->making);
    if (status == DN_OK)
        status = begin_shard(s);
    if (status != DN_OK) {
        keep_failure(k, -1, status);
        return;
    }
    status = make_image(k, s, i, converter);
    if (status != DN_OK && is_bad(status) && k->folder.options->on_bad_image == DN_BAD_SKIP) {
        char text[PATH_MAX + 256];
        snprintf(text, sizeof text, "%s; left out", dn_message());
        dn_progress_warn(&k->making.progress, text);
        dn_buffer_free(&s->image[i - s->begin].bytes);
        k->folder.image[i].is_bad = 1;
    } else if (status != DN_OK) {
        if (is_bad(status))
            dn_fail(status, "%s; --on-bad-image skip leaves such images out", dn_message());
        keep_failure(k, is_bad(status) ? i : -1, status);
        return;
    }
    dn_progress_add(&k->making.progress, 1);
    if (--s->left > 0)
        return;
    status = write_shard(k, index);
    free_images(s);
    if (status != DN_OK)
        keep_failure(k, -1, status);
}

/* All images of shards that are not whole, by all threads. Of failures that of the first image
 * counts, on any number of threads: those before it are done in any case. */
static dn_status make_images(struct make_folder *k)
{
    const int shards = k->making.manifest->shards;
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
        free_images(&k->shard[i]);
    return dn_failure_report(&k->failure);
}

/* ---- what follows from all images ---- */

/* Each class has an image to train on, or, of a test split that is drawn, an image. */
static dn_status check_classes(const dn_folder *f)
{
    char *const seen = calloc((size_t)f->classes, 1);
    DN_CHECK(seen, DN_ENOMEM, "%s: out of memory", f->source);
    for (int64_t i = 0; i < f->images; i++)
        if (!f->image[i].is_bad && (f->image[i].split == DN_TRAIN || f->is_drawn))
            seen[f->image[i].label] = 1;
    const char *const missing = memchr(seen, 0, (size_t)f->classes);
    const ptrdiff_t at = missing ? missing - seen : 0;
    free(seen);
    DN_CHECK(!missing, DN_EINVAL, "%s: class %s: found no sound image, expected at least one",
             f->source, f->class_names[at]);
    return DN_OK;
}

static dn_status describe_records(struct make_folder *k)
{
    dn_manifest *const m = k->making.manifest;
    dn_pixel_sums sums = {0};
    m->split[DN_TRAIN].count = m->split[DN_TEST].count = 0;
    for (int i = 0; i < m->shards; i++) {
        m->split[m->shard[i].split].count += m->shard[i].count;
        dn_pixel_sums_merge(&sums, &k->shard[i].sums);
        k->turned += k->shard[i].turned;
    }
    dn_pixel_statistics(&sums, &m->info);
    DN_TRY(check_classes(&k->folder));
    DN_TRY(dn_making_check_channels(&k->making, k->folder.source));
    return hash_source(&k->folder, &m->source);
}

static void report(const struct make_folder *k)
{
    const dn_folder *const f = &k->folder;
    const dn_manifest *const m = k->making.manifest;
    const int64_t kept = m->split[DN_TRAIN].count + m->split[DN_TEST].count;
    char turned[96] = "";
    if (k->turned > 0)
        snprintf(turned, sizeof turned, "; %" PRId64 " %s", k->turned,
                 f->options->exif == DN_EXIF_APPLY ? "turned as EXIF says"
                                                   : "not turned as EXIF says (--exif apply does)");
    dn_info("%s: %" PRId64 " images, %" PRId64 " other files passed over, %" PRId64
            " bad images left out%s",
            f->source, kept, f->passed_over, f->images - kept, turned);
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

/* *complete = the records that exist are those that would be made; DN_EINVAL where they are of
 * other images. */
static dn_status compare_existing(struct make_folder *k, int *complete)
{
    dn_manifest *const m = k->making.manifest;
    *complete = 0;
    if (!k->making.existing)
        return DN_OK;
    DN_TRY(hash_files(&k->folder));
    DN_TRY(hash_source(&k->folder, &m->source));
    DN_TRY(dn_making_check_source(&k->making, k->folder.source));
    *complete = dn_making_is_complete(&k->making, m->split[DN_TRAIN].shards);
    return DN_OK;
}

static dn_status make_records(struct make_folder *k, const dn_shard_info *info, int *made)
{
    uint64_t listing;
    int complete;
    dn_status status;
    DN_TRY(dn_making_begin(&k->making, info->dataset));
    DN_TRY(k->scan(&k->folder));
    DN_TRY(list_files(&k->folder, &listing));
    DN_TRY(plan_folder(k, info));
    DN_TRY(compare_existing(k, &complete));
    if (complete)
        return DN_OK;
    *made = 1;
    DN_TRY_OR_DONE(dn_making_open(&k->making, listing));
    DN_TRY_OR_DONE(make_images(k));
    DN_TRY_OR_DONE(describe_records(k));
done:
    DN_TRY(dn_making_close(&k->making, status));
    report(k);
    return DN_OK;
}

dn_status dn_folder_make(const dn_raw_set *set, const dn_records_options *options,
                         char out[PATH_MAX], int *made)
{
    dn_records_options asked = *options;
    dn_shard_info info = {.channels = 3};
    char source[PATH_MAX];
    *made = 0;
    DN_CHECK(set || options->source, DN_EINVAL,
             "FOLDER: found no --source, expected the folder of images");
    DN_CHECK(!options->quality || options->short_side || options->exif == DN_EXIF_APPLY, DN_EINVAL,
             "--quality: found it without --short-side or --exif apply, so no JPEG is made");
    if (set) {
        DN_TRY(dn_raw_set_find(set, options, source));
        info = set->info;
    } else {
        name_set(options->source, info.dataset, sizeof info.dataset);
    }
    const int length = options->out ? snprintf(out, PATH_MAX, "%s", options->out)
                       : set        ? snprintf(out, PATH_MAX, "%s", set->folder)
                                    : snprintf(out, PATH_MAX, "data/%s", info.dataset);
    DN_CHECK(length < PATH_MAX, DN_EINVAL, "--out: the path is too long");
    asked.out = out;
    if (!asked.quality)
        asked.quality = asked.short_side ? 90 : 95;
    struct make_folder k = {
        .making = {.options = &asked, .prefix = set ? set->prefix : info.dataset},
        .folder = {.source = set ? source : options->source, .options = &asked},
        .scan = set ? set->scan : dn_folder_scan};
    dn_conversion_describe(&asked, k.making.conversion, sizeof k.making.conversion);
    const dn_status status = make_records(&k, &info, made);
    free(k.shard);
    dn_folder_free(&k.folder);
    dn_making_end(&k.making);
    return status;
}
