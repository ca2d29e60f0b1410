/*
 * The loops of bf16.c in AMX tiles: blocks of 32 x 32 sums, 2 x 2 tiles (drawn in amx_tile.h); per
 * 32 numbers of the inner dimension, four loads feed four tile products of 8192 multiply-adds.
 *
 * Convolution: rows are outputs, columns pixels, the inner dimension (tap, pairs of inputs). B is
 * the interleaved buffer as it is, and a tap is an offset in it.
 *
 * Weight gradient: rows are inputs, columns outputs, the inner dimension pairs of pixels. A is x as
 * it lies, and a tap is an offset in it; B is packed dy.
 */
#ifndef DN_KERNELS_BF16_AMX_H
#define DN_KERNELS_BF16_AMX_H

#include "amx_tile.h"
#include "bf16.h"

enum {
    PACK_ROWS = DN_TILE_ROWS, /* outputs of a packed tile */
    PAIR_STEP = DN_LANES,     /* pairs of inputs are a multiple of it */
    BLOCK = 2 * DN_TILE_ROWS  /* rows and columns of a block of sums */
};

/* Where the next tiles are: of A upper and, if there is one, lower; of B left and right. */
typedef struct operands {
    const void *upper, *lower, *left, *right;
    size_t a_stride, b_stride; /* bytes */
} operands;

INLINE void open_block(dn_tiles *t, const float *c, size_t ld, int lower, int right, int load)
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

INLINE void close_block(dn_tiles *t, float *c, size_t ld, int lower, int right)
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

INLINE void multiply(dn_tiles *t, const operands *o, int lower, int right)
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
static void gemm_tiles(dn_tiles *t, const gemm_args *a, int first, size_t pixel)
{
    const int rows = a->outputs - first < BLOCK ? a->outputs - first : BLOCK;
    const int lower = rows > DN_TILE_ROWS, right = a->pixels - pixel > DN_LANES;
    const factor *w = a->packed + (size_t)(first / DN_TILE_ROWS) * a->tile;
    float *y = a->y + (size_t)first * a->y_ld + pixel;
    dn_tiles_use(t, rows);
    open_block(t, y, a->y_ld, lower, right, a->accumulate);
    for (int tap = 0; tap < a->taps; tap++) {
        const factor *x = a->x + a->shift[tap] + pixel;
        for (int pair = 0; pair < a->rows; pair += DN_LANES) {
            const operands o = {w, w + a->tile, x, x + DN_LANES, DN_TILE_BYTES, 4 * a->x_ld};
            multiply(t, &o, lower, right);
            w += PACK_ROWS * DN_LANES;
            x += DN_LANES * a->x_ld;
        }
    }
    close_block(t, y, a->y_ld, lower, right);
}

static void ISA(gemm_block)(const gemm_args *a)
{
    dn_tiles t = {0};
    for (size_t p = 0; p < a->pixels; p += BLOCK)
        for (int first = 0; first < a->outputs; first += BLOCK)
            gemm_tiles(&t, a, first, p);
    DN_TILE_RELEASE(&t);
}

/* ---- weight gradient ---- */

/* Up to 32 inputs of up to 32 outputs. */
static void wgrad_tiles(dn_tiles *t, const wgrad_args *g, int first)
{
    const int rows = g->inputs - first < BLOCK ? g->inputs - first : BLOCK;
    const int lower = rows > DN_TILE_ROWS;
    const factor *x = g->x + (size_t)first * g->x_ld;
    dn_tiles_use(t, rows);
    for (size_t o = 0; o < g->dw_ld; o += BLOCK) {
        const int right = g->dw_ld - o > DN_LANES;
        const factor *dy = g->dy + o / DN_LANES * g->panel;
        float *dw = g->dw + (size_t)first * g->dw_ld + o;
        open_block(t, dw, g->dw_ld, lower, right, 1);
        for (size_t p = 0; p < g->pixels; p += DN_LANES) {
            const factor *left = dy + p * DN_LANES;
            const operands at = {x + p,       x + DN_TILE_ROWS * g->x_ld + p,
                                 left,        left + g->panel,
                                 4 * g->x_ld, DN_TILE_BYTES};
            multiply(t, &at, lower, right);
        }
        close_block(t, dw, g->dw_ld, lower, right);
    }
}

static void ISA(wgrad_block)(wgrad_args g)
{
    dn_tiles t = {0};
    for (int c = 0; c < g.inputs; c += BLOCK)
        wgrad_tiles(&t, &g, c);
    DN_TILE_RELEASE(&t);
}

/* The tile products of a block, on zeros. */
static double ISA(peak)(size_t rounds)
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
