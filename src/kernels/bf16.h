/*
 * Operands in bf16: how rows of floats become what a dot product of pairs reads. Included by bf16.c
 * and its two backends.
 *
 *     planar        [row][pixel]                pairs along pixels, for sums over pixels
 *     interleaved   [row / 2][pixel][row % 2]   pairs of rows, for sums over rows
 *
 * A dot product of pairs is lane += a0 * b0 + a1 * b1, products and sums in fp32. It and the
 * conversion are instructions where the compiler was told that they exist, else plain C.
 */
#ifndef DN_KERNELS_BF16_H
#define DN_KERNELS_BF16_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "dn/kernels.h"

#define DN_INLINE static inline __attribute__((always_inline))
#define DN_UNROLL _Pragma("GCC unroll 16")

enum {
    DN_BF16_STEP = 2 * DN_LANES, /* numbers in a register, or a row of a tile, of pairs */
    DN_BF16_WINDOW = 1248,    /* pixels a buffer's row holds: rows spread over the cache's sets */
    DN_BF16_CONV_INPUTS = 96, /* rows of x that the buffer of a convolution holds */
    DN_BF16_GRAD_INPUTS = 32  /* and that of a weight gradient */
};

/* Whole registers of so many numbers. */
static inline size_t dn_bf16_room(size_t numbers)
{
    return (numbers + DN_BF16_STEP - 1) / DN_BF16_STEP * DN_BF16_STEP;
}

typedef float dn_vec __attribute__((vector_size(64)));
typedef uint32_t dn_words __attribute__((vector_size(64)));
typedef uint16_t dn_halves __attribute__((vector_size(64)));
typedef float dn_vec_in_memory __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t dn_words_in_memory __attribute__((vector_size(64), aligned(2), may_alias));
typedef uint32_t dn_word_in_memory __attribute__((aligned(2), may_alias));

/* y(outputs, pixels) of a convolution, a multiple of DN_LANES of them, or what the pairs of inputs
 * in the buffer add to it. Weights are in whole tiles of (tap, 16 pairs, PACK_ROWS). */
typedef struct dn_bf16_block {
    int outputs, pairs, taps;
    const uint16_t *packed;
    size_t tile;             /* numbers from PACK_ROWS outputs to the next */
    const ptrdiff_t *offset; /* (taps) where in a row of the buffer pixel 0 is */
    const uint32_t (*x)[DN_BF16_WINDOW];
    size_t pixels;
    float *y;
    size_t y_ld;
    int accumulate;
} dn_bf16_block;

/* dw(inputs, outputs and pad) += sum over pixels of dy(o, p) * x(c, p) of one tap. */
typedef struct dn_bf16_grad {
    int inputs;
    const uint32_t *dy;  /* (outputs / DN_LANES, pairs of pixels, DN_LANES), zeros past the last */
    size_t panel, pairs; /* words from DN_LANES outputs to the next; a multiple of DN_LANES */
    const uint16_t *x;   /* (inputs, pixels), rows DN_BF16_WINDOW apart */
    float *dw;
    size_t dw_ld;
} dn_bf16_grad;

DN_INLINE dn_vec dn_load(const float *p)
{
    return *(const dn_vec_in_memory *)p;
}

DN_INLINE void dn_store(float *p, dn_vec v)
{
    *(dn_vec_in_memory *)p = v;
}

DN_INLINE dn_words dn_load_words(const void *p)
{
    return *(const dn_words_in_memory *)p;
}

DN_INLINE void dn_store_words(void *p, dn_words v)
{
    *(dn_words_in_memory *)p = v;
}

/* A pair in all lanes. */
DN_INLINE dn_words dn_splat_pair(const void *p)
{
    return *(const dn_word_in_memory *)p - (dn_words){0};
}

#ifdef __AVX512BF16__
/* 32 numbers rounded to nearest, ties to even. */
DN_INLINE dn_halves dn_round(dn_vec low, dn_vec high)
{
    return (dn_halves)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

DN_INLINE dn_vec dn_dot(dn_vec sum, dn_words a, dn_words b)
{
    return (dn_vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#else
DN_INLINE dn_words dn_round_words(dn_vec v)
{
    const dn_words bits = (dn_words)v, nan = (dn_words)(v != v);
    return (((bits + 0x7fff + (bits >> 16 & 1)) & ~nan) | ((bits | 0x400000) & nan)) >> 16;
}

DN_INLINE dn_halves dn_round(dn_vec low, dn_vec high)
{
    typedef uint16_t half_register __attribute__((vector_size(32)));
    const half_register a = __builtin_convertvector(dn_round_words(low), half_register);
    const half_register b = __builtin_convertvector(dn_round_words(high), half_register);
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                   17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}

DN_INLINE dn_vec dn_dot(dn_vec sum, dn_words a, dn_words b)
{
    sum += (dn_vec)(a & 0xffff0000u) * (dn_vec)(b & 0xffff0000u);
    return sum + (dn_vec)(a << 16) * (dn_vec)(b << 16);
}
#endif

/* The first `count` of up to 16 floats, then zeros; nothing else is read. */
DN_INLINE dn_vec dn_load_some(const float *p, size_t count)
{
    if (count >= DN_LANES)
        return dn_load(p);
    float some[DN_LANES] = {0};
    memcpy(some, p, count * sizeof *p);
    return dn_load(some);
}

/* 32 pixels rounded, those from `count` on 0. */
DN_INLINE dn_words dn_planar_step(const float *x, size_t count)
{
    if (count >= DN_BF16_STEP)
        return (dn_words)dn_round(dn_load(x), dn_load(x + DN_LANES));
    return (dn_words)dn_round(dn_load_some(x, count),
                              count > DN_LANES ? dn_load_some(x + DN_LANES, count - DN_LANES)
                                               : (dn_vec){0});
}

/* 16 pixels of two rows rounded and interleaved, those from `count` on 0. */
DN_INLINE dn_words dn_interleaved_step(const float *a, const float *b, size_t count)
{
    const dn_halves both = dn_round(dn_load_some(a, count), dn_load_some(b, count));
    return (dn_words)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                             6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                             29, 14, 30, 15, 31);
}

/* to(rows, room), rows DN_BF16_WINDOW apart, = x(rows, pixels) and zeros; `room` is a multiple of
 * DN_BF16_STEP. */
static inline void dn_bf16_planar(uint16_t *to, size_t room, const float *x, size_t x_ld, int rows,
                                  size_t pixels)
{
    for (int r = 0; r < rows; r++, to += DN_BF16_WINDOW, x += x_ld)
        for (size_t p = 0; p < room; p += DN_BF16_STEP)
            dn_store_words(to + p, dn_planar_step(x + p, p < pixels ? pixels - p : 0));
}

/* to(pairs, pixels and zeros up to DN_LANES) = x(rows, pixels), and zeros past the last row. */
static inline void dn_bf16_interleave(uint32_t (*to)[DN_BF16_WINDOW], int pairs, const float *x,
                                      size_t x_ld, int rows, size_t pixels)
{
    for (int r = 0; r + 1 < rows; r += 2, to++, x += 2 * x_ld)
        for (size_t p = 0; p < pixels; p += DN_LANES)
            dn_store_words(*to + p, dn_interleaved_step(x + p, x + x_ld + p, pixels - p));
    if (rows % 2 == 1) {
        for (size_t p = 0; p < pixels; p += DN_LANES)
            dn_store_words(*to + p,
                           (dn_words)dn_interleaved_step(x + p, x + p, pixels - p) & 0xffff);
        to++;
    }
    for (int pair = (rows + 1) / 2; pair < pairs; pair++, to++)
        memset(*to, 0, dn_round_lanes(pixels) * sizeof **to);
}

/* In place: word j of register i becomes word i of register j. Each round puts the words of
 * registers i and i + 8 by turns. */
DN_INLINE void dn_transpose(dn_words m[DN_LANES])
{
    for (int round = 0; round < 4; round++) {
        dn_words to[DN_LANES];
        DN_UNROLL
        for (int i = 0; i < DN_LANES / 2; i++) {
            to[2 * i] = __builtin_shufflevector(m[i], m[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20,
                                                5, 21, 6, 22, 7, 23);
            to[2 * i + 1] = __builtin_shufflevector(m[i], m[i + 8], 8, 24, 9, 25, 10, 26, 11, 27,
                                                    12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(m, to, sizeof to);
    }
}

#endif
