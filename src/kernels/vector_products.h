/*
 * The matrix products in the vector types of vector.c, which includes this file.
 *
 * Convolution: MR outputs x NV registers of pixels; per input and tap, NV loads and MR broadcasts
 * feed MR * NV multiply-adds.
 *
 *         pixels ->                              VL = 16: 12 x 2 = 24 accumulators of 32
 *     w0  [acc00][acc01]                         VL =  8:  6 x 2 = 12 accumulators of 16
 *     w1  [acc10][acc11]
 *     ..      MR rows
 *
 * Weight gradient: inputs x registers of outputs; per pixel, a load of each register of packed dy
 * and a broadcast from each row of x. The same sums in tiles of three shapes, so that 16, 32 and 48
 * outputs fill the registers:
 *
 *         outputs ->                             VL = 16: 8 x 3, 12 x 2, 12 x 1
 *     x0  [acc00][acc01][acc02]                  VL =  8: 4 x 3,  6 x 2, 12 x 1
 *     x1  [acc10][acc11][acc12]                  the last inputs: 4 x any
 *     ..
 */

#if DN_VL == 16
enum { MR = 12, MR_STEP = 4, NV = 2, GRAD_WIDE = 8, GRAD_MIDDLE = 12 };
#else
enum { MR = 6, MR_STEP = 2, NV = 2, GRAD_WIDE = 4, GRAD_MIDDLE = 6 };
#endif
enum { GRAD_NARROW = 12, GRAD_FEW = 4, GRAD_VECTORS = 3 };

/* ---- convolution ---- */

/* Rows of the tile that begins at output `first`: MR, or what is left rounded up to MR_STEP. */
INLINE int tile_rows(int outputs, int first)
{
    const int left = outputs - first;
    return left >= MR ? MR : (left + MR_STEP - 1) / MR_STEP * MR_STEP;
}

static size_t packed_floats(int outputs, int inputs, int taps)
{
    const int full = outputs / MR * MR;
    const int rows = full < outputs ? full + tile_rows(outputs, full) : full;
    return (size_t)rows * (size_t)inputs * (size_t)taps;
}

/* Packed form: per tile (taps, inputs, tile rows); rows past the last output are 0. */
static void pack(float *packed, const dn_weights *weights)
{
    for (int first = 0; first < weights->outputs; first += MR) {
        const int rows = tile_rows(weights->outputs, first);
        for (int t = 0; t < weights->taps; t++)
            for (int c = 0; c < weights->inputs; c++)
                for (int o = first; o < first + rows; o++)
                    *packed++ = o < weights->outputs
                                    ? weights->w[o * weights->out_step + c * weights->in_step + t]
                                    : 0;
    }
}

/* acc += the products of one register tile: `mr` and `nv` are constants where this is inlined. */
INLINE void conv_products(vec acc[MR][NV], const int mr, const int nv, const float *w, int inputs,
                          const float *x, size_t x_ld)
{
    for (int c = 0; c < inputs; c++, x += x_ld, w += mr) {
        vec b[NV];
        UNROLL
        for (int v = 0; v < nv; v++)
            b[v] = load(x + v * DN_VL);
        UNROLL
        for (int i = 0; i < mr; i++) {
            UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] += w[i] * b[v];
        }
    }
}

INLINE void conv_tile(const int mr, const int nv, const float *w, int rows, int inputs,
                      const dn_taps *taps, const float *x, size_t x_ld, float *y, size_t y_ld,
                      int accumulate)
{
    vec acc[MR][NV];
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = accumulate && i < rows ? load(y + (size_t)i * y_ld + v * DN_VL) : (vec){0};
    }
    for (int t = 0; t < taps->count; t++, w += inputs * mr)
        conv_products(acc, mr, nv, w, inputs, x + taps->shift[t], x_ld);
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            if (i < rows)
                store(y + (size_t)i * y_ld + v * DN_VL, acc[i][v]);
    }
}

/* All outputs of one tile's width of pixels, so that its inputs stay in the first-level cache. */
INLINE void conv_column(const int nv, const float *w, int outputs, int inputs, const dn_taps *taps,
                        const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    for (int first = 0; first < outputs; first += MR) {
        const int rows = outputs - first < MR ? outputs - first : MR;
        const int mr = tile_rows(outputs, first);
        float *to = y + (size_t)first * y_ld;
        if (rows == MR)
            conv_tile(MR, nv, w, MR, inputs, taps, x, x_ld, to, y_ld, accumulate);
        else if (mr == MR)
            conv_tile(MR, nv, w, rows, inputs, taps, x, x_ld, to, y_ld, accumulate);
        else if (mr == 2 * MR_STEP)
            conv_tile(2 * MR_STEP, nv, w, rows, inputs, taps, x, x_ld, to, y_ld, accumulate);
        else
            conv_tile(MR_STEP, nv, w, rows, inputs, taps, x, x_ld, to, y_ld, accumulate);
        w += (size_t)mr * (size_t)inputs * (size_t)taps->count;
    }
}

static void conv(const float *packed, int outputs, int inputs, const dn_taps *taps, size_t n,
                 const float *x, size_t x_ld, float *y, size_t y_ld, int accumulate)
{
    const size_t padded = dn_round_lanes(n);
    size_t p = 0;
    for (; p + NV * DN_VL <= padded; p += NV * DN_VL)
        conv_column(NV, packed, outputs, inputs, taps, x + p, x_ld, y + p, y_ld, accumulate);
    for (; p < padded; p += DN_VL)
        conv_column(1, packed, outputs, inputs, taps, x + p, x_ld, y + p, y_ld, accumulate);
}

/* ---- weight gradient ---- */

enum { GRAD_PIXELS = 128 }; /* of a chunk whose operands stay in the first-level cache */

static size_t packed_grad_floats(int outputs, size_t n)
{
    return dn_round_lanes((size_t)outputs) * dn_round_lanes(n);
}

/* Word j of register i becomes word i of register j: each round puts the words of registers i and
 * i + DN_VL / 2 by turns. */
INLINE void transpose(vec m[DN_VL])
{
    UNROLL
    for (int round = 1; round < DN_VL; round *= 2) {
        vec to[DN_VL];
        UNROLL
        for (int i = 0; i < DN_VL / 2; i++) {
            to[2 * i] = ZIP_LOW(m[i], m[i + DN_VL / 2]);
            to[2 * i + 1] = ZIP_HIGH(m[i], m[i + DN_VL / 2]);
        }
        UNROLL
        for (int i = 0; i < DN_VL; i++)
            m[i] = to[i];
    }
}

/* Packed form: per DN_VL outputs (pixels and pad, outputs); past the last output are zeros. */
static void pack_grad(float *packed, int outputs, size_t n, const float *dy, size_t dy_ld)
{
    const size_t padded = dn_round_lanes(n), panels = dn_round_lanes((size_t)outputs);
    for (size_t o = 0; o < panels; o += DN_VL) {
        for (size_t p = 0; p < padded; p += DN_VL, packed += DN_VL * DN_VL) {
            vec m[DN_VL];
            UNROLL
            for (int i = 0; i < DN_VL; i++) {
                const size_t row = o + (size_t)i;
                m[i] = row < (size_t)outputs ? load(dy + row * dy_ld + p) : (vec){0};
            }
            transpose(m);
            UNROLL
            for (int i = 0; i < DN_VL; i++)
                store(packed + i * DN_VL, m[i]);
        }
    }
}

/* One chunk of pixels: packed dy, panels `panel` floats apart, and rows of x. */
typedef struct grad_chunk {
    const float *dy, *x;
    size_t panel, x_ld, pixels;
    float *dw;
    size_t dw_ld;
    int inputs;
} grad_chunk;

/* Adds to `nv` registers of outputs of `ni` inputs, from input `first` on; rows past the last input
 * repeat it and are not stored. */
INLINE void grad_tile(const int nv, const int ni, const grad_chunk *g, int first)
{
    const int rows = g->inputs - first < ni ? g->inputs - first : ni;
    float *const dw = g->dw + (size_t)first * g->dw_ld;
    const float *x[GRAD_NARROW];
    vec acc[GRAD_NARROW][GRAD_VECTORS];
    UNROLL
    for (int i = 0; i < ni; i++) {
        x[i] = g->x + (size_t)(first + (i < rows ? i : rows - 1)) * g->x_ld;
        UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = i < rows ? load(dw + (size_t)i * g->dw_ld + v * DN_VL) : (vec){0};
    }
    for (size_t p = 0; p < g->pixels; p++) {
        vec u[GRAD_VECTORS];
        UNROLL
        for (int v = 0; v < nv; v++)
            u[v] = load(g->dy + (size_t)v * g->panel + p * DN_VL);
        UNROLL
        for (int i = 0; i < ni; i++) {
            UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] += x[i][p] * u[v];
        }
    }
    UNROLL
    for (int i = 0; i < ni; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            if (i < rows)
                store(dw + (size_t)i * g->dw_ld + v * DN_VL, acc[i][v]);
    }
}

/* All inputs of some registers of outputs; the last few in a small tile. */
INLINE void grad_column(const int nv, const int ni, const grad_chunk *g)
{
    int c = 0;
    for (; g->inputs - c > GRAD_FEW; c += ni)
        grad_tile(nv, ni, g, c);
    if (c < g->inputs)
        grad_tile(nv, GRAD_FEW, g, c);
}

static void grad_block(grad_chunk g, int vectors)
{
    for (int v = 0, wide; v < vectors; v += wide) {
        const int left = vectors - v;
        wide = left == 3 || left > 4 ? 3 : left > 1 ? 2 : 1;
        grad_chunk part = g;
        part.dy += (size_t)v * g.panel;
        part.dw += v * DN_VL;
        if (wide == 3)
            grad_column(3, GRAD_WIDE, &part);
        else if (wide == 2)
            grad_column(2, GRAD_MIDDLE, &part);
        else
            grad_column(1, GRAD_NARROW, &part);
    }
}

static void conv_weight_grad(int outputs, int inputs, const dn_taps *taps, size_t n,
                             const float *packed, const float *x, size_t x_ld, float *dw)
{
    const size_t padded = dn_round_lanes((size_t)outputs);
    for (int t = 0; t < taps->count; t++, dw += (size_t)inputs * padded)
        for (size_t p = 0; p < n; p += GRAD_PIXELS)
            grad_block((grad_chunk){.dy = packed + p * DN_VL,
                                    .x = x + taps->shift[t] + p,
                                    .panel = dn_round_lanes(n) * DN_VL,
                                    .x_ld = x_ld,
                                    .pixels = n - p < GRAD_PIXELS ? n - p : GRAD_PIXELS,
                                    .dw = dw,
                                    .dw_ld = padded,
                                    .inputs = inputs},
                       (int)padded / DN_VL);
}
