/*
 * Curves in characters, for a terminal: Braille patterns, eight dots a character, where it shows
 * UTF-8, else one dot or two a character in ASCII. Not collective.
 */
#ifndef DN_CURVE_H
#define DN_CURVE_H

#include <stdio.h>

/* Values by step, in the order of steps; those that are not finite are not there. */
typedef struct dn_series {
    int count;
    double *step, *value; /* (count) */
} dn_series;

/* Prints `height` lines of at most `columns` characters: `line` as a line, a point of `marks` as an
 * "o", and to the left the greatest and the least value. Nothing where there is no value, or no
 * room. */
void dn_curve_print(FILE *to, const dn_series *line, const dn_series *marks, int columns,
                    int height, int is_utf8);

#endif
