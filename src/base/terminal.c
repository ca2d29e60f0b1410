/* Lines fitted to terminals; see include/dn/terminal.h. */
#include "dn/terminal.h"

#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/status.h"

/* ---- texts ---- */

void dn_duration_text(double seconds, char text[32])
{
    const int is_known = seconds >= 0 && seconds <= 1e12;
    const long long s = is_known ? (long long)(seconds + 0.5) : 0;
    if (!is_known)
        snprintf(text, 32, "?");
    else if (s >= 3600)
        snprintf(text, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%lld:%02lld", s / 60, s % 60);
}

/* Whether this byte begins a UTF-8 character. */
static int begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

int dn_terminal_columns(int terminal)
{
    struct winsize size;
    return ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int dn_terminal_rows(int terminal)
{
    struct winsize size;
    return ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

int dn_text_columns(const char *text)
{
    int columns = 0;
    for (; *text; text++)
        columns += begins_character(*text);
    return columns;
}

int dn_text_bytes(const char *text, int columns)
{
    const char *end = text;
    while (*end && (!begins_character(*end) || columns-- > 0))
        end++;
    return (int)(end - text);
}

/* The columns of the parts whose bits are in `set`, with the spaces between them. */
static int parts_columns(const dn_part *parts, int count, uint32_t set)
{
    int columns = -1;
    for (int i = 0; i < count; i++)
        columns += set >> i & 1 ? dn_text_columns(parts[i].text) + 1 : 0;
    return columns;
}

void dn_fit_line(char *line, size_t size, int columns, const dn_part *parts, int count)
{
    uint32_t set = 0;
    for (int i = 0; i < count; i++)
        set |= (uint32_t)(parts[i].text[0] != '\0') << i;
    while (columns > 0 && (set & (set - 1)) != 0 && parts_columns(parts, count, set) > columns) {
        int least = -1;
        for (int i = 0; i < count; i++)
            if ((set >> i & 1) && (least < 0 || parts[i].weight < parts[least].weight))
                least = i;
        set &= ~((uint32_t)1 << least);
    }
    size_t used = 0;
    line[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        if (set >> i & 1)
            used += (size_t)snprintf(line + used, size - used, "%s%s", used > 0 ? " " : "",
                                     parts[i].text);
    if (columns > 0)
        line[dn_text_bytes(line, columns)] = '\0';
}

void dn_bar_text(double done, int width, char text[DN_BAR_MOST + 3])
{
    const double part = done > 0 ? fmin(done, 1) : 0;
    const int bar = width < DN_BAR_MOST ? width : DN_BAR_MOST, ended = (int)(bar * part);
    text[0] = '[';
    memset(text + 1, '#', (size_t)ended);
    memset(text + 1 + ended, '.', (size_t)(bar - ended));
    strcpy(text + 1 + bar, "]");
}

/* ---- a line that is rewritten ---- */

static int is_same_terminal(int a, int b)
{
    struct stat of_a, of_b;
    return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_rdev == of_b.st_rdev;
}

/* The terminal that `stream` goes to. Open MPI gives each rank a pseudo-terminal, wherever the
 * output finally goes: then the launcher's standard output decides. A parent that writes to the
 * rank's own terminal is a wrapper, which does not know where it goes. */
static int open_terminal(FILE *stream)
{
    char path[64];
    if (!stream || !isatty(fileno(stream)))
        return -1;
    if (getenv("OMPI_COMM_WORLD_SIZE") == NULL)
        return fcntl(fileno(stream), F_DUPFD_CLOEXEC, 0);
    snprintf(path, sizeof path, "/proc/%d/fd/1", (int)getppid());
    const int terminal = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal < 0 || (isatty(terminal) && !is_same_terminal(terminal, fileno(stream))))
        return terminal;
    close(terminal);
    return -1;
}

void dn_live_open(dn_live *live, FILE *to)
{
    *live = (dn_live){.to = to, .terminal = open_terminal(to)};
}

int dn_live_is_terminal(const dn_live *live)
{
    return live->to && live->terminal >= 0;
}

int dn_live_columns(const dn_live *live)
{
    const int columns = dn_terminal_columns(live->terminal);
    return columns > 1 ? columns - 1 : 1;
}

void dn_live_draw(dn_live *live, const char *line)
{
    fprintf(live->to, "\r%s\033[K", line);
    fflush(live->to);
    live->has_line = 1;
}

void dn_live_print(dn_live *live, char *line)
{
    if (!live->to)
        return;
    dn_one_line(line);
    fprintf(live->to, "%s%s\n", live->has_line ? "\r\033[K" : "", line);
    fflush(live->to);
    live->has_line = 0;
}

void dn_live_clear(dn_live *live)
{
    if (live->has_line)
        fputs("\r\033[K", live->to);
    if (live->to)
        fflush(live->to);
    live->has_line = 0;
}

void dn_live_close(dn_live *live)
{
    if (live->has_line)
        fputc('\n', live->to);
    if (dn_live_is_terminal(live))
        close(live->terminal);
    *live = (dn_live){.terminal = -1};
}
