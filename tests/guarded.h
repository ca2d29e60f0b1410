/*
 * Matrices of floats between pages that may not be touched.
 *
 *     guard page | canaries [row 0] canaries [row 1] canaries ... [last row] | guard page
 *
 * With DN_GUARD_AFTER the last row ends at the second guard page, as drawn; with DN_GUARD_BEFORE
 * the first row begins at the first one. A read or a write beyond that end is a fault. Everywhere
 * else around the rows stand canaries: NaNs, so that a stray read spoils the result, of one bit
 * pattern, so that a stray write shows.
 */
#ifndef DN_GUARDED_H
#define DN_GUARDED_H

#include <stddef.h>
#include <stdint.h>

typedef enum dn_guard_side { DN_GUARD_AFTER, DN_GUARD_BEFORE } dn_guard_side;

typedef struct dn_guarded {
    float *data; /* element p of row r is data[r * ld + p], p from -before up to `extent` */
    int rows;
    size_t before, extent, ld;
    unsigned char *map; /* both guard pages included */
    size_t map_bytes;
} dn_guarded;

static inline const float *dn_guarded_row(const dn_guarded *matrix, int row)
{
    return matrix->data + (size_t)row * matrix->ld;
}

/* A matrix of canaries; at least one row. Ends the process when there is no memory. */
dn_guarded dn_guarded_create(int rows, size_t before, size_t extent, dn_guard_side side);
void dn_guarded_destroy(dn_guarded *matrix);

/* Fills each row: [-before, n) with numbers in [-1, 1), the same for the same seed, and the pad
 * [n, extent) with numbers so large that they show in any sum they enter. */
void dn_guarded_fill(dn_guarded *matrix, size_t n, uint64_t seed);

/* Makes the rows canaries again. */
void dn_guarded_blank(dn_guarded *matrix);

/* Whether all canaries around the rows stand. */
int dn_guarded_intact(const dn_guarded *matrix);

/* The next number of a sequence; `state` may begin anywhere. */
uint64_t dn_guarded_draw(uint64_t *state);

#endif
