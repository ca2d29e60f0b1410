/*
 * Registers of DN_VL words, 8 or 16, in GCC/Clang vector types: shared by vector.c and the bf16
 * products.
 */
#ifndef DN_KERNELS_VECTOR_TYPES_H
#define DN_KERNELS_VECTOR_TYPES_H

#include <stdint.h>
#if defined(__AVX2__)
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

/* Even and odd lanes of two registers, and the inverse, the lanes of both interleaved. Lower and
 * upper half of a register, and their concatenation. */
#if DN_VL == 16
#define EVEN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(a, b)                                                                                  \
    __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ZIP_LOW(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b)                                                                             \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW(v) __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#ifdef __AVX512DQ__ /* gcc 12 loads and shuffles memory operands otherwise */
#define HIGH(v)    ((half_vec)_mm512_extractf32x8_ps((__m512)(v), 1))
#define JOIN(a, b) ((vec)_mm512_insertf32x8(_mm512_castps256_ps512((__m256)(a)), (__m256)(b), 1))
#else
#define HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#define JOIN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif
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

typedef uint16_t halves __attribute__((vector_size(4 * DN_VL)));
typedef uint16_t half_words __attribute__((vector_size(2 * DN_VL)));
typedef uint16_t half_words_in_memory
    __attribute__((vector_size(2 * DN_VL), aligned(2), may_alias));

/* Words with h as upper halves and zero lower halves; and the upper halves of words. Written as
 * vector types, gcc 12 compiles them to four and three shuffles. */
#if DN_VL == 16 && defined(__AVX512BW__)
/* Half i of the result is half of[i] of v, or 0 for even i if `only_odd`. Intel's processors
 * permute bytes in one operation, but halves in two. */
INLINE __m512i permute_halves(const int only_odd, halves of, __m512i v)
{
#ifdef __AVX512VBMI__
    const __m512i bytes = (__m512i)(of * 0x202 + 0x100);
    return only_odd ? _mm512_maskz_permutexvar_epi8(0xcccccccccccccccc, bytes, v)
                    : _mm512_permutexvar_epi8(bytes, v);
#else
    return only_odd ? _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, (__m512i)of, v)
                    : _mm512_permutexvar_epi16((__m512i)of, v);
#endif
}

INLINE words from_upper(half_words h)
{
    const halves half_of = {0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
                            8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
    return (words)permute_halves(1, half_of, _mm512_castsi256_si512((__m256i)h));
}

INLINE half_words upper_of(words w)
{
    const halves odd = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
    return (half_words)_mm512_castsi512_si256(permute_halves(0, odd, (__m512i)w));
}
#elif DN_VL == 8 && defined(__AVX2__)
INLINE words from_upper(half_words h)
{
    return (words)_mm256_cvtepu16_epi32((__m128i)h) << 16;
}

INLINE half_words upper_of(words w)
{
    const __m256i upper = (__m256i)(w >> 16);
    return (half_words)_mm_packus_epi32(_mm256_castsi256_si128(upper),
                                        _mm256_extracti128_si256(upper, 1));
}
#else
INLINE words from_upper(half_words h)
{
    return __builtin_convertvector(h, words) << 16;
}

INLINE half_words upper_of(words w)
{
    return __builtin_convertvector(w >> 16, half_words);
}
#endif

/* bf16 is the upper half of fp32. */
INLINE vec load_bf16(const uint16_t *p)
{
    return (vec)from_upper(*(const half_words_in_memory *)p);
}

/* Words whose upper halves are `bits` rounded to bf16, as in dn_round_upper. */
INLINE words round_to_upper(words bits)
{
    const words up = bits + 0x7fff;
#if DN_VL == 16 && defined(__AVX512BW__)
    const words one = (words){0} + 1; /* one instruction fewer than below */
    const __mmask16 odd = _mm512_test_epi32_mask((__m512i)bits, (__m512i)(one << 16));
    return (words)_mm512_mask_add_epi32((__m512i)up, odd, (__m512i)up, (__m512i)one);
#else
    return up + (bits >> 16 & 1);
#endif
}

/* Transposes: word j of register i becomes word i of register j. Each round interleaves the words
 * of registers i and i + DN_VL / 2. */
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
