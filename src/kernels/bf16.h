/*
 * Operands in bf16: converts rows of maps and of floats into the forms that dot products of pairs
 * read (dn_form in dn/kernels.h). Included by bf16.c, before the instance's header.
 *
 *     DN_PLANAR    [row][pixel]                pairs along pixels, for sums over pixels
 *     DN_PAIRED    [row / 2][pixel][row % 2]   pairs of rows, for sums over rows
 *
 * A dot product of pairs is lane += a0 * b0 + a1 * b1, products and sums in fp32. It and the
 * conversion are single instructions if the compiler targets them, otherwise plain C.
 */
#include <string.h>

#include "dn/kernels.h"

#define DN_VL 16
#include "vector_types.h"

enum {
    PER_FACTOR = 2,
    STEP = PER_FACTOR * DN_LANES, /* values in a register, or in a row of an AMX tile */
    ROWS_AHEAD = 2                /* prefetch distance in a map, in rows of the form */
};

static inline size_t round_step(size_t n)
{
    return (n + STEP - 1) / STEP * STEP;
}

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

/* max(0, v) that keeps NaN: the instruction returns its second operand for NaN. */
INLINE vec relu(vec v)
{
    return (vec)_mm512_max_ps(_mm512_setzero_ps(), (__m512)v);
}
#else
INLINE words round_words(vec v)
{
    const words bits = (words)v, nan = (words)(v != v);
    return (round_to_upper(bits) & ~nan) | ((bits | 0x400000) & nan);
}

INLINE halves round_pairs(vec low, vec high)
{
    const half_words a = upper_of(round_words(low)), b = upper_of(round_words(high));
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                   17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
}

INLINE vec relu(vec v)
{
    return (vec)((words)v & ~(words)(v < (vec){0}));
}

INLINE vec dot(vec sum, words a, words b)
{
    sum += (vec)(a & 0xffff0000u) * (vec)(b & 0xffff0000u);
    return sum + (vec)(a << 16) * (vec)(b << 16);
}
#endif

/* The first `count` of up to 16 floats, then zeros; reads nothing else. */
INLINE vec load_some(const float *p, size_t count)
{
    if (count >= DN_LANES)
        return load(p);
    float some[DN_LANES] = {0};
    memcpy(some, p, count * sizeof *p);
    return load(some);
}

/* 32 rounded pixels; those from `count` on are 0. */
INLINE words planar_step(const float *x, size_t count)
{
    if (count >= STEP)
        return (words)round_pairs(load(x), load(x + DN_LANES));
    const size_t second = count > DN_LANES ? count - DN_LANES : 0;
    return (words)round_pairs(load_some(x, count), load_some(x + DN_LANES, second));
}

#define INTERLEAVED                                                                                \
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,  \
        13, 29, 14, 30, 15, 31

/* 16 pixels of two rows, rounded and interleaved. */
INLINE words paired(vec a, vec b)
{
    const halves both = round_pairs(a, b);
#ifdef __AVX512BF16__
    return (words)permute_halves(0, (halves){INTERLEAVED}, (__m512i)both);
#else
    return (words)__builtin_shufflevector(both, both, INTERLEAVED);
#endif
}

/* ---- sources of operands ---- */

/* The source of one row of an operand: one row of a map, two rows, or the last of an odd number. */
typedef struct source_row {
    const uint16_t *x[2]; /* rows of a map, ld x_ld elements */
    size_t x_ld;
    float scale[2], shift[2];
    uint32_t kept; /* mask of a pair: all bits, or without the missing second row's */
} source_row;

/* All bits set in the first `count` lanes. */
INLINE words first_lanes(size_t count)
{
    const words lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return (words)(lane < (uint32_t)count);
}

/* The mask of put_pixels for whole registers. */
INLINE words all_kept(const dn_form form, const source_row *s)
{
    return (words){0} + (form == DN_PAIRED ? s->kept : ~0U);
}

INLINE vec normalised(const source_row *s, const int row, size_t p)
{
    return relu(load_bf16(s->x[row] + p) * s->scale[row] + s->shift[row]);
}

/* Writes 16 pixels of the source, starting at p, to `to`; those that `kept` lacks are 0. */
INLINE void put_pixels(const dn_form form, const source_row *s, words kept, size_t p, uint16_t *to)
{
    if (form == DN_PAIRED) {
        store_words(to, paired(normalised(s, 0, p), normalised(s, 1, p)) & kept);
    } else {
        const vec v = (vec)((words)normalised(s, 0, p) & kept);
        const halves both = round_pairs(v, v);
        *(half_words_in_memory *)to = __builtin_shufflevector(both, both, 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                              9, 10, 11, 12, 13, 14, 15);
    }
}

/* Prefetches 32 pixels, starting at p, of a row that follows soon. */
INLINE void prefetch_step(const dn_form form, const source_row *s, size_t p)
{
    const size_t ahead = ROWS_AHEAD * (form == DN_PAIRED ? 2 : 1) * s->x_ld;
    __builtin_prefetch(s->x[0] + ahead + p);
    if (form == DN_PAIRED)
        __builtin_prefetch(s->x[1] + ahead + p);
}

/* A row of n pixels without border. */
INLINE void put_span(const dn_form form, const source_row *s, size_t n, uint16_t *to)
{
    const size_t width = form == DN_PAIRED ? 2 : 1;
    const words kept = all_kept(form, s);
    size_t p = 0;
    for (; p + STEP <= n; p += STEP) {
        prefetch_step(form, s, p);
        if (form == DN_PAIRED) {
            put_pixels(form, s, kept, p, to + 2 * p);
            put_pixels(form, s, kept, p + DN_LANES, to + 2 * p + STEP);
        } else {
            const vec low = normalised(s, 0, p), high = normalised(s, 0, p + DN_LANES);
            store_words(to + p, (words)round_pairs(low, high));
        }
    }
    for (; p < n; p += DN_LANES)
        put_pixels(form, s, kept, p, to + width * p);
}

INLINE void zero_pixels(const dn_form form, uint16_t *to, size_t count)
{
    memset(to, 0, (form == DN_PAIRED ? 2 : 1) * count * sizeof *to);
}

/* Zeroes `count` pixels, and up to a register more, which the caller writes next; returns the end.
 */
INLINE uint16_t *clear_pixels(const dn_form form, uint16_t *to, size_t count)
{
    const size_t values = (form == DN_PAIRED ? 2 : 1) * count;
    for (size_t i = 0; i < values; i += STEP)
        store_words(to + i, (words){0});
    return to + values;
}

/* The images of a row with borders; returns the end. The last register of an image row, its only
 * one if `narrow`, also holds zeros, mostly all of them. */
INLINE uint16_t *put_images(const dn_form form, const int narrow, const source_row *s,
                            const dn_padded *padded, uint16_t *row)
{
    const size_t e = form == DN_PAIRED ? 2 : 1;
    const size_t width = (size_t)padded->width, pitch = padded->pitch, rows = (size_t)padded->rows;
    const size_t last = narrow ? 0 : (width - 1) / DN_LANES * DN_LANES, written = last + DN_LANES;
    const size_t above = dn_padded_above(padded), below = dn_padded_below(padded);
    const words kept = all_kept(form, s), last_kept = kept & first_lanes(width - last);
    size_t image = 0;
    for (int i = padded->images; i > 0; i--, image += padded->source_image) {
        size_t from = image, ahead = image;
        row = clear_pixels(form, row, above);
        for (size_t r = rows; r > 0; r--, from += width, row += e * pitch) {
            for (; ahead < from + width; ahead += STEP)
                prefetch_step(form, s, ahead);
            for (size_t p = 0; p < last; p += DN_LANES)
                put_pixels(form, s, kept, from + p, row + e * p);
            put_pixels(form, s, last_kept, from + last, row + e * last);
            if (written < pitch)
                store_words(row + e * written, (words){0});
        }
        row = clear_pixels(form, row, below);
    }
    return row;
}

/* One row in the padded layout, with its zeros. */
INLINE void put_row(const dn_form form, const source_row *s, const dn_padded *padded, uint16_t *to)
{
    const size_t e = form == DN_PAIRED ? 2 : 1, n = dn_padded_floats(padded);
    zero_pixels(form, to - e, 1);
    if (!dn_padded_bordered(padded)) {
        put_span(form, s, n, to);
        zero_pixels(form, to + e * n, DN_FORM_PAD);
        return;
    }
    const uint16_t *const end = to + e * (n + DN_FORM_PAD);
    uint16_t *const row = padded->width <= DN_LANES ? put_images(form, 1, s, padded, to)
                                                    : put_images(form, 0, s, padded, to);
    memset(row, 0, (size_t)(end - row) * sizeof *row);
}

INLINE source_row source_at(const dn_form form, int row, int rows, const uint16_t *x, size_t x_ld,
                            const float *scale, const float *shift)
{
    const int second = form == DN_PAIRED && row + 1 < rows;
    source_row s = {.x = {x + (size_t)row * x_ld, x + (size_t)(row + second) * x_ld},
                    .x_ld = x_ld,
                    .scale = {scale[row], scale[row + second]},
                    .shift = {shift[row], shift[row + second]},
                    .kept = second ? 0xffffffff : 0xffff};
    return s;
}
