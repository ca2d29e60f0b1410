/*
 * Curves in characters, for a terminal: Braille patterns with eight dots a character if it shows
 * UTF-8, else ASCII with one or two dots a character. Not collective.
 */
#ifndef DN_CURVE_H
#define DN_CURVE_H

#include <stdio.h>

/* Finite values by step, in the order of steps. */
typedef struct dn_series {
    int count;
    double *step, *value; /* (count) */
} dn_series;

/* Prints `height` lines of at most `columns` characters: `line` as a line, each point of `marks` as
 * an "o", and the greatest and the least value on the left. Prints nothing without values or room.
 */
void dn_curve_print(FILE *to, const dn_series *line, const dn_series *marks, int columns,
                    int height, int is_utf8);

#endif
