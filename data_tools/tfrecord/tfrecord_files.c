/*
 * Takes splits and the name of the set from the names of TFRecord files; see from_tfrecord.h.
 */
#include "tfrecord/from_tfrecord.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const struct {
    const char *word;
    dn_split_id split;
} words[] = {{"train", DN_TRAIN}, {"training", DN_TRAIN}, {"val", DN_VAL},
             {"valid", DN_VAL},   {"validation", DN_VAL}, {"eval", DN_VAL},
             {"test", DN_TEST},   {"testing", DN_TEST}};

/* The split named by the last such run of letters in the file's name; *at = its beginning, or NULL
 * if there is none. */
static dn_split_id find_split(const char *path, const char **at)
{
    dn_split_id split = DN_TRAIN;
    *at = NULL;
    for (const char *c = basename(path); *c;) {
        size_t length = 0;
        while (isalpha((unsigned char)c[length]))
            length++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strlen(words[i].word) == length && strncasecmp(words[i].word, c, length) == 0) {
                split = words[i].split;
                *at = c;
            }
        c += length > 0 ? length : 1;
    }
    return split;
}

/* Names the set, with safe characters only, by the part of the first file's name before the split,
 * else by the last component of --out. */
static void name_by_files(dn_record_set *set, const char *path)
{
    const char *at, *name = basename(path);
    find_split(path, &at);
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

/* The identity of a file under any name. */
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

/* Refuses a file that is given twice, as its images could be in two splits. */
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

/* Without test files the validation files are the test split, as for folders. */
static dn_status list_files(dn_record_set *set, int files, char **file)
{
    int count[DN_SPLITS] = {0};
    const char *at;
    set->file = calloc((size_t)files, sizeof *set->file);
    DN_CHECK(set->file, DN_ENOMEM, "out of memory for %d files", files);
    for (int i = 0; i < files; i++) {
        const dn_split_id split = find_split(file[i], &at);
        set->file[set->files++] = (dn_record_file){.path = file[i], .split = split};
        count[split]++;
    }
    for (int i = 0; i < files; i++)
        if (set->file[i].split == DN_VAL && count[DN_TEST] == 0)
            set->file[i].split = DN_TEST;
    set->is_drawn = count[DN_TRAIN] == files;
    DN_CHECK(count[DN_TRAIN] > 0, DN_EINVAL,
             "%s: found by its name, as all files, validation or test, expected files to train on",
             file[0]);
    DN_CHECK(set->is_drawn || set->options->val_fraction <= 0, DN_EINVAL,
             "--val-fraction: found %d files that are named as validation or test, so nothing is "
             "to be drawn",
             files - count[DN_TRAIN]);
    return DN_OK;
}

dn_status dn_record_list(dn_record_set *set, int files, char **file)
{
    set->unpacked = -1;
    DN_TRY(list_files(set, files, file));
    name_by_files(set, file[0]);
    return check_twice(set);
}
