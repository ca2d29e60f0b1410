/*
 * What the names of TFRecord files say: splits, and the name of the set; see from_tfrecord.h.
 */
#include "tfrecord/from_tfrecord.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum part { TRAIN, VALIDATION, TEST, PARTS };

static const struct {
    const char *word;
    enum part part;
} words[] = {{"train", TRAIN},      {"training", TRAIN},        {"val", VALIDATION},
             {"valid", VALIDATION}, {"validation", VALIDATION}, {"eval", VALIDATION},
             {"test", TEST},        {"testing", TEST}};

/* The last run of letters in the file's name that names a part of a set; *at = where it begins, or
 * NULL: none does. */
static enum part find_part(const char *path, const char **at)
{
    enum part part = TRAIN;
    *at = NULL;
    for (const char *c = basename(path); *c;) {
        size_t length = 0;
        while (isalpha((unsigned char)c[length]))
            length++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strlen(words[i].word) == length && strncasecmp(words[i].word, c, length) == 0) {
                part = words[i].part;
                *at = c;
            }
        c += length > 0 ? length : 1;
    }
    return part;
}

/* The set's name, of characters that may stand anywhere: what stands before the part in the first
 * file's name, else the last word of --out. */
static void name_by_files(dn_record_set *set, const char *path)
{
    const char *at, *name = basename(path);
    find_part(path, &at);
    size_t length = at ? (size_t)(at - name) : 0;
    while (length > 0 && strchr("-_.", name[length - 1]))
        length--;
    if (length == 0 && set->options->out) {
        const char *const out = set->options->out, *end = out + strlen(out);
        while (end > out && end[-1] == '/')
            end--;
        for (name = end; name > out && name[-1] != '/'; length++)
            name--;
    }
    if (length == 0 || name[0] == '.') {
        name = "records";
        length = strlen(name);
    }
    snprintf(set->name, sizeof set->name, "%.*s", (int)length, name);
    for (char *c = set->name; *c; c++)
        if (!isascii(*c) || (!isalnum((unsigned char)*c) && !strchr("-_.", *c)))
            *c = '_';
}

/* What a file is, under whatever name. */
struct identity {
    struct stat info;
    const char *path;
};

static int by_identity(const void *a, const void *b)
{
    const struct stat *const x = &((const struct identity *)a)->info;
    const struct stat *const y = &((const struct identity *)b)->info;
    return x->st_dev != y->st_dev ? (x->st_dev > y->st_dev) - (x->st_dev < y->st_dev)
                                  : (x->st_ino > y->st_ino) - (x->st_ino < y->st_ino);
}

/* The images of one that is given twice could stand in both splits. */
static dn_status check_twice(const dn_record_set *set)
{
    struct identity *const list = calloc((size_t)set->files, sizeof *list);
    int known = 0;
    dn_status status = DN_OK;
    DN_CHECK(list, DN_ENOMEM, "out of memory for %d files", set->files);
    for (int i = 0; i < set->files; i++) {
        list[known].path = set->file[i].path;
        known += stat(set->file[i].path, &list[known].info) == 0;
    }
    qsort(list, (size_t)known, sizeof *list, by_identity);
    for (int i = 1; i < known && status == DN_OK; i++)
        if (by_identity(&list[i - 1], &list[i]) == 0)
            status =
                dn_fail(DN_EINVAL, "%s: found it a second time, as %s, expected each file once",
                        list[i - 1].path, list[i].path);
    free(list);
    return status;
}

/* Validation is the test split where there is any; test files then are left out. */
static dn_status list_files(dn_record_set *set, int files, char **file)
{
    int count[PARTS] = {0};
    const char *at;
    set->file = calloc((size_t)files, sizeof *set->file);
    DN_CHECK(set->file, DN_ENOMEM, "out of memory for %d files", files);
    for (int i = 0; i < files; i++)
        count[find_part(file[i], &at)]++;
    const enum part test = count[VALIDATION] > 0 ? VALIDATION : TEST;
    for (int i = 0; i < files; i++) {
        const enum part part = find_part(file[i], &at);
        if (part == TRAIN || part == test)
            set->file[set->files++] =
                (dn_record_file){.path = file[i], .split = part == TRAIN ? DN_TRAIN : DN_TEST};
        else
            dn_warn("%s: left out, as there are validation files", file[i]);
    }
    set->is_drawn = count[test] == 0;
    DN_CHECK(count[TRAIN] > 0, DN_EINVAL,
             "%s: found by its name, as all files, validation or test, expected files to train on",
             file[0]);
    DN_CHECK(set->is_drawn || set->options->val_fraction <= 0, DN_EINVAL,
             "--val-fraction: found %d files that are named as validation or test, so nothing is "
             "to be drawn",
             count[test]);
    return DN_OK;
}

dn_status dn_record_list(dn_record_set *set, int files, char **file)
{
    set->unpacked = -1;
    DN_TRY(list_files(set, files, file));
    name_by_files(set, file[0]);
    return check_twice(set);
}
