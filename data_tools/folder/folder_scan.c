/*
 * Finds the images of a tree of class folders, draws a test split, or takes all as test images of
 * other records' classes; see folder.h.
 *
 * The order is that of torchvision's ImageFolder: within a class, the files of a folder by code
 * point before those of its subfolders; links are followed. A file's type follows from its first
 * bytes. File names may contain any bytes, unlike names of classes (folder_classes.c).
 */
#include "folder/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <jansson.h>

#include "dn/file.h"
#include "dn/image.h"
#include "writer/selection.h"

/* ---- images ---- */

static dn_status find_classes(dn_folder *f, const char *folder)
{
    char **names;
    int classes;
    const dn_status status = dn_folder_names(folder, &names, &classes, &f->skipped);
    for (int i = 0; status == DN_OK && i < classes; i++)
        if (strchr(names[i], '|') || names[i][0] == '?') {
            dn_warn("%s: found a class \"%s\"; if '|' joins the classes of an image, or '?' marks "
                    "an unknown one, take --multi-label NONE",
                    folder, names[i]);
            break;
        }
    if (status == DN_OK)
        return dn_folder_set_classes(f, folder, names, classes);
    dn_folder_free_names(names, classes);
    return status;
}

/* 1 for a JPEG or PNG by its content. A file that cannot be read, or is empty, may be one: decoding
 * it will report it. */
static int may_be_image(const char *path)
{
    uint8_t bytes[8];
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t size = file < 0 ? -1 : read(file, bytes, sizeof bytes);
    if (file >= 0)
        close(file);
    return size <= 0 || dn_image_format_of(bytes, (size_t)size) != DN_IMAGE_NONE;
}

dn_status dn_folder_add(dn_folder *f, const char *below, dn_split_id split, int label)
{
    if (f->images == f->room) {
        const int64_t room = 2 * f->room + 1024;
        dn_folder_image *const more = realloc(f->image, (size_t)room * sizeof *more);
        DN_CHECK(more, DN_ENOMEM, "%s: out of memory for %" PRId64 " images", f->source, room);
        f->image = more;
        f->room = room;
    }
    char *const path = strdup(below);
    DN_CHECK(path, DN_ENOMEM, "%s: out of memory", below);
    f->image[f->images++] =
        (dn_folder_image){.path = path, .label = (uint16_t)label, .split = (uint8_t)split};
    dn_progress_add(&f->finding, 1);
    return DN_OK;
}

/* Orders the files of a folder before its subfolders, each by code point. */
static int by_kind_and_name(const FTSENT **a, const FTSENT **b)
{
    const int a_folder = (*a)->fts_info == FTS_D, b_folder = (*b)->fts_info == FTS_D;
    return a_folder != b_folder ? a_folder - b_folder : strcmp((*a)->fts_name, (*b)->fts_name);
}

/* A class folder of a split during the scan. */
struct class_folder {
    dn_folder *f;
    FTS *tree;
    dn_split_id split;
    int label;
    char *other; /* the first skipped file that is not hidden, or NULL */
};

/* 1 if the name is that of an image that is not JPEG or PNG. */
static int is_other_image(const char *name)
{
    static const char *const ends[] = {".tif", ".tiff", ".dcm",  ".dicom", ".jp2", ".j2k",
                                       ".bmp", ".gif",  ".webp", ".heic",  ".avif"};
    const char *const end = strrchr(name, '.');
    for (size_t i = 0; end && i < sizeof ends / sizeof *ends; i++)
        if (strcasecmp(end, ends[i]) == 0)
            return 1;
    return 0;
}

/* Skips a file that is not an image, and remembers the first. */
static dn_status keep_other(struct class_folder *c, const char *path)
{
    if (is_other_image(path) && c->f->other_images++ == 0)
        dn_warn("%s: an image that is neither JPEG nor PNG; it and others like it are skipped; "
                "convert them to PNG first",
                path);
    if (dn_image_is_name(path))
        dn_warn("%s: its content is neither JPEG nor PNG; skipped", path);
    if (!c->other && !(c->other = strdup(path)))
        return dn_fail(DN_ENOMEM, "%s: out of memory", path);
    return DN_OK;
}

/* Visits an entry of a class folder's tree. */
static dn_status visit_entry(struct class_folder *c, FTSENT *entry)
{
    dn_folder *const f = c->f;
    const char *const path = entry->fts_path;
    const int is_hidden = entry->fts_level > 0 && entry->fts_name[0] == '.';
    switch (entry->fts_info) {
    case FTS_D:
        if (is_hidden)
            fts_set(c->tree, entry, FTS_SKIP);
        return DN_OK;
    case FTS_DP:
        return DN_OK;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(entry->fts_errno));
    case FTS_F:
    case FTS_SLNONE: /* a dangling link, which cannot be read */
        if (!is_hidden && may_be_image(path))
            return dn_folder_add(f, path + strlen(f->source) + 1, c->split, c->label);
        if (!is_hidden)
            DN_TRY(keep_other(c, path));
        break;
    default: /* pipes, devices, folders that contain themselves */
        break;
    }
    f->skipped++;
    return DN_OK;
}

static dn_status walk_class(struct class_folder *c, char *path)
{
    dn_folder *const f = c->f;
    const int64_t first = f->images, limit = f->options->limit;
    c->tree = fts_open((char *[]){path, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_kind_and_name);
    DN_CHECK(c->tree, DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    dn_status status = DN_OK;
    errno = 0;
    for (FTSENT *entry; status == DN_OK && (entry = fts_read(c->tree)); errno = 0) {
        status = visit_entry(c, entry);
        if (limit && f->images - first == limit)
            break;
    }
    if (status == DN_OK && errno != 0)
        status = dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    fts_close(c->tree);
    return status;
}

/* Notes a class without images, which only splits that are scored may have. */
static void note_empty(const struct class_folder *c, const char *path, int64_t others)
{
    dn_folder *const f = c->f;
    char text[PATH_MAX + 48] = "";
    if (c->other)
        snprintf(text, sizeof text, " but %" PRId64 " files, such as %s", others, c->other);
    if (f->empty_folders++ == 0)
        dn_failure_keep(&f->empty, dn_fail(DN_EINVAL, "%s: found no image%s", path, text));
}

/* Names the first of the train split's folders without images. */
static dn_status check_empty(const dn_folder *f)
{
    const char *const choice =
        f->options->multi_label ? "" : " or name the classes to take with --classes";
    DN_CHECK(f->empty_folders == 0, DN_EINVAL,
             "%s, expected at least one JPEG or PNG a class (%d of %d folders have none); remove "
             "such folders%s",
             f->empty.message, f->empty_folders, f->labels, choice);
    return DN_OK;
}

static dn_status scan_class(dn_folder *f, const char *folder, const char *name, dn_split_id split,
                            int label)
{
    char path[PATH_MAX];
    struct class_folder c = {.f = f, .split = split, .label = label};
    const int64_t images = f->images, others = f->skipped;
    DN_TRY(dn_join_path(path, folder, name));
    dn_status status = walk_class(&c, path);
    if (status == DN_OK && f->images == images && split == DN_TRAIN)
        note_empty(&c, path, f->skipped - others);
    if (!f->other)
        f->other = c.other;
    else
        free(c.other);
    return status;
}

/* ---- splits ---- */

/* real = the path with links resolved; its last components may not exist. */
static int resolve(const char *path, char real[PATH_MAX])
{
    char part[PATH_MAX];
    size_t end = strlen(path);
    for (; end > 0; end--) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        snprintf(part, sizeof part, "%.*s", (int)end, path);
        if (realpath(part, real))
            break;
    }
    if (end == 0 && !realpath(path[0] == '/' ? "/" : ".", real))
        return 0;
    const size_t length = strlen(real);
    return snprintf(real + length, PATH_MAX - length, "%s%s", path[end] == '/' ? "" : "/",
                    path + end) < (int)(PATH_MAX - length);
}

/* Refuses an --out among the class folders, where it would be a class next time. */
static dn_status check_out(const dn_folder *f, const char *folder)
{
    char in[PATH_MAX], out[PATH_MAX];
    DN_CHECK(realpath(folder, in), errno == ENOENT ? DN_ENOENT : DN_EIO, "%s: cannot read: %s",
             folder, strerror(errno));
    if (!resolve(f->options->out, out))
        return DN_OK;
    const size_t length = strlen(in);
    const char *below = strncmp(in, out, length) == 0 && out[length] == '/' ? out + length : "";
    while (*below == '/')
        below++;
    DN_CHECK(*below == '\0' || *below == '.', DN_EINVAL,
             "--out: found %s in %s, whose folders are classes; name one outside", f->options->out,
             folder);
    return DN_OK;
}

/* Scans the folders of sets of classes, of which each split may have others. */
static dn_status scan_sets(dn_folder *f, const char *folder, dn_split_id split)
{
    uint8_t has_folder[UINT16_MAX] = {0}; /* by label */
    char **names;
    int count, label;
    dn_status status = dn_folder_names(folder, &names, &count, &f->skipped);
    for (int i = 0; status == DN_OK && i < count; i++) {
        status = dn_folder_find_set(f, folder, names[i], &label);
        if (status == DN_OK && has_folder[label]++)
            status = dn_fail(DN_EINVAL,
                             "%s/%s: found a second folder of these classes, expected one for each "
                             "set of them, in any order",
                             folder, names[i]);
        if (status == DN_OK)
            status = scan_class(f, folder, names[i], split, label);
    }
    dn_folder_free_names(names, count);
    return status;
}

/* Scans the folders of classes. */
static dn_status scan_classes(dn_folder *f, const char *folder)
{
    DN_TRY(find_classes(f, folder));
    for (int c = 0; c < f->classes; c++)
        DN_TRY(scan_class(f, folder, f->class_names[c], DN_TRAIN, c));
    return DN_OK;
}

dn_status dn_folder_scan_train(dn_folder *f, const char *folder)
{
    DN_TRY(check_out(f, folder));
    DN_TRY(f->options->multi_label ? scan_sets(f, folder, DN_TRAIN) : scan_classes(f, folder));
    return check_empty(f);
}

/* Classes may be missing here, but must not be new. */
static dn_status scan_known(dn_folder *f, const char *folder, dn_split_id split)
{
    char **names;
    int count, first = 0, unknown = 0;
    dn_status status = dn_folder_names(folder, &names, &count, &f->skipped);
    for (int i = 0; status == DN_OK && i < count; i++) {
        const int label = dn_folder_find_name(names[i], f->class_names, f->classes);
        if (label >= 0)
            status = scan_class(f, folder, names[i], split, label);
        else if (!f->options->classes && unknown++ == 0)
            first = i;
    }
    if (status == DN_OK && unknown > 0)
        status = dn_fail(DN_EINVAL,
                         "%s/%s: found a class that is not among those of the train split (%d of "
                         "%d folders)",
                         folder, names[first], unknown, count);
    dn_folder_free_names(names, count);
    return status;
}

dn_status dn_folder_scan_other(dn_folder *f, const char *folder, dn_split_id split)
{
    DN_TRY(check_out(f, folder));
    DN_TRY((f->options->multi_label ? scan_sets : scan_known)(f, folder, split));
    DN_CHECK(f->image[f->images - 1].split == split, DN_EINVAL,
             "%s: found no image in class folders, expected at least one", folder);
    return DN_OK;
}

/* ---- a drawn test split ---- */

dn_status dn_folder_draw(dn_folder *f)
{
    int64_t train;
    f->is_drawn = 1;
    DN_TRY(dn_draw_items(f->options, f->source, f->image, &f->image->label, sizeof *f->image,
                         f->images, f->labels, &train));
    for (int64_t i = train; i < f->images; i++)
        f->image[i].split = DN_TEST;
    return DN_OK;
}

/* ---- test images of other records' classes ---- */

/* Copies the classes of f->like, in their order. */
static dn_status copy_classes(dn_folder *f)
{
    const dn_manifest *const like = f->like;
    const int classes = like->info.classes;
    char **const names = calloc((size_t)classes, sizeof *names);
    int copied = 0;
    while (names && copied < classes && (names[copied] = strdup(like->class_names[copied])))
        copied++;
    if (copied == classes)
        return dn_folder_set_classes(f, f->options->like, names, classes);
    dn_folder_free_names(names, copied);
    return dn_fail(DN_ENOMEM, "%s: out of memory for %d class names", f->source, classes);
}

/* DN_EINVAL if one of the sorted names(count) is not among the classes, which are in the order of
 * f->like; DN_ENOMEM. */
static dn_status check_known(const dn_folder *f, const char *folder, char **names, int count)
{
    int unknown = 0;
    uint8_t *const is_known = calloc((size_t)count + 1, 1);
    DN_CHECK(is_known, DN_ENOMEM, "%s: out of memory for %d class names", f->source, count);
    for (int c = 0; c < f->classes; c++) {
        const int at = dn_folder_find_name(f->class_names[c], names, count);
        if (at >= 0)
            is_known[at] = 1;
    }
    while (unknown < count && is_known[unknown])
        unknown++;
    free(is_known);
    DN_CHECK(unknown == count, DN_EINVAL, "%s/%s: found a class that is not among the %d of %s",
             folder, names[unknown], f->classes, f->options->like);
    return DN_OK;
}

/* folder(PATH_MAX) = the source, or the only folder in it if that has the name of the train split,
 * as table_to_folders.py makes, and is no class. */
static dn_status find_like_folder(const dn_folder *f, char folder[PATH_MAX])
{
    dn_folder_splits splits = {0};
    char **names;
    int count, is_class = 0;
    dn_status status = dn_folder_names(f->source, &names, &count, NULL);
    for (int c = 0; count == 1 && c < f->classes; c++)
        is_class |= strcmp(names[0], f->class_names[c]) == 0;
    if (status == DN_OK && count == 1 && !is_class)
        status = dn_folder_find_splits(f, &splits);
    dn_folder_free_names(names, count);
    DN_TRY(status);
    if (splits.name[DN_TRAIN][0])
        return dn_join_path(folder, f->source, splits.name[DN_TRAIN]);
    snprintf(folder, PATH_MAX, "%s", f->source);
    return DN_OK;
}

static dn_status scan_like(dn_folder *f)
{
    char folder[PATH_MAX], **names;
    int count;
    DN_TRY(check_out(f, f->source));
    DN_TRY(copy_classes(f));
    DN_TRY(find_like_folder(f, folder));
    if (f->options->multi_label)
        return scan_sets(f, folder, DN_TEST);
    dn_status status = dn_folder_names(folder, &names, &count, &f->skipped);
    if (status == DN_OK)
        status = check_known(f, folder, names, count);
    for (int c = 0; status == DN_OK && c < f->classes; c++)
        if (dn_folder_find_name(f->class_names[c], names, count) >= 0)
            status = scan_class(f, folder, f->class_names[c], DN_TEST, c);
    dn_folder_free_names(names, count);
    return status;
}

/* ---- all of it ---- */

/* Scans the folders of splits, or the source, from which the test split is then drawn. */
dn_status dn_folder_scan(dn_folder *f)
{
    char folder[PATH_MAX];
    dn_folder_splits splits;
    if (f->like)
        return scan_like(f);
    DN_TRY(dn_folder_find_splits(f, &splits));
    const char *const train = splits.name[DN_TRAIN], *const test = splits.name[DN_TEST];
    DN_CHECK(!*test || f->options->val_fraction <= 0, DN_EINVAL,
             "--val-fraction: found the folder %s/%s, so nothing is to be drawn", f->source, test);
    if (*train) {
        DN_TRY(dn_folder_name_siblings(f, &splits));
        DN_TRY(dn_join_path(folder, f->source, train));
    }
    if (!*test) /* else the records would be a class next time */
        DN_TRY(check_out(f, f->source));
    if (f->options->multi_label)
        DN_TRY(dn_folder_find_set_classes(f, &splits));
    DN_TRY(dn_folder_scan_train(f, *train ? folder : f->source));
    dn_folder_warn_of_depth(f, train);
    if (!*test)
        return dn_folder_draw(f);
    for (int s = DN_TEST; s < DN_SPLITS && splits.name[s][0]; s++) {
        DN_TRY(dn_join_path(folder, f->source, splits.name[s]));
        DN_TRY(dn_folder_scan_other(f, folder, (dn_split_id)s));
    }
    return DN_OK;
}

void dn_folder_free(dn_folder *f)
{
    for (int64_t i = 0; i < f->images; i++)
        free(f->image[i].path);
    free(f->image);
    free(f->other);
    free(f->place);
    free(f->label_sets);
    json_decref(f->set_labels);
    for (int s = 0; s < DN_SPLITS; s++)
        free(f->archive[s]);
    dn_folder_free_names(f->class_names, f->classes);
}
