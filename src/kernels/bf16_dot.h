/*
 * The loops of bf16.c in dot products of pairs, lane by lane, in the tiles of vector_tile.h: gemm
 * takes two inputs at a time, wgrad two pixels.
 */
typedef words factors;

enum { PER_FACTOR = 2 };

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
    PACK_ROWS = MR, /* outputs of a packed tile */
    PAIR_STEP = 1   /* pairs of inputs are padded to a multiple of it */
};

INLINE const factor *gemm_tap(tile sums, const int mr, const int nv, const gemm_args *a,
                              const factor *w, const factor *x)
{
    for (int first = 0; first < a->rows; first += DN_LANES, w += PACK_ROWS * DN_LANES) {
        const int some = a->rows - first < DN_LANES ? a->rows - first : DN_LANES;
        const factor *rows[TILE_ROWS];
        UNROLL
        for (int i = 0; i < mr; i++)
            rows[i] = w + i * DN_LANES;
        add_products(sums, mr, nv, (size_t)some, rows, 1, x, DN_VL, WINDOW);
        x += some * WINDOW;
    }
    return w;
}
