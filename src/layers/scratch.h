/*
 * Working memory in parts: one description both measures and hands out.
 *
 * A layer names its parts once, in a function that calls dn_carve_floats and dn_carve_doubles. Over
 * no memory these only count, for the memory plan; over memory they return the parts, each on a
 * cache line of its own:
 *
 *     [part][red zone][part][red zone]...
 *
 * Red zones exist in builds with DN_RED_ZONES: there a part handed out is filled with NaN and its
 * red zone as well, which AddressSanitizer is told to guard.
 */
#ifndef DN_SCRATCH_H
#define DN_SCRATCH_H

#include <stddef.h>

#ifndef DN_RED_ZONES
#define DN_RED_ZONES 0
#endif

enum { DN_LINE_BYTES = 64, DN_RED_ZONE_BYTES = DN_RED_ZONES ? 2 * DN_LINE_BYTES : 0 };

/* Where the parts of a visit's workspace and of what it keeps begin in short_part; those of a
 * thread's scratch begin at 0. */
enum { DN_SHORT_WORKSPACE = 100, DN_SHORT_KEPT = 200 };

typedef struct dn_carver {
    char *memory; /* NULL: nothing is handed out */
    size_t bytes; /* so far */
#if DN_RED_ZONES
    int part, short_part; /* for tests: this part, counted from 1, is a vector too short */
    int keeps;            /* 1: parts have their contents already */
#endif
} dn_carver;

/* The next part, NULL where there is no memory or nothing is asked for. */
float *dn_carve_floats(dn_carver *c, size_t count);
double *dn_carve_doubles(dn_carver *c, size_t count);

#if DN_RED_ZONES
/* Fills bytes with NaN (of floats and doubles); opens them to the sanitizer, or closes them. */
void dn_memory_spoil(void *bytes, size_t count);
void dn_memory_open(void *bytes, size_t count);
void dn_memory_close(void *bytes, size_t count);
#endif

#endif
