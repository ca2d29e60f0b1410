/*
 * Lists folders, in order of code points, and takes them for classes; see folder.h.
 */
#include "folder/folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dn/file.h"
#include "writer/selection.h"
#include "writer/writer.h"

/* ---- folders ---- */

/* *is = 1 if `name` in `folder` is a folder. DN_EIO if it cannot be read, as it may be one. A
 * dangling link is not one, and is named if `warns`. */
static dn_status look(const char *folder, const char *name, int warns, int *is)
{
    char path[PATH_MAX];
    struct stat info;
    *is = 0;
    DN_TRY(dn_join_path(path, folder, name));
    if (stat(path, &info) == 0) {
        *is = S_ISDIR(info.st_mode);
        return DN_OK;
    }
    DN_CHECK(errno == ENOENT || errno == ENOTDIR || errno == ELOOP, DN_EIO, "%s: cannot read: %s",
             path, strerror(errno));
    if (warns)
        dn_warn("%s: a dangling link; skipped", path);
    return DN_OK;
}

static int is_name(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_code_point(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

void dn_folder_free_names(char **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

dn_status dn_folder_names(const char *path, char ***names, int *count, int64_t *others)
{
    struct dirent **list;
    *names = NULL;
    *count = 0;
    const int entries = scandir(path, &list, is_name, by_code_point);
    DN_CHECK(entries >= 0, errno == ENOENT || errno == ENOTDIR ? DN_ENOENT : DN_EIO,
             "%s: cannot read: %s", path, strerror(errno));
    *names = calloc((size_t)entries + 1, sizeof **names);
    dn_status status = *names ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < entries; i++) {
        const char *const name = list[i]->d_name;
        int is_folder = 0;
        if (status == DN_OK && name[0] != '.' && list[i]->d_type != DT_REG)
            status = look(path, name, others != NULL, &is_folder);
        if (is_folder && !((*names)[(*count)++] = strdup(name)))
            status = dn_fail(DN_ENOMEM, "%s: out of memory", path);
        if (!is_folder && others)
            ++*others;
        free(list[i]);
    }
    free(list);
    return status;
}

dn_status dn_folder_has_folders(const char *path, int *has)
{
    char **names;
    int count;
    const dn_status status = dn_folder_names(path, &names, &count, NULL);
    *has = count > 0;
    dn_folder_free_names(names, count);
    return status;
}

int dn_folder_find_name(const char *name, char **names, int count)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2, order = strcmp(names[middle], name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

/* ---- classes ---- */

dn_status dn_folder_check_name(const char *folder, const char *name)
{
    DN_CHECK(dn_writer_takes_name(name), DN_EINVAL,
             "%s/%s: found a class name that is no UTF-8 or has control characters, expected one "
             "that can be printed",
             folder, name);
    return DN_OK;
}

/* Keeps the classes of --classes, with their indices among all. */
static dn_status keep_asked(dn_folder *f, const char *where)
{
    int kept = 0;
    uint8_t *const asked = malloc((size_t)f->classes + 1);
    f->all_classes = f->classes;
    f->place = malloc((size_t)f->classes * sizeof *f->place + 1);
    dn_status status =
        asked && f->place ? DN_OK : dn_fail(DN_ENOMEM, "%s: out of memory", f->source);
    if (status == DN_OK)
        status = dn_find_asked(f->options, where, (const char *const *)f->class_names, f->classes,
                               asked);
    for (int i = 0; i < f->classes && status == DN_OK; i++) {
        f->place[kept] = i;
        if (asked[i])
            f->class_names[kept++] = f->class_names[i];
        else
            free(f->class_names[i]);
    }
    if (status == DN_OK)
        f->classes = kept;
    free(asked);
    return status;
}

/* text(size) = the first of the names, in parentheses. */
static void list_names(char **names, int count, char *text, size_t size)
{
    enum { SHOWN = 3 };
    size_t used = 0;
    for (int i = 0; i < count && i <= SHOWN && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "(" : ", ",
                                 i < SHOWN ? names[i] : "...");
    if (used < size)
        snprintf(text + used, size - used, ")");
}

/* The source is not a tree of class folders, often because it is one level too high. */
static dn_status refuse_one_class(const dn_folder *f, const char *where)
{
    const char *const name = f->class_names[0];
    char path[PATH_MAX], list[512];
    char **inner;
    int count;
    DN_CHECK(!f->options->classes, DN_EINVAL, "--classes: found one class, expected 2 or more");
    DN_TRY(dn_join_path(path, where, name));
    const dn_status status = dn_folder_names(path, &inner, &count, NULL);
    list_names(inner, count, list, sizeof list);
    dn_folder_free_names(inner, count);
    DN_TRY(status);
    DN_CHECK(count > 0, DN_EINVAL,
             "%s: found one class folder, %s, which has no folders, expected 2 to %d, or train and "
             "test that have them; how to sort images into folders by a table: docs/folders.md",
             where, name, UINT16_MAX);
    const int is_source = strcmp(where, f->source) == 0;
    return dn_fail(DN_EINVAL,
                   "%s: found one class folder, %s, expected 2 to %d; it has folders %s: if they "
                   "are the classes, or splits, %s%s",
                   where, name, UINT16_MAX, list, is_source ? "take --source " : "move them to ",
                   is_source ? path : where);
}

dn_status dn_folder_set_classes(dn_folder *f, const char *where, char **names, int classes)
{
    f->class_names = names;
    f->classes = classes;
    DN_TRY(keep_asked(f, where));
    f->labels = f->options->multi_label ? 0 : f->classes;
    for (int i = 0; i < f->classes; i++)
        DN_TRY(dn_folder_check_name(where, f->class_names[i]));
    if (f->classes == 1 && dn_is_folder(where))
        return refuse_one_class(f, where);
    DN_CHECK(f->classes > 1 && f->classes <= UINT16_MAX, DN_EINVAL,
             "%s: found %d class folders, expected 2 to %d, or train and val or test that have "
             "them",
             where, f->classes, UINT16_MAX);
    return DN_OK;
}
