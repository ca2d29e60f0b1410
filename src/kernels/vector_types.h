/*
 * Registers of DN_VL words, 8 or 16, in GCC/Clang vector types: what vector.c and the bf16 products
 * share.
 */
#ifndef DN_KERNELS_VECTOR_TYPES_H
#define DN_KERNELS_VECTOR_TYPES_H

#include <stdint.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if DN_VL != 8 && DN_VL != 16
#error "DN_VL must be 8 or 16"
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(4 * DN_VL)));
typedef uint32_t words __attribute__((vector_size(4 * DN_VL)));
typedef float vec_in_memory __attribute__((vector_size(4 * DN_VL), aligned(4), may_alias));
typedef float half_vec __attribute__((vector_size(2 * DN_VL)));
typedef float half_in_memory __attribute__((vector_size(2 * DN_VL), aligned(4), may_alias));

/* The even and the odd lanes of two registers, and their inverse: the lanes of both interleaved.
 * The lower and the upper half of a register, and both again. */
#if DN_VL == 16
#define EVEN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b)                                                                                  \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ZIP_LOW(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b)                                                                             \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW(v)  __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#define JOIN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#else
#define EVEN(a, b)     __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b)      __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW(v)         __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define HIGH(v)        __builtin_shufflevector(v, v, 4, 5, 6, 7)
#define JOIN(a, b)     __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#endif

INLINE vec load(const float *p)
{
    return *(const vec_in_memory *)p;
}

INLINE void store(float *p, vec v)
{
    *(vec_in_memory *)p = v;
}

typedef uint16_t half_words __attribute__((vector_size(2 * DN_VL)));
typedef uint16_t half_words_in_memory
    __attribute__((vector_size(2 * DN_VL), aligned(2), may_alias));

/* Words of halves, and back; gcc 12 makes four shuffles of the first and three of the second. */
#if DN_VL == 16 && defined(__AVX512F__)
INLINE words widen(half_words h)
{
    return (words)_mm512_cvtepu16_epi32((__m256i)h);
}

INLINE half_words narrow(words w)
{
    return (half_words)_mm512_cvtepi32_epi16((__m512i)w);
}
#else
INLINE words widen(half_words h)
{
    return __builtin_convertvector(h, words);
}

INLINE half_words narrow(words w)
{
    return __builtin_convertvector(w, half_words);
}
#endif

/* bf16 is the upper half of fp32. */
INLINE vec load_bf16(const uint16_t *p)
{
    return (vec)(widen(*(const half_words_in_memory *)p) << 16);
}

/* Word j of register i becomes word i of register j: each round interleaves the words of registers
 * i and i + DN_VL / 2. */
INLINE void transpose_words(vec m[DN_VL])
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

#endif
