/* `dn_dist bench --reader`: how fast the training images of a data set are read, checked, decoded
 * and transformed, by I/O threads alone. */
#include "commands/commands.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands/from_options.h"
#include "dn/json.h"
#include "dn/loader.h"
#include "job/placement.h"
#include "training/split.h"

enum { SEED = 1 };

static const double warmup_part = 0.2; /* of --seconds, before the timed part */

typedef struct reader {
    dn_split train;
    dn_transform transform;
    dn_loader *loader;
    float *images; /* of one batch */
    int32_t *labels;
} reader;

/* What a rank has read, as doubles for dn_comm_merge_doubles. */
typedef struct figures {
    double images, bytes, seconds;
} figures;

/* Each rank reads as one virtual rank of a training run; an epoch's last batch is dropped unless it
 * is full on all ranks. */
static dn_status prepare(reader *r, const dn_comm *comm, dn_options *o)
{
    const dn_source *const images = &r->train.images;
    const int64_t steps = images->count / ((int64_t)o->batch_size * comm->size);
    int64_t window;
    DN_CHECK(steps > 0, DN_ESHAPE,
             "--batch-size %d: found %lld images for all ranks, expected at most the %lld of %s",
             o->batch_size, (long long)o->batch_size * comm->size, (long long)images->count,
             o->data);
    DN_TRY(dn_options_shuffle(o, &window));
    DN_TRY(dn_options_transform(o, DN_TRAIN, &images->info, &r->transform));
    const size_t image = dn_transform_values(&r->transform);
    r->images = malloc((size_t)o->batch_size * image * sizeof *r->images);
    r->labels = malloc((size_t)o->batch_size * sizeof *r->labels);
    DN_CHECK(r->images && r->labels, DN_ENOMEM, "out of memory for %d images", o->batch_size);
    return dn_loader_create(&r->loader,
                            &(dn_loader_settings){.source = images,
                                                  .sequence = {.first = comm->rank,
                                                               .end = comm->rank + 1,
                                                               .virtual_ranks = comm->size,
                                                               .batch = o->batch_size,
                                                               .steps = steps},
                                                  .end = INT64_MAX,
                                                  .shuffle = 1,
                                                  .window = window,
                                                  .transforms = &r->transform,
                                                  .crops = 1,
                                                  .seed = SEED,
                                                  .depth = DN_READ_AHEAD,
                                                  .threads = comm->place->threads});
}

/* Loads batches from number *n on for `seconds` seconds, at least one. */
static dn_status read_for(reader *r, double seconds, int64_t *n)
{
    const double start = MPI_Wtime();
    do
        DN_TRY(dn_loader_load(r->loader, (*n)++, r->images, r->labels));
    while (MPI_Wtime() - start < seconds);
    return DN_OK;
}

static dn_status time_reading(reader *r, const dn_comm *comm, const dn_options *o, figures *f)
{
    int64_t n = 0;
    DN_TRY(dn_comm_agree(comm, read_for(r, o->seconds * warmup_part, &n)));
    const int64_t first = n;
    const long long before = atomic_load(&r->train.stored);
    const double start = MPI_Wtime();
    DN_TRY(dn_comm_agree(comm, read_for(r, o->seconds, &n)));
    f->seconds = MPI_Wtime() - start;
    f->images = (double)(n - first) * o->batch_size;
    f->bytes = (double)(atomic_load(&r->train.stored) - before);
    return DN_OK;
}

static dn_status report(const reader *r, const dn_comm *comm, const dn_options *o,
                        const figures *of_ranks)
{
    figures all = {0};
    for (int i = 0; i < comm->size; i++) {
        all.images += of_ranks[i].images;
        all.bytes += of_ranks[i].bytes;
        all.seconds = fmax(all.seconds, of_ranks[i].seconds);
    }
    const double rate = all.images / all.seconds;
    const int threads = comm->place->threads;
    if (!o->json) {
        printf("%s, %s: %.1f images/s, %.1f MB/s, %d ranks x %d threads, %.1f s\n",
               r->train.images.info.dataset, o->augment, rate, all.bytes / all.seconds / 1e6,
               comm->size, threads, all.seconds);
        return DN_OK;
    }
    return dn_json_save(
        json_pack("{s:s, s:s, s:s, s:[i,i], s:i, s:i, s:i, s:I, s:I, s:f, s:f}", "data_set",
                  r->train.images.info.dataset, "augment", o->augment, "shuffle", o->shuffle,
                  "size", r->transform.height, r->transform.width, "batch", o->batch_size, "ranks",
                  comm->size, "threads", threads, "images", (json_int_t)all.images, "bytes",
                  (json_int_t)all.bytes, "seconds", all.seconds, "images_per_s", rate),
        NULL, JSON_REAL_PRECISION(6));
}

dn_status dn_bench_reader(const dn_comm *comm, dn_options *o)
{
    reader r = {0};
    figures *f = NULL;
    dn_status status;
    DN_TRY_OR_DONE(dn_split_open(&r.train, comm, o->data, DN_TRAIN, &o->reading));
    DN_TRY_OR_DONE(dn_comm_agree(comm, prepare(&r, comm, o)));
    f = calloc((size_t)comm->size, sizeof *f);
    DN_TRY_OR_DONE(dn_comm_agree(
        comm, f ? DN_OK : dn_fail(DN_ENOMEM, "out of memory for %d ranks", comm->size)));
    DN_TRY_OR_DONE(time_reading(&r, comm, o, &f[comm->rank]));
    dn_comm_merge_doubles(comm, &f->images, (size_t)comm->size * sizeof *f / sizeof(double));
    status = DN_ON_RANK_0(comm, report(&r, comm, o, f));
done:
    free(f);
    dn_loader_destroy(&r.loader);
    free(r.images);
    free(r.labels);
    dn_split_close(&r.train);
    return status;
}
