/* A progress bar, or plain lines; see include/dn/progress.h. */
#include "dn/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>

#include "dn/status.h"

static const double redraw_seconds = 0.2, line_seconds = 10;

enum { LINE_SIZE = 256 };

/* The time left is extrapolated from the average speed. */
static void write_line(const dn_progress *p, double now, int columns, char line[LINE_SIZE])
{
    char place[96], rate[64], left[32], end[48], bar[DN_BAR_MOST + 3] = "";
    const double speed = (double)p->done / (now - p->start);
    if (p->total == 0) {
        snprintf(line, LINE_SIZE, "%s %" PRId64 " %s, %.*f %s/s", p->what, p->done, p->unit,
                 speed < 100 ? 1 : 0, speed, p->unit);
        return;
    }
    snprintf(place, sizeof place, "%" PRId64 "/%" PRId64 " %s,", p->done, p->total, p->unit);
    snprintf(rate, sizeof rate, "%.*f %s/s,", speed < 100 ? 1 : 0, speed, p->unit);
    dn_duration_text((double)(p->total - p->done) / speed, left);
    snprintf(end, sizeof end, "%s left", left);
    const dn_part parts[] = {{p->what, 1}, {bar, 0}, {place, 2}, {rate, 3}, {end, 4}};
    const int count = sizeof parts / sizeof *parts;
    dn_fit_line(line, LINE_SIZE, 0, parts, count);
    const int bar_room = columns - (int)strlen(line) - 3;
    if (bar_room >= DN_BAR_LEAST)
        dn_bar_text((double)p->done / (double)p->total, bar_room, bar);
    dn_fit_line(line, LINE_SIZE, columns, parts, count);
}

static void draw_line(dn_progress *p, double now)
{
    char line[LINE_SIZE];
    write_line(p, now, dn_live_columns(&p->live), line);
    dn_live_draw(&p->live, line);
}

void dn_progress_begin(dn_progress *p, const char *what, const char *unit, int64_t total)
{
    const double now = omp_get_wtime();
    *p = (dn_progress){.what = what, .unit = unit, .total = total, .start = now};
    dn_live_open(&p->live, total > 0 ? stdout : NULL);
    p->next = now + (dn_live_is_terminal(&p->live) ? redraw_seconds : line_seconds);
}

void dn_progress_add(dn_progress *p, int64_t more)
{
    const double now = omp_get_wtime();
#pragma omp critical(dn_progress)
    {
        p->done += more;
        if (now >= p->next && dn_live_is_terminal(&p->live)) {
            draw_line(p, now);
            p->next = now + redraw_seconds;
        } else if (now >= p->next) {
            char line[LINE_SIZE];
            write_line(p, now, 0, line);
            dn_info("%s", line);
            p->next = now + line_seconds;
        }
    }
}

void dn_progress_warn(dn_progress *p, const char *text)
{
#pragma omp critical(dn_progress)
    {
        dn_live_clear(&p->live);
        dn_warn("%s", text);
    }
}

void dn_progress_end(dn_progress *p)
{
    dn_live_clear(&p->live);
    dn_live_close(&p->live);
}
