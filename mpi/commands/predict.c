/*
 * `dn_dist predict`: the most probable classes of image files.
 *
 * The files are a source like any other: read ahead in batches, each computed by one rank. Files
 * that are not valid images are reported at the end.
 */
#include "commands/alike.h"
#include "commands/csv.h"
#include "commands/memory.h"
#include "commands/pictures.h"
#include "commands/settings.h"
#include "commands/trained.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dn/json.h"
#include "training/evaluate.h"
#include "training/split.h"

/* ---- computing ---- */

enum { UNREADABLE = 1, NOT_FINITE };

typedef struct predictions {
    const dn_pictures *pictures;
    int classes, top;
    dn_part_of_images own;
    double *row;         /* (own.kept, 1 + 2 top): 1 if it is bad, else 0; class and probability */
    double *probability; /* (classes) of one image */
} predictions;

static size_t row_size(const predictions *p)
{
    return 1 + 2 * (size_t)p->top;
}

static int are_finite(const float *logits, int classes)
{
    int finite = 1;
    for (int o = 0; o < classes; o++)
        finite &= isfinite(logits[o]) != 0;
    return finite;
}

/* A dn_scored_fn: keeps the `top` most probable classes, of equal ones the lower number first. */
static void keep_top(void *user, const dn_scored *b)
{
    const predictions *p = user;
    for (int i = 0; i < b->count; i++) {
        double *const row = p->row + (size_t)(b->first + i - p->own.first) * row_size(p);
        const float *const logits = b->logits + (size_t)i * (size_t)p->classes;
        row[0] = p->pictures->bad[b->first + i]    ? UNREADABLE
                 : !are_finite(logits, p->classes) ? NOT_FINITE
                                                   : 0;
        dn_softmax(logits, p->classes, p->probability);
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

static void print_csv(const char *path, const double *row, int top, const char *const *names)
{
    for (int k = 0; k < top; k++) {
        dn_csv_field(stdout, path);
        printf(",%d,%d,", k + 1, (int)row[1 + 2 * k]);
        dn_csv_field(stdout, names[(int)row[1 + 2 * k]]);
        printf(",%.9g\n", row[2 + 2 * k]);
    }
}

/* Escapes the text as messages are: a name may contain newlines or control characters. */
static void print_plain(const char *text)
{
    for (; *text; text++)
        putchar(iscntrl((unsigned char)*text) ? '?' : *text);
}

static void print_text(const char *path, const double *row, int top, const char *const *names)
{
    print_plain(path);
    for (int k = 0; k < top; k++) {
        printf("%s ", k ? "," : ":");
        print_plain(names[(int)row[1 + 2 * k]]);
        printf(" %.2f %%", 100 * row[2 + 2 * k]);
    }
    printf("\n");
}

/* One object of the list, with `fault` in place of classes if it is not a valid image. */
static void print_json(const char *path, const double *row, int top, const char *const *names,
                       const char *fault)
{
    json_t *const object = json_pack("{s:o}", "file", dn_json_path(path));
    json_t *const list = json_array();
    for (int k = 0; k < top && !fault; k++)
        json_array_append_new(list,
                              json_pack("{s:i,s:s,s:f}", "class", (int)row[1 + 2 * k], "name",
                                        names[(int)row[1 + 2 * k]], "probability", row[2 + 2 * k]));
    json_object_set_new(object, fault ? "error" : "top", fault ? dn_json_path(fault) : list);
    char *const text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("%s", text ? text : "null");
    free(text);
    json_decref(fault ? list : NULL);
    json_decref(object);
}

/* Why image i has no prediction, or NULL. */
static const char *find_fault(const predictions *p, int64_t i, const dn_transform *transform)
{
    const double fault = p->row[(size_t)i * row_size(p)];
    if (fault == UNREADABLE)
        return dn_pictures_fault(p->pictures, i, transform);
    if (fault != NOT_FINITE)
        return NULL;
    dn_fail(DN_EDIVERGED, "%s: the net gives no finite number for it", p->pictures->path[i]);
    return dn_message();
}

/* Prints all predictions; DN_ECORRUPT if images are bad, which are named. */
static dn_status print_all(const predictions *p, const dn_options *o, const dn_transform *transform,
                           const char *const *names)
{
    const int64_t count = p->pictures->images.count;
    int64_t bad = 0, not_finite = 0;
    if (o->csv && !o->json)
        printf("file,rank,class,name,probability\n");
    for (int64_t i = 0; i < count; i++) {
        const double *const row = p->row + (size_t)i * row_size(p);
        const char *const path = p->pictures->path[i];
        const char *const fault = find_fault(p, i, transform);
        bad += fault != NULL;
        not_finite += row[0] == NOT_FINITE;
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
    DN_CHECK(bad == 0, DN_ECORRUPT, "found %lld of %lld images that %s", (long long)bad,
             (long long)count,
             not_finite == 0     ? "cannot be read"
             : not_finite == bad ? "the net gives no finite number for"
                                 : "cannot be read, or that the net gives no finite number for");
    return DN_OK;
}

/* ---- the command ---- */

/* The run's --eval-transform, for images of any size: if all training images had one size, images
 * are first resized to it, as the steps of the transform assume it. */
static dn_status make_transform(dn_options *o, const dn_data_info *info, dn_transform *transform)
{
    DN_TRY(dn_options_transform(o, DN_TEST, info, transform));
    transform->fit_height = info->height;
    transform->fit_width = info->width;
    return DN_OK;
}

/* Not collective. */
static dn_status prepare(dn_pictures *p, dn_trained *trained, dn_options *o,
                         dn_transform *transform, dn_net **net)
{
    DN_TRY(dn_pictures_find(p, o->word_count, o->words));
    DN_TRY(dn_trained_data(trained, o));
    p->images.info = trained->data->info;
    DN_CHECK(p->images.info.channels == 1 || p->images.info.channels == 3, DN_ESHAPE,
             "%s: found a net of %d channels, expected 1 or 3", o->checkpoint,
             p->images.info.channels);
    if (o->batch_size > p->images.count)
        o->batch_size = (int)p->images.count;
    DN_TRY(make_transform(o, &p->images.info, transform));
    return dn_trained_net(trained, o, &p->images.info, transform, net);
}

static predictions plan_predictions(const dn_comm *comm, const dn_net *net, const dn_options *o,
                                    const dn_pictures *p)
{
    const int classes = dn_net_view(net).spec->classes;
    return (predictions){.pictures = p,
                         .classes = classes,
                         .top = o->top < classes ? o->top : classes,
                         .own = dn_images_of(comm, net, &p->images)};
}

static double kept_bytes(const dn_comm *comm, const dn_net *net, const dn_options *o,
                         const dn_pictures *p)
{
    const predictions all = plan_predictions(comm, net, o, p);
    return (double)all.own.kept * (double)row_size(&all) * sizeof *all.row;
}

static dn_status predict(const dn_comm *comm, dn_net *net, const dn_options *o,
                         const dn_pictures *p, const dn_transform *transform,
                         const char *const *names)
{
    predictions all = plan_predictions(comm, net, o, p);
    const size_t values = (size_t)(all.own.last - all.own.first) * row_size(&all);
    all.row = calloc(all.own.kept * row_size(&all) + 1, sizeof *all.row);
    all.probability = calloc((size_t)all.classes, sizeof *all.probability);
    dn_status status =
        all.row && all.probability
            ? dn_evaluate_batches(comm, net, &p->images, dn_io_threads(comm, &o->reading, 1),
                                  transform, 1, NULL, keep_top, &all)
            : dn_fail(DN_ENOMEM, "memory: found none for the classes of %zu images", all.own.kept);
    DN_TRY_OR_DONE(dn_comm_agree(comm, status));
    dn_comm_collect_doubles(comm, all.row, values);
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
    dn_pictures p = {0};
    dn_trained trained;
    dn_transform transform;
    dn_net *net = NULL;
    dn_status status;
    DN_TRY_OR_DONE(dn_trained_open_all(&trained, comm, o));
    DN_TRY_OR_DONE(dn_comm_agree(comm, prepare(&p, &trained, o, &transform, &net)));
    DN_TRY_OR_DONE(dn_comm_same_hash(comm, dn_pictures_hash(&p), "the images' paths"));
    DN_TRY_OR_DONE(dn_same_kernels(comm, net, o->dtype));
    DN_TRY_OR_DONE(dn_check_memory(comm, net, (dn_bytes){.fixed = kept_bytes(comm, net, o, &p)},
                                   "the results of all images"));
    DN_TRY_OR_DONE(predict(comm, net, o, &p, &transform, trained.data->class_names));
done:
    dn_net_destroy(&net);
    dn_trained_close(&trained);
    dn_pictures_free(&p);
    return status;
}
