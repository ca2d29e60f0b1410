/*
 * Takes names of folders for sets of classes, their names joined by '|', with '?' before those that
 * are unknown; see folder.h.
 *
 * Labels number the sets in the order in which the scan meets them.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "dn/file.h"
#include "folder/folder.h"

enum { MOST_PARTS = NAME_MAX / 2 + 1 };

/* The classes in a folder's name. */
struct parts {
    char text[NAME_MAX + 1];
    char *name[MOST_PARTS]; /* (count) in `text` */
    uint8_t presence[MOST_PARTS];
    int count;
};

static dn_status split_name(const dn_folder *f, const char *where, const char *name,
                            struct parts *p)
{
    const char *const none = f->options->multi_label;
    char *rest = p->text;
    p->count = 0;
    DN_TRY(dn_folder_check_name(where, name));
    snprintf(p->text, sizeof p->text, "%s", name);
    while (rest && strcmp(name, none) != 0) {
        char *word = strsep(&rest, "|");
        const int is_unknown = *word == '?';
        word += is_unknown;
        DN_CHECK(*word, DN_EINVAL,
                 "%s/%s: found an empty name among those joined by '|', expected names of classes",
                 where, name);
        DN_CHECK(strcmp(word, none) != 0, DN_EINVAL,
                 "%s/%s: found \"%s\" beside other names or '?', expected it alone", where, name,
                 none);
        p->name[p->count] = word;
        p->presence[p->count++] = is_unknown ? DN_UNKNOWN : DN_PRESENT;
    }
    return DN_OK;
}

/* ---- classes ---- */

/* The names of the folders of all splits. */
struct found {
    json_t *classes; /* its keys are the classes */
    int folders, has_none;
};

static dn_status collect_names(const dn_folder *f, const char *where, char **names, int count,
                               struct found *found)
{
    struct parts p;
    for (int i = 0; i < count; i++) {
        DN_TRY(split_name(f, where, names[i], &p));
        found->has_none |= p.count == 0;
        for (int j = 0; j < p.count; j++)
            DN_CHECK(json_object_set_new(found->classes, p.name[j], json_null()) == 0, DN_ENOMEM,
                     "%s: out of memory for class names", where);
    }
    found->folders += count;
    return DN_OK;
}

static dn_status collect_classes(const dn_folder *f, const dn_folder_splits *splits,
                                 struct found *found)
{
    char path[PATH_MAX], **names;
    int count;
    for (int s = 0; s < DN_SPLITS; s++) {
        const char *const where = splits->name[s][0] ? path : f->source;
        if (where == f->source && s != DN_TRAIN)
            continue;
        DN_TRY(dn_join_path(path, f->source, splits->name[s]));
        dn_status status = dn_folder_names(where, &names, &count, NULL);
        if (status == DN_OK)
            status = collect_names(f, where, names, count, found);
        dn_folder_free_names(names, count);
        DN_TRY(status);
    }
    const size_t classes = json_object_size(found->classes);
    DN_CHECK(classes > 1, DN_EINVAL,
             "%s: found %zu classes in the names of %d folders, expected 2 or more, joined by '|'",
             f->source, classes, found->folders);
    return DN_OK;
}

static int by_code_point(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sets the sorted keys of `found` as the classes. */
static dn_status set_classes(dn_folder *f, json_t *found)
{
    char **const classes = calloc(json_object_size(found), sizeof *classes);
    const char *name;
    json_t *value;
    int count = 0;
    json_object_foreach(found, name, value)
    {
        if (classes && (classes[count] = strdup(name)))
            count++;
    }
    if (!classes || (size_t)count < json_object_size(found)) {
        dn_folder_free_names(classes, count);
        return dn_fail(DN_ENOMEM, "%s: out of memory for class names", f->source);
    }
    qsort(classes, (size_t)count, sizeof *classes, by_code_point);
    return dn_folder_set_classes(f, f->source, classes, count);
}

dn_status dn_folder_find_set_classes(dn_folder *f, const dn_folder_splits *splits)
{
    struct found found = {.classes = json_object()};
    dn_status status = found.classes ? collect_classes(f, splits, &found)
                                     : dn_fail(DN_ENOMEM, "%s: out of memory", f->source);
    if (status == DN_OK)
        status = set_classes(f, found.classes);
    json_decref(found.classes);
    if (status == DN_OK && !found.has_none)
        dn_warn("%s: found no folder \"%s\", of images without a class as --multi-label says",
                f->source, f->options->multi_label);
    return status;
}

/* ---- sets ---- */

/* Makes room for one more set, with no class. */
static dn_status add_row(dn_folder *f)
{
    const size_t classes = (size_t)f->classes, used = (size_t)f->labels * classes;
    if (f->labels % 64 == 0) {
        uint8_t *const more = realloc(f->label_sets, used + 64 * classes);
        DN_CHECK(more, DN_ENOMEM, "%s: out of memory for sets of classes", f->source);
        f->label_sets = more;
    }
    memset(f->label_sets + used, 0, classes);
    return DN_OK;
}

/* has(classes) = the presence of the classes in the folder's name. */
static dn_status read_set(const dn_folder *f, const char *where, const char *name, uint8_t *has)
{
    struct parts p;
    DN_TRY(split_name(f, where, name, &p));
    for (int i = 0; i < p.count; i++) {
        int c = 0;
        while (c < f->classes && strcmp(f->class_names[c], p.name[i]) != 0)
            c++;
        DN_CHECK(c < f->classes, DN_EINVAL,
                 "%s/%s: found the class \"%s\", which is not among the %d of %s", where, name,
                 p.name[i], f->classes, f->options->like);
        DN_CHECK(has[c] == DN_ABSENT, DN_EINVAL,
                 "%s/%s: found the class \"%s\" twice, expected it once", where, name, p.name[i]);
        has[c] = p.presence[i];
    }
    return DN_OK;
}

/* key = the names of the set's classes, in their order, which is no longer than the folder's. */
static void name_set(const dn_folder *f, const uint8_t *has, char key[NAME_MAX + 1])
{
    size_t used = 0;
    key[0] = '\0';
    for (int c = 0; c < f->classes; c++)
        if (has[c] != DN_ABSENT)
            used += (size_t)snprintf(key + used, NAME_MAX + 1 - used, "%s%s%s", used ? "|" : "",
                                     has[c] == DN_UNKNOWN ? "?" : "", f->class_names[c]);
}

dn_status dn_folder_find_set(dn_folder *f, const char *where, const char *name, int *label)
{
    char key[NAME_MAX + 1];
    DN_TRY(add_row(f));
    uint8_t *const has = f->label_sets + (size_t)f->labels * (size_t)f->classes;
    DN_TRY(read_set(f, where, name, has));
    name_set(f, has, key);
    if (!f->set_labels)
        f->set_labels = json_object();
    const json_t *const known = json_object_get(f->set_labels, key);
    *label = known ? (int)json_integer_value(known) : f->labels;
    if (known)
        return DN_OK;
    DN_CHECK(f->labels < UINT16_MAX &&
                 (size_t)(f->labels + 1) * (size_t)f->classes <= DN_LABEL_SETS_BYTES,
             DN_EINVAL,
             "%s: found %d sets of %d classes, expected at most %d, and a product of "
             "at most %d",
             where, f->labels + 1, f->classes, UINT16_MAX, DN_LABEL_SETS_BYTES);
    DN_CHECK(json_object_set_new(f->set_labels, key, json_integer(f->labels)) == 0, DN_ENOMEM,
             "%s: out of memory for sets of classes", where);
    f->labels++;
    return DN_OK;
}
