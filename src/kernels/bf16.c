/*
 * Matrix products that round their operands to bf16, compiled once a backend:
 *
 *     DN_ISA  the name of the instance      DN_AMX  1: bf16_amx.h, 0: bf16_dot.h
 *
 * Operands arrive as rows of floats. gemm goes over blocks of pixels: those of up to
 * GEMM_INPUTS rows, with what the taps reach beside them, are rounded and interleaved into
 * a buffer that stays in the second-level cache, from which all taps and outputs read them; a tap
 * is an offset in the buffer.
 *
 *     buffer   pair 0   | a0 b0 a1 b1 a2 b2 ...        a, b: two rows of x
 *              pair 1   | c0 d0 c1 d1 c2 d2 ...        tap t of pixel p: p + shift[t] - first
 *
 * Packed form: (blocks of GEMM_INPUTS inputs, taps, steps of 16 pairs of inputs, tile rows,
 * pairs, 2) a tile of PACK_ROWS outputs; what is past the last output or input is 0.
 *
 * The order of every sum follows from the shape; each backend has its own. There are no Winograd
 * transforms: a 3x3 goes tap by tap.
 */
#include "tables.h"
#include "bf16.h"

#if DN_AMX
#include "bf16_amx.h"
#else
#include "bf16_dot.h"
#endif

enum {
    TILE = PACK_ROWS * DN_LANES, /* pairs */
    BLOCK_1X1 = 128,             /* pixels of a block without halo: in the first-level cache */
    MARGINS = 4 * STEP,          /* of wgrad's buffer */
    WGRAD_PIXELS = 256           /* whose operands stay in the first-level cache */
};

/* Pairs of a packed tile of outputs. */
static size_t tile_pairs(int inputs, int taps)
{
    return (size_t)(inputs + STEP - 1) / STEP * (size_t)taps * TILE;
}

static size_t ISA(packed_floats)(int outputs, int inputs, int taps)
{
    const size_t tiles = (size_t)(outputs + PACK_ROWS - 1) / PACK_ROWS;
    return tiles * tile_pairs(inputs, taps);
}

/* The weights of PACK_ROWS outputs from `o` on and STEP inputs from `c` on. */
static void ISA(pack_tile)(uint16_t *packed, const dn_weights *from, int o, int c, int tap)
{
    for (int i = 0; i < PACK_ROWS; i++, packed += STEP) {
        float row[STEP] = {0};
        for (int k = 0; k < STEP && o + i < from->outputs && c + k < from->inputs; k++)
            row[k] = from->w[(o + i) * from->out_step + (c + k) * from->in_step + tap];
        store_words(packed, planar_step(row, STEP));
    }
}

static void ISA(pack)(float *packed, const dn_weights *weights)
{
    uint16_t *to = (uint16_t *)packed;
    for (int o = 0; o < weights->outputs; o += PACK_ROWS)
        for (int block = 0; block < weights->inputs; block += GEMM_INPUTS)
            for (int t = 0; t < weights->taps; t++)
                for (int c = block; c < weights->inputs && c < block + GEMM_INPUTS;
                     c += STEP, to += 2 * TILE)
                    ISA(pack_tile)(to, weights, o, c, t);
}

/* Taps that share a buffer: all, or one where they reach too far. */
typedef struct tap_group {
    int tap, count;
    ptrdiff_t first; /* the least shift */
    size_t reach;    /* from there to the largest */
    ptrdiff_t offset[DN_MAX_TAPS];
} tap_group;

static tap_group make_group(const dn_taps *taps, int tap, int count)
{
    tap_group g = {.tap = tap, .count = count, .first = taps->shift[tap]};
    ptrdiff_t last = g.first;
    for (int t = tap; t < tap + count; t++) {
        g.first = taps->shift[t] < g.first ? taps->shift[t] : g.first;
        last = taps->shift[t] > last ? taps->shift[t] : last;
    }
    g.reach = (size_t)(last - g.first);
    for (int t = 0; t < count; t++)
        g.offset[t] = taps->shift[tap + t] - g.first;
    return g;
}

/* Returns how many groups there are. */
static int ISA(split_taps)(const dn_taps *taps, tap_group groups[DN_MAX_TAPS])
{
    groups[0] = make_group(taps, 0, taps->count);
    if (groups[0].reach <= WINDOW / 2)
        return 1;
    for (int t = 0; t < taps->count; t++)
        groups[t] = make_group(taps, t, 1);
    return taps->count;
}

/* The products of one block of pixels with all taps of a group; `a` lacks what depends on the
 * buffer. */
static void ISA(gemm_group)(const float *packed, int inputs, const tap_group *g, int taps,
                            const float *x, size_t x_ld, gemm_args a)
{
    uint32_t buffer[GEMM_INPUTS / 2][WINDOW] __attribute__((aligned(64)));
    a.taps = g->count;
    a.shift = g->offset;
    a.x = buffer[0];
    a.x_ld = WINDOW;
    for (int c = 0; c < inputs; c += GEMM_INPUTS, a.accumulate = 1) {
        const int rows = inputs - c < GEMM_INPUTS ? inputs - c : GEMM_INPUTS;
        const size_t steps = round_step((size_t)rows) / STEP;
        const size_t before = (size_t)c / STEP * (size_t)taps + steps * (size_t)g->tap;
        a.packed = (const factor *)packed + before * TILE;
        a.rows = ((rows + 1) / 2 + PAIR_STEP - 1) / PAIR_STEP * PAIR_STEP;
        interleave(buffer, a.rows, x + (size_t)c * x_ld + g->first, x_ld, rows,
                   a.pixels + g->reach);
        ISA(gemm_block)(&a);
    }
}

static void ISA(gemm)(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                      const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    tap_group groups[DN_MAX_TAPS];
    const int group_count = ISA(split_taps)(taps, groups);
    const size_t pixels = dn_round_lanes(n);
    const size_t room = (WINDOW - groups[0].reach) / STEP * STEP;
    const size_t most = groups[0].count == 1 ? BLOCK_1X1 : room;
    for (size_t p = 0; p < pixels; p += most) {
        gemm_args a = {.outputs = outputs,
                       .tile_stride = tile_pairs(inputs, taps->count),
                       .pixels = pixels - p < most ? pixels - p : most,
                       .y = y + p,
                       .y_ld = y_ld,
                       .accumulate = accumulate};
        for (int i = 0; i < group_count; i++, a.accumulate = 1)
            ISA(gemm_group)(packed, inputs, &groups[i], taps->count, x + p, x_ld, a);
    }
}

/* ---- wgrad ---- */

static size_t ISA(packed_dy_floats)(int outputs, size_t n)
{
    return dn_round_lanes((size_t)outputs) * round_step(n) / 2;
}

/* Packed form: panels (pairs of pixels, DN_LANES outputs, 2); past the last output and the last
 * pixel, up to whole registers, are zeros. */
static void ISA(pack_dy)(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld)
{
    for (int o = 0; o < outputs; o += DN_LANES)
        for (size_t p = 0; p < n; p += STEP, packed += DN_LANES * DN_LANES) {
            vec m[DN_LANES] = {{0}};
            for (int i = 0; i < DN_LANES && o + i < outputs; i++)
                m[i] = (vec)planar_step(dy + (size_t)(o + i) * dy_ld + p, n - p);
            transpose_words(m);
            UNROLL
            for (int i = 0; i < DN_LANES; i++)
                store(packed + i * DN_LANES, m[i]);
        }
}

/* All taps of a group with up to WGRAD_INPUTS inputs, whose pixels are rounded once. */
static void ISA(wgrad_group)(const tap_group *g, wgrad_args a, size_t pixels, const float *x,
                             size_t x_ld, size_t matrix)
{
    uint16_t buffer[WGRAD_INPUTS][WINDOW] __attribute__((aligned(64)));
    const size_t room = round_step(round_step(pixels) + g->reach);
    a.x_ld = WINDOW / 2;
    planar(buffer[0], room, x + g->first, x_ld, a.inputs, pixels + g->reach);
    for (int t = 0; t < g->count; t++, a.dw += matrix)
        for (size_t p = 0; p < pixels; p += WGRAD_PIXELS) {
            const size_t left = pixels - p < WGRAD_PIXELS ? pixels - p : WGRAD_PIXELS;
            wgrad_args part = a;
            part.x = (const factor *)(buffer[0] + g->offset[t] + p);
            part.dy += p / 2 * DN_LANES;
            part.pixels = round_step(left) / 2;
            ISA(wgrad_block)(part);
        }
}

static void ISA(wgrad)(int outputs, int inputs, const dn_taps *taps, size_t n, const float *packed,
                       const float *x, size_t x_ld, float *dw)
{
    tap_group groups[DN_MAX_TAPS];
    const int group_count = ISA(split_taps)(taps, groups);
    const size_t dw_ld = dn_round_lanes((size_t)outputs), matrix = (size_t)inputs * dw_ld;
    for (const tap_group *g = groups; g < groups + group_count; g++) {
        const size_t most = (WINDOW - MARGINS - g->reach) / STEP * STEP;
        for (size_t p = 0; p < n; p += most)
            for (int c = 0; c < inputs; c += WGRAD_INPUTS) {
                const int left = inputs - c;
                const wgrad_args a = {.inputs = left < WGRAD_INPUTS ? left : WGRAD_INPUTS,
                                      .dy = (const factor *)packed + p / 2 * DN_LANES,
                                      .panel_stride = round_step(n) / 2 * DN_LANES,
                                      .dw = dw + (size_t)g->tap * matrix + (size_t)c * dw_ld,
                                      .dw_ld = dw_ld};
                ISA(wgrad_group)
                (g, a, n - p < most ? n - p : most, x + (size_t)c * x_ld + p, x_ld, matrix);
            }
    }
}

const dn_product_kernels ISA(dn_products) = PRODUCTS();
