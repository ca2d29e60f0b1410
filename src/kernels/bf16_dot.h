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
 * Weight gradient: MI rows of dy x NJ rows of x, each accumulator 16 lanes along pairs of pixels,
 * which are added up at the end: 6 x 4 = 24 accumulators.
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
    MI = 6,
    NJ = 4
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

typedef float vec8 __attribute__((vector_size(32)));

/* Lane l of the result: the sums of the halves, then quarters, ... of a and b side by side. */
DN_INLINE dn_vec merge8(dn_vec a, dn_vec b)
{
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
                                   31);
}

DN_INLINE dn_vec merge4(dn_vec a, dn_vec b)
{
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                                   31);
}

DN_INLINE dn_vec merge2(dn_vec a, dn_vec b)
{
    return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
           __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30,
                                   31);
}

/* The sums of the lanes of eight registers, in their order. */
DN_INLINE vec8 sum8(const dn_vec a[2][NJ])
{
    const dn_vec s = merge2(merge4(merge8(a[0][0], a[0][1]), merge8(a[0][2], a[0][3])),
                            merge4(merge8(a[1][0], a[1][1]), merge8(a[1][2], a[1][3])));
    return __builtin_shufflevector(s, s, 0, 2, 4, 6, 8, 10, 12, 14) +
           __builtin_shufflevector(s, s, 1, 3, 5, 7, 9, 11, 13, 15);
}

/* dw(o, c) += sum over pixels of dy(o, p) * x(c, p), rows of the two buffers. */
DN_INLINE void grad_tile(int outputs, int inputs, size_t pixels, const uint16_t *dy,
                         const uint16_t *x, float *dw, size_t dw_ld)
{
    dn_vec acc[MI][NJ] = {{{0}}};
    for (size_t p = 0; p < pixels; p += DN_BF16_STEP) {
        dn_words u[NJ];
        DN_UNROLL
        for (int j = 0; j < NJ; j++)
            u[j] = dn_load_words(x + j * DN_BF16_WINDOW + p);
        DN_UNROLL
        for (int i = 0; i < MI; i++) {
            const dn_words a = dn_load_words(dy + i * DN_BF16_WINDOW + p);
            DN_UNROLL
            for (int j = 0; j < NJ; j++)
                acc[i][j] = dn_dot(acc[i][j], a, u[j]);
        }
    }
    DN_UNROLL
    for (int i = 0; i < MI; i += 2) {
        const vec8 sum = sum8(&acc[i]);
        for (int k = 0; k < 2 * NJ; k++)
            if (i + k / NJ < outputs && k % NJ < inputs)
                dw[(size_t)(i + k / NJ) * dw_ld + (size_t)(k % NJ)] += sum[k];
    }
}

static void grad_rows(const dn_bf16_grad *g, int outputs, const uint16_t (*dy)[DN_BF16_WINDOW],
                      const uint16_t (*x)[DN_BF16_WINDOW], float *dw)
{
    for (int t = 0; t < g->taps; t++, dw += g->dw_tap)
        for (int c = 0; c < g->inputs; c += NJ) /* which stay in the first-level cache */
            for (int o = 0; o < outputs; o += MI)
                grad_tile(outputs - o, g->inputs - c, g->pixels, dy[o], x[c] + g->offset[t],
                          dw + (size_t)o * g->dw_ld + c, g->dw_ld);
}

static void grad_block(const dn_bf16_grad *g)
{
    uint16_t dy[DN_BF16_GRAD_OUTPUTS][DN_BF16_WINDOW] __attribute__((aligned(64)));
    uint16_t x[DN_BF16_GRAD_INPUTS][DN_BF16_WINDOW] __attribute__((aligned(64)));
    const size_t room = dn_bf16_room(g->pixels);
    dn_bf16_planar(x[0], (g->inputs + NJ - 1) / NJ * NJ, dn_bf16_room(room + g->reach),
                   g->x + g->first, g->x_ld, g->inputs, g->pixels + g->reach);
    for (int o = 0; o < g->outputs; o += DN_BF16_GRAD_OUTPUTS) {
        const int rows =
            g->outputs - o < DN_BF16_GRAD_OUTPUTS ? g->outputs - o : DN_BF16_GRAD_OUTPUTS;
        dn_bf16_planar(dy[0], (rows + MI - 1) / MI * MI, room, g->dy + (size_t)o * g->dy_ld,
                       g->dy_ld, rows, g->pixels);
        grad_rows(g, rows, dy, x, g->dw + (size_t)o * g->dw_ld);
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
