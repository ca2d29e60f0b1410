/* The loops over pieces and tasks, and the memory that their threads share; see drive.h. */
#include "layers/drive.h"

#include <omp.h>

#include "layers/norm.h"
#include "layers/weights.h"

enum {
    SLICE_PIXELS = 2048, /* fewer, and adding up a slice's gradient costs more than it spreads */
    MAX_SLICES = 64,
    TASKS_A_THREAD = 8 /* below which channels are cut as well */
};

static int divide_up(int x, int by)
{
    return (x + by - 1) / by;
}

int dn_visit_block(const dn_visit *v)
{
    const dn_layer_kind *kind = v->layer->kind;
    const int block = v->backward ? kind->backward_block : kind->forward_block;
    return block > 0 ? block : v->layer->weights_in;
}

int dn_block_rows(const dn_visit *v, int first)
{
    const int block = dn_visit_block(v), left = v->layer->weights_in - first;
    return left < block ? left : block;
}

dn_slices dn_slices_create(const dn_visit *v)
{
    if (v->out == NULL || v->layer->weights_in == 0)
        return (dn_slices){0};
    const dn_layout *layout = &v->out->layout;
    const size_t pixels = (size_t)layout->images * dn_layout_pixels(layout);
    const size_t wanted = (pixels + SLICE_PIXELS - 1) / SLICE_PIXELS;
    const int most = wanted < MAX_SLICES ? (int)wanted : MAX_SLICES;
    /* As many pieces in each, so that no thread waits for another's longer one. */
    const int slices = divide_up(layout->pieces, divide_up(layout->pieces, most));
    const int blocks = divide_up(v->layer->weights_in, dn_visit_block(v));
    const int ranges = divide_up(TASKS_A_THREAD * v->threads, slices);
    return (dn_slices){layout->pieces, slices, blocks, ranges < blocks ? ranges : blocks};
}

void dn_workspace_carve(dn_visit *v, dn_carver *c)
{
    const dn_layer *l = v->layer;
    if (!v->backward) {
        v->packed = dn_carve_floats(c, dn_packed_size(v));
        v->partial = dn_carve_doubles(c, v->out ? dn_moments_size(v) : 0);
        return;
    }
    v->packed = dn_carve_floats(c, l->in >= 0 ? dn_packed_size(v) : 0); /* images want no dgrad */
    v->partial = dn_carve_doubles(c, l->norm ? dn_norm_sums_size(v) : 0);
    v->wgrad = dn_carve_floats(c, (size_t)dn_slices_create(v).slices * dn_wgrad_size(v));
}

dn_carver dn_thread_scratch(const dn_visit *v)
{
    dn_carver c = {.memory =
                       (char *)(v->scratch + (size_t)omp_get_thread_num() * v->scratch_floats)};
#if DN_RED_ZONES
    c.short_part = v->short_part;
    dn_memory_close(c.memory, v->scratch_floats * sizeof(float)); /* what the last piece had */
#endif
    return c;
}

void dn_drive_forward(const dn_visit *v, const dn_pass *pass, dn_piece_forward *run)
{
    if (v->layer->norm)
        dn_norm_prepare(v, pass);
#pragma omp parallel
    {
        if (v->layer->weights_in > 0)
            dn_pack_weights(v);
#pragma omp for schedule(dynamic)
        for (int p = 0; p < v->out->layout.pieces; p++) {
            const dn_piece piece = dn_layout_piece(&v->out->layout, p);
            run(v, pass, &piece);
            if (pass)
                dn_moments_of_piece(v, &piece);
        }
        if (pass)
            dn_moments_merge(v);
    }
}

static void run_task(const dn_visit *v, const dn_pass *pass, const dn_slices *slices, int index,
                     dn_piece_backward *run)
{
    const int s = index / slices->ranges, r = index % slices->ranges;
    const dn_task task = {.slice = s,
                          .block = slices->blocks * r / slices->ranges,
                          .block_end = slices->blocks * (r + 1) / slices->ranges};
    const int end = slices->pieces * (s + 1) / slices->slices;
    dn_wgrad_clear(v, &task);
    for (int p = slices->pieces * s / slices->slices; p < end; p++) {
        const dn_piece piece = dn_layout_piece(&v->out->layout, p);
        if (v->layer->norm)
            dn_norm_sums_clear(v, &task, p);
        run(v, pass, &task, &piece);
    }
}

void dn_drive_backward(const dn_visit *v, const dn_pass *pass, dn_piece_backward *run)
{
    const dn_slices slices = dn_slices_create(v);
#pragma omp parallel
    {
        if (v->packed)
            dn_pack_weights(v);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < slices.slices * slices.ranges; i++)
            run_task(v, pass, &slices, i, run);
        dn_wgrad_merge(v, slices.slices);
        if (v->layer->norm)
            dn_norm_sums_merge(v);
    }
}
