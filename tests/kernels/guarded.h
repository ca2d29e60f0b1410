/*
 * Matrices of floats or of a map's elements, between inaccessible pages.
 *
 *     guard page | canaries [row 0] canaries [row 1] canaries ... [last row] | guard page
 *
 * With DN_GUARD_AFTER the last row ends at the second guard page, as shown; with DN_GUARD_BEFORE
 * the first row begins at the first one. A read or write beyond that end faults. The rest around
 * the rows is filled with canaries, and pads with another pattern. Both are signalling NaNs with a
 * fixed bit pattern: a stray read makes the result NaN, and a stray write is detected even if it
 * writes a value computed from a canary, since arithmetic makes a NaN quiet.
 */
#ifndef DN_GUARDED_H
#define DN_GUARDED_H

#include <stddef.h>
#include <stdint.h>

#include "dn/kernels.h"

typedef enum dn_guard_side { DN_GUARD_AFTER, DN_GUARD_BEFORE } dn_guard_side;

typedef struct dn_guarded {
    dn_dtype dtype;
    union { /* element p of row r is [r * ld + p], p from -before up to `extent` */
        float *data;
        uint16_t *bf16;
    };
    int rows;
    size_t before, extent, ld;
    unsigned char *map; /* both guard pages included */
    size_t map_bytes;
} dn_guarded;

/* A row of floats. */
static inline const float *dn_guarded_row(const dn_guarded *matrix, int row)
{
    return matrix->data + (size_t)row * matrix->ld;
}

/* Where element p of a row is, whatever the type. */
static inline void *dn_guarded_at(const dn_guarded *matrix, int row, ptrdiff_t p)
{
    const ptrdiff_t element = row * (ptrdiff_t)matrix->ld + p;
    return (char *)matrix->data + element * (ptrdiff_t)dn_dtype_size(matrix->dtype);
}

/* A matrix of canaries; at least one row. Ends the process when there is no memory. */
dn_guarded dn_guarded_create(dn_dtype dtype, int rows, size_t before, size_t extent,
                             dn_guard_side side);
void dn_guarded_destroy(dn_guarded *matrix);

/* Destroys those listed: pointers, up to a NULL. */
void dn_guarded_destroy_all(dn_guarded *const *matrices);
#define DN_GUARDED_DESTROY(...) dn_guarded_destroy_all((dn_guarded *const[]){__VA_ARGS__, NULL})

/* Fills each row: [-before, n) with values in [-1, 1) drawn with the seed, rounded to the type, and
 * the pad [n, extent) with its pattern. */
void dn_guarded_fill(dn_guarded *matrix, size_t n, uint64_t seed);

/* Fills the rows with canaries again. */
void dn_guarded_blank(dn_guarded *matrix);

/* 1 if all canaries around the rows are intact; 1 if the pads [n, extent) are. */
int dn_guarded_intact(const dn_guarded *matrix);
int dn_guarded_pads_intact(const dn_guarded *matrix, size_t n);

/* One element; `set` rounds to the type. */
float dn_guarded_get(const dn_guarded *matrix, int row, ptrdiff_t p);
void dn_guarded_set(dn_guarded *matrix, int row, ptrdiff_t p, float value);

/* The nearest bf16 value, ties to even; by arithmetic, unlike the kernels, which shift bits. */
float dn_nearest_bf16(float value);

/* The next random number; `state` may have any initial value. */
uint64_t dn_guarded_draw(uint64_t *state);

#endif
