/*
 * The kernels in GCC/Clang vector types, compiled once per instruction set:
 *
 *     DN_TABLE  name of the table        DN_TABLE_NAME  its printed name
 *     DN_VL     floats in a register: 8 or 16
 *
 * Only ordinary `*` and `+` are used, and the compiler contracts them to fused multiply-adds
 * (-ffp-contract=fast). No addition has two products as operands, so there is one way to contract
 * each, and every sum has one order set by the shape: see dn/kernels.h. Hence all instances agree
 * to the bit.
 *
 * Register tiles. Convolution: MR outputs x NV registers of pixels; per input and tap, NV loads
 * and MR broadcasts feed MR * NV multiply-adds.
 *
 *         pixels ->                              VL = 16: 12 x 2 = 24 accumulators of 32
 *     w0  [acc00][acc01]                         VL =  8:  6 x 2 = 12 accumulators of 16
 *     w1  [acc10][acc11]
 *     ..      MR rows
 *
 * Weight gradient: MI output rows x NJ input rows, each accumulator DN_LANES logical lanes along
 * the pixels: one register of 16 (6 x 4 of them), or two of 8, one half after the other (3 x 4).
 * MI + NJ loads feed MI * NJ multiply-adds.
 */
#include "sgd.h"
#include "tables.h"

#include <stdint.h>
#include <string.h>

#if DN_VL == 16
enum { MR = 12, MR_STEP = 4, NV = 2, MI = 6, NJ = 4 };
#elif DN_VL == 8
enum { MR = 6, MR_STEP = 2, NV = 2, MI = 3, NJ = 4 };
#else
#error "DN_VL must be 8 or 16"
#endif

enum { HALVES = DN_LANES / DN_VL }; /* registers of DN_LANES logical lanes */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(4 * DN_VL)));
typedef uint32_t mask __attribute__((vector_size(4 * DN_VL)));
typedef int32_t int_mask __attribute__((vector_size(4 * DN_VL)));
typedef float vec_in_memory __attribute__((vector_size(4 * DN_VL), aligned(4), may_alias));
typedef uint16_t half_mask __attribute__((vector_size(2 * DN_VL)));
typedef uint16_t half_mask_in_memory __attribute__((vector_size(2 * DN_VL), aligned(2), may_alias));
typedef float vec4 __attribute__((vector_size(16)));
typedef float vec4_in_memory __attribute__((vector_size(16), aligned(4), may_alias));
typedef float vec8 __attribute__((vector_size(32)));

INLINE vec load(const float *p)
{
    return *(const vec_in_memory *)p;
}

INLINE void store(float *p, vec v)
{
    *(vec_in_memory *)p = v;
}

/* bf16 is the upper half of fp32. */
INLINE vec load_bf16(const uint16_t *p)
{
    const half_mask bits = *(const half_mask_in_memory *)p;
    return (vec)(__builtin_convertvector(bits, mask) << 16);
}

/* Rounds to nearest, ties to even. */
INLINE void store_bf16(uint16_t *p, vec v)
{
    const mask bits = (mask)v, odd = (bits >> 16) & 1;
    *(half_mask_in_memory *)p = __builtin_convertvector((bits + 0x7fff + odd) >> 16, half_mask);
}

INLINE vec splat(float x)
{
    return x - (vec){0};
}

/* max(0, v) that keeps NaN, so that a diverged run shows in the loss. */
INLINE vec relu(vec v)
{
    return (vec)((mask)v & ~(mask)(v <= (vec){0}));
}

/* All bits set in the lanes, of the half-th register of DN_LANES, that are below `count`. */
INLINE mask lanes_below(int half, int count)
{
    int_mask lane;
    for (int i = 0; i < DN_VL; i++)
        lane[i] = half * DN_VL + i;
    return (mask)(lane < count);
}

/* The sums of four accumulators; lanes merge l with l+8, then l+4, l+2, l+1. */
INLINE vec4 sum4(const vec a[HALVES], const vec b[HALVES], const vec c[HALVES], const vec d[HALVES])
{
#if DN_VL == 16
#define LANES(v, w, i, j)                                                                          \
    __builtin_shufflevector(v, w, i, i + 1, i + 2, i + 3, j, j + 1, j + 2, j + 3, i + 16, i + 17,  \
                            i + 18, i + 19, j + 16, j + 17, j + 18, j + 19)
    const vec ab = LANES(a[0], b[0], 0, 4) + LANES(a[0], b[0], 8, 12); /* 8 lanes of each */
    const vec cd = LANES(c[0], d[0], 0, 4) + LANES(c[0], d[0], 8, 12);
    const vec four = LANES(ab, cd, 0, 8) + LANES(ab, cd, 4, 12); /* a, b, c, d: 4 lanes of each */
    const vec two = four + __builtin_shufflevector(four, four, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9,
                                                   14, 15, 12, 13);
    const vec one = two + __builtin_shufflevector(two, two, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10,
                                                  13, 12, 15, 14);
    return __builtin_shufflevector(one, one, 0, 4, 8, 12);
#else
    const vec *const in[4] = {a, b, c, d};
    vec4 q[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const vec8 eight = in[i][0] + in[i][1];
        q[i] = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
               __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    }
    const vec4 ab = __builtin_shufflevector(q[0], q[1], 0, 1, 4, 5) +
                    __builtin_shufflevector(q[0], q[1], 2, 3, 6, 7);
    const vec4 cd = __builtin_shufflevector(q[2], q[3], 0, 1, 4, 5) +
                    __builtin_shufflevector(q[2], q[3], 2, 3, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) +
           __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
#endif
}

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

/* One register tile: `mr` and `nv` are constants where this is inlined. */
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
    for (int t = 0; t < taps->count; t++) {
        const float *p = x + taps->shift[t];
        for (int c = 0; c < inputs; c++, p += x_ld, w += mr) {
            vec b[NV];
            UNROLL
            for (int v = 0; v < nv; v++)
                b[v] = load(p + v * DN_VL);
            UNROLL
            for (int i = 0; i < mr; i++) {
                UNROLL
                for (int v = 0; v < nv; v++)
                    acc[i][v] += w[i] * b[v];
            }
        }
    }
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

/* One register of pixels of every row from pixel `p` on; lanes that `used` leaves out count as 0.
 */
INLINE void weight_grad_step(vec acc[MI][NJ], const float *const a[MI], const float *const b[NJ],
                             size_t p, const mask *used)
{
    vec u[NJ];
    UNROLL
    for (int j = 0; j < NJ; j++) {
        u[j] = load(b[j] + p);
        if (used != NULL)
            u[j] = (vec)((mask)u[j] & *used);
    }
    UNROLL
    for (int i = 0; i < MI; i++) {
        vec v = load(a[i] + p);
        if (used != NULL)
            v = (vec)((mask)v & *used);
        UNROLL
        for (int j = 0; j < NJ; j++)
            acc[i][j] += v * u[j];
    }
}

/* dw(o, c) += sum over pixels of dy(o, p) * x(c, p) for `outputs` <= MI and `inputs` <= NJ rows;
 * rows past the last repeat it and are not stored. Halves of the lanes go one after the other, so
 * that a tile fills the registers. */
INLINE void weight_grad_tile(int outputs, int inputs, size_t n, const float *dy, size_t dy_ld,
                             const float *x, size_t x_ld, float *dw, size_t dw_ld)
{
    const float *a[MI], *b[NJ];
    vec sums[MI][4][HALVES] = {{{{0}}}};
    const size_t whole = n / DN_LANES * DN_LANES;
    for (int h = 0; h < HALVES; h++) {
        UNROLL
        for (int i = 0; i < MI; i++)
            a[i] = dy + (size_t)(i < outputs ? i : outputs - 1) * dy_ld + h * DN_VL;
        UNROLL
        for (int j = 0; j < NJ; j++)
            b[j] = x + (size_t)(j < inputs ? j : inputs - 1) * x_ld + h * DN_VL;
        vec acc[MI][NJ] = {{{0}}};
        for (size_t p = 0; p < whole; p += DN_LANES)
            weight_grad_step(acc, a, b, p, NULL);
        const mask used = lanes_below(h, (int)(n - whole));
        if (whole < n)
            weight_grad_step(acc, a, b, whole, &used);
        UNROLL
        for (int i = 0; i < MI; i++) {
            UNROLL
            for (int j = 0; j < NJ; j++)
                sums[i][j][h] = acc[i][j];
        }
    }
    UNROLL
    for (int i = 0; i < MI; i++) {
        const vec4 sum = sum4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
        float *to = dw + (size_t)i * dw_ld;
        if (i < outputs && inputs == NJ)
            *(vec4_in_memory *)to += sum;
        else if (i < outputs)
            for (int j = 0; j < inputs; j++)
                to[j] += sum[j];
    }
}

static void conv_weight_grad(int outputs, int inputs, const dn_taps *taps, size_t n,
                             const float *dy, size_t dy_ld, const float *x, size_t x_ld, float *dw)
{
    for (int t = 0; t < taps->count; t++, dw += (size_t)outputs * (size_t)inputs)
        for (int c = 0; c < inputs; c += NJ) /* NJ rows of x stay in the first-level cache */
            for (int o = 0; o < outputs; o += MI)
                weight_grad_tile(outputs - o < MI ? outputs - o : MI,
                                 inputs - c < NJ ? inputs - c : NJ, n, dy + (size_t)o * dy_ld,
                                 dy_ld, x + (size_t)c * x_ld + taps->shift[t], x_ld,
                                 dw + (size_t)o * (size_t)inputs + c, (size_t)inputs);
}

/* ---- kernels on maps ---- */

/* The even and the odd lanes of two registers, and registers from such lanes in turn. */
#if DN_VL == 16
#define EVEN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b)                                                                                  \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ZIP_LOW(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b)                                                                             \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#else
#define EVEN(a, b)     __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b)      __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#endif

/* Clears `count` floats, and up to a register more that the caller writes next; returns the end. */
INLINE float *clear(float *p, size_t count)
{
    for (size_t i = 0; i < count; i += DN_VL)
        store(p + i, (vec){0});
    return p + count;
}

#define ELEMENT     float
#define NAMED(name) name##_fp32
#define LOAD(p)     load(p)
#define STORE(p, v) store(p, v)
#include "vector_maps.h"

#define ELEMENT     uint16_t
#define NAMED(name) name##_bf16
#define LOAD(p)     load_bf16(p)
#define STORE(p, v) store_bf16(p, v)
#include "vector_maps.h"

#include "vector_stride.h"

#include "vector_winograd.h"

#include "vector_peak.h"

const dn_kernels DN_TABLE = {
    .name = DN_TABLE_NAME,
    .products = {[DN_FP32] = {packed_floats, pack, conv, conv_weight_grad, peak, &winograd},
                 [DN_BF16] = {packed_floats, pack, conv, conv_weight_grad, peak, &winograd}},
    .maps = {[DN_FP32] = {norm_relu_fp32, affine_fp32, store_map_fp32, moments_fp32,
                          norm_relu_grad_fp32},
             [DN_BF16] = {norm_relu_bf16, affine_bf16, store_map_bf16, moments_bf16,
                          norm_relu_grad_bf16}},
    .stride = {gather, max_pool, max_pool_grad, average_pool, average_pool_grad},
    .stream = {stream_read, stream_scale},
    .sgd = sgd,
};
