/*
 * ImageNet-1k and Tiny ImageNet: JPEG files in folders, or (ImageNet) in the authors' tar files,
 * which are read in place. Classes are WordNet ids, by code point.
 *
 * The train split has a folder, or an inner tar file, for each class. The validation split may be
 * the same; if it is flat, a list has the classes (imagenet_list.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archives/tar_walk.h"
#include "archives/unpack.h"
#include "dn/file.h"
#include "dn/words.h"
#include "folder/folder.h"
#include "sets/imagenet_list.h"
#include "sets/sets.h"

enum { DEVKIT_BYTES = 64 << 20 };

/* The tar file of a class inside that of the train split. */
typedef struct inner {
    char *name;
    int64_t at, size;
} inner;

/* The paths of files and folders below the source. */
typedef struct layout {
    const char *train_tar, *val_tar; /* instead of the folders train and val, or NULL */
    const char *val_images;          /* the folder, if it is flat */
    const char *list;                /* the list of its images, or NULL */
    const char *truth, *devkit;      /* the list in the devkit and the devkit's archive, or NULL */
} layout;

struct scan {
    dn_folder *folder;
    const layout *layout;
    const char *tar;   /* the tar file that is walked, relative to the source */
    dn_split_id split; /* the split in it */
    int label;         /* of the inner tar file */
    inner *inner;      /* (inners) sorted by name once all are known */
    int inners, room;
    dn_listed_images list;
};

/* ---- images in tar files ---- */

static dn_status add_from_tar(struct scan *s, const char *name, int label, int64_t at, int64_t size)
{
    dn_folder *const f = s->folder;
    DN_TRY(dn_folder_add(f, name, s->split, label));
    dn_folder_image *const image = &f->image[f->images - 1];
    image->archive = f->archive[s->split];
    image->at = at;
    image->size = size;
    return DN_OK;
}

/* Visits a file of an inner tar file. */
static dn_status visit_train_image(void *user, const char *name, int64_t at, int64_t size)
{
    struct scan *const s = user;
    dn_folder *const f = s->folder;
    char path[PATH_MAX];
    if (basename(name)[0] == '.') {
        f->skipped++;
        return DN_OK;
    }
    DN_CHECK(snprintf(path, PATH_MAX, "%s/%s.tar/%s", s->tar, f->class_names[s->label], name) <
                 PATH_MAX,
             DN_EINVAL, "%s: the name of an image in it is too long", s->tar);
    return add_from_tar(s, path, s->label, at, size);
}

static dn_status visit_val_image(void *user, const char *name, int64_t at, int64_t size)
{
    struct scan *const s = user;
    char path[PATH_MAX];
    dn_listed_image *const t = dn_listed_images_find(&s->list, basename(name));
    if (!t) {
        s->folder->skipped++;
        return DN_OK;
    }
    t->is_found = 1;
    if (t->label < 0)
        return DN_OK;
    DN_CHECK(snprintf(path, PATH_MAX, "%s/%s", s->tar, name) < PATH_MAX, DN_EINVAL,
             "%s: the name of an image in it is too long", s->tar);
    return add_from_tar(s, path, t->label, at, size);
}

/* Visits an inner tar file. */
static dn_status visit_inner(void *user, const char *name, int64_t at, int64_t size)
{
    struct scan *const s = user;
    const char *const word = basename(name);
    if (!dn_ends_in(word, ".tar") || word[0] == '.') {
        s->folder->skipped++;
        return DN_OK;
    }
    if (s->inners == s->room) {
        s->room = 2 * s->room + 1024;
        inner *const more = realloc(s->inner, (size_t)s->room * sizeof *more);
        DN_CHECK(more, DN_ENOMEM, "%s: out of memory", s->tar);
        s->inner = more;
    }
    s->inner[s->inners] = (inner){strndup(word, strlen(word) - strlen(".tar")), at, size};
    DN_CHECK(s->inner[s->inners++].name, DN_ENOMEM, "%s: out of memory", s->tar);
    return DN_OK;
}

static int by_class(const void *a, const void *b)
{
    return strcmp(((const inner *)a)->name, ((const inner *)b)->name);
}

/* Takes the inner tar files for the classes. */
static dn_status take_classes(struct scan *s, const char *path)
{
    qsort(s->inner, (size_t)s->inners, sizeof *s->inner, by_class);
    for (int i = 1; i < s->inners; i++)
        DN_CHECK(strcmp(s->inner[i - 1].name, s->inner[i].name) != 0, DN_ECORRUPT,
                 "%s: found %s.tar a second time", path, s->inner[i].name);
    char **const names = calloc((size_t)s->inners + 1, sizeof *names);
    DN_CHECK(names, DN_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < s->inners; i++) {
        names[i] = s->inner[i].name;
        s->inner[i].name = NULL;
    }
    return dn_folder_set_classes(s->folder, path, names, s->inners);
}

static dn_status walk_train(struct scan *s, int file, const char *path, int64_t size)
{
    dn_folder *const f = s->folder;
    DN_TRY(dn_tar_walk(file, path, 0, size, visit_inner, s));
    DN_TRY(take_classes(s, path));
    for (s->label = 0; s->label < f->classes; s->label++) {
        const inner *const tar = &s->inner[f->place[s->label]];
        const int64_t before = f->images;
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/%s.tar", s->tar, f->class_names[s->label]);
        DN_TRY(dn_tar_walk(file, name, tar->at, tar->size, visit_train_image, s));
        DN_CHECK(f->images > before, DN_EINVAL, "%s: found no image, expected at least one a class",
                 name);
    }
    return DN_OK;
}

static dn_status walk_val(struct scan *s, int file, const char *path, int64_t size)
{
    DN_TRY(dn_tar_walk(file, path, 0, size, visit_val_image, s));
    for (size_t i = 0; i < s->list.count; i++)
        DN_CHECK(s->list.image[i].is_found, DN_ENOENT,
                 "%s: found no %s in it, expected it as in %s", path, s->list.image[i].name,
                 s->list.path);
    return DN_OK;
}

static dn_status scan_tar(struct scan *s, dn_split_id split, const char *name)
{
    dn_folder *const f = s->folder;
    char path[PATH_MAX];
    int file;
    int64_t size;
    DN_TRY(dn_join_path(path, f->source, name));
    f->archive[split] = strdup(path);
    DN_CHECK(f->archive[split], DN_ENOMEM, "%s: out of memory", path);
    s->tar = name;
    s->split = split;
    DN_TRY(dn_file_open(path, &file, &size));
    const dn_status status = (split == DN_TRAIN ? walk_train : walk_val)(s, file, path, size);
    close(file);
    return status;
}

/* ---- all of it ---- */

static int by_label_and_name(const void *a, const void *b)
{
    const dn_folder_image *const x = a, *const y = b;
    return x->label != y->label ? x->label - y->label : strcmp(x->path, y->path);
}

/* Orders the images from `first` on as a scan of folders does, by class and name, and keeps at most
 * --limit of each class. */
static void sort_images(dn_folder *f, int64_t first)
{
    int64_t kept = first, of_class = 0;
    qsort(f->image + first, (size_t)(f->images - first), sizeof *f->image, by_label_and_name);
    for (int64_t i = first; i < f->images; i++) {
        const int is_same = kept > first && f->image[kept - 1].label == f->image[i].label;
        of_class = is_same ? of_class + 1 : 1;
        if (f->options->limit && of_class > f->options->limit)
            free(f->image[i].path);
        else
            f->image[kept++] = f->image[i];
    }
    f->images = kept;
}

static int is_below(const dn_folder *f, const char *name, char path[PATH_MAX])
{
    struct stat info;
    return name && dn_join_path(path, f->source, name) == DN_OK && stat(path, &info) == 0;
}

static dn_status add_listed(struct scan *s)
{
    char below[PATH_MAX];
    for (const dn_listed_image *t = s->list.image; t < s->list.image + s->list.count; t++)
        if (t->label >= 0) {
            DN_TRY(dn_join_path(below, s->layout->val_images, t->name));
            DN_TRY(dn_folder_add(s->folder, below, DN_TEST, t->label));
        }
    return DN_OK;
}

/* Loads the list from the devkit's archive, which is unpacked into a temporary folder and removed
 * again. That is inside one only this user can access, as dn_unpack recreates its own. */
static dn_status load_truth(struct scan *s)
{
    const dn_folder *const f = s->folder;
    char devkit[PATH_MAX], folder[PATH_MAX], unpacked[PATH_MAX];
    if (is_below(f, s->layout->truth, s->list.path))
        return dn_listed_images_load(&s->list, f);
    DN_CHECK(is_below(f, s->layout->devkit, devkit), DN_ENOENT,
             "%s: found no classes of the validation images: no folders, no %s, no --val-labels",
             f->source, s->layout->devkit ? s->layout->devkit : s->layout->list);
    DN_TRY(dn_temporary_path(folder));
    DN_CHECK(mkdtemp(folder), DN_EIO, "%s: cannot make it: %s", folder, strerror(errno));
    dn_status status = dn_join_path(unpacked, folder, "devkit");
    if (status == DN_OK)
        status = dn_unpack(devkit, unpacked, DEVKIT_BYTES);
    if (status == DN_OK)
        status = dn_join_path(s->list.path, unpacked, s->layout->truth);
    if (status == DN_OK)
        status = dn_listed_images_load(&s->list, f);
    dn_remove_folder(folder);
    return status;
}

static dn_status scan_val(struct scan *s)
{
    dn_folder *const f = s->folder;
    const layout *const l = s->layout;
    char path[PATH_MAX];
    int has_classes = 0;
    const char *const asked = f->options->val_labels;
    const int is_tar = !is_below(f, "val", path),
              is_listed = is_below(f, l->list, s->list.path) && is_below(f, l->val_images, path);
    DN_CHECK(!is_tar || is_below(f, l->val_tar, path), DN_ENOENT,
             "%s: found no validation images in val%s%s; --val-fraction takes them from train",
             f->source, l->val_tar ? " nor in " : "", l->val_tar ? l->val_tar : "");
    if (!is_tar && !is_listed && !asked && is_below(f, "val", path))
        DN_TRY(dn_folder_has_folders(path, &has_classes));
    if (has_classes)
        return dn_folder_scan_other(f, path, DN_TEST);
    if (asked)
        DN_CHECK(snprintf(s->list.path, PATH_MAX, "%s", asked) < PATH_MAX, DN_EINVAL,
                 "--val-labels: the path is too long");
    DN_TRY(asked || is_listed ? dn_listed_images_load(&s->list, f) : load_truth(s));
    const int64_t first = f->images;
    DN_TRY(is_tar ? scan_tar(s, DN_TEST, l->val_tar) : add_listed(s));
    sort_images(f, first);
    return DN_OK;
}

static dn_status scan_splits(struct scan *s)
{
    dn_folder *const f = s->folder;
    char path[PATH_MAX];
    if (is_below(f, "train", path)) {
        DN_TRY(dn_folder_scan_train(f, path));
    } else {
        DN_TRY(scan_tar(s, DN_TRAIN, s->layout->train_tar ? s->layout->train_tar : "train"));
        sort_images(f, 0);
    }
    return f->options->val_fraction > 0 ? dn_folder_draw(f) : scan_val(s);
}

static dn_status scan_layout(dn_folder *f, const layout *l)
{
    struct scan s = {.folder = f, .layout = l};
    const dn_status status = scan_splits(&s);
    for (int i = 0; i < s.inners; i++)
        free(s.inner[i].name);
    free(s.inner);
    free(s.list.image);
    return status;
}

static dn_status scan_tiny_imagenet(dn_folder *f)
{
    static const layout l = {.val_images = "val/images", .list = "val/val_annotations.txt"};
    return scan_layout(f, &l);
}

static dn_status scan_imagenet(dn_folder *f)
{
    static const layout l = {
        .train_tar = "ILSVRC2012_img_train.tar",
        .val_tar = "ILSVRC2012_img_val.tar",
        .val_images = "val",
        .truth = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
        .devkit = "ILSVRC2012_devkit_t12.tar.gz"};
    return scan_layout(f, &l);
}

const dn_raw_set dn_raw_tiny_imagenet = {
    .info = {.dataset = "TINY_IMAGENET", .channels = 3, .classes = 200},
    .use = DN_FOR_IMAGES | DN_FOR_DOWNLOAD,
    .prefix = "tiny_imagenet",
    .count = {100000, 10000},
    .form = {{.name = "unpacked", .subfolder = "tiny-imagenet-200", .probe = "wnids.txt"}},
    .hint = "get it with --download, or get http://cs231n.stanford.edu/tiny-imagenet-200.zip (md5 "
            "90528d7ca1a48142e341f4ef8d21d0de), unpack it and name its folder with --source",
    .mirror = {"http://cs231n.stanford.edu/"},
    .archive = {{"tiny-imagenet-200.zip", 248100043, "90528d7ca1a48142e341f4ef8d21d0de", 500000000,
                 0}},
    .scan = scan_tiny_imagenet,
};

const dn_raw_set dn_raw_imagenet = {
    .info = {.dataset = "IMAGENET", .channels = 3, .classes = DN_IMAGENET_CLASSES},
    .use = DN_FOR_IMAGES | DN_FOR_VAL_LABELS | DN_FOR_DOWNLOAD,
    .prefix = "imagenet",
    .count = {1281167, 50000},
    .form = {{.name = "tar files", .subfolder = "imagenet", .probe = "ILSVRC2012_img_train.tar"},
             {.name = "folders", .subfolder = "imagenet", .probe = "train/"}},
    .hint = "get ILSVRC2012_img_train.tar (md5 1d675b47d978889d74fa0da5fadfb00e), "
            "ILSVRC2012_img_val.tar (md5 29b22e2961454d5413ddabcf34fc5622) and "
            "ILSVRC2012_devkit_t12.tar.gz (md5 fa75699e90414af021442c21a62c3abf) from "
            "image-net.org and name their folder, or the one of train and val, with --source",
    .scan = scan_imagenet,
};
