/*
 * The loops of bf16.c in AMX tiles: blocks of 32 x 32 sums, 2 x 2 tiles (drawn in amx_tile.h); per
 * 32 values of the inner dimension, four loads feed four tile products of 8192 multiply-adds.
 *
 * gemm: rows are outputs, columns pixels, the inner dimension (tap, pairs of inputs). B is the
 * interleaved buffer as it is, and a tap is an offset in it.
 *
 * wgrad: rows are inputs, columns outputs, the inner dimension pairs of pixels. A is x as it lies,
 * and a tap is an offset in it; B is packed dy.
 */
#include "amx_tile.h"

enum {
    PACK_ROWS = AMX_ROWS, /* outputs of a packed tile */
    PAIR_STEP = DN_LANES, /* pairs of inputs are padded to a multiple of it */
    BLOCK = 2 * AMX_ROWS  /* rows and columns of a block of sums */
};

/* Where the next tiles are: of A upper and, if there is one, lower; of B left and right. */
typedef struct operands {
    const void *upper, *lower, *left, *right;
    size_t a_stride, b_stride; /* bytes */
} operands;

/* Loads or stores the tiles of C that there are, as `move` does one of them. */
#define MOVE_BLOCK(move, t, c, ld, lower, right)                                                   \
    do {                                                                                           \
        move(t, 0, c, 4 * (ld));                                                                   \
        if (right)                                                                                 \
            move(t, 1, (c) + DN_LANES, 4 * (ld));                                                  \
        if (lower)                                                                                 \
            move(t, 2, (c) + AMX_ROWS * (ld), 4 * (ld));                                           \
        if ((lower) && (right))                                                                    \
            move(t, 3, (c) + AMX_ROWS * (ld) + DN_LANES, 4 * (ld));                                \
    } while (0)

INLINE void zero_block(amx_tiles *t)
{
    amx_zero(t, 0);
    amx_zero(t, 1);
    amx_zero(t, 2);
    amx_zero(t, 3);
}

INLINE void multiply_block(amx_tiles *t, const operands *o, int lower, int right)
{
    amx_load(t, 6, o->left, o->b_stride);
    amx_load(t, 4, o->upper, o->a_stride);
    amx_dot(t, 0, 4, 6);
    if (right) {
        amx_load(t, 7, o->right, o->b_stride);
        amx_dot(t, 1, 4, 7);
    }
    if (lower) {
        amx_load(t, 5, o->lower, o->a_stride);
        amx_dot(t, 2, 5, 6);
        if (right)
            amx_dot(t, 3, 5, 7);
    }
}

/* Up to 32 outputs of up to 32 pixels. */
INLINE void gemm_tiles(amx_tiles *t, const gemm_args *a, int first, size_t pixel)
{
    const int rows = a->outputs - first < BLOCK ? a->outputs - first : BLOCK;
    const int lower = rows > AMX_ROWS, right = a->pixels - pixel > DN_LANES;
    const factor *w = a->packed + (size_t)(first / AMX_ROWS) * a->tile_stride;
    float *y = a->y + (size_t)first * a->y_ld + pixel;
    amx_use(t, rows);
    if (a->accumulate)
        MOVE_BLOCK(amx_load, t, y, a->y_ld, lower, right);
    else
        zero_block(t);
    for (int tap = 0; tap < a->taps; tap++) {
        const factor *x = a->x + a->shift[tap] + pixel;
        for (int pair = 0; pair < a->rows; pair += DN_LANES) {
            const operands o = {w, w + a->tile_stride, x, x + DN_LANES, AMX_BYTES, 4 * a->x_ld};
            multiply_block(t, &o, lower, right);
            w += PACK_ROWS * DN_LANES;
            x += DN_LANES * a->x_ld;
        }
    }
    MOVE_BLOCK(amx_store, t, y, a->y_ld, lower, right);
}

static void ISA(gemm_block)(const gemm_args *a)
{
    amx_tiles t = {0};
    for (size_t p = 0; p < a->pixels; p += BLOCK)
        for (int first = 0; first < a->outputs; first += BLOCK)
            gemm_tiles(&t, a, first, p);
    amx_release(&t);
}

/* Up to 32 inputs x all outputs. */
INLINE void wgrad_tiles(amx_tiles *t, const wgrad_args *g, int first)
{
    const int rows = g->inputs - first < BLOCK ? g->inputs - first : BLOCK;
    const int lower = rows > AMX_ROWS;
    const factor *x = g->x + (size_t)first * g->x_ld;
    amx_use(t, rows);
    for (size_t o = 0; o < g->dw_ld; o += BLOCK) {
        const int right = g->dw_ld - o > DN_LANES;
        const factor *dy = g->dy + o / DN_LANES * g->panel_stride;
        float *dw = g->dw + (size_t)first * g->dw_ld + o;
        MOVE_BLOCK(amx_load, t, dw, g->dw_ld, lower, right);
        for (size_t p = 0; p < g->pixels; p += DN_LANES) {
            const factor *left = dy + p * DN_LANES;
            const operands at = {x + p,       x + AMX_ROWS * g->x_ld + p,
                                 left,        left + g->panel_stride,
                                 4 * g->x_ld, AMX_BYTES};
            multiply_block(t, &at, lower, right);
        }
        MOVE_BLOCK(amx_store, t, dw, g->dw_ld, lower, right);
    }
}

static void ISA(wgrad_block)(wgrad_args g)
{
    amx_tiles t = {0};
    for (int c = 0; c < g.inputs; c += BLOCK)
        wgrad_tiles(&t, &g, c);
    amx_release(&t);
}

/* The tile products of a block, on zeros. */
static double ISA(peak)(size_t rounds)
{
    amx_tiles t = {0};
    amx_use(&t, BLOCK); /* clears them */
    for (size_t r = 0; r < rounds; r++) {
        amx_dot(&t, 0, 4, 6);
        amx_dot(&t, 1, 4, 7);
        amx_dot(&t, 2, 5, 6);
        amx_dot(&t, 3, 5, 7);
    }
    amx_release(&t);
    return 2.0 * BLOCK * BLOCK * STEP * (double)rounds;
}
