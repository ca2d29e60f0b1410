/* What programs do alike at their beginning and end, and with the words that users type. */
#ifndef DN_PROGRAM_H
#define DN_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "dn/status.h"

/* The project's version, "1.2.3". */
const char *dn_version(void);

/* To be called first: a standard stream that was closed is opened again, so that no file gets its
 * number, but for standard output such that every write fails; and a write past the user's limit of
 * a file's size fails, too, where it would end the process. */
void dn_streams_open(void);

/* To be called last: all that was printed is on standard output. DN_EIO. */
dn_status dn_output_flush(void);

/* text = "1:02:03" or "2:03", rounded to seconds; "?" of less than 0, more than 1e12 or NaN. */
void dn_duration_text(double seconds, char text[32]);

/* A part of a line, such as "0:12 left"; "": there is none. */
typedef struct dn_part {
    const char *text;
    int weight;
} dn_part;

/* line(size) = the parts(count), at most 32, in order with spaces between. Where they take more
 * than `columns` those of the least weight are left out, and the last of all is cut short; 0: there
 * is room for all. */
void dn_fit_line(char *line, size_t size, int columns, const dn_part *parts, int count);

/* text = "[###...]" with `width` characters inside, at most DN_BAR_MOST; `done`: of it, 0 to 1:
 * what is beyond counts as the nearer of them, NaN as 0. */
enum { DN_BAR_LEAST = 5, DN_BAR_MOST = 30 };
void dn_bar_text(double done, int width, char text[DN_BAR_MOST + 3]);

/* 1 where the text ends in `end`. */
int dn_ends_in(const char *text, const char *end);

/* The columns and rows of the terminal; 80 and 24 where it does not tell. */
int dn_terminal_columns(int terminal);
int dn_terminal_rows(int terminal);

/* The characters that a terminal shows of a text in UTF-8, its wide ones counted as one. */
int dn_text_columns(const char *text);

/* The bytes of the first so many of them, of all where there are fewer. */
int dn_text_bytes(const char *text, int columns);

/* 1, and *value, where `text` is a whole number from `min` to `max` in decimal digits: without
 * spaces or '+', exact. */
int dn_parse_whole(const char *text, int64_t min, int64_t max, int64_t *value);

/* The same for a decimal number as "-0.5" or "1e-3"; no NaN, no infinity. */
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
    char hint[128];
} dn_nearest;

/* 1 where the name is the word itself. */
int dn_nearest_try(dn_nearest *nearest, const char *name);

/* "; did you mean 'NAME'?", the name with `prefix` before it; "" where none is near. Valid as long
 * as `nearest`. */
const char *dn_nearest_hint(dn_nearest *nearest, const char *prefix);

#endif
