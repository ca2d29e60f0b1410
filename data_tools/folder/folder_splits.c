/*
 * Finds the splits of a tree by the names of folders; see folder.h.
 *
 * A folder has the name of a split if that is one of the words below, in any case, alone or before
 * "set" (training_set, TestSet). Folders with such names that are not taken for splits are unlikely
 * to be classes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dn/file.h"
#include "folder/folder.h"

/* In order of precedence. */
static const char *const words[DN_SPLITS][5] = {
    [DN_TRAIN] = {"train", "training"},
    [DN_TEST] = {"test", "testing"},
    [DN_VAL] = {"val", "valid", "validation", "dev"},
};

static int is_called(const char *name, const char *word)
{
    const size_t length = strlen(word);
    if (strncasecmp(name, word, length) != 0)
        return 0;
    const char *const rest = name + length;
    return !*rest || strcasecmp(rest + strspn(rest, "_- "), "set") == 0;
}

/* The folder of the split among the names, preferably one with exactly this name, or NULL. */
static const char *find_split(dn_split_id split, char **names, int count)
{
    for (const char *const *word = words[split]; *word; word++)
        if (dn_folder_find_name(*word, names, count) >= 0)
            return *word;
    for (const char *const *word = words[split]; *word; word++)
        for (int i = 0; i < count; i++)
            if (is_called(names[i], *word))
                return names[i];
    return NULL;
}

/* *shares = 1 if folders `a` and `b` of the source have a class folder of the same name. */
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
        *shares = dn_folder_find_name(names[i], other, others) >= 0;
    dn_folder_free_names(other, others);
    dn_folder_free_names(names, count);
    return status;
}

/* Refuses two folders with names of splits that do not form splits. */
static dn_status refuse_halves(const char *source, char **names, int count)
{
    const char *first = NULL;
    for (int i = 0; i < count; i++) {
        int is = 0;
        for (int s = 0; s < DN_SPLITS; s++)
            is |= find_split((dn_split_id)s, &names[i], 1) != NULL;
        DN_CHECK(
            !is || !first, DN_EINVAL,
            "%s: found the folders %s and %s, expected one of train or training to learn from, "
            "and one of test, testing, val, valid, validation or dev beside it; if they are "
            "classes, name all classes with --classes",
            source, first, names[i]);
        first = is ? names[i] : first;
    }
    return DN_OK;
}

/* A training folder is a split if there is a test or validation folder beside it, or if it is alone
 * and has subfolders. If `test` has no class folder in common with it, as the unlabelled pictures
 * of a contest, the validation folder becomes the test split. */
static dn_status choose(const char *source, char **names, int count, dn_folder_splits *splits)
{
    const char *const train = find_split(DN_TRAIN, names, count);
    const char *const val = find_split(DN_VAL, names, count);
    const char *const test = find_split(DN_TEST, names, count);
    char path[PATH_MAX];
    int has_test = test != NULL, is_split = train && (val || test);
    if (train && test && val)
        DN_TRY(share_class(source, test, train, &has_test));
    if (train && count == 1) {
        DN_TRY(dn_join_path(path, source, train));
        DN_TRY(dn_folder_has_folders(path, &is_split));
    }
    if (!is_split)
        return DN_OK;
    const char *const chosen[DN_SPLITS] = {train, has_test ? test : val, has_test ? val : NULL};
    for (int s = 0; s < DN_SPLITS; s++)
        snprintf(splits->name[s], sizeof splits->name[s], "%s", chosen[s] ? chosen[s] : "");
    return DN_OK;
}

dn_status dn_folder_find_splits(const dn_folder *f, dn_folder_splits *splits)
{
    char **names;
    int count;
    *splits = (dn_folder_splits){0};
    dn_status status = dn_folder_names(f->source, &names, &count, NULL);
    if (status == DN_OK)
        status = choose(f->source, names, count, splits);
    if (status == DN_OK && !splits->name[DN_TRAIN][0] && !f->options->classes)
        status = refuse_halves(f->source, names, count);
    dn_folder_free_names(names, count);
    return status;
}

/* Warns of folder `name`, which is no split's; DN_EINVAL if it is a split's second. */
static dn_status skip_sibling(const char *source, char **names, int count, char *name,
                              const char *train)
{
    for (int s = 0; s < DN_SPLITS; s++) {
        const char *const first = find_split((dn_split_id)s, names, count);
        DN_CHECK(!find_split((dn_split_id)s, &name, 1) || strcmp(first, name) == 0, DN_EINVAL,
                 "%s: found the folders %s and %s, expected one for each split", source, first,
                 name);
    }
    dn_warn("%s/%s: skipped, as it is beside %s", source, name, train);
    return DN_OK;
}

dn_status dn_folder_name_siblings(const dn_folder *f, const dn_folder_splits *splits)
{
    char **names;
    int count;
    int64_t others = 0;
    dn_status status = dn_folder_names(f->source, &names, &count, &others);
    for (int i = 0; status == DN_OK && i < count; i++) {
        int is = 0;
        for (int s = 0; s < DN_SPLITS; s++)
            is |= strcmp(names[i], splits->name[s]) == 0;
        if (!is)
            status = skip_sibling(f->source, names, count, names[i], splits->name[DN_TRAIN]);
    }
    dn_folder_free_names(names, count);
    return status;
}

/* ---- classes that are one level too high ---- */

/* The length of a path up to its file's folder; *class_bytes = up to its class folder, which is
 * `depth` levels below the source. */
static int folder_bytes(const char *path, int depth, int *class_bytes)
{
    const char *end = path;
    for (int i = 0; i <= depth; i++)
        end = strchr(end, '/') + 1;
    *class_bytes = (int)(end - path) - 1;
    return (int)(strrchr(path, '/') - path);
}

void dn_folder_warn_of_depth(const dn_folder *f, const char *train)
{
    const char *other = NULL; /* an image in another subfolder of the class than the image before */
    int class_bytes, last = 0;
    for (int64_t i = 0; i < f->images; i++) {
        const dn_folder_image *const image = &f->image[i], *const before = image - 1;
        const int bytes = folder_bytes(image->path, *train ? 1 : 0, &class_bytes);
        if (bytes == class_bytes)
            return;
        if (!other && i > 0 && before->label == image->label &&
            (bytes != last || strncmp(before->path, image->path, (size_t)bytes) != 0))
            other = image->path;
        last = bytes;
    }
    if (other)
        dn_warn("%s: the class folders hold no image themselves, but folders of images, as %.*s; "
                "if these are the classes, call the folders above them train and test",
                f->source, folder_bytes(other, 0, &class_bytes), other);
}
