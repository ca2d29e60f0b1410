/* The words that users type: numbers, switches, and names with letters that are wrong. */
#ifndef DN_WORDS_H
#define DN_WORDS_H

#include <stdint.h>

/* 1 where the text ends in `end`. */
int dn_ends_in(const char *text, const char *end);

/* 1, and *value, where `text` is a whole number from `min` to `max` in decimal digits: without
 * spaces or '+', exact. */
int dn_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value);

/* 1, *value and *behind, where the text begins with a decimal number as "-0.5" or "1e-3": without
 * spaces or '+', no NaN. One that a double cannot hold sets errno, and may be infinite. */
int dn_take_real(const char *text, const char **behind, double *value);

/* As dn_parse_whole for a decimal number; no infinity. */
int dn_parse_real(const char *text, double min, double max, double *value);

/* What a switch's value may be, in any letter case. */
#define DN_TRUTH_WORDS "true|yes|on|1 or false|no|off|0"

/* 1 or 0 as such a word says; -1 where it is none. */
int dn_parse_truth(const char *text);

/* The name that a mistyped word was most likely meant to be: {.word = WORD}, then all names. */
typedef struct dn_nearest {
    const char *word;
    const char *name; /* the nearest so far, NULL where none is near; as it was given */
    int distance;
    char known[512]; /* those that it is not, commas between */
    char hint[128];
} dn_nearest;

/* 1 where the name is the word itself. */
int dn_nearest_try(dn_nearest *nearest, const char *name);

/* "; did you mean 'NAME'?", the name with `prefix` before it; "" where none is near. Valid as long
 * as `nearest`. */
const char *dn_nearest_hint(dn_nearest *nearest, const char *prefix);

#endif
