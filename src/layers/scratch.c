/* Carving of working memory into parts, and the red zones between them; see scratch.h. */
#include "layers/scratch.h"

#include <stdint.h>

#if DN_RED_ZONES && defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

void dn_memory_open(void *bytes, size_t count)
{
    ASAN_UNPOISON_MEMORY_REGION(bytes, count);
}

void dn_memory_close(void *bytes, size_t count)
{
    ASAN_POISON_MEMORY_REGION(bytes, count);
}

void dn_memory_spoil(void *bytes, size_t count)
{
    enum { NOT_A_NUMBER = 0xffc0 }; /* NaN in every type, also after rounding to bf16 */
    uint16_t *const halves = bytes;
    for (size_t i = 0; i < count / sizeof *halves; i++)
        halves[i] = NOT_A_NUMBER;
}

static void *carve(dn_carver *c, size_t bytes)
{
    if (bytes == 0)
        return NULL;
    char *const part = c->memory != NULL ? c->memory + c->bytes : NULL;
    const size_t room = dn_whole_lines(bytes);
    c->bytes += room + (c->inner ? 0 : DN_RED_ZONE_BYTES);
    c->most = c->bytes > c->most ? c->bytes : c->most;
    if (++c->part == c->short_part)
        bytes = bytes > DN_LINE_BYTES ? bytes - DN_LINE_BYTES : 0;
    if (DN_RED_ZONES && part != NULL && !c->inner) {
        dn_memory_open(part, room + DN_RED_ZONE_BYTES);
        dn_memory_spoil(part, room + DN_RED_ZONE_BYTES);
        dn_memory_close(part + bytes, room + DN_RED_ZONE_BYTES - bytes);
    }
    return part;
}

float *dn_carve_floats(dn_carver *c, size_t count)
{
    return carve(c, count * sizeof(float));
}

double *dn_carve_doubles(dn_carver *c, size_t count)
{
    return carve(c, count * sizeof(double));
}

float *dn_carve_padded(dn_carver *c, size_t rows, size_t ld, size_t reach)
{
    float *part = dn_carve_floats(c, DN_PADDED_LEAD + (rows - 1) * ld + reach);
    return part != NULL ? part + DN_PADDED_LEAD : NULL;
}

void dn_carve_anew(dn_carver *c)
{
    c->bytes = 0;
    c->part = 0;
}
