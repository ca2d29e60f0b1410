/*
 * How the work of a layer is cut and driven by the threads: forward in pieces, backward in tasks;
 * and the memory that they share.
 *
 * Slices follow from the shape alone; the ranges of channel blocks, which change no sum's order,
 * from the number of threads as well. Tasks of one slice need the same of the output's gradient:
 * where there are several, and it fits, it is prepared first.
 */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "layers/norm.h"
#include "layers/gemm.h"

enum {
    SLICE_PIXELS = 2048, /* fewer, and adding up a slice's gradient costs more than it spreads */
    MAX_SLICES = 64,
    SLICES_A_THREAD = 4,      /* below which channels are cut as well */
    TASKS_A_THREAD = 8,       /* into so many tasks */
    PREPARED_FLOATS = 4 << 20 /* more, and each range prepares its own again */
};

static int divide_up(int x, int by)
{
    return (x + by - 1) / by;
}

/* None where there are no weights or no output map. */
static int slice_count(const dn_visit *v)
{
    if (v->out == NULL || v->layer->weights_in == 0)
        return 0;
    const int pieces = v->out->layout.pieces;
    const double wanted = ceil(dn_map_pixels(v->out) / SLICE_PIXELS);
    const int most = wanted < MAX_SLICES ? (int)wanted : MAX_SLICES;
    /* As many pieces in each, so that no thread waits for another's longer one. */
    return divide_up(pieces, divide_up(pieces, most));
}

/* Ranges that a slice's channel blocks are cut into. */
static int range_count(const dn_visit *v)
{
    const int slices = slice_count(v);
    const int blocks = divide_up(v->layer->weights_in, dn_visit_block(v));
    const int wanted = divide_up(TASKS_A_THREAD * v->threads, slices);
    if (slices >= SLICES_A_THREAD * v->threads)
        return 1;
    return wanted < blocks ? wanted : blocks;
}

/* Parts of the first piece, which no other has more of. */
static int parts_of_piece(const dn_visit *v)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, 0);
    dn_piece part;
    int count = 0;
    while (dn_piece_part(v, &piece, count, &part))
        count++;
    return count;
}

/* ---- memory ---- */

/* Floats that a part of a piece has in v->prepared; none is larger than the first. */
static size_t prepared_floats(const dn_visit *v)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, 0);
    dn_piece part;
    dn_carver c = {.inner = 1};
    dn_piece_part(v, &piece, 0, &part);
    v->layer->kind->carve_dy(v, &part, &c);
    return c.bytes / sizeof(float);
}

void dn_workspace_carve(dn_visit *v, dn_carver *c)
{
    const dn_layer *l = v->layer;
    const int takes_weights = !v->backward || l->in >= 0; /* the images' gradient is not wanted */
    const int sums = v->backward ? l->gamma != NULL : v->out != NULL;
    v->packed = dn_carve_floats(c, takes_weights ? dn_packed_size(v) : 0);
    v->partial = dn_carve_doubles(c, sums ? dn_partial_size(v) : 0);
    if (!v->backward)
        return;
    v->wgrad = dn_carve_floats(c, (size_t)slice_count(v) * dn_wgrad_size(v, l->weights_in));
    if (l->kind->carve_dy == NULL || range_count(v) == 1)
        return;
    v->parts = parts_of_piece(v);
    v->prepared_floats = prepared_floats(v);
    const size_t all = (size_t)(v->out->layout.pieces * v->parts) * v->prepared_floats;
    assert(takes_weights); /* whose packing ends what prepares */
    if (all <= PREPARED_FLOATS)
        v->prepared = dn_carve_floats(c, all);
}

dn_carver dn_thread_scratch(const dn_visit *v)
{
    float *const own = v->scratch + (size_t)omp_get_thread_num() * v->scratch_floats;
    dn_memory_close(own, v->scratch_floats * sizeof *own); /* what the last piece had */
    return (dn_carver){.memory = (char *)own, .short_part = v->short_part};
}

/* ---- forward ---- */

int dn_piece_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part)
{
    if (v->layer->kind->part != NULL)
        return v->layer->kind->part(v, piece, index, part);
    *part = *piece;
    return index == 0;
}

static void drive_pieces(const dn_visit *v, const dn_pass *pass)
{
    if (v->layer->gamma != NULL)
        dn_norm_prepare(v, pass);
#pragma omp parallel
    {
        if (v->packed)
            dn_pack_weights(v);
#pragma omp for schedule(dynamic)
        for (int p = 0; p < v->out->layout.pieces; p++) {
            const dn_piece piece = dn_layout_piece(&v->out->layout, p);
            dn_piece part;
            for (int i = 0; dn_piece_part(v, &piece, i, &part); i++)
                v->layer->kind->forward_piece(v, pass, &part);
            if (pass)
                dn_moments_of_piece(v, &piece);
        }
        if (pass)
            dn_moments_merge(v);
    }
}

void dn_layer_forward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer_kind *kind = v->layer->kind;
    (kind->forward ? kind->forward : drive_pieces)(v, pass);
}

/* ---- backward ---- */

/* Where part `part` of a piece has its share of v->prepared. */
static float *prepared_at(const dn_visit *v, int piece, int part)
{
    const size_t index = (size_t)(piece * v->parts + part);
    return v->prepared != NULL ? v->prepared + index * v->prepared_floats : NULL;
}

/* Inside a parallel region; packing of weights ends it. */
static void prepare_parts(const dn_visit *v, const dn_pass *pass)
{
    const int parts = v->parts;
#pragma omp for schedule(dynamic) nowait
    for (int i = 0; i < v->out->layout.pieces * parts; i++) {
        const dn_piece piece = dn_layout_piece(&v->out->layout, i / parts);
        dn_piece part;
        if (dn_piece_part(v, &piece, i % parts, &part))
            v->layer->kind->prepare_dy(v, pass, &part, prepared_at(v, i / parts, i % parts));
    }
}

/* Range `range` of `ranges` of the channel blocks, slice `slice` of `slices` of the pieces. */
static void run_task(const dn_visit *v, const dn_pass *pass, int slice, int slices, int range,
                     int ranges)
{
    const int block = dn_visit_block(v), inputs = v->layer->weights_in;
    const int blocks = divide_up(inputs, block), end = blocks * (range + 1) / ranges * block;
    dn_task task = {.slice = slice,
                    .first = blocks * range / ranges * block,
                    .end = end < inputs ? end : inputs};
    const int channels = task.end - task.first, pieces = v->out->layout.pieces;
    memset(dn_wgrad_at(v, slice, task.first), 0, dn_wgrad_size(v, channels) * sizeof(float));
    for (int p = pieces * slice / slices; p < pieces * (slice + 1) / slices; p++) {
        const dn_piece piece = dn_layout_piece(&v->out->layout, p);
        if (v->layer->gamma != NULL)
            memset(dn_partial(v, p, task.first), 0, 2 * (size_t)channels * sizeof(double));
        dn_piece part;
        for (int i = 0; dn_piece_part(v, &piece, i, &part); i++) {
            task.prepared = prepared_at(v, p, i);
            v->layer->kind->backward_piece(v, pass, &task, &part);
        }
    }
    if (slices == 1)
        dn_wgrad_move(v, task.first, task.end);
}

static void drive_tasks(const dn_visit *v, const dn_pass *pass)
{
    const int slices = slice_count(v), ranges = range_count(v);
#pragma omp parallel
    {
        if (v->prepared)
            prepare_parts(v, pass);
        if (v->packed)
            dn_pack_weights(v);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < slices * ranges; i++)
            run_task(v, pass, i / ranges, slices, i % ranges, ranges);
        if (slices > 1)
            dn_wgrad_merge(v, slices);
        if (v->layer->gamma != NULL)
            dn_norm_sums_merge(v);
    }
}

void dn_layer_backward(const dn_visit *v, const dn_pass *pass)
{
    const dn_layer_kind *kind = v->layer->kind;
    (kind->backward ? kind->backward : drive_tasks)(v, pass);
}
