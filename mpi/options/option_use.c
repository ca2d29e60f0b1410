/*
 * The options that the chosen schedule and optimizer read, by their rows (dn_schedule.reads,
 * dn_optimizer.reads).
 */
#include "options/options.h"

#include <string.h>

#include "dn/kernels.h"
#include "dn/optimizer.h"

static const char *const *schedule_reads(int index)
{
    return dn_schedule_get(index)->reads;
}

static const char *const *optimizer_reads(int index)
{
    return dn_optimizer_get(dn_kernels_get(0), index)->reads;
}

/* Options that choose a row of a table. */
static const struct chooser {
    const char *option;
    size_t field; /* an int of dn_options, the index of the row */
    dn_name_fn *name;
    const char *const *(*reads)(int index);
} choosers[] = {
    {"schedule", offsetof(dn_options, schedule), dn_schedule_name, schedule_reads},
    {"optimizer", offsetof(dn_options, step.optimizer), dn_optimizer_name, optimizer_reads},
};

static int is_listed(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

/* The chooser with a row that reads the option, or NULL. */
static const struct chooser *find_chooser(const char *option)
{
    for (size_t c = 0; c < sizeof choosers / sizeof *choosers; c++)
        for (int i = 0; choosers[c].name(i); i++)
            if (is_listed(choosers[c].reads(i), option))
                return &choosers[c];
    return NULL;
}

static int chosen(const dn_options *options, const struct chooser *c)
{
    return *(const int *)((const char *)options + c->field);
}

int dn_options_reads(const dn_options *options, const char *name)
{
    const struct chooser *const c = find_chooser(name);
    return !c || is_listed(c->reads(chosen(options, c)), name);
}

enum { READERS_SIZE = 512 };

/* text = the names of the rows that read the option. */
static void list_readers(const struct chooser *c, const char *option, const char *between,
                         char text[READERS_SIZE])
{
    size_t used = 0;
    for (int i = 0; c->name(i) && used < READERS_SIZE; i++)
        if (is_listed(c->reads(i), option))
            used += (size_t)snprintf(text + used, READERS_SIZE - used, "%s%s",
                                     used > 0 ? between : "", c->name(i));
}

void dn_options_note_readers(const dn_option *o, char *text, size_t size)
{
    const struct chooser *const c = find_chooser(o->name);
    char readers[READERS_SIZE];
    if (!c)
        return;
    list_readers(c, o->name, ", ", readers);
    snprintf(text, size, "for %s: ", readers);
}

/* Refuses an option that the chosen row does not read. */
static dn_status refuse_unread(const dn_options *options, const char *name)
{
    const struct chooser *const c = find_chooser(name);
    char readers[READERS_SIZE];
    list_readers(c, name, " or ", readers);
    return dn_fail(DN_EINVAL, "--%s: found --%s %s, which does not read it, expected %s", name,
                   c->option, c->name(chosen(options, c)), readers);
}

dn_status dn_options_check_reads(const dn_options *options)
{
    for (const dn_option *o = dn_option_table; o->name; o++)
        if ((options->typed >> (o - dn_option_table) & 1) && !dn_options_reads(options, o->name))
            return refuse_unread(options, o->name);
    return DN_OK;
}
