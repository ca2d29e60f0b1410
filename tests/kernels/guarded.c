/* Guarded matrices; see guarded.h. Pages come from mmap, guard pages have no access rights. */
#include "guarded.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GAP = 5, /* canaries between rows: odd, so that rows have every alignment */
    SIGNIFICAND = 8,
    LEAST_EXPONENT = -125 /* of frexp, for values that are not subnormal */
};

/* Signalling NaNs of bf16, and twice in a row of fp32. */
static const uint16_t canary = 0x7fa5, pad = 0x7f95;

static size_t row_bytes(const dn_guarded *m, size_t elements)
{
    return elements * dn_dtype_size(m->dtype);
}

/* The rows with their gaps, without the canaries before the first and after the last. */
static size_t span_bytes(const dn_guarded *m)
{
    return row_bytes(m, (size_t)(m->rows - 1) * m->ld + m->before + m->extent);
}

static void fill_pattern(void *from, size_t bytes, uint16_t pattern)
{
    for (size_t i = 0; i < bytes; i += sizeof pattern)
        memcpy((char *)from + i, &pattern, sizeof pattern);
}

static int pattern_intact(const void *from, const void *to, uint16_t pattern)
{
    for (const char *p = from; p < (const char *)to; p += sizeof pattern)
        if (memcmp(p, &pattern, sizeof pattern) != 0)
            return 0;
    return 1;
}

dn_guarded dn_guarded_create(dn_dtype dtype, int rows, size_t before, size_t extent,
                             dn_guard_side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    dn_guarded m = {.dtype = dtype,
                    .rows = rows,
                    .before = before,
                    .extent = extent,
                    .ld = before + extent + GAP};
    const size_t bytes = span_bytes(&m);
    const size_t inner = (bytes + page - 1) / page * page;
    m.map_bytes = inner + 2 * page;
    m.map = mmap(NULL, m.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.map == MAP_FAILED || mprotect(m.map + page, inner, PROT_READ | PROT_WRITE) != 0) {
        perror("guarded matrix");
        exit(EXIT_FAILURE);
    }
    fill_pattern(m.map + page, inner, canary);
    unsigned char *first = m.map + page + (side == DN_GUARD_AFTER ? inner - bytes : 0);
    m.data = (float *)(first + row_bytes(&m, before));
    return m;
}

void dn_guarded_destroy(dn_guarded *m)
{
    if (m->map)
        munmap(m->map, m->map_bytes);
    *m = (dn_guarded){0};
}

void dn_guarded_destroy_all(dn_guarded *const *matrices)
{
    while (*matrices)
        dn_guarded_destroy(*matrices++);
}

uint64_t dn_guarded_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

float dn_nearest_bf16(float value)
{
    int exponent;
    if (!isfinite(value) || value == 0)
        return value;
    frexp(value, &exponent);
    const int least = exponent > LEAST_EXPONENT ? exponent : LEAST_EXPONENT;
    const double unit = ldexp(1, least - SIGNIFICAND);
    return (float)(rint(value / unit) * unit); /* rint rounds to even; too large is infinite */
}

float dn_guarded_get(const dn_guarded *m, int row, ptrdiff_t p)
{
    uint16_t half[2] = {0, 0}; /* bf16 is the upper half of fp32 */
    float value;
    const int upper = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    if (m->dtype == DN_FP32)
        return dn_guarded_row(m, row)[p];
    memcpy(&half[upper], dn_guarded_at(m, row, p), sizeof half[0]);
    memcpy(&value, half, sizeof value);
    return value;
}

void dn_guarded_set(dn_guarded *m, int row, ptrdiff_t p, float value)
{
    const float nearest = m->dtype == DN_FP32 ? value : dn_nearest_bf16(value);
    const size_t bytes = dn_dtype_size(m->dtype);
    const size_t upper = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? sizeof value - bytes : 0;
    memcpy(dn_guarded_at(m, row, p), (const char *)&nearest + upper, bytes);
}

void dn_guarded_fill(dn_guarded *m, size_t n, uint64_t seed)
{
    const ptrdiff_t before = (ptrdiff_t)m->before, end = (ptrdiff_t)n;
    for (int r = 0; r < m->rows; r++) {
        for (ptrdiff_t p = -before; p < end; p++)
            dn_guarded_set(m, r, p, (float)(dn_guarded_draw(&seed) >> 40) * 0x1p-23f - 1);
        fill_pattern(dn_guarded_at(m, r, end), row_bytes(m, m->extent - n), pad);
    }
}

void dn_guarded_blank(dn_guarded *m)
{
    for (int r = 0; r < m->rows; r++)
        fill_pattern(dn_guarded_at(m, r, -(ptrdiff_t)m->before),
                     row_bytes(m, m->before + m->extent), canary);
}

int dn_guarded_intact(const dn_guarded *m)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const char *first = dn_guarded_at(m, 0, -(ptrdiff_t)m->before), *end = first + span_bytes(m);
    int intact = pattern_intact(m->map + page, first, canary) &&
                 pattern_intact(end, m->map + m->map_bytes - page, canary);
    for (int r = 0; r + 1 < m->rows; r++)
        intact = intact && pattern_intact(dn_guarded_at(m, r, (ptrdiff_t)m->extent),
                                          dn_guarded_at(m, r + 1, -(ptrdiff_t)m->before), canary);
    return intact;
}

int dn_guarded_pads_intact(const dn_guarded *m, size_t n)
{
    int intact = 1;
    for (int r = 0; r < m->rows; r++)
        intact = intact && pattern_intact(dn_guarded_at(m, r, (ptrdiff_t)n),
                                          dn_guarded_at(m, r, (ptrdiff_t)m->extent), pad);
    return intact;
}
