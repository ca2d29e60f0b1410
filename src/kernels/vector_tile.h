/*
 * Matrix products in register tiles, included by vector_products.h and bf16_dot.h, which define
 *
 *     factor, factors           a float or a pair of bf16, and a register of them
 *     PER_FACTOR                multiplications a factor: 1 or 2
 *     load_factors(p)           a register from memory
 *     multiply_add(sums, a, b)  sums + a * b lane by lane, the factor `a` broadcast
 *     gemm_tap                  declared below
 *
 * A tile of gemm is MR outputs x NV registers of pixels; per input and tap, NV loads and MR
 * broadcasts feed MR * NV multiply-adds.
 *
 *         pixels ->                              DN_VL = 16: 12 x 2 = 24 accumulators of 32
 *     w0  [acc00][acc01]                         DN_VL =  8:  6 x 2 = 12 accumulators of 16
 *     w1  [acc10][acc11]
 *     ..      MR rows
 *
 * A tile of wgrad is inputs x registers of outputs; per pixel, it loads each register of packed dy
 * and broadcasts from each row of x. There are tiles of three shapes, so that 16, 32 and 48 outputs
 * all fill the registers:
 *
 *         outputs ->                             DN_VL = 16: 8 x 3, 12 x 2, 12 x 1
 *     x0  [acc00][acc01][acc02]                  DN_VL =  8: 4 x 3,  6 x 2, 12 x 1
 *     x1  [acc10][acc11][acc12]                  the last inputs: 4 x any
 *     ..
 */

#if DN_VL == 16
enum { MR = 12, MR_STEP = 4, NV = 2, WGRAD_WIDE = 8, WGRAD_MIDDLE = 12 };
#else
enum { MR = 6, MR_STEP = 2, NV = 2, WGRAD_WIDE = 4, WGRAD_MIDDLE = 6 };
#endif
enum {
    WGRAD_NARROW = 12,
    WGRAD_FEW = 4,
    TILE_ROWS = 12,
    TILE_VECTORS = 3,
    CHAINS = 8 /* multiply-adds in flight: two ports x four cycles of latency */
};

/* Accumulators; the constants `mr` and `nv` below say how many are used. */
typedef vec tile[TILE_ROWS][TILE_VECTORS];

/* Loads the accumulators, or zeroes them. Rows from `rows` on are 0 and are not stored. */
INLINE void open_tile(tile sums, const int mr, const int nv, int rows, const float *from, size_t ld,
                      int accumulate)
{
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            sums[i][v] =
                accumulate && i < rows ? load(from + (size_t)i * ld + v * DN_VL) : (vec){0};
    }
}

INLINE void close_tile(tile sums, const int mr, const int nv, int rows, float *to, size_t ld)
{
    UNROLL
    for (int i = 0; i < mr; i++) {
        UNROLL
        for (int v = 0; v < nv; v++)
            if (i < rows)
                store(to + (size_t)i * ld + v * DN_VL, sums[i][v]);
    }
}

/* sums[i][v] += the sum over steps k < count of a[i][k * a_step] * the register at b + v * b_vector
 * + k * b_step. */
INLINE void add_products(tile sums, const int mr, const int nv, size_t count,
                         const factor *const a[TILE_ROWS], const size_t a_step, const factor *b,
                         const size_t b_vector, const size_t b_step)
{
    for (size_t k = 0; k < count; k++, b += b_step) {
        factors u[TILE_VECTORS];
        UNROLL
        for (int v = 0; v < nv; v++)
            u[v] = load_factors(b + (size_t)v * b_vector);
        UNROLL
        for (int i = 0; i < mr; i++) {
            UNROLL
            for (int v = 0; v < nv; v++)
                sums[i][v] = multiply_add(sums[i][v], a[i][k * a_step], u[v]);
        }
    }
}

/* ---- gemm ---- */

/* Adds the products of one tap with the pixels at x; returns the next tap's weights. */
INLINE const factor *gemm_tap(tile sums, const int mr, const int nv, const gemm_args *a,
                              const factor *w, const factor *x);

/* Rows of the tile that begins at output `first`: MR, or the remainder rounded up to MR_STEP. If so
 * few rows could not hide the latency of their multiply-adds, the last two tiles get equal sizes
 * instead, unless a boundary of DN_PACK_OUTPUTS separates them. */
INLINE int tile_rows(int outputs, int first)
{
    const int left = outputs - first, leaves_step = left > MR && left <= MR + MR_STEP;
    if (MR_STEP * NV < CHAINS && leaves_step && first % DN_PACK_OUTPUTS + left <= DN_PACK_OUTPUTS)
        return 2 * MR_STEP;
    return left >= MR ? MR : (left + MR_STEP - 1) / MR_STEP * MR_STEP;
}

/* Returns the next tile's weights. */
INLINE const factor *gemm_tile(const int mr, const int nv, const gemm_args *a, const factor *w,
                               int rows, size_t pixel, float *y)
{
    tile sums;
    open_tile(sums, mr, nv, rows, y, a->y_ld, a->accumulate);
    for (int t = 0; t < a->taps; t++)
        w = gemm_tap(sums, mr, nv, a, w, a->x + a->shift[t] + pixel);
    close_tile(sums, mr, nv, rows, y, a->y_ld);
    return w;
}

/* A column of tiles: all outputs over a tile's width of pixels, whose inputs stay in the L1 cache.
 */
INLINE void gemm_column(const int nv, const gemm_args *a, size_t pixel)
{
    const factor *w = a->packed;
    for (int first = 0, mr; first < a->outputs; first += mr) {
        mr = tile_rows(a->outputs, first);
        const int rows = a->outputs - first < mr ? a->outputs - first : mr;
        float *y = a->y + (size_t)first * a->y_ld + pixel;
        if (rows == MR)
            w = gemm_tile(MR, nv, a, w, MR, pixel, y);
        else if (mr == MR)
            w = gemm_tile(MR, nv, a, w, rows, pixel, y);
        else if (mr == 2 * MR_STEP)
            w = gemm_tile(2 * MR_STEP, nv, a, w, rows, pixel, y);
        else
            w = gemm_tile(MR_STEP, nv, a, w, rows, pixel, y);
    }
}

static void ISA(gemm_loops)(const gemm_args *a)
{
    size_t p = 0;
    for (; p + NV * DN_VL <= a->pixels; p += NV * DN_VL)
        gemm_column(NV, a, p);
    for (; p < a->pixels; p += DN_VL)
        gemm_column(1, a, p);
}

/* ---- wgrad ---- */

/* `mr` inputs starting at `first` x `nv` registers of outputs. Rows after the last input repeat it
 * and are not stored. */
INLINE void wgrad_tile(const int mr, const int nv, const wgrad_args *g, int first)
{
    const int rows = g->inputs - first < mr ? g->inputs - first : mr;
    float *const dw = g->dw + (size_t)first * g->dw_ld;
    const factor *x[TILE_ROWS];
    tile sums;
    UNROLL
    for (int i = 0; i < mr; i++)
        x[i] = g->x + (size_t)(first + (i < rows ? i : rows - 1)) * g->x_ld;
    open_tile(sums, mr, nv, rows, dw, g->dw_ld, 1);
    add_products(sums, mr, nv, g->pixels, x, 1, g->dy, g->column_stride, DN_VL);
    close_tile(sums, mr, nv, rows, dw, g->dw_ld);
}

/* A column of tiles: all inputs x `nv` registers of outputs, the last few inputs in a small tile.
 */
INLINE void wgrad_column(const int mr, const int nv, const wgrad_args *g)
{
    int c = 0;
    for (; g->inputs - c > WGRAD_FEW; c += mr)
        wgrad_tile(mr, nv, g, c);
    if (c < g->inputs)
        wgrad_tile(WGRAD_FEW, nv, g, c);
}

static void ISA(wgrad_loops)(wgrad_args g)
{
    const int vectors = (int)(g.dw_ld / DN_VL);
    for (int v = 0, wide; v < vectors; v += wide) {
        const int left = vectors - v;
        wide = left == 3 || left > 4 ? 3 : left > 1 ? 2 : 1;
        if (wide == 3)
            wgrad_column(WGRAD_WIDE, 3, &g);
        else if (wide == 2)
            wgrad_column(WGRAD_MIDDLE, 2, &g);
        else
            wgrad_column(WGRAD_NARROW, 1, &g);
        g.dy += (size_t)wide * g.column_stride;
        g.dw += wide * DN_VL;
    }
}

/* Runs as many independent chains of multiply-adds as a tile of gemm has. */
static double ISA(peak)(size_t rounds)
{
    const volatile factor none = 0;
    const factor a = none;
    const factors b = a - (factors){0};
    vec sums[MR * NV];
    UNROLL
    for (int i = 0; i < MR * NV; i++)
        sums[i] = (float)i - (vec){0};
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 32
        for (int i = 0; i < MR * NV; i++)
            sums[i] = multiply_add(sums[i], a, b);
    }
    vec sum = sums[0];
    for (int i = 1; i < MR * NV; i++)
        sum += sums[i];
    volatile float sink = sum[0];
    (void)sink;
    return 2.0 * PER_FACTOR * MR * NV * DN_VL * (double)rounds;
}
