/*
 * `dn_dist predict`: the most probable classes of image files.
 *
 * The files are a source like any other: read ahead in batches, each computed by one rank. They are
 * computed and printed block by block, so that memory does not grow with their number and an early
 * end loses at most a block. Files that are not valid images are reported.
 */
#include "commands/commands.h"
#include "commands/consistency.h"
#include "commands/from_options.h"
#include "commands/memory.h"
#include "commands/pictures.h"
#include "commands/prediction.h"
#include "commands/trained.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dn/loss.h"
#include "dn/program.h"
#include "job/preempt.h"
#include "training/evaluate.h"
#include "training/split.h"

enum {
    RANK_BATCHES = 32,       /* most batches of a rank in a block */
    BLOCK_BYTES = 256 << 20, /* most results of a block, unless a batch per rank has more */
    OUTPUT_BYTES = 256 << 10 /* most of an image's output that is written in one piece */
};

/* ---- computing ---- */

/* The results of an image are 1 + top choices: the first one's class is the fault, or 0, and its
 * probability 1 if the image is dark. */
enum { UNREADABLE = 1, NOT_FINITE };

typedef struct counts {
    int64_t done, bad, not_finite; /* images: printed, of these with faults, of these not finite */
    int64_t dark;
} counts;

typedef struct predictor {
    const dn_options *options;
    dn_pictures *pictures; /* a block of them */
    const dn_transform *transform;
    const char *const *names; /* (classes) on rank 0 */
    const dn_loss *loss;
    int classes, top;
    int64_t block; /* images */
    counts count;  /* on rank 0 */

    dn_preempt preempt;
    double last;         /* when the last batch ended, seconds */
    int64_t first;       /* this rank's first image in the block */
    dn_choice *row;      /* (results of dn_images_of, 1 + top), from this rank's first image on */
    double *probability; /* (threads, classes) */
    int *order;          /* (threads, classes) */
} predictor;

static dn_choice *row_of(const predictor *p, int64_t image)
{
    return p->row + (size_t)image * (1 + (size_t)p->top);
}

static int are_finite(const float *logits, int classes)
{
    int finite = 1;
    for (int o = 0; o < classes; o++)
        finite &= isfinite(logits[o]) != 0;
    return finite;
}

/* By falling probability; of equal ones the lower class comes first. */
static int by_probability(const void *a, const void *b, void *user)
{
    const double *const p = user;
    const int x = *(const int *)a, y = *(const int *)b;
    return p[x] != p[y] ? (p[x] < p[y]) - (p[x] > p[y]) : (x > y) - (x < y);
}

/* Sets the image's row, of the `top` most probable classes. */
static void set_row(const predictor *p, int64_t image, const float *logits)
{
    const size_t own = (size_t)omp_get_thread_num() * (size_t)p->classes;
    dn_choice *const row = row_of(p, image - p->first);
    double *const probability = p->probability + own;
    int *const order = p->order + own;
    const int fault = p->pictures->bad[image]           ? UNREADABLE
                      : !are_finite(logits, p->classes) ? NOT_FINITE
                                                        : 0;
    row[0] = (dn_choice){fault, p->pictures->dark[image]};
    if (fault != 0)
        return;
    p->loss->probabilities(logits, p->classes, 0, p->classes, probability);
    for (int o = 0; o < p->classes; o++)
        order[o] = o;
    qsort_r(order, (size_t)p->classes, sizeof *order, by_probability, probability);
    for (int k = 0; k < p->top; k++)
        row[1 + k] = (dn_choice){order[k], probability[order[k]]};
}

/* A dn_scored_fn. */
static void set_rows(void *user, const dn_scored *b)
{
    predictor *const p = user;
    const double now = omp_get_wtime();
    p->preempt.longest_step = fmax(p->preempt.longest_step, now - p->last);
    p->last = now;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->count; i++)
        set_row(p, b->first + i, b->logits + (size_t)i * (size_t)p->classes);
}

/* ---- results ---- */

/* Why image i of the block has no prediction, or NULL. */
static const char *find_fault(const predictor *p, int64_t i)
{
    const int fault = (int)row_of(p, i)->class;
    if (fault == UNREADABLE)
        return dn_pictures_fault(p->pictures, i, p->transform);
    if (fault != NOT_FINITE)
        return NULL;
    dn_fail(DN_EDIVERGED, "%s: the net gives no finite number for it", p->pictures->path[i]);
    return dn_message();
}

/* Prints the predictions of image i of the block, or names it if it is bad. */
static void print_image(predictor *p, int64_t i)
{
    const dn_options *const o = p->options;
    const dn_choice *const row = row_of(p, i);
    const char *const path = p->pictures->path[i], *const fault = find_fault(p, i);
    p->count.bad += fault != NULL;
    p->count.not_finite += row->class == NOT_FINITE;
    if (fault)
        dn_warn("%s", fault);
    if (row->probability > 0 && p->count.dark++ == 0)
        dn_warn("%s: a dark PNG of 16 bits, of which only the high 8 are used; create_records has "
                "--grey-window for grey ones; more of them are not named",
                path);
    if (o->json) {
        printf("%s", p->count.done > 0 ? ",\n" : "");
        dn_prediction_json(path, row + 1, p->top, p->names, fault);
    } else if (!fault) {
        (o->csv ? dn_prediction_csv : dn_prediction_text)(path, row + 1, p->top, p->names);
    }
    p->count.done++;
}

/* 1 if standard output takes more, 0 if an urgent signal came first. */
static int wait_for_room(void)
{
    struct pollfd line[] = {{.fd = STDOUT_FILENO, .events = POLLOUT},
                            {.fd = dn_preempt_bell(), .events = POLLIN}};
    while (poll(line, 2, -1) < 0 && errno == EINTR)
        ;
    return line[0].revents || !line[1].revents;
}

/* Each image by one write, so that a process that is killed has printed whole ones. Stops at a full
 * pipe after an urgent signal: while mpirun ends its ranks it reads nothing, then what is in the
 * pipe. Rank 0. */
static dn_status print_block(predictor *p)
{
    for (int64_t i = 0; i < p->pictures->images.count; i++) {
        DN_CHECK(wait_for_room(), DN_STOPPED, "the evaluation was stopped by %s",
                 dn_preempt_name(dn_preempt_reason(&p->preempt)));
        print_image(p, i);
        DN_TRY(dn_output_flush());
    }
    return DN_OK;
}

/* What comes before the first block. */
static void print_begin(const dn_options *o)
{
    static char buffer[OUTPUT_BYTES];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    if (o->json)
        printf("[");
    else if (o->csv)
        printf("file,rank,class,name,probability\n");
}

static dn_status check_faults(const counts *n)
{
    DN_CHECK(n->bad == 0, DN_ECORRUPT, "found %" PRId64 " of %" PRId64 " images that %s", n->bad,
             n->done,
             n->not_finite == 0        ? "cannot be read"
             : n->not_finite == n->bad ? "the net gives no finite number for"
                                       : "cannot be read, or that the net gives no finite number "
                                         "for");
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

/* *info = the data set that the net learnt from. Rank 0. */
static dn_status find_info(dn_data_info *info, dn_trained *trained, const dn_options *o)
{
    DN_TRY(dn_trained_data(trained, o));
    *info = trained->data->info;
    DN_CHECK(info->channels == 1 || info->channels == 3, DN_ESHAPE,
             "%s: found a net of %d channels, expected 1 or 3", o->checkpoint, info->channels);
    return DN_OK;
}

/* Collective. */
static dn_status prepare(const dn_comm *comm, dn_pictures *p, dn_trained *trained, dn_options *o,
                         dn_transform *transform, dn_net **net)
{
    dn_data_info *const info = &p->images.info;
    DN_TRY(DN_ON_RANK_0(comm, find_info(info, trained, o)));
    dn_comm_broadcast(comm, info, sizeof *info);
    if (o->batch_size > p->count)
        o->batch_size = (int)p->count;
    DN_TRY(dn_comm_agree(comm, make_transform(o, info, transform)));
    return dn_trained_net_all(trained, comm, o, info, transform, net);
}

/* Finds how the images that the net learnt from were converted, which pictures are too. Rank 0. */
static dn_status find_conversion(dn_pictures *p, const dn_trained *trained)
{
    const char *const text = trained->data->conversion;
    if (dn_conversion_parse(&p->conversion, text) != DN_OK) {
        p->conversion = (dn_conversion){0};
        dn_warn("the training images were converted in an unknown way (%s): pictures are used as "
                "they are",
                text);
    }
    return DN_OK;
}

static double row_bytes(const predictor *p)
{
    return (1 + (double)p->top) * sizeof *p->row;
}

static int64_t divide_up(int64_t x, int64_t by)
{
    return (x + by - 1) / by;
}

/* Images of a block: whole batches, as many for each rank and in each block but the last. So no
 * rank has more images of the last block than of the others. */
static int64_t plan_block(const dn_comm *comm, const dn_net *net, const predictor *p)
{
    const int64_t batch = dn_net_view(net).batch, round = batch * comm->size;
    const int64_t rounds = divide_up(p->pictures->count, round);
    const double most = fmin(RANK_BATCHES, BLOCK_BYTES / ((double)round * row_bytes(p)));
    const int64_t blocks = divide_up(rounds, (int64_t)fmax(1, most));
    return divide_up(rounds, blocks) * round;
}

/* Images of a block whose results this rank has in the end. */
static size_t block_results(const dn_comm *comm, const dn_net *net, const predictor *p)
{
    return dn_images_of(comm, net, &(dn_source){.count = p->block}).results;
}

static dn_status allocate(predictor *p, size_t images)
{
    const size_t choices = (size_t)omp_get_max_threads() * (size_t)p->classes;
    p->row = calloc(images + 1, (size_t)row_bytes(p));
    p->probability = malloc(choices * sizeof *p->probability);
    p->order = malloc(choices * sizeof *p->order);
    DN_CHECK(p->row && p->probability && p->order, DN_ENOMEM,
             "out of memory for the classes of %zu images", images);
    return DN_OK;
}

/* Computes the next block, which rank 0 prints. */
static dn_status predict_block(const dn_comm *comm, dn_net *net, predictor *p, int64_t count)
{
    const dn_evaluation evaluation = {.comm = comm,
                                      .net = net,
                                      .images = &p->pictures->images,
                                      .io_threads = dn_io_threads(comm, &p->options->reading, 1),
                                      .transforms = p->transform,
                                      .crops = 1,
                                      .preempt = &p->preempt};
    DN_TRY(dn_pictures_load(p->pictures, comm, count));
    const dn_part_of_images own = dn_images_of(comm, net, &p->pictures->images);
    p->first = own.first;
    p->last = omp_get_wtime();
    DN_TRY(dn_comm_agree(comm, dn_evaluate_batches(&evaluation, set_rows, p)));
    dn_comm_gather(comm, p->row,
                   (size_t)(row_of(p, own.end - own.first) - p->row) * sizeof *p->row);
    return DN_ON_RANK_0(comm, print_block(p));
}

static dn_status predict_all(const dn_comm *comm, dn_net *net, predictor *p)
{
    const int64_t all = p->pictures->count;
    dn_status status = DN_OK;
    DN_TRY(dn_comm_agree(comm, allocate(p, block_results(comm, net, p))));
    DN_TRY(dn_comm_agree(comm, dn_preempt_open(&p->preempt, p->options->time_limit, comm->start)));
    if (comm->rank == 0)
        print_begin(p->options);
    for (int64_t i = 0; i < all && status == DN_OK; i += p->block)
        status = predict_block(comm, net, p, all - i < p->block ? all - i : p->block);
    if (comm->rank == 0 && p->options->json && wait_for_room())
        printf("]\n"); /* also after an early end */
    dn_comm_broadcast(comm, &p->count, sizeof p->count);
    const int64_t skipped = p->options->skip, done = skipped + p->count.done;
    if (status == DN_STOPPED)
        return dn_fail(status,
                       "%s after %" PRId64 " of %" PRId64 " images; --skip %" PRId64 " continues",
                       dn_message(), done, skipped + all, done);
    return status == DN_OK ? check_faults(&p->count) : status;
}

dn_status dn_predict(const dn_comm *comm, dn_options *o)
{
    dn_pictures pictures = {0};
    dn_trained trained;
    dn_transform transform;
    dn_net *net = NULL;
    predictor p = {.options = o, .pictures = &pictures, .transform = &transform};
    dn_status status;
    DN_TRY_OR_DONE(dn_trained_open_all(&trained, comm, o));
    DN_TRY_OR_DONE(dn_pictures_find(&pictures, comm, o->word_count, o->words));
    DN_TRY_OR_DONE(dn_pictures_skip(&pictures, o->skip));
    DN_TRY_OR_DONE(prepare(comm, &pictures, &trained, o, &transform, &net));
    DN_TRY_OR_DONE(dn_same_kernels(comm, net, o->dtype));
    DN_TRY_OR_DONE(DN_ON_RANK_0(comm, find_conversion(&pictures, &trained)));
    dn_comm_broadcast(comm, &pictures.conversion, sizeof pictures.conversion);
    p.names = trained.data ? trained.data->class_names : NULL;
    p.classes = dn_net_view(net).spec->classes;
    p.loss = dn_net_view(net).loss;
    p.top = o->top > 0 && o->top < p.classes ? o->top : p.classes;
    p.block = plan_block(comm, net, &p);
    const double results = (double)block_results(comm, net, &p) * row_bytes(&p);
    DN_TRY_OR_DONE(dn_check_memory(comm, net, (dn_bytes){.fixed = results},
                                   "the results of a block of images"));
    DN_TRY_OR_DONE(predict_all(comm, net, &p));
done:
    free(p.row);
    free(p.probability);
    free(p.order);
    dn_net_destroy(&net);
    dn_trained_close(&trained);
    dn_pictures_free(&pictures);
    return status;
}
