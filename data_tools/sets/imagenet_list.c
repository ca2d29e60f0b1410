/* The list of validation images; see imagenet_list.h. */
#include "sets/imagenet_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/child.h"
#include "dn/file.h"
#include "dn/words.h"
#include "sets/mat_file.h"

enum {
    IDS = DN_IMAGENET_CLASSES,
    MOST_SYNSETS = 1 << 16,
    NAME_BYTES = DN_LISTED_NAME,
    LIST_BYTES = 64 << 20
};

/* ---- the devkit's meta.mat ---- */

/* The results of the child process that reads it. */
struct meta {
    char path[PATH_MAX];
    char wnid[IDS][16]; /* by id - 1 */
};

/* Copies ASCII text, stored in bytes or 16-bit words. */
static int copy_text(const matvar_t *text, char *copy, size_t size)
{
    if (!text || text->class_type != MAT_C_CHAR || !text->data ||
        (text->data_size != 1 && text->data_size != 2))
        return 0;
    const size_t length = text->nbytes / (size_t)text->data_size;
    for (size_t i = 0; i < length && length < size; i++)
        copy[i] = text->data_size == 1 ? ((const char *)text->data)[i]
                                       : (char)((const uint16_t *)text->data)[i];
    return length > 0 && length < size;
}

/* Copies the WordNet ids of the classes, which are the synsets without children. */
static void copy_synsets(matvar_t *synsets, struct meta *m)
{
    const size_t count = synsets->dims[0] * synsets->dims[1];
    for (size_t i = 0; i < count && i < MOST_SYNSETS; i++) {
        double id, children;
        if (dn_mat_number(Mat_VarGetStructFieldByName(synsets, "ILSVRC2012_ID", i), 0, &id) &&
            dn_mat_number(Mat_VarGetStructFieldByName(synsets, "num_children", i), 0, &children) &&
            children == 0 && id >= 1 && id <= IDS && id == (int)id)
            copy_text(Mat_VarGetStructFieldByName(synsets, "WNID", i), m->wnid[(int)id - 1],
                      sizeof *m->wnid);
    }
}

static dn_status read_synsets(void *user)
{
    struct meta *const m = user;
    mat_t *mat;
    DN_TRY(dn_mat_open(&mat, m->path));
    matvar_t *const synsets = Mat_VarRead(mat, "synsets");
    const int good = synsets && synsets->class_type == MAT_C_STRUCT && synsets->rank == 2 &&
                     synsets->dims[0] <= MOST_SYNSETS && synsets->dims[1] <= MOST_SYNSETS;
    if (good)
        copy_synsets(synsets, m);
    Mat_VarFree(synsets);
    Mat_Close(mat);
    DN_CHECK(good, DN_ECORRUPT,
             "%s: found no synsets, expected those of ILSVRC 2012 as a list of structures",
             m->path);
    return DN_OK;
}

/* Replaces the ids in the list by WordNet ids. */
static dn_status translate_ids(dn_listed_images *l, struct meta *m)
{
    DN_TRY(dn_mat_check(m->path));
    DN_TRY(dn_child_run(m->path, read_synsets, m));
    m->path[sizeof m->path - 1] = '\0';
    for (size_t i = 0; i < l->count; i++) {
        int64_t id;
        char *const name = l->image[i].class_name;
        DN_CHECK(dn_parse_whole(name, 1, IDS, &id), DN_ECORRUPT,
                 "%s: line %zu: found \"%s\", expected 1 to %d", l->path, i + 1, name, IDS);
        char *const wnid = m->wnid[id - 1];
        wnid[sizeof *m->wnid - 1] = '\0';
        DN_CHECK(*wnid, DN_ECORRUPT, "%s: found no synset of id %" PRId64 " without children",
                 m->path, id);
        snprintf(name, NAME_BYTES, "%s", wnid);
    }
    return DN_OK;
}

static dn_status read_meta(dn_listed_images *l)
{
    struct meta *const m = dn_child_pages(sizeof *m);
    DN_CHECK(m, DN_ENOMEM, "%s: out of memory", l->path);
    const int length = (int)(basename(l->path) - l->path);
    dn_status status = snprintf(m->path, PATH_MAX, "%.*smeta.mat", length, l->path) < PATH_MAX
                           ? translate_ids(l, m)
                           : dn_fail(DN_EINVAL, "%s: the path is too long", l->path);
    dn_child_pages_free(m, sizeof *m);
    return status;
}

/* ---- lines ---- */

/* Parses a line of any form; *words = the number of words of the first line. */
static dn_status parse_line(dn_listed_images *l, char *line, int *words)
{
    dn_listed_image *const t = &l->image[l->count];
    const size_t number = l->count + 1;
    char *rest = line, *word[2] = {NULL};
    for (int found = 0; found < 2 && (word[found] = strsep(&rest, " \t,\r"));)
        found += *word[found] != '\0';
    const int found = !word[0] || !*word[0] ? 0 : word[1] && *word[1] ? 2 : 1;
    *words = *words ? *words : found;
    DN_CHECK(found == *words, DN_ECORRUPT, "%s: line %zu: found %d words, expected %d", l->path,
             number, found, *words);
    const int name = found == 1 ? snprintf(t->name, NAME_BYTES, "ILSVRC2012_val_%08zu.JPEG", number)
                                : snprintf(t->name, NAME_BYTES, "%s", basename(word[0]));
    const int class = snprintf(t->class_name, NAME_BYTES, "%s", word[found - 1]);
    DN_CHECK(name < NAME_BYTES && class < NAME_BYTES, DN_ECORRUPT,
             "%s: line %zu: found a word of more than %d bytes", l->path, number, NAME_BYTES - 1);
    l->count++;
    return DN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dn_listed_image *)a)->name, ((const dn_listed_image *)b)->name);
}

/* Sets the labels by the class names. */
static dn_status find_labels(dn_listed_images *l, const dn_folder *f, int words)
{
    for (size_t i = 0; i < l->count; i++) {
        dn_listed_image *const t = &l->image[i];
        int64_t number;
        t->label = -1;
        if (words == 2 && dn_parse_whole(t->class_name, 0, f->all_classes - 1, &number)) {
            for (int c = 0; c < f->classes; c++)
                if (f->place[c] == number)
                    t->label = c;
            continue;
        }
        t->label = dn_folder_find_name(t->class_name, f->class_names, f->classes);
        DN_CHECK(t->label >= 0 || f->options->classes, DN_ECORRUPT,
                 "%s: line %zu: found the class \"%s\", which is not among those of the train "
                 "split",
                 l->path, i + 1, t->class_name);
    }
    return DN_OK;
}

static dn_status parse_list(dn_listed_images *l, const dn_folder *f, char *text, size_t size)
{
    size_t lines = 1;
    int words = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    l->image = calloc(lines, sizeof *l->image);
    DN_CHECK(l->image, DN_ENOMEM, "%s: out of memory for %zu lines", l->path, lines);
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        if (*line && *line != '\r')
            DN_TRY(parse_line(l, line, &words));
    DN_CHECK(l->count > 0, DN_ECORRUPT, "%s: found no line, expected one an image", l->path);
    if (words == 1 && l->image[0].class_name[0] != 'n')
        DN_TRY(read_meta(l));
    DN_TRY(find_labels(l, f, words));
    qsort(l->image, l->count, sizeof *l->image, by_name);
    return DN_OK;
}

dn_status dn_listed_images_load(dn_listed_images *l, const dn_folder *f)
{
    uint8_t *bytes;
    size_t size;
    DN_TRY(dn_file_load_most(l->path, LIST_BYTES, &bytes, &size));
    const dn_status status = parse_list(l, f, (char *)bytes, size);
    free(bytes);
    return status;
}

dn_listed_image *dn_listed_images_find(const dn_listed_images *l, const char *name)
{
    dn_listed_image key;
    return snprintf(key.name, sizeof key.name, "%s", name) < (int)sizeof key.name
               ? bsearch(&key, l->image, l->count, sizeof *l->image, by_name)
               : NULL;
}
