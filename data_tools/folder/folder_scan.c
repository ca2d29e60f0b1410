/*
 * The images of a tree of class folders; see folder.h.
 *
 * As torchvision's ImageFolder has it: in a class the files of a folder by code point before those
 * of the folders in it; links are followed. What a file is, its first bytes say. Any bytes may
 * stand in names, but for those of classes (folder_classes.c).
 */
#include "folder/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/image.h"
#include "making/selection.h"

/* ---- where the splits are ---- */

/* Below the source. */
struct roots {
    const char *split[DN_SPLITS]; /* "" is the source itself, NULL: there is none */
};

static int is_among(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

/* The first of the words that is a name, or NULL. */
static const char *find_word(const char *const *word, char **names, int count)
{
    while (*word && !is_among(*word, names, count))
        word++;
    return *word;
}

/* *shares = 1 where a class folder of `a` has its name in `b`, both folders of the source. */
static dn_status share_class(const char *source, const char *a, const char *b, int *shares)
{
    char **names = NULL, **other = NULL;
    char path[PATH_MAX];
    int count = 0, others = 0;
    *shares = 0;
    DN_TRY(dn_join_path(path, source, a));
    dn_status status = dn_folder_names(path, &names, &count, NULL);
    if (status == DN_OK)
        status = dn_join_path(path, source, b);
    if (status == DN_OK)
        status = dn_folder_names(path, &other, &others, NULL);
    for (int i = 0; status == DN_OK && i < count && !*shares; i++)
        *shares = is_among(names[i], other, others);
    dn_folder_free_names(other, others);
    dn_folder_free_names(names, count);
    return status;
}

/* A folder `train` is a split where one for a test is beside it, or nothing but folders in it.
 * Where there is `test` with classes of its, that for validation is a split of its own: pictures
 * for a contest's entry have no labels. */
static dn_status find_roots(const char *source, struct roots *roots)
{
    static const char *const held_out[] = {"val", "valid", "validation", NULL};
    char **names, **inner = NULL;
    char train[PATH_MAX];
    int count, classes = 0;
    dn_status status = dn_folder_names(source, &names, &count, NULL);
    *roots = (struct roots){{""}};
    if (status == DN_OK && is_among("train", names, count)) {
        const char *const val = find_word(held_out, names, count);
        int has_test = is_among("test", names, count);
        if (has_test && val)
            status = share_class(source, "test", "train", &has_test);
        roots->split[DN_TEST] = has_test ? "test" : val;
        roots->split[DN_VAL] = has_test ? val : NULL;
        if (status == DN_OK && !roots->split[DN_TEST] && count == 1 &&
            dn_join_path(train, source, "train") == DN_OK)
            status = dn_folder_names(train, &inner, &classes, NULL);
        if (roots->split[DN_TEST] || classes > 0)
            roots->split[DN_TRAIN] = "train";
    }
    dn_folder_free_names(inner, classes);
    dn_folder_free_names(names, count);
    return status;
}

/* Two folders that are called as splits are, but stand without `train` or in capitals, are hardly
 * classes. */
static dn_status warn_of_splits(const char *source)
{
    static const char *const words[] = {"train", "training", "val", "valid", "validation", "test"};
    char **names;
    const char *first = NULL;
    int count;
    const dn_status status = dn_folder_names(source, &names, &count, NULL);
    for (int i = 0; status == DN_OK && i < count; i++)
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            if (strcasecmp(names[i], words[w]) != 0)
                continue;
            if (first)
                dn_warn("%s: its folders %s and %s become classes; for splits name them train and "
                        "val, in small letters",
                        source, first, names[i]);
            first = names[i];
        }
    dn_folder_free_names(names, count);
    return status;
}

static int is_root(const struct roots *roots, const char *name)
{
    int is = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        is |= roots->split[s] && strcmp(name, roots->split[s]) == 0;
    return is;
}

/* Names the folders beside the splits. */
static dn_status name_siblings(const char *source, const struct roots *roots)
{
    char **names;
    int count;
    int64_t others = 0;
    const dn_status status = dn_folder_names(source, &names, &count, &others);
    for (int i = 0; status == DN_OK && i < count; i++)
        if (!is_root(roots, names[i]))
            dn_warn("%s/%s: passed over, as it stands beside %s", source, names[i],
                    roots->split[DN_TRAIN]);
    dn_folder_free_names(names, count);
    return status;
}

/* ---- images ---- */

static dn_status find_classes(dn_folder *f, const char *folder)
{
    char **names;
    int classes;
    const dn_status status = dn_folder_names(folder, &names, &classes, &f->passed_over);
    if (status == DN_OK)
        return dn_folder_set_classes(f, folder, names, classes);
    dn_folder_free_names(names, classes);
    return status;
}

/* A file that cannot be read, or is empty, may be one: it is named where images are decoded. */
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
    return DN_OK;
}

/* The files of a folder before the folders in it, each by code point. */
static int by_kind_and_name(const FTSENT **a, const FTSENT **b)
{
    const int a_folder = (*a)->fts_info == FTS_D, b_folder = (*b)->fts_info == FTS_D;
    return a_folder != b_folder ? a_folder - b_folder : strcmp((*a)->fts_name, (*b)->fts_name);
}

/* One entry of a class folder's tree. */
static dn_status visit_entry(dn_folder *f, FTS *tree, FTSENT *entry, dn_split_id split, int label)
{
    const char *const path = entry->fts_path;
    const int is_hidden = entry->fts_level > 0 && entry->fts_name[0] == '.';
    switch (entry->fts_info) {
    case FTS_D:
        if (is_hidden)
            fts_set(tree, entry, FTS_SKIP);
        return DN_OK;
    case FTS_DP:
        return DN_OK;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(entry->fts_errno));
    case FTS_F:
    case FTS_SLNONE: /* a link to nothing cannot be read */
        if (!is_hidden && may_be_image(path))
            return dn_folder_add(f, path + strlen(f->source) + 1, split, label);
        if (!is_hidden && dn_image_is_name(path))
            dn_warn("%s: by its content no JPEG and no PNG; passed over", path);
        break;
    default: /* pipes, devices, folders that contain themselves */
        break;
    }
    f->passed_over++;
    return DN_OK;
}

static dn_status scan_class(dn_folder *f, const char *folder, dn_split_id split, int label)
{
    char path[PATH_MAX];
    const int64_t first = f->images, limit = f->options->limit;
    DN_TRY(dn_join_path(path, folder, f->class_names[label]));
    FTS *const tree = fts_open((char *[]){path, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_kind_and_name);
    DN_CHECK(tree, DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    dn_status status = DN_OK;
    errno = 0;
    for (FTSENT *entry; status == DN_OK && (entry = fts_read(tree)); errno = 0) {
        status = visit_entry(f, tree, entry, split, label);
        if (limit && f->images - first == limit)
            break;
    }
    if (status == DN_OK && errno != 0)
        status = dn_fail(DN_EIO, "%s: cannot read: %s", path, strerror(errno));
    fts_close(tree);
    DN_TRY(status);
    DN_CHECK(f->images > first || split != DN_TRAIN, DN_EINVAL,
             "%s: found no image, expected at least one a class; name the classes to take with "
             "--classes",
             path);
    return DN_OK;
}

/* ---- splits ---- */

/* real = the path without links, of which the last parts may be missing. */
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

/* Records below a folder of classes would be one the next time. */
static dn_status check_out(const dn_folder *f, const char *folder)
{
    char in[PATH_MAX], out[PATH_MAX];
    if (!realpath(folder, in) || !resolve(f->options->out, out))
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

dn_status dn_folder_scan_train(dn_folder *f, const char *folder)
{
    DN_TRY(check_out(f, folder));
    DN_TRY(find_classes(f, folder));
    for (int c = 0; c < f->classes; c++)
        DN_TRY(scan_class(f, folder, DN_TRAIN, c));
    return DN_OK;
}

/* A class may be missing here, but none may be new. */
dn_status dn_folder_scan_other(dn_folder *f, const char *folder, dn_split_id split)
{
    char **names;
    int count;
    DN_TRY(check_out(f, folder));
    dn_status status = dn_folder_names(folder, &names, &count, &f->passed_over);
    for (int i = 0; status == DN_OK && i < count; i++) {
        const int label = dn_folder_find_class(f, names[i]);
        if (label >= 0)
            status = scan_class(f, folder, split, label);
        else if (!f->options->classes)
            status = dn_fail(DN_EINVAL,
                             "%s/%s: found a class that is not among those of the train split",
                             folder, names[i]);
    }
    dn_folder_free_names(names, count);
    DN_TRY(status);
    DN_CHECK(f->image[f->images - 1].split == split, DN_EINVAL,
             "%s: found no image in class folders, expected at least one", folder);
    return DN_OK;
}

/* ---- a drawn test split ---- */

/* The train split's images, then the test split's, each as they were. */
static dn_status move_drawn(dn_folder *f, const uint8_t *drawn)
{
    dn_folder_image *const sorted = malloc((size_t)f->images * sizeof *sorted);
    DN_CHECK(sorted, DN_ENOMEM, "%s: out of memory", f->source);
    int64_t next = 0;
    for (int s = 0; s < DN_SPLITS; s++)
        for (int64_t i = 0; i < f->images; i++)
            if (drawn[i] == s) {
                sorted[next] = f->image[i];
                sorted[next++].split = (uint8_t)s;
            }
    free(f->image);
    f->image = sorted;
    f->room = f->images;
    return DN_OK;
}

dn_status dn_folder_draw(dn_folder *f)
{
    const size_t images = (size_t)f->images;
    uint16_t *const labels = malloc(images * (sizeof *labels + 1));
    DN_CHECK(labels, DN_ENOMEM, "%s: out of memory", f->source);
    uint8_t *const drawn = (uint8_t *)(labels + images);
    for (size_t i = 0; i < images; i++)
        labels[i] = f->image[i].label;
    f->is_drawn = 1;
    dn_status status = dn_draw_test(f->options, f->source, labels, f->images, f->classes, drawn);
    if (status == DN_OK)
        status = move_drawn(f, drawn);
    free(labels);
    return status;
}

/* ---- all of it ---- */

dn_status dn_folder_scan(dn_folder *f)
{
    char folder[PATH_MAX];
    struct roots roots;
    DN_TRY(find_roots(f->source, &roots));
    const char *const train = roots.split[DN_TRAIN], *const test = roots.split[DN_TEST];
    DN_CHECK(!test || f->options->val_fraction <= 0, DN_EINVAL,
             "--val-fraction: found the folder %s/%s, so nothing is to be drawn", f->source, test);
    if (*train) {
        DN_TRY(name_siblings(f->source, &roots));
        DN_TRY(dn_join_path(folder, f->source, train));
    } else if (!f->options->classes) {
        DN_TRY(warn_of_splits(f->source));
    }
    if (!test) /* beside train alone it would be a class */
        DN_TRY(check_out(f, f->source));
    DN_TRY(dn_folder_scan_train(f, *train ? folder : f->source));
    if (!test)
        return dn_folder_draw(f);
    for (int s = DN_TEST; s < DN_SPLITS && roots.split[s]; s++) {
        DN_TRY(dn_join_path(folder, f->source, roots.split[s]));
        DN_TRY(dn_folder_scan_other(f, folder, (dn_split_id)s));
    }
    return DN_OK;
}

void dn_folder_free(dn_folder *f)
{
    for (int64_t i = 0; i < f->images; i++)
        free(f->image[i].path);
    free(f->image);
    free(f->place);
    for (int s = 0; s < DN_SPLITS; s++)
        free(f->archive[s]);
    dn_folder_free_names(f->class_names, f->classes);
}
