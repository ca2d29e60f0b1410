/*
 * The line of progress; see progress.h.
 *
 * Open MPI gives each rank a terminal of its own, wherever the output goes in the end: there the
 * launcher's standard output is the one to ask.
 */
#include "progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_terminal(FILE *stream)
{
    char path[64];
    if (!isatty(fileno(stream)))
        return -1;
    const int is_launched = getenv("OMPI_COMM_WORLD_SIZE") != NULL;
    if (is_launched)
        snprintf(path, sizeof path, "/proc/%d/fd/1", (int)getppid());
    else
        snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(stream));
    const int terminal = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal < 0 || isatty(terminal))
        return terminal;
    close(terminal);
    return -1;
}

void dn_progress_open(dn_progress *progress, FILE *stream)
{
    *progress = (dn_progress){.stream = stream, .terminal = stream ? open_terminal(stream) : -1};
}

void dn_progress_close(dn_progress *progress)
{
    if (progress->has_line)
        fputc('\n', progress->stream);
    if (progress->terminal >= 0)
        close(progress->terminal);
    *progress = (dn_progress){.terminal = -1};
}

static int terminal_columns(int terminal)
{
    struct winsize size;
    const int known = ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

void dn_progress_draw(dn_progress *progress, const char *head, double share, const char *tail)
{
    enum { BAR_MOST = 30, BAR_LEAST = 5 };
    static const char full[] = "##############################",
                      empty[] = "..............................";
    char line[512];
    const int columns = terminal_columns(progress->terminal);
    int bar = columns - 4 - (int)(strlen(head) + strlen(tail));
    bar = bar > BAR_MOST ? BAR_MOST : bar;
    const int done = (int)(bar * share);
    if (bar >= BAR_LEAST)
        snprintf(line, sizeof line, "%s[%.*s%.*s] %s", head, done, full, bar - done, empty, tail);
    else
        snprintf(line, sizeof line, "%sstep %s", head, tail);
    fprintf(progress->stream, "\r%.*s\033[K", columns - 1, line);
    fflush(progress->stream);
    progress->has_line = 1;
}

void dn_progress_print(dn_progress *progress, const char *text)
{
    if (!progress->stream)
        return;
    fprintf(progress->stream, "%s%s\n", progress->has_line ? "\r\033[K" : "", text);
    fflush(progress->stream);
    progress->has_line = 0;
}
