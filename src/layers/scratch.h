/*
 * Working memory in parts: one description both measures and hands out.
 *
 * A layer names its parts once, in a function that calls dn_carve_*. Over no memory these only
 * count, for the memory plan; over memory they return the parts, each on a cache line of its own:
 *
 *     [part][red zone][part][red zone]...
 *
 * Red zones exist in builds with DN_RED_ZONES: there a part handed out is filled with NaN and its
 * red zone as well, which AddressSanitizer is told to guard.
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
    DN_PADDED_LEAD = 16 /* floats before a padded row: the last of them is a zero */
};

typedef struct dn_carver {
    char *memory;         /* NULL: nothing is handed out */
    size_t bytes, most;   /* so far; the most of all descriptions */
    int part, short_part; /* with red zones, for tests: this part, counted from 1, is a vector too
                             short */
    int inner; /* 1: within a part of another carver; no red zones, and what stands there stays */
} dn_carver;

/* The next part, NULL where there is no memory or nothing is asked for. */
float *dn_carve_floats(dn_carver *c, size_t count);
double *dn_carve_doubles(dn_carver *c, size_t count);

/* Rows of a padded layout: `reach` floats from the first of the last row, DN_PADDED_LEAD before the
 * first row. */
float *dn_carve_padded(dn_carver *c, size_t rows, size_t ld, size_t reach);

/* Begins another description over the same memory, for another time. */
void dn_carve_anew(dn_carver *c);

/* With red zones: opens bytes to the sanitizer, or closes them. Else nothing. */
void dn_memory_open(void *bytes, size_t count);
void dn_memory_close(void *bytes, size_t count);

/* Fills bytes, an even number, with NaN of any type. */
void dn_memory_spoil(void *bytes, size_t count);

#endif
