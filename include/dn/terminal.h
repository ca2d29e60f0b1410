/* What programs show on terminals: lines as long as there is room for, and one that is rewritten.
 */
#ifndef DN_TERMINAL_H
#define DN_TERMINAL_H

#include <stddef.h>
#include <stdio.h>

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

/* The columns and rows of the terminal; 80 and 24 where it does not tell. */
int dn_terminal_columns(int terminal);
int dn_terminal_rows(int terminal);

/* The characters that a terminal shows of a text in UTF-8, its wide ones counted as one. */
int dn_text_columns(const char *text);

/* The bytes of the first so many of them, of all where there are fewer. */
int dn_text_bytes(const char *text, int columns);

/* Output whose last line may be rewritten where it ends at a terminal. */
typedef struct dn_live {
    FILE *to;     /* NULL: nothing is printed */
    int terminal; /* a descriptor of its own; -1: there is none */
    int has_line; /* the cursor stands behind a line that will be rewritten */
} dn_live;

/* `to` or NULL stays the caller's. */
void dn_live_open(dn_live *live, FILE *to);

/* 1 where a line may be rewritten. Accepts a zeroed one. */
int dn_live_is_terminal(const dn_live *live);

/* Of the terminal, less the one that the cursor takes. */
int dn_live_columns(const dn_live *live);

/* Rewrites the terminal's line, which there must be. */
void dn_live_draw(dn_live *live, const char *line);

/* A line that stays, in place of the one that is rewritten; control characters in it become
 * '?' (dn_one_line). */
void dn_live_print(dn_live *live, char *line);

/* Takes the line that is rewritten away. Accepts a zeroed one. */
void dn_live_clear(dn_live *live);

/* Leaves that line where it is. Accepts a zeroed one. */
void dn_live_close(dn_live *live);

#endif
