/* Guarded matrices; see guarded.h. Pages come from mmap, guard pages have no access rights. */
#include "guarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GAP = 5 }; /* canaries between rows: odd, so that rows have every alignment */

static const uint32_t canary = 0x7fc5a5a5; /* a quiet NaN */
static const float pad = 1e30f;            /* finite, as contracts ask, and its square is not */

/* The rows with their gaps, without the canaries before the first and after the last. */
static size_t span_floats(const dn_guarded *m)
{
    return (size_t)(m->rows - 1) * m->ld + m->before + m->extent;
}

static void fill_canaries(float *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(p + i, &canary, sizeof canary);
}

dn_guarded dn_guarded_create(int rows, size_t before, size_t extent, dn_guard_side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    dn_guarded m = {.rows = rows, .before = before, .extent = extent, .ld = before + extent + GAP};
    const size_t bytes = span_floats(&m) * sizeof(float);
    const size_t inner = (bytes + page - 1) / page * page;
    m.map_bytes = inner + 2 * page;
    m.map = mmap(NULL, m.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.map == MAP_FAILED || mprotect(m.map + page, inner, PROT_READ | PROT_WRITE) != 0) {
        perror("guarded matrix");
        exit(EXIT_FAILURE);
    }
    fill_canaries((float *)(m.map + page), inner / sizeof(float));
    unsigned char *first = m.map + page + (side == DN_GUARD_AFTER ? inner - bytes : 0);
    m.data = (float *)first + before;
    return m;
}

void dn_guarded_destroy(dn_guarded *m)
{
    if (m->map)
        munmap(m->map, m->map_bytes);
    *m = (dn_guarded){0};
}

uint64_t dn_guarded_draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void dn_guarded_fill(dn_guarded *m, size_t n, uint64_t seed)
{
    for (int r = 0; r < m->rows; r++) {
        float *row = m->data + (size_t)r * m->ld - m->before;
        for (size_t p = 0; p < m->before + m->extent; p++)
            row[p] = p < m->before + n ? (float)(dn_guarded_draw(&seed) >> 40) * 0x1p-23f - 1 : pad;
    }
}

void dn_guarded_blank(dn_guarded *m)
{
    for (int r = 0; r < m->rows; r++)
        fill_canaries(m->data + (size_t)r * m->ld - m->before, m->before + m->extent);
}

static int canaries_stand(const float *from, const float *to)
{
    for (; from < to; from++)
        if (memcmp(from, &canary, sizeof canary) != 0)
            return 0;
    return 1;
}

int dn_guarded_intact(const dn_guarded *m)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const float *first = m->data - m->before, *end = first + span_floats(m);
    int intact = canaries_stand((const float *)(m->map + page), first) &&
                 canaries_stand(end, (const float *)(m->map + m->map_bytes - page));
    for (int r = 0; r + 1 < m->rows; r++) {
        const float *row = m->data + (size_t)r * m->ld;
        intact = intact && canaries_stand(row + m->extent, row + m->ld - m->before);
    }
    return intact;
}
