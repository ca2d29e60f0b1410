/*
 * Working memory divided into parts: the same code measures and carves it.
 *
 * A layer lists its parts once, in a function that calls dn_carve_*. Without memory these only
 * count, for the memory plan; with memory they return the parts, each aligned to a cache line:
 *
 *     [part][red zone][part][red zone]...
 *
 * Red zones exist in builds with DN_RED_ZONES: there each part and its red zone are filled with
 * NaN, and AddressSanitizer guards the red zone.
 */
#ifndef DN_SCRATCH_H
#define DN_SCRATCH_H

#include <stddef.h>

#include "dn/kernels.h"

#ifndef DN_RED_ZONES
#define DN_RED_ZONES 0
#endif

enum {
    DN_RED_ZONE_BYTES = DN_RED_ZONES ? 2 * DN_LINE_BYTES : 0,
    DN_PADDED_LEAD = 16 /* floats before a padded row; the last one is a zero */
};

typedef struct dn_carver {
    char *memory;         /* NULL: only counts */
    size_t bytes, most;   /* carved so far; maximum over all descriptions */
    int part, short_part; /* with red zones, for tests: number of the part carved, from 1; the one
                             that is a vector too short */
    int inner; /* 1: within a part of another carver; no red zones, and contents are kept */
} dn_carver;

/* The next part; NULL without memory or if `count` is 0. */
float *dn_carve_floats(dn_carver *c, size_t count);
double *dn_carve_doubles(dn_carver *c, size_t count);

/* Rows of a padded layout: `reach` floats starting at the last row, DN_PADDED_LEAD before the first
 * row. */
float *dn_carve_padded(dn_carver *c, size_t rows, size_t ld, size_t reach);

/* Starts over on the same memory, for another time. */
void dn_carve_anew(dn_carver *c);

/* With red zones: unpoisons bytes for the sanitizer, or poisons them. Otherwise nothing. */
void dn_memory_open(void *bytes, size_t count);
void dn_memory_close(void *bytes, size_t count);

/* Fills bytes, an even number, with values that are NaN in every type. */
void dn_memory_spoil(void *bytes, size_t count);

#endif
