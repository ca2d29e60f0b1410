/* Words that users type: numbers, switches, and misspelt names. Not collective. */
#ifndef DN_WORDS_H
#define DN_WORDS_H

#include <stdint.h>

/* Returns 1 if the text ends in `end`. */
int dn_ends_in(const char *text, const char *end);

/* Returns 1 and sets *value if `text` is an integer in [min, max] in decimal digits, without spaces
 * or '+'. */
int dn_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value);

/* Returns 1 and sets *value and *behind if the text begins with a decimal number such as "-0.5" or
 * "1e-3", without spaces or '+', not NaN. One out of a double's range sets errno and may become
 * infinite. */
int dn_take_real(const char *text, const char **behind, double *value);

/* As dn_parse_whole, for a decimal number; not infinite. */
int dn_parse_real(const char *text, double min, double max, double *value);

/* The values of a switch, in any letter case. */
#define DN_TRUTH_WORDS "true|yes|on|1 or false|no|off|0"

/* Returns 1 or 0 for such a word, -1 for any other. */
int dn_parse_truth(const char *text);

/* Finds the name that a misspelt word most likely means: initialise with {.word = WORD}, then try
 * all names. */
typedef struct dn_nearest {
    const char *word;
    const char *name; /* the nearest so far, as it was given; NULL: none is near */
    int distance;
    char known[512]; /* names that were tried, separated by commas */
    char hint[128];
} dn_nearest;

/* Returns 1 if the name equals the word. */
int dn_nearest_try(dn_nearest *nearest, const char *name);

/* "; did you mean 'NAME'?", the name preceded by `prefix`; "" if none is near. Valid as long as
 * `nearest`. */
const char *dn_nearest_hint(dn_nearest *nearest, const char *prefix);

#endif
