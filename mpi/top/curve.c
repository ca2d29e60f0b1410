/* Curves in characters; see curve.h. */
#include "top/curve.h"

#include <math.h>

enum { MOST_COLUMNS = 400, MOST_ROWS = 64, LABEL_COLUMNS = 10, LEAST_COLUMNS = 4, MARK = 1 << 8 };

typedef struct canvas {
    int columns, rows, across, down;              /* characters, and dots of each */
    double first, last, least, most;              /* steps and values at the edges */
    unsigned short cell[MOST_ROWS][MOST_COLUMNS]; /* bits of dots, and MARK */
} canvas;

static void extend_edges(canvas *c, const dn_series *s)
{
    for (int i = 0; i < s->count; i++) {
        c->first = fmin(c->first, s->step[i]);
        c->last = fmax(c->last, s->step[i]);
        c->least = fmin(c->least, s->value[i]);
        c->most = fmax(c->most, s->value[i]);
    }
}

/* The value's place of `count` from `least` to `most`. Operands are halved, as the difference of
 * finite numbers may overflow. */
static int dot_place(double value, double least, double most, int count)
{
    const double part = most > least ? (value / 2 - least / 2) / (most / 2 - least / 2) : 0.5;
    return (int)fmin(part * count, count - 1);
}

static int dot_column(const canvas *c, double step)
{
    return dot_place(step, c->first, c->last, c->columns * c->across);
}

static int dot_row(const canvas *c, double value)
{
    const int rows = c->rows * c->down;
    return rows - 1 - dot_place(value, c->least, c->most, rows);
}

/* Sets a dot: bit i of a character is the dot in row i / across, column i % across. */
static void set_dot(canvas *c, int column, int row)
{
    const int bit = row % c->down * c->across + column % c->across;
    c->cell[row / c->down][column / c->across] |= (unsigned short)(1 << bit);
}

/* Draws a line without gaps, also vertically. */
static void draw_segment(canvas *c, int column, int row, int to_column, int to_row)
{
    const int width = to_column - column;
    for (int x = column, last = row; x <= to_column; x++) {
        const int end = width > 0 ? row + (to_row - row) * (x - column) / width : to_row;
        for (int y = last; y != end; y += end > last ? 1 : -1)
            set_dot(c, x, y);
        set_dot(c, x, last = end);
    }
}

static void draw_series(canvas *c, const dn_series *line, const dn_series *marks)
{
    for (int i = 0; i < line->count; i++) {
        const int from = i > 0 ? i - 1 : 0;
        draw_segment(c, dot_column(c, line->step[from]), dot_row(c, line->value[from]),
                     dot_column(c, line->step[i]), dot_row(c, line->value[i]));
    }
    for (int i = 0; i < marks->count; i++)
        c->cell[dot_row(c, marks->value[i]) / c->down][dot_column(c, marks->step[i]) / c->across] |=
            MARK;
}

static void print_cell(FILE *to, unsigned cell, int is_utf8)
{
    static const unsigned char braille[] = {0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80};
    unsigned pattern = 0; /* from U+2800 on */
    for (int i = 0; i < 8; i++)
        pattern |= cell >> i & 1 ? braille[i] : 0;
    if (cell & MARK)
        fputc('o', to);
    else if (cell == 0 || !is_utf8)
        fputc(" '.:"[cell], to);
    else
        fprintf(to, "\xe2%c%c", (char)(0xa0 | pattern >> 6), (char)(0x80 | (pattern & 0x3f)));
}

void dn_curve_print(FILE *to, const dn_series *line, const dn_series *marks, int columns,
                    int height, int is_utf8)
{
    canvas c = {.columns = (int)fmin(columns - LABEL_COLUMNS, MOST_COLUMNS),
                .rows = (int)fmin(height, MOST_ROWS),
                .across = is_utf8 ? 2 : 1,
                .down = is_utf8 ? 4 : 2,
                .first = INFINITY,
                .last = -INFINITY,
                .least = INFINITY,
                .most = -INFINITY};
    if (c.columns < LEAST_COLUMNS || c.rows < 1 || line->count + marks->count == 0)
        return;
    extend_edges(&c, line);
    extend_edges(&c, marks);
    draw_series(&c, line, marks);
    for (int row = 0; row < c.rows; row++) {
        char label[32] = "";
        if (row == 0 || row == c.rows - 1)
            snprintf(label, sizeof label, "%.3g", row == 0 ? c.most : c.least);
        fprintf(to, "%8s |", label);
        for (int x = 0; x < c.columns; x++)
            print_cell(to, c.cell[row][x], is_utf8);
        fputc('\n', to);
    }
}
