/*
 * The loops of bf16.c in AMX tiles. Sums are in squares of 2 x 2 tiles, where four loads feed four
 * tile products of 8192 multiply-adds, or in rows of 1 x 4 if a single row or column of tiles is
 * left (drawn in amx_tile.h). Tiles are reconfigured only if the shape changes.
 *
 * gemm: rows are outputs, columns are pixels, the inner dimension is (tap, pairs of inputs). B is a
 * DN_PAIRED operand, read in place; a tap is an offset in it.
 *
 * wgrad: rows are inputs, columns are outputs, the inner dimension is pairs of pixels. A is a
 * DN_PLANAR operand, read in place; a tap is an offset in it. B is packed dy.
 */
#include "amx_tile.h"

enum {
    PACK_ROWS = AMX_ROWS,  /* outputs of a packed tile */
    SQUARE = 2 * AMX_ROWS, /* rows and columns of a square of 2 x 2 tiles */
    WIDE = 4 * AMX_ROWS,   /* columns of a row of 1 x 4 tiles */
    TAPS_PAIRS = 128 /* of pixels whose operands stay in the L1 cache while all taps read them */
};

INLINE int at_most(int n, int most)
{
    return n < most ? n : most;
}

/* Pairs in a step. Steps have equal lengths, the shortest that their number allows: 24 pairs are 12
 * and 12. */
static int step_pairs(int pairs)
{
    const int steps = count_steps(pairs);
    return (pairs + steps - 1) / steps;
}

/* First pair of a step. If the last step would be shorter, it overlaps the one before, and its
 * weights for those pairs are 0. */
INLINE int first_pair(int pairs, int length, int step)
{
    return at_most(step * length, pairs - length);
}

/* Loads or stores (`move`) the tiles of C that are used: 2 x 2, without the right ones if `right`
 * is NULL, or `count` in a row. */
#define MOVE_SQUARE(move, t, left, right, ld)                                                      \
    do {                                                                                           \
        move(t, 0, left, 4 * (ld));                                                                \
        move(t, 2, (left) + AMX_ROWS * (ld), 4 * (ld));                                            \
        if (right) {                                                                               \
            move(t, 1, right, 4 * (ld));                                                           \
            move(t, 3, (right) + AMX_ROWS * (ld), 4 * (ld));                                       \
        }                                                                                          \
    } while (0)
#define MOVE_ROW(move, t, c, ld, count)                                                            \
    do {                                                                                           \
        move(t, 0, (c)[0], 4 * (ld));                                                              \
        if ((count) > 1)                                                                           \
            move(t, 1, (c)[1], 4 * (ld));                                                          \
        if ((count) > 2)                                                                           \
            move(t, 2, (c)[2], 4 * (ld));                                                          \
        if ((count) > 3)                                                                           \
            move(t, 3, (c)[3], 4 * (ld));                                                          \
    } while (0)

INLINE void zero_tiles(amx_tiles *t)
{
    amx_zero(t, 0);
    amx_zero(t, 1);
    amx_zero(t, 2);
    amx_zero(t, 3);
}

/* ---- gemm ---- */

/* The pairs of inputs of a step, for one tap of a pixel. */
INLINE const factor *pairs_at(const amx_tiles *t, const gemm_args *a, int tap, int step,
                              size_t pixel)
{
    const int first = first_pair(a->rows, t->shape.pairs, step);
    return a->x + a->shift[tap] + pixel + (size_t)first * a->x_ld;
}

/* 17 to 32 outputs of up to 32 pixels; `tile`: pairs in a packed tile of outputs. */
INLINE void gemm_square(amx_tiles *t, const gemm_args *a, const factor *w, size_t tile, float *y,
                        size_t pixel)
{
    float *const right = a->pixels - pixel > DN_LANES ? y + pixel + DN_LANES : NULL;
    y += pixel;
    if (a->accumulate)
        MOVE_SQUARE(amx_load, t, y, right, a->y_ld);
    else
        zero_tiles(t);
    for (int tap = 0; tap < a->taps; tap++)
        for (int step = 0; step * DN_LANES < a->rows; step++, w += PACK_ROWS * DN_LANES) {
            const factor *x = pairs_at(t, a, tap, step, pixel);
            amx_load(t, 6, x, 4 * a->x_ld);
            amx_load(t, 4, w, AMX_BYTES);
            amx_dot(t, 0, 4, 6);
            amx_load(t, 5, w + tile, AMX_BYTES);
            amx_dot(t, 2, 5, 6);
            if (right) {
                amx_load(t, 7, x + DN_LANES, 4 * a->x_ld);
                amx_dot(t, 1, 4, 7);
                amx_dot(t, 3, 5, 7);
            }
        }
    MOVE_SQUARE(amx_store, t, y, right, a->y_ld);
}

/* Up to 16 outputs of up to 64 pixels. */
INLINE void gemm_row(amx_tiles *t, const gemm_args *a, const factor *w, float *y, size_t pixel)
{
    const size_t count = (a->pixels - pixel) / DN_LANES;
    float *const to[4] = {y + pixel, y + pixel + DN_LANES, y + pixel + 2 * DN_LANES,
                          y + pixel + 3 * DN_LANES};
    if (a->accumulate)
        MOVE_ROW(amx_load, t, to, a->y_ld, count);
    else
        zero_tiles(t);
    for (int tap = 0; tap < a->taps; tap++)
        for (int step = 0; step * DN_LANES < a->rows; step++, w += PACK_ROWS * DN_LANES) {
            const factor *x = pairs_at(t, a, tap, step, pixel);
            amx_load(t, 4, w, AMX_BYTES);
            amx_load(t, 5, x, 4 * a->x_ld);
            amx_dot(t, 0, 4, 5);
            if (count > 1) {
                amx_load(t, 6, x + DN_LANES, 4 * a->x_ld);
                amx_dot(t, 1, 4, 6);
            }
            if (count > 2) {
                amx_load(t, 7, x + 2 * DN_LANES, 4 * a->x_ld);
                amx_dot(t, 2, 4, 7);
            }
            if (count > 3) {
                amx_load(t, 5, x + 3 * DN_LANES, 4 * a->x_ld);
                amx_dot(t, 3, 4, 5);
            }
        }
    MOVE_ROW(amx_store, t, to, a->y_ld, count);
}

static void ISA(gemm_loops)(const gemm_args *a)
{
    amx_tiles t = {0};
    const int pairs = step_pairs(a->rows);
    const size_t tile = tile_pairs(PACK_ROWS, a->rows, a->taps);
    for (int first = 0; first < a->outputs; first += SQUARE) {
        const int rows = at_most(a->outputs - first, SQUARE);
        const factor *w = a->packed + (size_t)(first / AMX_ROWS) * tile;
        float *y = a->y + (size_t)first * a->y_ld;
        if (rows > AMX_ROWS) {
            amx_use(&t, (amx_shape){AMX_ROWS, rows - AMX_ROWS, pairs});
            for (size_t p = 0; p < a->pixels; p += SQUARE)
                gemm_square(&t, a, w, tile, y, p);
        } else {
            amx_use(&t, (amx_shape){rows, 0, pairs});
            for (size_t p = 0; p < a->pixels; p += WIDE)
                gemm_row(&t, a, w, y, p);
        }
    }
    amx_release(&t);
}

/* ---- wgrad ---- */

/* 17 to 32 inputs x 17 to 32 outputs. */
INLINE void wgrad_square(amx_tiles *t, const wgrad_args *g, const uint16_t *x, const factor *dy,
                         float *dw)
{
    float *const right = dw + DN_LANES;
    MOVE_SQUARE(amx_load, t, dw, right, g->dw_ld);
    for (size_t p = 0; p < g->pixels; p += DN_LANES, x += STEP, dy += DN_LANES * DN_LANES) {
        amx_load(t, 6, dy, AMX_BYTES);
        amx_load(t, 4, x, 4 * g->x_ld);
        amx_dot(t, 0, 4, 6);
        amx_load(t, 5, x + 2 * AMX_ROWS * g->x_ld, 4 * g->x_ld);
        amx_dot(t, 2, 5, 6);
        amx_load(t, 7, dy + g->column_stride, AMX_BYTES);
        amx_dot(t, 1, 4, 7);
        amx_dot(t, 3, 5, 7);
    }
    MOVE_SQUARE(amx_store, t, dw, right, g->dw_ld);
}

/* Up to 16 inputs x up to 64 outputs. */
INLINE void wgrad_row(amx_tiles *t, const wgrad_args *g, const uint16_t *x, const factor *dy,
                      float *dw, int count)
{
    float *const to[4] = {dw, dw + DN_LANES, dw + 2 * DN_LANES, dw + 3 * DN_LANES};
    MOVE_ROW(amx_load, t, to, g->dw_ld, count);
    for (size_t p = 0; p < g->pixels; p += DN_LANES, x += STEP, dy += DN_LANES * DN_LANES) {
        amx_load(t, 4, x, 4 * g->x_ld);
        amx_load(t, 5, dy, AMX_BYTES);
        amx_dot(t, 0, 4, 5);
        if (count > 1) {
            amx_load(t, 6, dy + g->column_stride, AMX_BYTES);
            amx_dot(t, 1, 4, 6);
        }
        if (count > 2) {
            amx_load(t, 7, dy + 2 * g->column_stride, AMX_BYTES);
            amx_dot(t, 2, 4, 7);
        }
        if (count > 3) {
            amx_load(t, 5, dy + 3 * g->column_stride, AMX_BYTES);
            amx_dot(t, 3, 4, 5);
        }
    }
    MOVE_ROW(amx_store, t, to, g->dw_ld, count);
}

/* One column of up to 16 outputs x up to 16 inputs: one tile per tap, for up to four taps; `x` and
 * `dw` are per tap. */
INLINE void wgrad_column(amx_tiles *t, const wgrad_args *g, const uint16_t *const x[4],
                         const factor *dy, float *const dw[4], int count)
{
    MOVE_ROW(amx_load, t, dw, g->dw_ld, count);
    for (size_t p = 0; p < g->pixels; p += DN_LANES, dy += DN_LANES * DN_LANES) {
        amx_load(t, 6, dy, AMX_BYTES);
        amx_load(t, 4, x[0] + 2 * p, 4 * g->x_ld);
        amx_dot(t, 0, 4, 6);
        if (count > 1) {
            amx_load(t, 4, x[1] + 2 * p, 4 * g->x_ld);
            amx_dot(t, 1, 4, 6);
        }
        if (count > 2) {
            amx_load(t, 4, x[2] + 2 * p, 4 * g->x_ld);
            amx_dot(t, 2, 4, 6);
        }
        if (count > 3) {
            amx_load(t, 4, x[3] + 2 * p, 4 * g->x_ld);
            amx_dot(t, 3, 4, 6);
        }
    }
    MOVE_ROW(amx_store, t, dw, g->dw_ld, count);
}

/* The same for 17 to 32 inputs: two tiles per tap, for up to two taps. */
INLINE void wgrad_high_column(amx_tiles *t, const wgrad_args *g, const uint16_t *const x[2],
                              const factor *dy, float *const dw[2], int count)
{
    const size_t down = 2 * AMX_ROWS * g->x_ld;
    float *const right = count > 1 ? dw[1] : NULL;
    MOVE_SQUARE(amx_load, t, dw[0], right, g->dw_ld);
    for (size_t p = 0; p < g->pixels; p += DN_LANES, dy += DN_LANES * DN_LANES) {
        amx_load(t, 6, dy, AMX_BYTES);
        amx_load(t, 4, x[0] + 2 * p, 4 * g->x_ld);
        amx_dot(t, 0, 4, 6);
        amx_load(t, 5, x[0] + down + 2 * p, 4 * g->x_ld);
        amx_dot(t, 2, 5, 6);
        if (right) {
            amx_load(t, 4, x[1] + 2 * p, 4 * g->x_ld);
            amx_dot(t, 1, 4, 6);
            amx_load(t, 5, x[1] + down + 2 * p, 4 * g->x_ld);
            amx_dot(t, 3, 5, 6);
        }
    }
    MOVE_SQUARE(amx_store, t, dw[0], right, g->dw_ld);
}

/* The last column of outputs, starting at `o`, for all taps. */
static void ISA(wgrad_last_column)(amx_tiles *t, const wgrad_args *g, const dn_taps *taps, int c,
                                   size_t o, int lower)
{
    const size_t matrix = (size_t)g->inputs * g->dw_ld;
    const uint16_t *row = (const uint16_t *)(g->x + (size_t)c * g->x_ld);
    const factor *dy = g->dy + o / DN_LANES * g->column_stride;
    for (int tap = 0, count; tap < taps->count; tap += count) {
        const uint16_t *x[4] = {row, row, row, row};
        float *dw[4] = {g->dw, g->dw, g->dw, g->dw};
        count = at_most(taps->count - tap, lower ? 2 : 4);
        for (int i = 0; i < count; i++) {
            x[i] = row + taps->shift[tap + i];
            dw[i] = g->dw + (size_t)(tap + i) * matrix + (size_t)c * g->dw_ld + o;
        }
        if (lower)
            wgrad_high_column(t, g, x, dy, dw, count);
        else
            wgrad_column(t, g, x, dy, dw, count);
    }
}

/* Inputs [c, c + SQUARE): two columns or, if !lower, four at a time, tap by tap; then the odd
 * column for all taps. */
static void ISA(wgrad_inputs)(amx_tiles *t, const wgrad_args *g, const dn_taps *taps, int c,
                              int lower)
{
    const size_t matrix = (size_t)g->inputs * g->dw_ld, width = lower ? SQUARE : WIDE;
    const size_t last = g->dw_ld % SQUARE; /* outputs of an odd column */
    for (int tap = 0; tap < taps->count; tap++)
        for (size_t o = 0; o < g->dw_ld - last; o += width) {
            const uint16_t *x = (const uint16_t *)(g->x + (size_t)c * g->x_ld);
            const factor *dy = g->dy + o / DN_LANES * g->column_stride;
            float *dw = g->dw + (size_t)tap * matrix + (size_t)c * g->dw_ld + o;
            const int tiles = (int)((g->dw_ld - last - o) / DN_LANES);
            if (lower)
                wgrad_square(t, g, x + taps->shift[tap], dy, dw);
            else
                wgrad_row(t, g, x + taps->shift[tap], dy, dw, at_most(tiles, 4));
        }
    if (last > 0)
        ISA(wgrad_last_column)(t, g, taps, c, g->dw_ld - last, lower);
}

/* SQUARE inputs at a time; with several taps, TAPS_PAIRS pairs of pixels at a time. */
static void ISA(wgrad_taps)(const wgrad_args *g, const dn_taps *taps)
{
    amx_tiles t = {0};
    const size_t most = taps->count > 1 ? TAPS_PAIRS : g->pixels;
    for (int c = 0; c < g->inputs; c += SQUARE) {
        const int rows = at_most(g->inputs - c, SQUARE), lower = rows > AMX_ROWS;
        amx_use(&t, (amx_shape){at_most(rows, AMX_ROWS), lower ? rows - AMX_ROWS : 0, DN_LANES});
        wgrad_args part = *g;
        for (size_t left = g->pixels; left > 0; left -= part.pixels) {
            part.pixels = left < most ? left : most;
            ISA(wgrad_inputs)(&t, &part, taps, c, lower);
            part.x += part.pixels;
            part.dy += part.pixels * DN_LANES;
        }
    }
    amx_release(&t);
}

/* The tile products of a square, on zeros. */
static double ISA(peak)(size_t rounds)
{
    amx_tiles t = {0};
    amx_use(&t, (amx_shape){AMX_ROWS, AMX_ROWS, DN_LANES}); /* clears them */
    for (size_t r = 0; r < rounds; r++) {
        amx_dot(&t, 0, 4, 6);
        amx_dot(&t, 1, 4, 7);
        amx_dot(&t, 2, 5, 6);
        amx_dot(&t, 3, 5, 7);
    }
    amx_release(&t);
    return 2.0 * SQUARE * SQUARE * STEP * (double)rounds;
}
