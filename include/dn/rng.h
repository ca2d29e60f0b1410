/*
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC11).
 *
 * A draw is a pure function of (seed, stream, a, b), where the last three say what it is for. So
 * there is no generator state to store in checkpoints or to share between ranks and threads. Not
 * collective.
 */
#ifndef DN_RNG_H
#define DN_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The purpose of a draw; each has its own stream. Results depend on these numbers, so never change
 * them; 7 to 15 are free. */
typedef enum dn_stream {
    DN_STREAM_INIT = 1,      /* initial weights: a = parameter tensor, b = element */
    DN_STREAM_SHUFFLE = 2,   /* epoch permutation: a = epoch, b = position */
    DN_STREAM_AUGMENT = 3,   /* transforms: a = epoch and draw, b = position in the epoch */
    DN_STREAM_DROPOUT = 4,   /* dropout masks: a = step and virtual rank, b = channel, 4 elements */
    DN_STREAM_SYNTHETIC = 5, /* made-up images: a = tensor, b = element */
    DN_STREAM_SPLIT = 6,     /* test images of a folder: a = class, b = image in it */
    DN_STREAM_CHANNELS = 16, /* channels dropped: a = step and virtual rank, b = channel, image */
    DN_STREAM_MIXING = 17,   /* mixup, CutMix: a = step and virtual rank, b = draw */
    DN_STREAM_HELD_OUT = 18  /* --val-fraction: a = class, b = image in it */
} dn_stream;

typedef struct dn_random4 {
    uint32_t word[4];
} dn_random4;

/* Four independent uniform 32-bit words for the draw (seed, stream, a, b). Inline, so that
 * compilers vectorise draws of consecutive b. */
static inline dn_random4 dn_random(uint64_t seed, dn_stream stream, uint64_t a, uint64_t b)
{
    /* Key: seed. Counter: b (64 bits), a (48 bits), stream (16 bits). */
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)b, c1 = (uint32_t)(b >> 32);
    uint32_t c2 = (uint32_t)a, c3 = ((uint32_t)(a >> 32) & 0xffffu) | (uint32_t)stream << 16;
    _Pragma("GCC unroll 10") for (int round = 0; round < 10; round++)
    {
        const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ key0;
        const uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ key1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return (dn_random4){{c0, c1, c2, c3}};
}

/* A uniform integer in [0, bound); the bias is below bound / 2^32. */
static inline uint32_t dn_random_below(uint32_t word, uint32_t bound)
{
    return (uint32_t)(((uint64_t)word * bound) >> 32);
}

/* A uniform float in [0, 1) with 24 bits. */
static inline float dn_random_unit(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* x(count) = draws of N(0, deviation^2), by Box-Muller in double; element i depends on i alone. */
void dn_random_normal(float *x, size_t count, double deviation, uint64_t seed, dn_stream stream,
                      uint64_t a);

/* x(count) = draws of U[-bound, bound]; element i depends on i alone. */
void dn_random_uniform(float *x, size_t count, double bound, uint64_t seed, dn_stream stream,
                       uint64_t a);

/* index(count) = a permutation of 0..count-1 (Fisher-Yates), a function of (seed, epoch). */
void dn_random_permutation(uint32_t *index, size_t count, uint64_t seed, uint64_t epoch);

/* index(count) = an order of 0..count-1, a function of (seed, epoch). If `window` is 0,
 * dn_random_permutation. Otherwise a windowed shuffle: runs of DN_NEIGHBOURS consecutive elements
 * are permuted by it, and then the elements within each `window` of the resulting sequence. So a
 * window reads whole runs, except for its first and last. */
void dn_random_order(uint32_t *index, size_t count, size_t window, uint64_t seed, uint64_t epoch);

enum { DN_NEIGHBOURS = 64 };

#endif
