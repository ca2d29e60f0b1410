/*
 * The kernels in GCC/Clang vector types, compiled once per instruction set:
 *
 *     DN_ISA    the name of the instance
 *     DN_VL     floats in a register: 8 or 16
 *     DN_LEVEL  the table's dn_level
 *
 * The code uses only ordinary `*` and `+`, which the compiler contracts to fused multiply-adds
 * (gcc: -ffp-contract=fast, clang: =on). A product is in the same expression as its addition, which
 * is as far as clang contracts, unless a mask separates them; and no addition has two products as
 * operands. So there is only one way to contract each, and every sum has one order that depends on
 * the shape (dn/kernels.h): all instances give the same bits with every compiler.
 */
#include "tables.h"
#include "vector_types.h"

#include <string.h>

enum { HALVES = DN_LANES / DN_VL }; /* registers of DN_LANES logical lanes */

typedef words mask; /* all bits of a lane, or none */
typedef int32_t int_mask __attribute__((vector_size(4 * DN_VL)));
typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));

INLINE void store_bf16(uint16_t *p, vec v)
{
    *(half_words_in_memory *)p = upper_of(round_to_upper((words)v));
}

INLINE vec splat(float x)
{
    return x - (vec){0};
}

/* g where v is above 0 or NaN, else 0. */
INLINE vec where_open(vec v, vec g)
{
#if DN_VL == 16 && defined(__AVX512F__) /* gcc 12 expands the mask otherwise */
    const __mmask16 open = _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NLE_UQ);
    return (vec)_mm512_maskz_mov_ps(open, (__m512)g);
#else
    return (vec)((mask)g & ~(mask)(v <= (vec){0}));
#endif
}

/* max(0, v) that keeps NaN, so that divergence shows in the loss. */
INLINE vec relu(vec v)
{
    return where_open(v, v);
}

/* All bits set in the lanes below `count` of register `half` of DN_LANES lanes. */
INLINE mask lanes_below(int half, int count)
{
    int_mask lane;
    for (int i = 0; i < DN_VL; i++)
        lane[i] = half * DN_VL + i;
    return (mask)(lane < count);
}

/* Merges lanes l and l+8. */
INLINE vec8 sum_halves(const vec a[HALVES])
{
#if DN_VL == 16
    return LOW(a[0]) + HIGH(a[0]);
#else
    return a[0] + a[1];
#endif
}

/* The sums of four accumulators; merges lanes l and l+8, then l+4, l+2, l+1. */
INLINE vec4 sum4(const vec a[HALVES], const vec b[HALVES], const vec c[HALVES], const vec d[HALVES])
{
    const vec8 eight[4] = {sum_halves(a), sum_halves(b), sum_halves(c), sum_halves(d)};
    vec4 four[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        four[i] = __builtin_shufflevector(eight[i], eight[i], 0, 1, 2, 3) +
                  __builtin_shufflevector(eight[i], eight[i], 4, 5, 6, 7);
    const vec4 ab = __builtin_shufflevector(four[0], four[1], 0, 1, 4, 5) +
                    __builtin_shufflevector(four[0], four[1], 2, 3, 6, 7);
    const vec4 cd = __builtin_shufflevector(four[2], four[3], 0, 1, 4, 5) +
                    __builtin_shufflevector(four[2], four[3], 2, 3, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) +
           __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

#include "vector_products.h"

/* ---- kernels on maps ---- */

enum { PREFETCH_ROWS = 2 }; /* prefetch distance in rows: one row ahead would arrive too late */

/* Zeroes `count` floats, and up to a register more, which the caller writes next; returns the end.
 */
INLINE float *clear(float *p, size_t count)
{
    for (size_t i = 0; i < count; i += DN_VL)
        store(p + i, (vec){0});
    return p + count;
}

/* A channel's part of dn_norm_grad in registers. */
typedef struct norm_row {
    vec scale, shift, mean, gamma;
    int accumulate;
} norm_row;

/* A channel's two sums, lane by lane. */
typedef struct lane_sums {
    vec sum[HALVES], moment[HALVES];
} lane_sums;

INLINE norm_row norm_row_of(const dn_norm_grad *a, int c)
{
    return (norm_row){splat(a->scale[c]), splat(a->shift[c]), splat(a->mean[c]), splat(a->gamma[c]),
                      a->accumulate};
}

INLINE void store_lane_sums(const dn_norm_grad *a, int c, const lane_sums *lanes)
{
    const vec zero[HALVES] = {{0}};
    const vec4 sums = sum4(lanes->sum, lanes->moment, zero, zero);
    a->sums[2 * c] = sums[0];
    a->sums[2 * c + 1] = sums[1];
}

#define ELEMENT     float
#define NAMED(name) ISA(name##_fp32)
#define LOAD(p)     load(p)
#define STORE(p, v) store(p, v)
#include "vector_maps.h"

#define ELEMENT     uint16_t
#define NAMED(name) ISA(name##_bf16)
#define LOAD(p)     load_bf16(p)
#define STORE(p, v) store_bf16(p, v)
#include "vector_maps.h"

#include "vector_stride.h"

#include "vector_winograd.h"

static void ISA(bandwidth_read)(const float *x, size_t n)
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

static void ISA(bandwidth_scale)(float *x, size_t n, float by)
{
    for (size_t i = 0; i + DN_VL <= n; i += DN_VL)
        store(x + i, load(x + i) * by);
}

/* NAME_fp32 and NAME_bf16 are NAMED(NAME) of vector_maps.h. */
const dn_kernels ISA(dn_kernels) = {
    .name = ISA_NAME,
    .level = DN_LEVEL,
    .products = {[DN_FP32] = PRODUCTS(.dgrad_norm_relu = ISA(dgrad_norm_relu_fp32)),
                 [DN_BF16] = PRODUCTS(.dgrad_norm_relu = ISA(dgrad_norm_relu_bf16))},
    .winograd = &winograd,
    .on_maps = {[DN_FP32] = ON_MAPS(fp32), [DN_BF16] = ON_MAPS(bf16)},
    .stride = STRIDE,
    .bandwidth = {.read = ISA(bandwidth_read), .scale = ISA(bandwidth_scale)},
};
