/*
 * How the work of a layer is divided: the forward pass into pieces or parts of them, the backward
 * pass into tasks.
 *
 * Pieces and slices, and with them the order of every sum, depend on the shape alone. What does not
 * affect the order of a sum may also depend on the number of threads: parts in the forward pass;
 * channel blocks, ranges of them, and whether a task computes both gradients in the backward pass.
 * Tasks of one slice need the same form of the output's gradient; if there are several and it fits
 * in memory, it is prepared once, before them.
 */
#include <math.h>

#include "layers/gemm.h"

enum {
    SLICE_PIXELS = 2048, /* with less than half of it, adding a slice's gradient costs more than the
                            slice gains */
    MAX_SLICES = 64,
    SLICES_A_THREAD = 2,      /* with fewer, channels are cut as well */
    TASKS_A_THREAD = 3,       /* then into at least so many tasks */
    BLOCK_COST = 6,           /* time of a block in fixed costs of a task, which reads dy again */
    PREPARED_FLOATS = 4 << 20 /* with more, each range prepares its own */
};

static const double WORTH_CUTTING = 0.9; /* of the uncut time: data that is read twice has a cost */
static const double PART_OVERHEAD = 0.33; /* of a part in units, forward */

static int divide_up(int x, int by)
{
    return (x + by - 1) / by;
}

/* The first piece; none is larger. */
static dn_piece first_piece(const dn_visit *v)
{
    return dn_layout_piece(&v->out->layout, 0);
}

dn_piece dn_largest_part(const dn_visit *v)
{
    const dn_piece piece = first_piece(v);
    dn_piece part;
    dn_piece_part(v, &piece, 0, &part);
    return part;
}

static int part_count(const dn_visit *v)
{
    const dn_piece piece = first_piece(v);
    dn_piece part;
    int count = 0;
    while (dn_piece_part(v, &piece, count, &part))
        count++;
    return count;
}

/* The kind's block, or the best one for products with operands of their own; a 7x7 always gathers
 * one image channel at a time. */
static int channel_block(const dn_visit *v)
{
    const dn_layer_kind *kind = v->layer->kind;
    const dn_operand_kernels *operands = v->products->operands;
    const int own = v->backward ? kind->backward_block : kind->forward_block;
    const int all = v->layer->weights_in;
    if (own == 0)
        return all;
    if (operands == NULL || kind->im2col)
        return own;
    if (v->backward)
        return operands->backward_block;
    return kind->fills_forms ? all : operands->forward_block;
}

/* ---- forward ---- */

/* Image rows that are never cut apart: those of a Winograd tile, or 2. */
static int unit_rows(const dn_visit *v)
{
    return v->layer->kind->winograd ? DN_TILE : 2;
}

static int piece_units(const dn_visit *v)
{
    const dn_piece piece = first_piece(v);
    return v->layer->kind->cuts_pixels ? divide_up((int)piece.pixels, DN_LANES)
                                       : dn_piece_units(&v->out->layout, &piece, unit_rows(v));
}

/* The largest part that minimises the busiest thread's work: whole pieces, whose moments are taken
 * while they are in the cache, unless parts save more than a tenth. */
static int part_units(const dn_visit *v)
{
    const int pieces = v->out->layout.pieces, units = piece_units(v);
    int best = units;
    double longest = WORTH_CUTTING * divide_up(pieces, v->threads) * (units + PART_OVERHEAD);
    for (int parts = 2; parts <= units && !v->products->by_blas; parts++) {
        const int part = divide_up(units, parts), whole = divide_up(units, part);
        const int64_t count = (int64_t)pieces * whole, most = (count + v->threads - 1) / v->threads;
        const double busiest = (double)most * (part + PART_OVERHEAD);
        if (busiest < longest) {
            longest = busiest;
            best = part;
        }
    }
    return best;
}

/* ---- backward ---- */

/* Each slice has a power of two of pieces, the fewest with more than half of SLICE_PIXELS. Most
 * batch sizes and thread counts are powers of two as well, so slices are equal and so are the
 * threads' shares. */
static int slice_count(const dn_visit *v)
{
    const double wanted = fmax(dn_map_pixels(v->out) / SLICE_PIXELS, 1);
    int slices = v->out->layout.pieces;
    for (int pieces = 2; slices >= 2 * wanted || slices > MAX_SLICES; pieces *= 2)
        slices = divide_up(v->out->layout.pieces, pieces);
    return slices;
}

/* 1: there are fewer tasks than threads, so half blocks are better, although kernels are a little
 * less efficient on them. */
static int is_better_halved(const dn_visit *v)
{
    const int tasks = v->slices * divide_up(v->layer->weights_in, v->channel_block);
    return tasks < v->threads && v->channel_block % 2 == 0 && !v->products->by_blas;
}

/* 1: the slices alone keep all threads busy. */
static int are_enough_slices(const dn_visit *v)
{
    const int rounds = divide_up(v->slices, v->threads);
    return rounds >= SLICES_A_THREAD && v->slices >= WORTH_CUTTING * rounds * v->threads;
}

/* The first input channel of a range, or the end if `range` is one past the last; longer ranges
 * come first. */
static int range_begin(const dn_visit *v, int range)
{
    const int inputs = v->layer->weights_in, blocks = divide_up(inputs, v->channel_block);
    const int longer = blocks % v->ranges, before = range < longer ? range : longer;
    const int begin = (blocks / v->ranges * range + before) * v->channel_block;
    return begin < inputs ? begin : inputs;
}

dn_task dn_task_of_range(const dn_visit *v, int range)
{
    return (dn_task){.first = range_begin(v, range), .end = range_begin(v, range + 1)};
}

/* The time at which all threads finish so many ranges, in fixed costs of a task: long tasks come
 * first, and each thread takes a task when it becomes idle. */
static int finish_time(const dn_visit *v, int blocks, int ranges)
{
    const int short_time = blocks / ranges * BLOCK_COST + 1, long_time = short_time + BLOCK_COST;
    const int long_tasks = v->slices * (blocks % ranges);
    const int short_tasks = v->slices * ranges - long_tasks;
    const int rounds = long_tasks / v->threads, late_threads = long_tasks % v->threads;
    const int first_free = rounds * long_time; /* when the other threads begin with short tasks */
    int end = first_free + (late_threads > 0 ? long_time : 0);
    while (late_threads * ((end - first_free - long_time) / short_time) +
               (v->threads - late_threads) * ((end - first_free) / short_time) <
           short_tasks)
        end++;
    return end;
}

/* Ranges of a slice's channel blocks: as few as give enough tasks, or up to twice as many if they
 * balance better. */
static int range_count(const dn_visit *v)
{
    const int blocks = divide_up(v->layer->weights_in, v->channel_block);
    const int wanted = divide_up(TASKS_A_THREAD * v->threads, v->slices);
    if (v->threads == 1 || are_enough_slices(v))
        return 1;
    int best = wanted < blocks ? wanted : blocks, earliest = finish_time(v, blocks, best);
    for (int ranges = best + 1; ranges <= 2 * wanted && ranges <= blocks; ranges++) {
        const int time = finish_time(v, blocks, ranges);
        if (time < earliest) {
            earliest = time;
            best = ranges;
        }
    }
    return best;
}

/* 1: too few tasks: the input's gradient is faster in tasks of its own, one for each piece and
 * range. In shares of the layer's work, of which either gradient is about half. */
static int is_better_apart(const dn_visit *v)
{
    const double tasks = v->slices * v->ranges, rounds = ceil(tasks / v->threads);
    const double small = 0.5 / (v->out->layout.pieces * v->ranges);
    const double split = fmax(rounds * 0.5 / tasks, 1.0 / v->threads + small);
    return split < WORTH_CUTTING * rounds / tasks;
}

/* Floats prepared of a part; 0 if nothing can be prepared, or all of it would be too much. */
static size_t prepared_floats(const dn_visit *v)
{
    dn_carver c = {.inner = 1};
    if (v->layer->in < 0) /* only one product needs dy */
        return 0;
    const dn_piece part = dn_largest_part(v);
    v->layer->kind->carve_dy(v, &part, &c);
    const size_t floats = c.bytes / sizeof(float), parts = (size_t)v->parts;
    return (size_t)v->out->layout.pieces * parts * floats <= PREPARED_FLOATS ? floats : 0;
}

/* Outputs of a part that are prepared at a time: all or, if there are few parts per thread, those
 * of a column of packed dy. */
static int prepared_outputs(const dn_visit *v)
{
    const int64_t parts = (int64_t)v->out->layout.pieces * v->parts;
    const int is_cut = parts < 2 * v->threads && !v->products->by_blas;
    return is_cut ? DN_LANES : v->layer->outputs;
}

static void cut_backward(dn_visit *v)
{
    v->parts = part_count(v);
    v->slices = slice_count(v);
    const size_t floats = prepared_floats(v);
    if (floats > 0 && is_better_halved(v))
        v->channel_block /= 2;
    v->ranges = range_count(v);
    v->apart = floats > 0 && is_better_apart(v);
    if (v->ranges == 1 && !v->apart)
        return;
    v->prepared_floats = floats;
    v->prepared_outputs = prepared_outputs(v);
}

/* ---- both ---- */

void dn_visit_cut(dn_visit *v)
{
    v->channel_block = channel_block(v);
    v->parts = 1;
    if (v->out == NULL)
        return;
    if (!v->backward) {
        v->part_units = part_units(v);
        v->parts = v->part_units < piece_units(v) ? part_count(v) : 1;
    } else if (v->layer->weights_in > 0) {
        cut_backward(v);
    }
}

int dn_piece_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part)
{
    if (v->layer->kind->part != NULL)
        return v->layer->kind->part(v, piece, index, part);
    if (!v->backward)
        return dn_piece_cut(&v->out->layout, piece, unit_rows(v), v->part_units, index, part);
    *part = *piece;
    return index == 0;
}
