/*
 * `dn_dist predict`: the likeliest classes of image files.
 *
 * The files are a split like any other: read ahead, in batches, each computed by one rank. One that
 * is no image gives a black one, so that the rest of its batch is done, and is told of at the end.
 */
#include "commands/trained.h"

#include <fts.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/image.h"
#include "training/evaluate.h"

enum { MOST_FILE = 64 << 20, MOST_IMAGES = 1 << 24 };

typedef struct pictures {
    dn_source images; /* all of label 0 */
    char **path;      /* (images.count) */
    int64_t room;     /* of path */
    uint8_t *bad;     /* (images.count) 1: no image */
} pictures;

/* ---- finding them ---- */

static int has_image_name(const char *name)
{
    const char *const end = strrchr(name, '.');
    return end && (strcasecmp(end, ".jpg") == 0 || strcasecmp(end, ".jpeg") == 0 ||
                   strcasecmp(end, ".png") == 0);
}

static dn_status add_path(pictures *p, const char *path)
{
    if (p->images.count == p->room) {
        p->room = p->room ? 2 * p->room : 256;
        char **const longer = realloc(p->path, (size_t)p->room * sizeof *longer);
        DN_CHECK(longer, DN_ENOMEM, "memory: found none for %lld paths", (long long)p->room);
        p->path = longer;
    }
    DN_CHECK(p->images.count < MOST_IMAGES, DN_EINVAL, "found more than %d images", MOST_IMAGES);
    DN_CHECK((p->path[p->images.count] = strdup(path)) != NULL, DN_ENOMEM,
             "memory: found none for a path");
    p->images.count++;
    return DN_OK;
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* A file whatever its name; of a folder the images, those of folders in it too, by name. What
 * cannot be read is taken: its turn to be told of comes. */
static dn_status add_word(pictures *p, const char *word)
{
    char *const roots[] = {(char *)word, NULL};
    FTS *const tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR | FTS_NOSTAT, compare_entries);
    dn_status status = DN_OK;
    DN_CHECK(tree, DN_ENOMEM, "%s: cannot be looked through", word);
    for (FTSENT *e; status == DN_OK && (e = fts_read(tree)) != NULL;) {
        const int is_folder = e->fts_info == FTS_D || e->fts_info == FTS_DP;
        const int is_error = e->fts_info == FTS_DNR || e->fts_info == FTS_ERR;
        if (!is_folder && (is_error || e->fts_level == 0 || has_image_name(e->fts_name)))
            status = add_path(p, e->fts_path);
    }
    fts_close(tree);
    return status;
}

static dn_status find_pictures(pictures *p, const dn_options *o)
{
    DN_CHECK(o->word_count > 0, DN_EINVAL, "found no image, expected files or folders of them");
    for (int i = 0; i < o->word_count; i++)
        DN_TRY(add_word(p, o->words[i]));
    const size_t count = (size_t)p->images.count;
    DN_CHECK(count > 0, DN_ENOENT, "%s: found no image, expected .jpg, .jpeg or .png files",
             o->words[0]);
    p->bad = calloc(count, sizeof *p->bad);
    p->images.labels = calloc(count, sizeof *p->images.labels);
    DN_CHECK(p->bad && p->images.labels, DN_ENOMEM, "memory: found none for %zu images", count);
    return DN_OK;
}

/* All ranks have found the same; FNV-1a. */
static uint64_t hash_paths(const pictures *p)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (int64_t i = 0; i < p->images.count; i++)
        for (const char *c = p->path[i]; c == p->path[i] || c[-1] != '\0'; c++)
            hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
    return hash;
}

static void free_pictures(pictures *p)
{
    for (int64_t i = 0; i < p->images.count; i++)
        free(p->path[i]);
    free(p->path);
    free(p->bad);
    free((void *)p->images.labels);
}

/* ---- reading them ---- */

/* Luma as PIL's convert("L") has it, in place. */
static void make_grey(uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        rgb[i] = (uint8_t)((19595u * rgb[3 * i] + 38470u * rgb[3 * i + 1] + 7471u * rgb[3 * i + 2] +
                            0x8000u) >>
                           16);
}

static dn_status load_file(const char *path, dn_buffer *buffer, size_t *size)
{
    int file;
    int64_t bytes;
    dn_status status = dn_file_open(path, &file, &bytes);
    if (status == DN_OK && bytes > MOST_FILE)
        status = dn_fail(DN_EINVAL, "%s: found %lld bytes, expected at most %d", path,
                         (long long)bytes, MOST_FILE);
    if (status == DN_OK)
        status = dn_buffer_grow(buffer, (size_t)bytes + 1);
    if (status == DN_OK)
        status = dn_file_read(file, path, buffer->bytes, (size_t)bytes, 0);
    if (file >= 0)
        close(file);
    *size = (size_t)bytes;
    return status;
}

static dn_status read_picture(const dn_source *source, const dn_request *request,
                              const dn_transform *transform, dn_workspace *w, float *image)
{
    dn_encoded file = {.name = ((const pictures *)source)->path[request->index]};
    DN_TRY(load_file(file.name, &w->file, &file.size));
    file.bytes = w->file.bytes;
    if (transform->channels == 3)
        return dn_transform_encoded(transform, request, &file, w, image);
    dn_image_info info;
    DN_TRY(dn_image_probe(&file, &info));
    dn_box whole = {0, 0, info.width, info.height};
    DN_TRY(dn_image_decode(&file, &whole, 1, &w->pixels));
    make_grey(w->pixels.rgb.bytes, (size_t)info.width * (size_t)info.height);
    return dn_transform_pixels(transform, request, w->pixels.rgb.bytes, info.height, info.width, w,
                               image);
}

/* A dn_read_fn that does not fail. */
static dn_status read_or_blacken(const dn_source *source, const dn_request *request,
                                 const dn_transform *t, dn_workspace *w, float *image)
{
    const dn_status status = read_picture(source, request, t, w, image);
    if (status != DN_OK) {
        ((const pictures *)source)->bad[request->index] = 1;
        memset(image, 0,
               (size_t)t->channels * (size_t)t->height * (size_t)t->width * sizeof *image);
    }
    return DN_OK;
}

/* ---- what the net makes of them ---- */

typedef struct predictions {
    const pictures *pictures;
    int classes, top;
    double *row;         /* (images, 1 + 2 top): 1 where it is bad; class and probability */
    double *probability; /* (classes) of one image */
} predictions;

static size_t row_size(const predictions *p)
{
    return 1 + 2 * (size_t)p->top;
}

/* The `top` likeliest, of equal ones the lower number first. */
static void keep_top(void *user, const dn_scored *b)
{
    const predictions *p = user;
    double largest;
    for (int i = 0; i < b->count; i++) {
        double *const row = p->row + (size_t)(b->first + i) * row_size(p);
        dn_softmax(b->logits + (size_t)i * (size_t)p->classes, p->classes, p->probability,
                   &largest);
        row[0] = p->pictures->bad[b->first + i];
        for (int k = 0; k < p->top; k++) {
            int best = 0;
            for (int o = 1; o < p->classes; o++)
                best = p->probability[o] > p->probability[best] ? o : best;
            row[1 + 2 * k] = best;
            row[2 + 2 * k] = p->probability[best];
            p->probability[best] = -1;
        }
    }
}

/* ---- results ---- */

/* A text field of CSV (RFC 4180). */
static void print_field(const char *text)
{
    const int is_quoted = strpbrk(text, ",\"\r\n") != NULL;
    printf("%s", is_quoted ? "\"" : "");
    for (; *text; text++)
        printf("%s%c", *text == '"' ? "\"" : "", *text);
    printf("%s", is_quoted ? "\"" : "");
}

static void print_csv(const char *path, const double *row, int top, const char *const *names)
{
    for (int k = 0; k < top; k++) {
        print_field(path);
        printf(",%d,%d,", k + 1, (int)row[1 + 2 * k]);
        print_field(names[(int)row[1 + 2 * k]]);
        printf(",%.9g\n", row[2 + 2 * k]);
    }
}

static void print_text(const char *path, const double *row, int top, const char *const *names)
{
    printf("%s:", path);
    for (int k = 0; k < top; k++)
        printf("%s %s %.2f %%", k ? "," : "", names[(int)row[1 + 2 * k]], 100 * row[2 + 2 * k]);
    printf("\n");
}

/* The path as JSON's text; bytes that are no UTF-8 as '?'. */
static json_t *path_as_json(const char *path)
{
    json_t *text = json_string(path);
    char *const copy = text ? NULL : strdup(path);
    for (char *c = copy; c && *c; c++)
        *c = *c & 0x80 ? '?' : *c;
    text = text ? text : json_string(copy ? copy : "?");
    free(copy);
    return text;
}

/* One object of the list; `fault` in place of classes where it is no image. */
static void print_json(const char *path, const double *row, int top, const char *const *names,
                       const char *fault)
{
    json_t *const object = json_pack("{s:o}", "file", path_as_json(path));
    json_t *const list = json_array();
    for (int k = 0; k < top && !fault; k++)
        json_array_append_new(list,
                              json_pack("{s:i,s:s,s:f}", "class", (int)row[1 + 2 * k], "name",
                                        names[(int)row[1 + 2 * k]], "probability", row[2 + 2 * k]));
    json_object_set_new(object, fault ? "error" : "top", fault ? path_as_json(fault) : list);
    char *const text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("%s", text ? text : "null");
    free(text);
    json_decref(fault ? list : NULL);
    json_decref(object);
}

/* Why the image could not be read: rank 0 tries again, whoever it was that met it. */
static const char *find_fault(const pictures *p, int64_t index, const dn_transform *transform)
{
    dn_workspace workspace = {0};
    float *const image = malloc((size_t)transform->channels * (size_t)transform->height *
                                (size_t)transform->width * sizeof *image);
    const dn_request request = {.index = index};
    if (!image || read_picture(&p->images, &request, transform, &workspace, image) == DN_OK)
        dn_fail(DN_EIO, "%s: a rank could not read it", p->path[index]);
    free(image);
    dn_workspace_free(&workspace);
    return dn_message();
}

/* Prints all; DN_ECORRUPT where images are bad, each named. */
static dn_status print_all(const predictions *p, const dn_options *o, const dn_transform *transform,
                           const char *const *names)
{
    const int64_t count = p->pictures->images.count;
    int64_t bad = 0;
    if (o->csv && !o->json)
        printf("file,rank,class,name,probability\n");
    for (int64_t i = 0; i < count; i++) {
        const double *const row = p->row + (size_t)i * row_size(p);
        const char *const path = p->pictures->path[i];
        const char *const fault = row[0] != 0 ? find_fault(p->pictures, i, transform) : NULL;
        bad += fault != NULL;
        if (fault)
            dn_warn("%s", fault);
        if (o->json) {
            printf("%s", i ? ",\n" : "[");
            print_json(path, row, p->top, names, fault);
        } else if (!fault) {
            (o->csv ? print_csv : print_text)(path, row, p->top, names);
        }
    }
    if (o->json)
        printf("]\n");
    DN_CHECK(bad == 0, DN_ECORRUPT, "found %lld of %lld images that cannot be read", (long long)bad,
             (long long)count);
    return DN_OK;
}

/* ---- the command ---- */

/* The run's --eval-transform for images of any size: those of a run that had one size are brought
 * to that first, where its steps do not. */
static dn_status make_transform(dn_options *o, dn_shard_info info, dn_transform *transform)
{
    char list[2 * sizeof o->eval_transform];
    const int side = info.height, is_square = side > 0 && side == info.width;
    DN_TRY(dn_options_transform(o, DN_TEST, &info, transform)); /* decides what auto stands for */
    info.height = info.width = 0;
    const dn_status status = dn_options_transform(o, DN_TEST, &info, transform);
    if (status == DN_OK || !is_square)
        return status;
    const int has_steps = strcmp(o->eval_transform, "none") != 0;
    const int length = snprintf(list, sizeof list, "resize:%d,center-crop:%d%s%s", side, side,
                                has_steps ? "," : "", has_steps ? o->eval_transform : "");
    if (length >= (int)sizeof o->eval_transform)
        return status;
    strcpy(o->eval_transform, list);
    return dn_options_transform(o, DN_TEST, &info, transform);
}

/* Not collective. */
static dn_status prepare(pictures *p, dn_trained *trained, dn_options *o, dn_transform *transform,
                         dn_net **net)
{
    DN_TRY(find_pictures(p, o));
    DN_TRY(dn_trained_data(trained, o));
    p->images.info = trained->data->info;
    p->images.read = read_or_blacken;
    DN_CHECK(p->images.info.channels == 1 || p->images.info.channels == 3, DN_ESHAPE,
             "%s: found a net of %d channels, expected 1 or 3", o->checkpoint,
             p->images.info.channels);
    if (o->batch_size > p->images.count)
        o->batch_size = (int)p->images.count;
    DN_TRY(make_transform(o, p->images.info, transform));
    return dn_trained_net(trained, o, &p->images.info, transform, net);
}

static dn_status predict(const dn_comm *comm, dn_net *net, const dn_options *o, const pictures *p,
                         const dn_transform *transform, const char *const *names)
{
    const int classes = dn_net_view(net).spec->classes;
    predictions all = {
        .pictures = p, .classes = classes, .top = o->top < classes ? o->top : classes};
    const size_t values = (size_t)p->images.count * row_size(&all);
    all.row = calloc(values, sizeof *all.row);
    all.probability = calloc((size_t)classes, sizeof *all.probability);
    dn_status status =
        all.row && all.probability && values <= INT32_MAX
            ? dn_evaluate_batches(comm, net, &p->images, transform, NULL, keep_top, &all)
            : dn_fail(DN_ENOMEM, "memory: found none for %zu classes of images", values / 2);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    dn_comm_gather_doubles(comm, all.row, (int)values);
    if (comm->rank == 0)
        status = print_all(&all, o, transform, names);
    status = dn_comm_agree(comm, status);
done:
    free(all.row);
    free(all.probability);
    return status;
}

dn_status dn_predict(const dn_comm *comm, dn_options *o)
{
    pictures p = {0};
    dn_trained trained;
    dn_transform transform;
    dn_net *net = NULL;
    dn_status status;
    DN_TRY_OR_DONE(dn_trained_open_all(&trained, comm, o));
    DN_TRY_OR_DONE(dn_comm_agree(comm, prepare(&p, &trained, o, &transform, &net)));
    DN_TRY_OR_DONE(dn_comm_same_hash(comm, hash_paths(&p), "the images' paths"));
    DN_TRY_OR_DONE(dn_check_memory(comm, net, (dn_bytes){0}));
    DN_TRY_OR_DONE(predict(comm, net, o, &p, &transform, trained.data->class_names));
done:
    dn_net_destroy(&net);
    dn_trained_close(&trained);
    free_pictures(&p);
    return status;
}
