/* Terminal output: lines fitted to the width, and a line that is rewritten in place. Not
 * collective. */
#ifndef DN_TERMINAL_H
#define DN_TERMINAL_H

#include <stddef.h>
#include <stdio.h>

/* text = "1:02:03" or "2:03", rounded to seconds; "?" if negative, above 1e12 or NaN. */
void dn_duration_text(double seconds, char text[32]);

/* A part of a line, such as "0:12 left"; omitted if "". */
typedef struct dn_part {
    const char *text;
    int weight;
} dn_part;

/* line(size) = the parts(count), at most 32, in order, separated by spaces. If they need more than
 * `columns`, the parts of least weight are dropped, and the last remaining one is truncated.
 * `columns` 0: no limit. */
void dn_fit_line(char *line, size_t size, int columns, const dn_part *parts, int count);

/* text = "[###...]" with `width` characters inside, at most DN_BAR_MOST. `done` is the fraction,
 * clamped to [0, 1]; NaN counts as 0. */
enum { DN_BAR_LEAST = 5, DN_BAR_MOST = 30 };
void dn_bar_text(double done, int width, char text[DN_BAR_MOST + 3]);

/* Columns and rows of the terminal; 80 and 24 if unknown. */
int dn_terminal_columns(int terminal);
int dn_terminal_rows(int terminal);

/* The number of characters of a UTF-8 text that a terminal shows; wide ones count as one. */
int dn_text_columns(const char *text);

/* The bytes of its first `columns` characters; of all if there are fewer. */
int dn_text_bytes(const char *text, int columns);

/* Output whose last line can be rewritten if it goes to a terminal. */
typedef struct dn_live {
    FILE *to;     /* NULL: nothing is printed */
    int terminal; /* its own descriptor of the terminal; -1: none */
    int has_line; /* 1: the cursor is after a line that can be rewritten */
} dn_live;

/* Opens `live` for output to `to`, which may be NULL and remains the caller's. */
void dn_live_open(dn_live *live, FILE *to);

/* Returns 1 if the output is a terminal. Accepts a zeroed dn_live. */
int dn_live_is_terminal(const dn_live *live);

/* Columns of the terminal, less one for the cursor. */
int dn_live_columns(const dn_live *live);

/* Rewrites the last line; the output must be a terminal. */
void dn_live_draw(dn_live *live, const char *line);

/* Prints a permanent line in place of the one that is rewritten; control characters in it become
 * '?' (dn_one_line). */
void dn_live_print(dn_live *live, char *line);

/* Removes the line that is rewritten. Accepts a zeroed dn_live. */
void dn_live_clear(dn_live *live);

/* Closes, and keeps that line. Accepts a zeroed dn_live. */
void dn_live_close(dn_live *live);

#endif
