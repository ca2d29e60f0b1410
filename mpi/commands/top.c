/*
 * `dn_dist top`: the state of a run, redrawn on a terminal every second until the run is finished
 * or the user quits; less often if the run's records take long to read.
 *
 * It uses the terminal's alternate screen, so that the main one is unchanged afterwards. Signals
 * are blocked and waited for; there are no handlers.
 */
#include "commands/commands.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dn/metrics.h"
#include "dn/terminal.h"
#include "top/summary.h"

enum {
    LINE_SIZE = 4096,
    PART_SIZE = 96,
    TEXT_ROWS = 7,
    PLAIN_COLUMNS = 80,
    PLAIN_HEIGHT = 8, /* of a curve if the rows are not limited */
    MOST_HEIGHT = 16
};

typedef struct window {
    int columns, rows; /* 0: no limit */
    int is_utf8;
} window;

/* ---- lines ---- */

/* Text from files must not move the cursor. */
static void print_clean(FILE *to, char *line, int is_utf8)
{
    dn_one_line(line);
    for (char *c = line; *c; c++)
        if (!is_utf8 && (unsigned char)*c >= 0x80)
            *c = '?';
    fprintf(to, "%s\n", line);
}

static void print_parts(FILE *to, const window *w, const dn_part *parts, int count)
{
    char line[LINE_SIZE];
    dn_fit_line(line, sizeof line, w->columns, parts, count);
    print_clean(to, line, w->is_utf8);
}

#define COUNT(array) (int)(sizeof(array) / sizeof *(array))

/* text = the value by `format`, or "" if it is NaN. */
static void number_text(char text[PART_SIZE], const char *format, double value)
{
    text[0] = '\0';
    if (isfinite(value))
        snprintf(text, PART_SIZE, format, value);
}

/* text = "WORD 3/50", without the parts that are not known. */
static void place_text(char text[PART_SIZE], const char *word, int64_t at, int64_t of)
{
    const int used = snprintf(text, PART_SIZE, "%s %" PRId64, word, at);
    if (of > 0)
        snprintf(text + used, PART_SIZE - (size_t)used, "/%" PRId64, of);
}

static void print_progress(FILE *to, const dn_run_summary *s, const window *w)
{
    char epoch[PART_SIZE], step[PART_SIZE], speed[PART_SIZE], percent[PART_SIZE], left[32],
        end[PART_SIZE] = "", bar[DN_BAR_MOST + 3] = "", line[LINE_SIZE];
    const double done = fmin((double)s->step / (double)s->last_step, 1); /* NaN: not known */
    place_text(epoch, "epoch", s->epoch, s->epochs);
    place_text(step, "step", s->step, s->last_step);
    number_text(percent, "%.0f%%", s->last_step > 0 ? floor(100 * done) : (double)NAN);
    number_text(speed, s->speed < 100 ? "%.2f images/s" : "%.0f images/s", s->speed);
    if (!isnan(s->seconds_left) && !s->is_finished) {
        dn_duration_text(s->seconds_left, left);
        snprintf(end, sizeof end, "%s left", left);
    }
    const dn_part parts[] = {{epoch, 3}, {bar, 1}, {percent, 4}, {step, 2}, {speed, 5}, {end, 6}};
    dn_fit_line(line, sizeof line, 0, parts, COUNT(parts));
    const int room = w->columns > 0 ? w->columns - dn_text_columns(line) - 3 : DN_BAR_MOST;
    if (s->last_step > 0 && room >= DN_BAR_LEAST)
        dn_bar_text(done, room, bar);
    print_parts(to, w, parts, COUNT(parts));
}

static void print_waits(FILE *to, const dn_run_summary *s, const window *w)
{
    char rate[PART_SIZE], data[PART_SIZE], sum[PART_SIZE], late[PART_SIZE], part[PART_SIZE];
    number_text(rate, "learning rate %.6g", s->rate);
    number_text(data, " waiting for images %.0f%%", 100 * s->data_wait);
    number_text(sum, " for the sum over ranks %.0f%%", 100 * s->sum_wait);
    const dn_part waits[] = {{rate, 2}, {data, 3}, {sum, 1}};
    print_parts(to, w, waits, COUNT(waits));
    number_text(part, "%.0f%%", 100 * s->late_wait);
    if (s->ranks == 1)
        snprintf(late, sizeof late, "one rank, none is late");
    else if (s->late_rank < 0 || part[0] == '\0')
        snprintf(late, sizeof late, "late ranks: not known%s", s->step > 0 ? "" : " yet");
    else
        snprintf(late, sizeof late,
                 "latest rank: %" PRId64 ", another waited for it %.8s of the time", s->late_rank,
                 part);
    print_parts(to, w, &(dn_part){late, 0}, 1);
}

static double last_value(const dn_series *s)
{
    return s->count > 0 ? s->value[s->count - 1] : (double)NAN;
}

static void print_metric(FILE *to, const dn_run_summary *s, int index, const window *w, int height)
{
    static const struct {
        const char *name, *train, *held_out;
    } texts[] = {{"loss:", "train %.4f", "%.4f"},
                 {"accuracy:", "train %.2f%%", "%.2f%%"},
                 {"AUROC:", "train %.4f", "%.4f"}};
    const int t = index + (index == DN_SUMMARY_ACCURACY && s->has_sets);
    const dn_summary_metric *const m = &s->metric[index];
    char train[PART_SIZE], value[PART_SIZE], held_out[2 * PART_SIZE] = "", best[2 * PART_SIZE] = "";
    number_text(train, texts[t].train, last_value(&m->train));
    number_text(value, texts[t].held_out, last_value(&m->held_out));
    if (value[0])
        snprintf(held_out, sizeof held_out, " o %s %s", dn_metrics_title(s->held_out), value);
    number_text(value, texts[t].held_out, m->best);
    if (value[0])
        snprintf(best, sizeof best, " best %s in epoch %" PRId64, value, m->best_epoch);
    const dn_part parts[] = {{texts[t].name, 4}, {train, 2}, {held_out, 3}, {best, 1}};
    print_parts(to, w, parts, COUNT(parts));
    dn_curve_print(to, &m->train, &m->held_out, w->columns > 0 ? w->columns : PLAIN_COLUMNS, height,
                   w->is_utf8);
}

static void print_summary(FILE *to, const char *folder, const dn_run_summary *s, const window *w)
{
    char ranks[PART_SIZE] = "";
    const int room = w->rows > TEXT_ROWS ? (w->rows - TEXT_ROWS) / DN_SUMMARY_METRICS : 0;
    const int height = w->rows == 0 ? PLAIN_HEIGHT : room < MOST_HEIGHT ? room : MOST_HEIGHT;
    if (s->ranks > 0)
        snprintf(ranks, sizeof ranks, " %" PRId64 " rank%s", s->ranks, s->ranks > 1 ? "s" : "");
    else if (s->is_headless)
        snprintf(ranks, sizeof ranks,
                 " (" DN_METRICS_NAME " lacks its first line: model and length are not known)");
    const dn_part head[] = {{folder, 3}, {s->model, 2}, {ranks, 1}};
    print_parts(to, w, head, COUNT(head));
    print_parts(to, w, &(dn_part){s->state, 0}, 1);
    print_progress(to, s, w);
    print_waits(to, s, w);
    for (int i = 0; i < DN_SUMMARY_METRICS; i++)
        print_metric(to, s, i, w, height);
}

/* ---- the terminal ---- */

static int is_drawn_on(void)
{
    const char *const term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term != NULL && term[0] && strcmp(term, "dumb") != 0;
}

static window current_window(void)
{
    window w = {.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
    if (!isatty(STDOUT_FILENO))
        return w;
    w.columns = dn_terminal_columns(STDOUT_FILENO);
    w.rows = dn_terminal_rows(STDOUT_FILENO);
    return w;
}

/* Switches to the alternate screen, without line wrap and cursor. */
static void enter_screen(void)
{
    fputs("\033[?1049h\033[?7l\033[?25l", stdout);
}

static void leave_screen(void)
{
    fputs("\033[?25h\033[?7h\033[?1049l", stdout);
    fflush(stdout);
}

/* Redraws the screen with as many lines as fit. */
static void draw(const char *text, int rows)
{
    fputs("\033[H", stdout);
    for (int row = 0; row < rows && *text; row++) {
        const int length = (int)strcspn(text, "\n");
        printf("%s%.*s\033[K", row > 0 ? "\r\n" : "", length, text);
        text += length + (text[length] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

/* Prints the run's state, or draws it. */
static dn_status show(const char *folder, int is_drawn, int *is_finished)
{
    dn_run_summary summary;
    char *text = NULL;
    size_t size;
    dn_status status = dn_run_summary_read(&summary, folder);
    FILE *const to = status == DN_OK ? open_memstream(&text, &size) : NULL;
    if (status == DN_OK && to == NULL)
        status = dn_fail(DN_ENOMEM, "out of memory for a screen");
    if (to != NULL) {
        window w = current_window();
        const int rows = w.rows;
        w.rows = is_drawn ? rows : 0;
        print_summary(to, folder, &summary, &w);
        if (fclose(to) != 0)
            status = dn_fail(DN_ENOMEM, "out of memory for a screen");
        else if (is_drawn)
            draw(text, rows);
        else
            fputs(text, stdout);
    }
    *is_finished = summary.is_finished;
    free(text);
    dn_run_summary_destroy(&summary);
    return status;
}

/* Each look reads all of metrics.jsonl, for which at most a tenth of the time is spent. */
static struct timespec wait_after(double look_seconds)
{
    const double wait = fmax(1, 10 * look_seconds);
    return (struct timespec){.tv_sec = (time_t)wait, .tv_nsec = (long)(1e9 * fmod(wait, 1))};
}

/* Redraws until the run is finished or a signal arrives. */
static dn_status follow_run(const char *folder)
{
    static const int awaited[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t signals, before;
    int is_over = 0;
    sigemptyset(&signals);
    for (int i = 0; i < COUNT(awaited); i++)
        sigaddset(&signals, awaited[i]);
    sigprocmask(SIG_BLOCK, &signals, &before);
    enter_screen();
    dn_status status;
    double start = omp_get_wtime();
    while ((status = show(folder, 1, &is_over)) == DN_OK && !is_over && !ferror(stdout)) {
        const struct timespec wait = wait_after(omp_get_wtime() - start);
        const int signal = sigtimedwait(&signals, NULL, &wait);
        if (signal == SIGTSTP) {
            leave_screen();
            raise(SIGSTOP);
            enter_screen();
        } else if (signal > 0 && signal != SIGWINCH) {
            break;
        }
        start = omp_get_wtime(); /* excludes the time in which it was suspended */
    }
    leave_screen();
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

dn_status dn_top_command(const dn_comm *comm, dn_options *options)
{
    (void)comm;
    int is_over;
    DN_CHECK(options->word_count == 1, DN_EINVAL,
             "top: found %d words, expected the folder of one run", options->word_count);
    const char *const folder = options->words[0];
    setlocale(LC_CTYPE, "");
    if (!options->once && is_drawn_on()) {
        dn_run_summary summary; /* reports errors before it switches the screen */
        const dn_status status = dn_run_summary_read(&summary, folder);
        dn_run_summary_destroy(&summary);
        DN_TRY(status);
        DN_TRY(follow_run(folder));
    }
    return show(folder, 0, &is_over);
}
