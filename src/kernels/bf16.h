/*
 * Operands in bf16: how rows of floats become what a dot product of pairs reads. Included by
 * bf16.c, before the backend.
 *
 *     planar        [row][pixel]                pairs along pixels, for sums over pixels
 *     interleaved   [row / 2][pixel][row % 2]   pairs of rows, for sums over rows
 *
 * A dot product of pairs is lane += a0 * b0 + a1 * b1, products and sums in fp32. It and the
 * conversion are instructions where the compiler was told that they exist, else plain C.
 */
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "dn/kernels.h"

#define DN_VL 16
#include "vector_types.h"

enum {
    STEP = 2 * DN_LANES, /* values in a register, or in a row of an AMX tile */
    WINDOW = 1248,       /* pixels that a buffer's row holds: rows spread over the cache's sets */
    GEMM_INPUTS = 96,    /* rows of x that gemm's buffer holds */
    WGRAD_INPUTS = 32    /* and wgrad's */
};

static inline size_t round_step(size_t n)
{
    return (n + STEP - 1) / STEP * STEP;
}

typedef uint16_t halves __attribute__((vector_size(64)));
typedef uint32_t words_in_memory __attribute__((vector_size(64), aligned(2), may_alias));
typedef uint32_t factor __attribute__((aligned(2), may_alias)); /* a pair */

#include "product_args.h"

INLINE words load_words(const void *p)
{
    return *(const words_in_memory *)p;
}

INLINE void store_words(void *p, words v)
{
    *(words_in_memory *)p = v;
}

#ifdef __AVX512BF16__
/* 32 values rounded to nearest, ties to even. */
INLINE halves round_pairs(vec low, vec high)
{
    return (halves)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

INLINE vec dot(vec sum, words a, words b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
INLINE words round_words(vec v)
{
    const words bits = (words)v, nan = (words)(v != v);
    return (((bits + 0x7fff + (bits >> 16 & 1)) & ~nan) | ((bits | 0x400000) & nan)) >> 16;
}

INLINE halves round_pairs(vec low, vec high)
{
    typedef uint16_t half_register __attribute__((vector_size(32)));
    const half_register a = __builtin_convertvector(round_words(low), half_register);
    const half_register b = __builtin_convertvector(round_words(high), half_register);
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                   17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}

INLINE vec dot(vec sum, words a, words b)
{
    sum += (vec)(a & 0xffff0000u) * (vec)(b & 0xffff0000u);
    return sum + (vec)(a << 16) * (vec)(b << 16);
}
#endif

/* The first `count` of up to 16 floats, then zeros; nothing else is read. */
INLINE vec load_some(const float *p, size_t count)
{
    if (count >= DN_LANES)
        return load(p);
    float some[DN_LANES] = {0};
    memcpy(some, p, count * sizeof *p);
    return load(some);
}

/* 32 pixels rounded, those from `count` on 0. */
INLINE words planar_step(const float *x, size_t count)
{
    if (count >= STEP)
        return (words)round_pairs(load(x), load(x + DN_LANES));
    const size_t second = count > DN_LANES ? count - DN_LANES : 0;
    return (words)round_pairs(load_some(x, count), load_some(x + DN_LANES, second));
}

/* 16 pixels of two rows rounded and interleaved, those from `count` on 0. */
INLINE words interleaved_step(const float *a, const float *b, size_t count)
{
    const halves both = round_pairs(load_some(a, count), load_some(b, count));
    return (words)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                          22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                          14, 30, 15, 31);
}

/* to(rows, room), rows WINDOW apart, = x(rows, pixels) and zeros; `room` is a multiple of
 * STEP. */
static inline void planar(uint16_t *to, size_t room, const float *x, size_t x_ld, int rows,
                          size_t pixels)
{
    for (int r = 0; r < rows; r++, to += WINDOW, x += x_ld)
        for (size_t p = 0; p < room; p += STEP)
            store_words(to + p, planar_step(x + p, p < pixels ? pixels - p : 0));
}

/* to(pairs, pixels and zeros up to DN_LANES) = x(rows, pixels), and zeros past the last row. */
static inline void interleave(uint32_t (*to)[WINDOW], int pairs, const float *x, size_t x_ld,
                              int rows, size_t pixels)
{
    for (int r = 0; r + 1 < rows; r += 2, to++, x += 2 * x_ld)
        for (size_t p = 0; p < pixels; p += DN_LANES)
            store_words(*to + p, interleaved_step(x + p, x + x_ld + p, pixels - p));
    if (rows % 2 == 1) {
        for (size_t p = 0; p < pixels; p += DN_LANES)
            store_words(*to + p, (words)interleaved_step(x + p, x + p, pixels - p) & 0xffff);
        to++;
    }
    for (int pair = (rows + 1) / 2; pair < pairs; pair++, to++)
        memset(*to, 0, dn_round_lanes(pixels) * sizeof **to);
}
