/*
 * The loops of bf16.c as dot products of pairs, lane by lane, in the tiles of vector_tile.h: gemm
 * takes two inputs at a time, wgrad two pixels.
 */
typedef words factors;

INLINE words load_factors(const factor *p)
{
    return load_words(p);
}

INLINE vec multiply_add(vec sums, uint32_t a, words b)
{
    return dot(sums, a - (words){0}, b);
}

#include "vector_tile.h"

enum {
    PACK_ROWS = MR,    /* outputs of a packed tile */
    WGRAD_PAIRS = 128, /* of pixels, whose operands fit in the L1 cache */
    WGRAD_INPUTS = 32  /* likewise */
};

/* Steps are adjacent; the last one has what remains. */
static int step_pairs(int pairs)
{
    (void)pairs;
    return DN_LANES;
}

static int first_pair(int pairs, int length, int step)
{
    (void)pairs;
    return step * length;
}

INLINE const factor *gemm_tap(tile sums, const int mr, const int nv, const gemm_args *a,
                              const factor *w, const factor *x)
{
    for (int first = 0; first < a->rows; first += DN_LANES, w += PACK_ROWS * DN_LANES) {
        const int some = a->rows - first < DN_LANES ? a->rows - first : DN_LANES;
        const factor *rows[TILE_ROWS];
        UNROLL
        for (int i = 0; i < mr; i++)
            rows[i] = w + i * DN_LANES;
        add_products(sums, mr, nv, (size_t)some, rows, 1, x, DN_VL, a->x_ld);
        x += (size_t)some * a->x_ld;
    }
    return w;
}

/* WGRAD_INPUTS inputs at a time, so that all taps find their pixels in the cache. */
static void ISA(wgrad_taps)(const wgrad_args *g, const dn_taps *taps)
{
    const size_t matrix = (size_t)g->inputs * g->dw_ld;
    for (int c = 0; c < g->inputs; c += WGRAD_INPUTS)
        for (int t = 0; t < taps->count; t++)
            for (size_t p = 0; p < g->pixels; p += WGRAD_PAIRS) {
                wgrad_args part = *g;
                const uint16_t *x = (const uint16_t *)(g->x + (size_t)c * g->x_ld);
                part.inputs = g->inputs - c < WGRAD_INPUTS ? g->inputs - c : WGRAD_INPUTS;
                part.x = (const factor *)(x + taps->shift[t]) + p;
                part.dy = g->dy + p * DN_LANES;
                part.pixels = g->pixels - p < WGRAD_PAIRS ? g->pixels - p : WGRAD_PAIRS;
                part.dw = g->dw + (size_t)t * matrix + (size_t)c * g->dw_ld;
                ISA(wgrad_loops)(part);
            }
}
