/*
 * Matrix products of operands in bf16, compiled once per instance:
 *
 *     DN_ISA  the name of the instance      DN_AMX  1: bf16_amx.h, 0: bf16_dot.h
 *
 * Operands are read in the forms of bf16.h. A tap is an offset in a row.
 *
 * Packed weights: (tiles of PACK_ROWS outputs, taps, steps of up to 16 pairs of inputs, outputs of
 * the tile, 16 pairs, 2). The instance decides which pairs a step has (step_pairs, first_pair).
 * Weights after the last output or input, and those that an overlapping step has as well, are 0.
 *
 * The order of every sum depends on the shape alone; each instance has its own.
 */
#include "tables.h"
#include "bf16.h"

static int count_pairs(int inputs)
{
    return (inputs + 1) / 2;
}

static int count_steps(int pairs)
{
    return (pairs + DN_LANES - 1) / DN_LANES;
}

/* Pairs in a packed tile of `outputs` outputs, all taps. */
static size_t tile_pairs(int outputs, int pairs, int taps)
{
    return (size_t)count_steps(pairs) * (size_t)taps * (size_t)outputs * DN_LANES;
}

/* The instance's header defines PACK_ROWS, step_pairs, first_pair, gemm_loops, wgrad_taps, peak. */
#if DN_AMX
#include "bf16_amx.h"
#else
#include "bf16_dot.h"
#endif

static size_t ISA(packed_floats)(int outputs, int inputs, int taps)
{
    const size_t tiles = (size_t)(outputs + PACK_ROWS - 1) / PACK_ROWS;
    return tiles * tile_pairs(PACK_ROWS, count_pairs(inputs), taps);
}

/* A step of a tile: its first input, how many of its inputs the step before has as well, and the
 * end of the layer's inputs. */
typedef struct pack_step {
    int first, skipped, end;
} pack_step;

/* A step whose outputs are contiguous, as for the input's gradient of a 1x1: pairs of inputs,
 * transposed. */
INLINE void pack_turned(uint16_t *packed, const dn_weight_view *from, int o, const pack_step *s)
{
    const size_t left = (size_t)(from->outputs - o);
    const float *w = from->w + s->first * from->in_step + o;
    vec m[DN_LANES] = {{0}};
    for (int k = s->skipped; k < s->end; k += 2) {
        const float *const pair = w + k * from->in_step;
        __builtin_prefetch(pair + DN_PACK_OUTPUTS);
        __builtin_prefetch(pair + from->in_step + DN_PACK_OUTPUTS);
        const vec second = k + 1 < s->end ? load_some(pair + from->in_step, left) : (vec){0};
        m[k / 2] = (vec)paired(load_some(pair, left), second);
    }
    transpose_words(m);
    UNROLL
    for (int i = 0; i < PACK_ROWS; i++)
        store((float *)(packed + i * STEP), m[i]);
}

/* A step whose inputs are contiguous, as in a 1x1. */
INLINE void pack_straight(uint16_t *packed, const dn_weight_view *from, int o, const pack_step *s)
{
    const float *w = from->w + o * from->out_step + s->first;
    for (int i = 0; i < PACK_ROWS; i++, packed += STEP, w += from->out_step)
        store_words(packed, o + i < from->outputs ? planar_step(w, (size_t)s->end) : (words){0});
}

/* Any step, for one tap. */
static void ISA(pack_any)(uint16_t *packed, const dn_weight_view *from, int o, const pack_step *s,
                          int tap)
{
    const float *w = from->w + o * from->out_step + s->first * from->in_step + tap;
    float rows[PACK_ROWS][STEP];
    for (int i = 0; i < PACK_ROWS; i++, w += from->out_step)
        for (int k = 0; k < STEP; k++)
            rows[i][k] =
                o + i < from->outputs && k >= s->skipped && k < s->end ? w[k * from->in_step] : 0;
    for (int i = 0; i < PACK_ROWS; i++, packed += STEP)
        store_words(packed, planar_step(rows[i], STEP));
}

/* One step of the weights of PACK_ROWS outputs, starting at `o`. */
static void ISA(pack_step)(uint16_t *packed, const dn_weight_view *from, int o, int step, int tap)
{
    const int pairs = count_pairs(from->inputs), length = step_pairs(pairs);
    const int first = first_pair(pairs, length, step), left = from->inputs - 2 * first;
    const pack_step s = {2 * first, 2 * (step * length - first),
                         left < 2 * length ? left : 2 * length};
    if (from->out_step == 1)
        pack_turned(packed, from, o, &s);
    else if (from->in_step == 1 && s.skipped == 0)
        pack_straight(packed, from, o, &s);
    else
        ISA(pack_any)(packed, from, o, &s, tap);
}

static void ISA(pack)(float *packed, const dn_weight_view *weights)
{
    const int steps = count_steps(count_pairs(weights->inputs));
    uint16_t *to = (uint16_t *)packed;
    for (int o = 0; o < weights->outputs; o += PACK_ROWS)
        for (int t = 0; t < weights->taps; t++)
            for (int s = 0; s < steps; s++, to += PACK_ROWS * STEP)
                ISA(pack_step)(to, weights, o, s, t);
}

/* ---- wgrad ---- */

static size_t ISA(packed_dy_floats)(int outputs, size_t n)
{
    return dn_round_lanes((size_t)outputs) * round_step(n) / 2;
}

/* 32 pixels of 16 outputs; unless `whole`, only the first `outputs` and `pixels` exist. */
INLINE void pack_dy_step(const int whole, float *packed, int outputs, size_t pixels,
                         const float *dy, size_t dy_ld)
{
    vec m[DN_LANES];
    UNROLL
    for (int i = 0; i < DN_LANES; i++)
        m[i] = whole || i < outputs
                   ? (vec)planar_step(dy + (size_t)i * dy_ld, whole ? STEP : pixels)
                   : (vec){0};
    transpose_words(m);
    UNROLL
    for (int i = 0; i < DN_LANES; i++)
        store(packed + i * DN_LANES, m[i]);
}

/* Packed format: columns (pairs of pixels, DN_LANES outputs, 2); zeros after the last output, and
 * after the last pixel up to whole registers. */
static void ISA(pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld)
{
    for (int left = outputs; left > 0; left -= DN_LANES, dy += DN_LANES * dy_ld)
        for (size_t p = 0; p < n; p += STEP, packed += DN_LANES * DN_LANES)
            if (left >= DN_LANES && n - p >= STEP)
                pack_dy_step(1, packed, DN_LANES, STEP, dy + p, dy_ld);
            else
                pack_dy_step(0, packed, left, n - p, dy + p, dy_ld);
}

static void ISA(wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                       const float *x, size_t x_ld, float *dw)
{
    const wgrad_args g = {.inputs = inputs,
                          .dy = (const factor *)packed,
                          .column_stride = round_step(n) / 2 * DN_LANES,
                          .pixels = round_step(n) / 2,
                          .x = (const factor *)x,
                          .x_ld = x_ld,
                          .dw = dw,
                          .dw_ld = dn_round_lanes((size_t)outputs)};
    ISA(wgrad_taps)(&g, taps);
}

/* ---- operands ---- */

static void ISA(norm_relu)(dn_form form, int rows, const dn_padded *padded, const void *x,
                           size_t x_ld, const float *scale, const float *shift, float *to,
                           size_t to_ld)
{
    for (int r = 0; r < rows; r += form == DN_PAIRED ? 2 : 1, to += to_ld) {
        const source_row s = source_at(form, r, rows, x, x_ld, scale, shift);
        if (form == DN_PAIRED)
            put_row(DN_PAIRED, &s, padded, (uint16_t *)to);
        else
            put_row(DN_PLANAR, &s, padded, (uint16_t *)to);
    }
}

/* 16 pixels of two rows, those from `left` on 0; b NULL: zeros instead. */
INLINE words round_paired(const float *a, const float *b, size_t left)
{
    return paired(load_some(a, left), b != NULL ? load_some(b, left) : (vec){0});
}

static void ISA(round)(dn_form form, int rows, size_t n, const float *x, size_t x_ld, float *to,
                       size_t to_ld)
{
    const int e = form == DN_PAIRED ? 2 : 1;
    for (int r = 0; r < rows; r += e, x += (size_t)e * x_ld, to += to_ld) {
        uint16_t *const row = (uint16_t *)to;
        const float *const second = r + 1 < rows ? x + x_ld : NULL;
        size_t p = 0;
        for (; p < n && form == DN_PAIRED; p += DN_LANES)
            store_words(row + 2 * p, round_paired(x + p, second ? second + p : NULL, n - p));
        for (; p < n; p += STEP)
            store_words(row + p, planar_step(x + p, n - p));
        zero_pixels(form, row - e, 1);
        zero_pixels(form, row + (size_t)e * n, DN_FORM_PAD);
    }
}

static const dn_operand_kernels operands = {
    .norm_relu = ISA(norm_relu),
    .round = ISA(round),
    .forward_block = 192,
    .backward_block = 32,
};

const dn_product_kernels ISA(dn_products) = PRODUCTS(.operands = &operands, .by_taps = DN_AMX);
