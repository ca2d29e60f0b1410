/*
 * How threads run a layer: pieces or parts of them in the forward pass, tasks in the backward pass;
 * and the memory that they share. cut.c decides how the work is divided.
 */
#include <assert.h>
#include <omp.h>
#include <string.h>

#include "layers/gemm.h"
#include "layers/norm.h"

/* ---- memory ---- */

void dn_visit_carve(dn_visit *v, dn_carver *c)
{
    const dn_layer *l = v->layer;
    const int takes_weights = !v->backward || l->in >= 0; /* the images' gradient is not needed */
    const int sums = v->backward ? l->gamma != NULL : v->out != NULL;
    v->packed = dn_carve_floats(c, takes_weights ? dn_packed_size(v) : 0);
    v->partial = dn_carve_doubles(c, sums ? dn_partial_size(v) : 0);
    if (!v->backward)
        return;
    v->wgrad = dn_carve_floats(c, (size_t)v->slices * dn_wgrad_size(v, l->weights_in));
    if (v->prepared_floats == 0)
        return;
    assert(takes_weights); /* packing the weights ends with the barrier that this needs */
    v->prepared =
        dn_carve_floats(c, (size_t)(v->out->layout.pieces * v->parts) * v->prepared_floats);
}

dn_carver dn_thread_scratch(const dn_visit *v)
{
    float *const own = v->scratch + (size_t)omp_get_thread_num() * v->scratch_floats;
    dn_memory_close(own, v->scratch_floats * sizeof *own); /* of the previous piece */
    return (dn_carver){.memory = (char *)own, .short_part = v->short_part};
}

/* ---- forward ---- */

/* A piece, and its moments while it is in this thread's cache. */
static void run_piece(const dn_visit *v, const dn_pass *pass, int index)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, index);
    dn_piece part;
    for (int i = 0; dn_piece_part(v, &piece, i, &part); i++)
        v->layer->kind->forward_part(v, pass, &part);
    for (int c = 0; c < dn_moment_outputs(v, pass); c += DN_MOMENT_ROWS)
        dn_moments_of_rows(v, index, c);
}

/* Parts of pieces, then the pieces' moments. Inside a parallel region. */
static void run_parts(const dn_visit *v, const dn_pass *pass)
{
    const int pieces = v->out->layout.pieces, outputs = dn_moment_outputs(v, pass);
#pragma omp for schedule(dynamic)
    for (int i = 0; i < pieces * v->parts; i++) {
        const dn_piece piece = dn_layout_piece(&v->out->layout, i / v->parts);
        dn_piece part;
        if (dn_piece_part(v, &piece, i % v->parts, &part))
            v->layer->kind->forward_part(v, pass, &part);
    }
#pragma omp for schedule(static) collapse(2)
    for (int p = 0; p < pieces; p++)
        for (int c = 0; c < outputs; c += DN_MOMENT_ROWS)
            dn_moments_of_rows(v, p, c);
}

void dn_drive_pieces(const dn_visit *v, const dn_pass *pass)
{
#pragma omp parallel
    {
        if (v->layer->gamma != NULL)
            dn_norm_prepare(v, pass);
        if (v->packed) {
            dn_pack_weights(v);
        } else { /* as at the end of dn_pack_weights */
#pragma omp barrier
        }
        if (v->parts > 1) {
            run_parts(v, pass);
        } else {
#pragma omp for schedule(dynamic)
            for (int p = 0; p < v->out->layout.pieces; p++)
                run_piece(v, pass, p);
        }
        if (dn_moment_outputs(v, pass) > 0)
            dn_moments_merge(v);
    }
}

/* ---- backward ---- */

/* The share of v->prepared for part `part` of a piece. */
static float *prepared_at(const dn_visit *v, int piece, int part)
{
    const size_t index = (size_t)(piece * v->parts + part);
    return v->prepared != NULL ? v->prepared + index * v->prepared_floats : NULL;
}

/* Inside a parallel region; the barrier at the end of packing weights completes it. */
static void prepare_parts(const dn_visit *v, const dn_pass *pass)
{
    const int parts = v->parts, outputs = v->layer->outputs, step = v->prepared_outputs;
#pragma omp for schedule(dynamic) collapse(2) nowait
    for (int i = 0; i < v->out->layout.pieces * parts; i++)
        for (int o = 0; o < outputs; o += step) {
            const dn_piece piece = dn_layout_piece(&v->out->layout, i / parts);
            const int end = o + step < outputs ? o + step : outputs;
            dn_piece part;
            if (dn_piece_part(v, &piece, i % parts, &part))
                v->layer->kind->prepare_dy(v, pass, &part, o, end,
                                           prepared_at(v, i / parts, i % parts));
        }
}

/* One piece of a task. */
static void run_task_piece(const dn_visit *v, const dn_pass *pass, dn_task *task, int index)
{
    const dn_piece piece = dn_layout_piece(&v->out->layout, index);
    const size_t channels = (size_t)(task->end - task->first);
    dn_piece part;
    if (task->dgrad)
        memset(dn_partial(v, index, task->first), 0, 2 * channels * sizeof(double));
    for (int i = 0; dn_piece_part(v, &piece, i, &part); i++) {
        task->prepared = prepared_at(v, index, i);
        v->layer->kind->backward_part(v, pass, task, &part);
    }
}

/* Slice `slice` of the pieces and a range: the weights' gradient and, unless it is computed apart,
 * the input's. */
static void run_slice(const dn_visit *v, const dn_pass *pass, int slice, int range)
{
    const int pieces = v->out->layout.pieces, slices = v->slices;
    dn_task task = dn_task_of_range(v, range);
    task.slice = slice;
    task.wgrad = !v->layer->weight->frozen; /* otherwise the gradient stays 0 */
    task.dgrad = !v->apart && v->layer->gamma != NULL;
    memset(dn_wgrad_at(v, slice, task.first), 0,
           dn_wgrad_size(v, task.end - task.first) * sizeof(float));
    for (int p = pieces * slice / slices; p < pieces * (slice + 1) / slices; p++)
        run_task_piece(v, pass, &task, p);
    if (slices == 1)
        dn_wgrad_move(v, task.first, task.end);
}

/* The input's gradient alone, of a piece and a range. */
static void run_dgrad(const dn_visit *v, const dn_pass *pass, int piece, int range)
{
    dn_task task = dn_task_of_range(v, range);
    task.dgrad = 1;
    run_task_piece(v, pass, &task, piece);
}

/* Range by range, as tasks of one range take about the same time. */
void dn_drive_tasks(const dn_visit *v, const dn_pass *pass)
{
    const int slices = v->slices, pieces = v->out->layout.pieces;
    const int tasks = slices * v->ranges, apart = v->apart ? pieces * v->ranges : 0;
#pragma omp parallel
    {
        if (v->prepared)
            prepare_parts(v, pass);
        if (v->packed)
            dn_pack_weights(v);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < tasks + apart; i++)
            if (i < tasks)
                run_slice(v, pass, i % slices, i / slices);
            else
                run_dgrad(v, pass, (i - tasks) % pieces, (i - tasks) / pieces);
        if (v->slices > 1)
            dn_wgrad_merge(v);
        if (v->layer->gamma != NULL)
            dn_norm_sums_merge(v);
    }
}
