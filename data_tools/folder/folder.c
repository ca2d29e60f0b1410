/* Makes records from a tree of class folders; see folder.h. */
#include "folder/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder/folder_shards.h"

/* ---- the plan ---- */

/* The first split, which always has images. */
static dn_split_id first_split(const dn_folder *f)
{
    return f->like ? DN_TEST : DN_TRAIN;
}

/* The manifest's checksum of the source, as for the known sets, but of the files' checksums instead
 * of pixels. */
static dn_status hash_source(const dn_folder *f, uint64_t *hash)
{
    const dn_folder_image *image = f->image, *const end = f->image + f->images;
    *hash = 0;
    for (int s = 0; s < DN_SPLITS; s++) {
        const dn_folder_image *const first = image;
        if (s == DN_VAL && image == end) /* there is none */
            break;
        while (image < end && image->split == s)
            image++;
        DN_TRY(
            dn_writer_hash_split(hash, &first->hash, &first->label, sizeof *image, image - first));
    }
    return DN_OK;
}

/* The number of shards of the first split. */
static int choose_shards(const dn_folder_writer *k, int64_t images)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < images; i++)
        bytes += k->folder.image[i].size;
    return dn_writer_shards(&k->writer, 1, bytes, images);
}

static dn_status plan_folder(dn_folder_writer *k, const dn_data_info *info)
{
    const dn_folder *const f = &k->folder;
    int64_t count[DN_SPLITS] = {0}, begin = 0;
    for (int64_t i = 0; i < f->images; i++)
        count[f->image[i].split]++;
    for (int s = 0; s < DN_SPLITS; s++) {
        const int least = s == DN_TEST || s == (int)first_split(f) ? 1 : 0;
        DN_CHECK(count[s] >= least && count[s] <= UINT32_MAX, DN_EINVAL,
                 "%s: found %" PRId64 " images for the %s split, expected 1 to %u", f->source,
                 count[s], dn_split_name((dn_split_id)s), UINT32_MAX);
    }
    dn_data_info with_classes = *info;
    with_classes.classes = f->classes;
    with_classes.label_sets = f->label_sets ? f->labels : 0;
    DN_TRY(dn_writer_plan(&k->writer, &with_classes, (const char *const *)f->class_names, count,
                          choose_shards(k, count[first_split(f)])));
    dn_manifest *const m = k->writer.manifest;
    m->label_sets = f->label_sets;
    k->shard = calloc((size_t)m->shards, sizeof *k->shard);
    DN_CHECK(k->shard, DN_ENOMEM, "%s: out of memory", f->source);
    for (int i = 0; i < m->shards; begin += m->shard[i++].count) {
        k->shard[i].begin = begin;
        k->shard[i].planned = m->shard[i].count;
        k->shard[i].left = m->shard[i].count;
    }
    return DN_OK;
}

/* ---- checks of all images ---- */

/* *unseen = the number of classes without a good image in the split (DN_SPLITS: in any split);
 * *first = the first of them. */
static dn_status count_unseen(const dn_folder *f, int split, int *unseen, const char **first)
{
    const size_t classes = (size_t)f->classes;
    uint8_t *const is_label = calloc((size_t)f->labels + classes, 1);
    DN_CHECK(is_label, DN_ENOMEM, "%s: out of memory", f->source);
    uint8_t *const seen = is_label + f->labels;
    for (int64_t i = 0; i < f->images; i++)
        if (!f->image[i].is_bad && (f->image[i].split == split || split == DN_SPLITS))
            is_label[f->image[i].label] = 1;
    for (size_t l = 0; l < (size_t)f->labels; l++) {
        if (!is_label[l])
            continue;
        if (!f->label_sets)
            seen[l] = 1;
        for (size_t c = 0; f->label_sets && c < classes; c++)
            seen[c] |= f->label_sets[l * classes + c] == DN_PRESENT;
    }
    *unseen = 0;
    for (int c = f->classes - 1; c >= 0; c--)
        if (!seen[c]) {
            *first = f->class_names[c];
            ++*unseen;
        }
    free(is_label);
    return DN_OK;
}

/* Checks that each class has a training image, or if the test split is drawn, or images have
 * several classes, an image. */
static dn_status check_classes(const dn_folder *f)
{
    int unseen;
    const char *first;
    if (f->like)
        return DN_OK;
    DN_TRY(count_unseen(f, f->is_drawn || f->label_sets ? DN_SPLITS : DN_TRAIN, &unseen, &first));
    DN_CHECK(unseen == 0, DN_EINVAL, "%s: class %s: found no sound image%s, expected at least one",
             f->source, first, f->label_sets ? " that is known to have it" : "");
    return DN_OK;
}

/* Warns of classes without an image in a validation or test split, which are never scored, or with
 * sets of classes in the train split. */
static dn_status warn_of_unseen(const dn_folder *f, dn_split_id split)
{
    int unseen;
    const char *first;
    DN_TRY(count_unseen(f, split, &unseen, &first));
    if (unseen > 0)
        dn_warn("%s: %d of %d classes have no image in the %s split, and so %s; the first is %s",
                f->source, unseen, f->classes, dn_split_name(split),
                split == DN_TRAIN ? "are not learnt" : "no score there", first);
    return DN_OK;
}

/* Warns of dark 16-bit PNGs of which only the high bytes are kept. */
static void warn_of_dark(const dn_folder *f)
{
    const char *first = NULL;
    int64_t count = 0;
    for (int64_t i = 0; i < f->images; i++)
        if (f->image[i].is_dark && count++ == 0)
            first = f->image[i].path;
    if (count > 0)
        dn_warn("%s: %" PRId64 " PNGs of 16 bits are dark, and only their high 8 bits are kept; "
                "--grey-window 0-4095 keeps the 12 bits of grey ones; the first is %s",
                f->source, count, first);
}

static dn_status describe_records(dn_folder_writer *k)
{
    dn_manifest *const m = k->writer.manifest;
    dn_pixel_sums sums = {0};
    for (int s = 0; s < DN_SPLITS; s++)
        m->split[s].count = 0;
    for (int i = 0; i < m->shards; i++) {
        m->split[m->shard[i].split].count += m->shard[i].count;
        dn_pixel_sums_merge(&sums, &k->shard[i].sums);
        k->oriented += k->shard[i].oriented;
    }
    if (!k->folder.like) /* else --like sets mean and std */
        dn_pixel_statistics(&sums, &m->info);
    DN_TRY(check_classes(&k->folder));
    warn_of_dark(&k->folder);
    DN_TRY(dn_folder_warn_of_doubles(&k->folder));
    for (int s = k->folder.label_sets ? DN_TRAIN : DN_TEST; s < DN_SPLITS; s++)
        if (m->split[s].shards > 0)
            DN_TRY(warn_of_unseen(&k->folder, (dn_split_id)s));
    DN_TRY(dn_writer_check_channels(&k->writer, k->folder.source));
    return hash_source(&k->folder, &m->source);
}

static void report(const dn_folder_writer *k)
{
    const dn_folder *const f = &k->folder;
    const dn_manifest *const m = k->writer.manifest;
    int64_t kept = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        kept += m->split[s].count;
    char turned[96] = "", other[PATH_MAX + 16] = "";
    if (f->other)
        snprintf(other, sizeof other, ", such as %s", f->other);
    if (k->oriented > 0)
        snprintf(turned, sizeof turned, "; %" PRId64 " %s", k->oriented,
                 f->options->exif == DN_EXIF_APPLY ? "turned as EXIF says"
                                                   : "not turned as EXIF says (--exif apply does)");
    dn_info("%s: %" PRId64 " images, %" PRId64 " other files skipped%s, %" PRId64
            " bad images left out%s",
            f->source, kept, f->skipped, other, f->images - kept, turned);
}

/* ---- all of it ---- */

/* name = the name of the data set and prefix of its shards: the last component of the source with
 * safe characters only, or "folder" for "/" and hidden folders. */
static dn_status name_set(const char *source, char *name, size_t size)
{
    char path[PATH_MAX];
    DN_CHECK(realpath(source, path), errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s",
             source, strerror(errno));
    const char *const last = strrchr(path, '/') + 1;
    snprintf(name, size, "%s", *last && *last != '.' ? last : "folder");
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '_';
    return DN_OK;
}

/* 1 if the existing records have the planned mean and std, which --like determines. */
static int has_statistics(const dn_folder_writer *k)
{
    const dn_data_info *const old = &k->writer.existing->info, *const i = &k->writer.manifest->info;
    const size_t numbers = (size_t)i->channels * sizeof *i->mean;
    return !k->folder.like ||
           (memcmp(old->mean, i->mean, numbers) == 0 && memcmp(old->std, i->std, numbers) == 0);
}

/* *complete = 1 if the existing records are those that would be made; DN_EINVAL if they are of
 * other images. */
static dn_status compare_existing(dn_folder_writer *k, int *complete)
{
    dn_manifest *const m = k->writer.manifest;
    *complete = 0;
    if (!k->writer.existing)
        return DN_OK;
    DN_TRY(dn_folder_hash(&k->folder));
    DN_TRY(hash_source(&k->folder, &m->source));
    DN_TRY(dn_writer_check_source(&k->writer, k->folder.source));
    *complete = dn_writer_has_classes(&k->writer) && has_statistics(k) &&
                dn_writer_is_complete(&k->writer, m->split[m->shard[0].split].shards);
    return DN_OK;
}

static dn_status make_records(dn_folder_writer *k, const dn_raw_set *set, const dn_data_info *info,
                              int *made)
{
    dn_folder *const f = &k->folder;
    uint64_t listing;
    int complete;
    dn_status status;
    DN_TRY(dn_writer_begin(&k->writer, info->dataset));
    dn_progress_begin(&f->finding, "looking for images:", "images", 0);
    status = set->scan(f);
    dn_progress_end(&f->finding);
    DN_TRY(status);
    DN_TRY(dn_folder_list(f, &listing));
    DN_TRY(plan_folder(k, info));
    DN_TRY(compare_existing(k, &complete));
    if (complete)
        return dn_writer_remove_journal(&k->writer);
    *made = 1;
    DN_TRY_OR_DONE(dn_writer_open(&k->writer, listing));
    DN_TRY_OR_DONE(dn_folder_make_shards(k));
    DN_TRY_OR_DONE(describe_records(k));
done:
    DN_TRY(dn_writer_close(&k->writer, status));
    report(k);
    return DN_OK;
}

/* Loads the records of --like, whose mean and std are used, as images to score need those of the
 * training images. */
static dn_status load_like(dn_manifest **like, dn_folder_writer *k, dn_data_info *info)
{
    const char *const folder = k->folder.options->like;
    if (!folder)
        return DN_OK;
    DN_TRY(dn_manifest_load(like, folder));
    const dn_manifest *const m = k->folder.like = *like;
    DN_CHECK(m->info.channels == info->channels, DN_EINVAL,
             "--like %s: found images of %d channels, expected those of %d, as JPEG and PNG files "
             "become",
             folder, m->info.channels, info->channels);
    DN_CHECK(!m->info.label_sets == !k->folder.options->multi_label, DN_EINVAL,
             "--like %s: found images with %s, expected %s", folder,
             m->info.label_sets ? "sets of classes" : "one class each",
             m->info.label_sets ? "--multi-label NONE as for them" : "no --multi-label");
    DN_CHECK(m->info.classes > 1, DN_EINVAL, "--like %s: found one class, expected 2 or more",
             folder);
    memcpy(info->mean, m->info.mean, sizeof info->mean);
    memcpy(info->std, m->info.std, sizeof info->std);
    if (dn_is_encoded(&m->info) && strcmp(m->conversion, k->writer.conversion) != 0)
        dn_warn("--like %s: its images were made otherwise (%s) than these (%s)", folder,
                dn_writer_describe(m->conversion), dn_writer_describe(k->writer.conversion));
    return DN_OK;
}

/* Takes --source as it is, and names the set after it. */
static dn_status use_source(const dn_raw_set *set, const dn_records_options *options,
                            char source[PATH_MAX], dn_data_info *info)
{
    DN_CHECK(options->source, DN_EINVAL, "%s: found no --source, expected the folder of images",
             set->info.dataset);
    DN_CHECK(snprintf(source, PATH_MAX, "%s", options->source) < PATH_MAX, DN_EINVAL,
             "--source: the path is too long");
    for (size_t length = strlen(source); length > 1 && source[length - 1] == '/';)
        source[--length] = '\0';
    return name_set(source, info->dataset, sizeof info->dataset);
}

/* Shards among the user's own files would be in the way of both. */
static dn_status check_apart(const char *source, const char *out)
{
    char images[PATH_MAX], shards[PATH_MAX];
    DN_CHECK(!realpath(source, images) || !realpath(out, shards) || strcmp(images, shards) != 0,
             DN_EINVAL, "--out: found %s, which is the folder of the images, expected another",
             out);
    return DN_OK;
}

static dn_status plan_conversion(dn_conversion *c, const dn_records_options *o)
{
    *c = (dn_conversion){.short_side = o->short_side,
                         .exif = o->exif == DN_EXIF_APPLY,
                         .quality = o->quality      ? o->quality
                                    : o->short_side ? 90
                                                    : 95};
    if (o->grey_window && dn_conversion_window(c, o->grey_window) != DN_OK)
        return dn_fail(DN_EINVAL, "--grey-window: %s", dn_message());
    return DN_OK;
}

dn_status dn_folder_make(const dn_raw_set *set, const dn_records_options *options,
                         char out[PATH_MAX], int *made)
{
    dn_records_options asked = *options;
    dn_data_info info = set->info;
    dn_manifest *like = NULL;
    char source[PATH_MAX];
    *made = 0;
    DN_TRY(set->form->name ? dn_raw_set_find(set, options, source)
                           : use_source(set, options, source, &info));
    dn_folder_writer k = {
        .writer = {.options = &asked, .prefix = set->prefix ? set->prefix : info.dataset},
        .folder = {.source = source, .options = &asked}};
    DN_TRY(dn_writer_out(options, k.writer.prefix, out));
    DN_TRY(check_apart(source, out));
    asked.out = out;
    DN_TRY(plan_conversion(&k.conversion, options));
    dn_conversion_describe(&k.conversion, k.writer.conversion);
    dn_status status = load_like(&like, &k, &info);
    if (status == DN_OK)
        status = make_records(&k, set, &info, made);
    free(like);
    free(k.shard);
    dn_folder_free(&k.folder);
    dn_writer_end(&k.writer);
    return status;
}

const dn_raw_set dn_raw_folder = {
    .info = {.dataset = "FOLDER", .channels = 3},
    .use = DN_FOR_IMAGES | DN_FOR_FOLDER,
    .hint = "any tree of class folders with JPEG and PNG files: --source DIR",
    .scan = dn_folder_scan,
};
