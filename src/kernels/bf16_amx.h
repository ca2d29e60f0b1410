/*
 * The loops of bf16.c in AMX tiles: blocks of 32 x 32 sums, 2 x 2 tiles (drawn in amx_tile.h); per
 * 32 numbers of the inner dimension, four loads feed four tile products of 8192 multiply-adds.
 *
 * Convolution: rows are outputs, columns pixels, the inner dimension (tap, pairs of inputs). B is
 * the interleaved buffer as it is, and a tap is an offset in it.
 *
 * Weight gradient: rows are outputs, columns inputs, the inner dimension pairs of pixels. A is
 * planar dy between margins of zeros, B is x transposed. B's pairs stand still, so a tap shifts A:
 *
 *     dw(t, o, c) = sum over q of dy(o, q - offset[t]) * x(c, first + q)
 */
#ifndef DN_KERNELS_BF16_AMX_H
#define DN_KERNELS_BF16_AMX_H

#include "amx_tile.h"
#include "bf16.h"

enum {
    PACK_ROWS = DN_TILE_ROWS, /* outputs of a packed tile */
    PAIR_STEP = DN_LANES,     /* pairs of inputs are a multiple of it */
    BLOCK = 2 * DN_TILE_ROWS, /* rows and columns of a block of sums */
    MARGIN = DN_BF16_STEP     /* zeros before dy; as many follow */
};

/* Where the next tiles are: of A upper and, if there is one, lower; of B left and right. */
typedef struct operands {
    const void *upper, *lower, *left, *right;
    size_t a_stride, b_stride; /* bytes */
} operands;

DN_INLINE void open_block(dn_tiles *t, const float *c, size_t ld, int lower, int right, int load)
{
    if (!load) {
        DN_TILE_ZERO(t, 0);
        DN_TILE_ZERO(t, 1);
        DN_TILE_ZERO(t, 2);
        DN_TILE_ZERO(t, 3);
        return;
    }
    const float *below = c + DN_TILE_ROWS * ld;
    DN_TILE_LOAD(t, 0, c, 4 * ld);
    if (right)
        DN_TILE_LOAD(t, 1, c + DN_LANES, 4 * ld);
    if (lower)
        DN_TILE_LOAD(t, 2, below, 4 * ld);
    if (lower && right)
        DN_TILE_LOAD(t, 3, below + DN_LANES, 4 * ld);
}

DN_INLINE void close_block(dn_tiles *t, float *c, size_t ld, int lower, int right)
{
    float *below = c + DN_TILE_ROWS * ld;
    DN_TILE_STORE(t, 0, c, 4 * ld);
    if (right)
        DN_TILE_STORE(t, 1, c + DN_LANES, 4 * ld);
    if (lower)
        DN_TILE_STORE(t, 2, below, 4 * ld);
    if (lower && right)
        DN_TILE_STORE(t, 3, below + DN_LANES, 4 * ld);
}

DN_INLINE void multiply(dn_tiles *t, const operands *o, int lower, int right)
{
    DN_TILE_LOAD(t, 6, o->left, o->b_stride);
    DN_TILE_LOAD(t, 4, o->upper, o->a_stride);
    DN_TILE_DOT(t, 0, 4, 6);
    if (right) {
        DN_TILE_LOAD(t, 7, o->right, o->b_stride);
        DN_TILE_DOT(t, 1, 4, 7);
    }
    if (lower) {
        DN_TILE_LOAD(t, 5, o->lower, o->a_stride);
        DN_TILE_DOT(t, 2, 5, 6);
        if (right)
            DN_TILE_DOT(t, 3, 5, 7);
    }
}

/* Up to 32 outputs of up to 32 pixels. */
static void conv_tiles(dn_tiles *t, const dn_bf16_block *b, int first, size_t pixel)
{
    const int rows = b->outputs - first < BLOCK ? b->outputs - first : BLOCK;
    const int lower = rows > DN_TILE_ROWS, right = b->pixels - pixel > DN_LANES;
    const uint16_t *w = b->packed + (size_t)(first / DN_TILE_ROWS) * b->tile;
    float *y = b->y + (size_t)first * b->y_ld + pixel;
    dn_tiles_use(t, rows);
    open_block(t, y, b->y_ld, lower, right, b->accumulate);
    for (int tap = 0; tap < b->taps; tap++)
        for (int pair = 0; pair < b->pairs; pair += DN_LANES, w += PACK_ROWS * DN_BF16_STEP) {
            const uint32_t *x = b->x[pair] + b->offset[tap] + pixel;
            const operands o = {w, w + b->tile, x, x + DN_LANES, DN_TILE_BYTES, sizeof *b->x};
            multiply(t, &o, lower, right);
        }
    close_block(t, y, b->y_ld, lower, right);
}

static void conv_block(const dn_bf16_block *b)
{
    dn_tiles t = {0};
    for (size_t p = 0; p < b->pixels; p += BLOCK)
        for (int first = 0; first < b->outputs; first += BLOCK)
            conv_tiles(&t, b, first, p);
    DN_TILE_RELEASE(&t);
}

/* ---- weight gradient ---- */

/* In place: word j of register i becomes word i of register j. Each round puts the words of
 * registers i and i + 8 by turns. */
DN_INLINE void transpose(dn_words m[DN_LANES])
{
    for (int round = 0; round < 4; round++) {
        dn_words to[DN_LANES];
        DN_UNROLL
        for (int i = 0; i < DN_LANES / 2; i++) {
            to[2 * i] = __builtin_shufflevector(m[i], m[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
                                                5, 21, 6, 22, 7, 23);
            to[2 * i + 1] = __builtin_shufflevector(m[i], m[i + 8], 8, 24, 9, 25, 10, 26, 11, 27,
                                                    12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(m, to, sizeof to);
    }
}

/* to(room / 2 pairs of pixels, BLOCK) = pairs of x(rows, pixels) and zeros. */
static void transposed(uint32_t (*to)[BLOCK], size_t room, const float *x, size_t x_ld, int rows,
                       size_t pixels)
{
    for (int c = 0; c < BLOCK; c += DN_LANES)
        for (size_t p = 0; p < room; p += DN_BF16_STEP) {
            dn_words m[DN_LANES] = {{0}};
            for (int i = 0; i < DN_LANES && c + i < rows; i++)
                m[i] = dn_planar_step(x + (size_t)(c + i) * x_ld + p, p < pixels ? pixels - p : 0);
            transpose(m);
            for (size_t i = 0; i < DN_LANES; i++)
                dn_store_words(&to[p / 2 + i][c], m[i]);
        }
}

/* Adds one tap's products of up to 32 outputs, whose dy begins in that row of the buffer. */
static void grad_tiles(dn_tiles *t, const dn_bf16_grad *g, int tap, int rows,
                       const uint16_t (*dy)[DN_BF16_WINDOW], const uint32_t (*x)[BLOCK], float *dw)
{
    const int lower = rows > DN_TILE_ROWS, right = g->inputs > DN_LANES;
    const size_t offset = (size_t)g->offset[tap], end = offset + g->pixels;
    float sum[BLOCK][BLOCK];
    dn_tiles_use(t, rows);
    open_block(t, sum[0], BLOCK, lower, right, 0);
    for (size_t q = offset / DN_BF16_STEP * DN_BF16_STEP; q < end; q += DN_BF16_STEP) {
        const uint16_t *a = dy[0] + MARGIN + q - offset;
        const operands o = {a,          a + DN_TILE_ROWS * DN_BF16_WINDOW,
                            x[q / 2],   x[q / 2] + DN_LANES,
                            sizeof *dy, sizeof *x};
        multiply(t, &o, lower, right);
    }
    close_block(t, sum[0], BLOCK, lower, right);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < g->inputs; c++)
            dw[(size_t)r * g->dw_ld + (size_t)c] += sum[r][c];
}

static void grad_block(const dn_bf16_grad *g)
{
    uint16_t dy[DN_BF16_GRAD_OUTPUTS][DN_BF16_WINDOW] __attribute__((aligned(64)));
    uint32_t x[DN_BF16_WINDOW / 2][BLOCK] __attribute__((aligned(64)));
    dn_tiles t = {0};
    transposed(x, dn_bf16_room(g->pixels + g->reach), g->x + g->first, g->x_ld, g->inputs,
               g->pixels + g->reach);
    for (int o = 0; o < g->outputs; o += DN_BF16_GRAD_OUTPUTS) {
        const int rows =
            g->outputs - o < DN_BF16_GRAD_OUTPUTS ? g->outputs - o : DN_BF16_GRAD_OUTPUTS;
        for (int r = 0; r < rows; r++)
            memset(dy[r], 0, MARGIN * sizeof **dy);
        dn_bf16_planar(dy[0] + MARGIN, rows, dn_bf16_room(g->pixels) + MARGIN,
                       g->dy + (size_t)o * g->dy_ld, g->dy_ld, rows, g->pixels);
        for (int tap = 0; tap < g->taps; tap++)
            for (int r = 0; r < rows; r += BLOCK)
                grad_tiles(&t, g, tap, rows - r < BLOCK ? rows - r : BLOCK, dy + r, x,
                           g->dw + (size_t)tap * g->dw_tap + (size_t)(o + r) * g->dw_ld);
    }
    DN_TILE_RELEASE(&t);
}

/* The tile products of a block, on zeros. */
static double peak(size_t rounds)
{
    dn_tiles t = {0};
    dn_tiles_use(&t, BLOCK); /* clears them */
    for (size_t r = 0; r < rounds; r++) {
        DN_TILE_DOT(&t, 0, 4, 6);
        DN_TILE_DOT(&t, 1, 4, 7);
        DN_TILE_DOT(&t, 2, 5, 6);
        DN_TILE_DOT(&t, 3, 5, 7);
    }
    DN_TILE_RELEASE(&t);
    return 2.0 * BLOCK * BLOCK * DN_BF16_STEP * (double)rounds;
}

#endif
