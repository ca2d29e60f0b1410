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
 */
#include "tables.h"
#include "vector_types.h"

#include <string.h>

enum { HALVES = DN_LANES / DN_VL }; /* registers of DN_LANES logical lanes */

typedef words mask; /* all bits of a lane, or none */
typedef int32_t int_mask __attribute__((vector_size(4 * DN_VL)));
typedef uint16_t half_mask __attribute__((vector_size(2 * DN_VL)));
typedef uint16_t half_mask_in_memory __attribute__((vector_size(2 * DN_VL), aligned(2), may_alias));
typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));

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

#include "vector_products.h"

/* ---- kernels on maps ---- */

enum { ASK_ROWS = 2 }; /* rows ahead that are prefetched: one is too short to be noticed in time */

/* Clears `count` floats, and up to a register more that the caller writes next; returns the end. */
INLINE float *clear(float *p, size_t count)
{
    for (size_t i = 0; i < count; i += DN_VL)
        store(p + i, (vec){0});
    return p + count;
}

/* A channel's part of dn_norm_grad in registers, and the sums of its lanes. */
typedef struct norm_row {
    vec scale, shift, mean, gamma;
    int accumulate;
} norm_row;

typedef struct lane_sums {
    vec sum[HALVES], moment[HALVES];
} lane_sums;

INLINE norm_row norm_row_of(const dn_norm_grad *a, int c)
{
    return (norm_row){splat(a->scale[c]), splat(a->shift[c]), splat(a->mean[c]), splat(a->gamma[c]),
                      a->accumulate};
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

static void stream_read(const float *x, size_t n)
{
    vec sum[4] = {{0}};
    for (size_t i = 0; i + 4 * DN_VL <= n; i += 4 * DN_VL) {
        UNROLL
        for (int j = 0; j < 4; j++)
            sum[j] += load(x + i + j * DN_VL);
    }
    volatile float sink = (sum[0] + sum[1] + sum[2] + sum[3])[0];
    (void)sink;
}

static void stream_scale(float *x, size_t n, float by)
{
    for (size_t i = 0; i + DN_VL <= n; i += DN_VL)
        store(x + i, load(x + i) * by);
}

#define PRODUCTS(fused)                                                                            \
    {                                                                                              \
        .packed_floats = packed_floats, .pack = pack, .gemm = gemm, .dgrad_norm_relu = fused,      \
        .packed_dy_floats = packed_dy_floats, .pack_dy = pack_dy, .wgrad = wgrad, .peak = peak,    \
        .winograd = &winograd                                                                      \
    }

const dn_kernels DN_TABLE = {
    .name = DN_TABLE_NAME,
    .products =
        {[DN_FP32] = PRODUCTS(dgrad_norm_relu_fp32), [DN_BF16] = PRODUCTS(dgrad_norm_relu_bf16)},
    .on_maps = {[DN_FP32] = ON_MAPS(fp32), [DN_BF16] = ON_MAPS(bf16)},
    .stride = {.im2col = im2col,
               .max_pool = max_pool,
               .max_pool_grad = max_pool_grad,
               .average_pool = average_pool,
               .average_pool_grad = average_pool_grad},
    .stream = {.read = stream_read, .scale = stream_scale},
    .optimizers = ISA(dn_optimizers),
};
