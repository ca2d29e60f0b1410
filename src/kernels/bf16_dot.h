/*
 * The loops of bf16.c in dot products of pairs, lane by lane.
 *
 * Convolution: MR outputs x NV registers of pixels, as in vector.c, two input rows a time; per pair
 * and tap, NV loads and MR broadcasts of a pair of weights feed MR * NV dot products.
 *
 *          pixels ->
 *     w0   [acc00][acc01]       12 x 2 = 24 accumulators of 32
 *     w1   [acc10][acc11]
 *     ..   MR rows
 *
 * Weight gradient: inputs x registers of outputs, tiles of 8 x 3, 12 x 2 and 12 x 1, as in
 * vector_products.h, two pixels a time.
 */
#ifndef DN_KERNELS_BF16_DOT_H
#define DN_KERNELS_BF16_DOT_H

#include "bf16.h"

enum {
    PACK_ROWS = 12, /* outputs of a packed tile */
    PAIR_STEP = 1,  /* pairs of inputs are a multiple of it */
    MR = PACK_ROWS,
    MR_STEP = 4,
    NV = 2,
    GRAD_WIDE = 8,
    GRAD_MIDDLE = 12,
    GRAD_NARROW = 12,
    GRAD_FEW = 4,
    GRAD_VECTORS = 3
};

/* One register tile: `mr` and `nv` are constants where this is inlined. */
DN_INLINE void conv_tile(const int mr, const int nv, const dn_bf16_block *b, const uint16_t *w,
                         int rows, size_t pixel, float *y)
{
    dn_vec acc[MR][NV];
    DN_UNROLL
    for (int i = 0; i < mr; i++) {
        DN_UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = b->accumulate && i < rows ? dn_load(y + (size_t)i * b->y_ld + v * DN_LANES)
                                                  : (dn_vec){0};
    }
    for (int t = 0; t < b->taps; t++) {
        const uint32_t *x = b->x[0] + b->offset[t] + pixel;
        for (int first = 0; first < b->pairs; first += DN_LANES, w += PACK_ROWS * DN_BF16_STEP) {
            const int some = b->pairs - first < DN_LANES ? b->pairs - first : DN_LANES;
            for (int k = 0; k < some; k++, x += DN_BF16_WINDOW) {
                dn_words u[NV];
                DN_UNROLL
                for (int v = 0; v < nv; v++)
                    u[v] = dn_load_words(x + v * DN_LANES);
                DN_UNROLL
                for (int i = 0; i < mr; i++) {
                    const dn_words a = dn_splat_pair(w + i * DN_BF16_STEP + 2 * k);
                    DN_UNROLL
                    for (int v = 0; v < nv; v++)
                        acc[i][v] = dn_dot(acc[i][v], a, u[v]);
                }
            }
        }
    }
    DN_UNROLL
    for (int i = 0; i < mr; i++) {
        DN_UNROLL
        for (int v = 0; v < nv; v++)
            if (i < rows)
                dn_store(y + (size_t)i * b->y_ld + v * DN_LANES, acc[i][v]);
    }
}

/* All outputs of one tile's width of pixels, whose inputs stay in the first-level cache. */
DN_INLINE void conv_column(const int nv, const dn_bf16_block *b, size_t pixel)
{
    const uint16_t *w = b->packed;
    for (int first = 0; first < b->outputs; first += MR, w += b->tile) {
        const int rows = b->outputs - first < MR ? b->outputs - first : MR;
        float *y = b->y + (size_t)first * b->y_ld + pixel;
        if (rows == MR)
            conv_tile(MR, nv, b, w, MR, pixel, y);
        else if (rows > 2 * MR_STEP)
            conv_tile(MR, nv, b, w, rows, pixel, y);
        else if (rows > MR_STEP)
            conv_tile(2 * MR_STEP, nv, b, w, rows, pixel, y);
        else
            conv_tile(MR_STEP, nv, b, w, rows, pixel, y);
    }
}

static void conv_block(const dn_bf16_block *b)
{
    size_t p = 0;
    for (; p + NV * DN_LANES <= b->pixels; p += NV * DN_LANES)
        conv_column(NV, b, p);
    for (; p < b->pixels; p += DN_LANES)
        conv_column(1, b, p);
}

/* ---- weight gradient ---- */

/* Adds to `nv` registers of outputs of `ni` inputs, from input `first` on; rows past the last input
 * repeat it and are not stored. */
DN_INLINE void grad_tile(const int nv, const int ni, const dn_bf16_grad *g, int first)
{
    const int rows = g->inputs - first < ni ? g->inputs - first : ni;
    float *const dw = g->dw + (size_t)first * g->dw_ld;
    const uint16_t *x[GRAD_NARROW];
    dn_vec acc[GRAD_NARROW][GRAD_VECTORS];
    DN_UNROLL
    for (int i = 0; i < ni; i++) {
        x[i] = g->x + (first + (i < rows ? i : rows - 1)) * DN_BF16_WINDOW;
        DN_UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = i < rows ? dn_load(dw + (size_t)i * g->dw_ld + v * DN_LANES) : (dn_vec){0};
    }
    for (size_t p = 0; p < g->pairs; p++) {
        dn_words u[GRAD_VECTORS];
        DN_UNROLL
        for (int v = 0; v < nv; v++)
            u[v] = dn_load_words(g->dy + (size_t)v * g->panel + p * DN_LANES);
        DN_UNROLL
        for (int i = 0; i < ni; i++) {
            const dn_words a = dn_splat_pair(x[i] + 2 * p);
            DN_UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] = dn_dot(acc[i][v], a, u[v]);
        }
    }
    DN_UNROLL
    for (int i = 0; i < ni; i++) {
        DN_UNROLL
        for (int v = 0; v < nv; v++)
            if (i < rows)
                dn_store(dw + (size_t)i * g->dw_ld + v * DN_LANES, acc[i][v]);
    }
}

DN_INLINE void grad_column(const int nv, const int ni, const dn_bf16_grad *g)
{
    int c = 0;
    for (; g->inputs - c > GRAD_FEW; c += ni)
        grad_tile(nv, ni, g, c);
    if (c < g->inputs)
        grad_tile(nv, GRAD_FEW, g, c);
}

static void grad_block(dn_bf16_grad g)
{
    const int vectors = (int)(g.dw_ld / DN_LANES);
    for (int v = 0, wide; v < vectors; v += wide) {
        const int left = vectors - v;
        wide = left == 3 || left > 4 ? 3 : left > 1 ? 2 : 1;
        if (wide == 3)
            grad_column(3, GRAD_WIDE, &g);
        else if (wide == 2)
            grad_column(2, GRAD_MIDDLE, &g);
        else
            grad_column(1, GRAD_NARROW, &g);
        g.dy += (size_t)wide * g.panel;
        g.dw += wide * DN_LANES;
    }
}

/* As many chains of dot products as the convolution's tile has. */
static double peak(size_t rounds)
{
    dn_vec acc[MR * NV];
    const uint32_t zero = 0;
    const dn_words a = dn_splat_pair(&zero);
    DN_UNROLL
    for (int i = 0; i < MR * NV; i++)
        acc[i] = (float)i - (dn_vec){0};
    for (size_t r = 0; r < rounds; r++) {
        _Pragma("GCC unroll 32") for (int i = 0; i < MR * NV; i++) acc[i] = dn_dot(acc[i], a, a);
    }
    dn_vec sum = acc[0];
    for (int i = 1; i < MR * NV; i++)
        sum += acc[i];
    volatile float sink = sum[0];
    (void)sink;
    return 4.0 * MR * NV * DN_LANES * (double)rounds;
}

#endif
