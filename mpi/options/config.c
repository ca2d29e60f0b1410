/*
 * Options as INI text: the --config file (read with inih), and the configuration in checkpoints.
 */
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "options/option_table.h"

/* An INI text on its way through inih; the reader counts lines, which Debian's inih does not. */
typedef struct ini_source {
    FILE *file;
    const char *name;
    int line;
    dn_options *options;
    uint64_t skip; /* options that stay as they are */
    dn_status status;
} ini_source;

static char *ini_line(char *line, int size, void *stream)
{
    ini_source *source = stream;
    if (source->status != DN_OK || !fgets(line, size, source->file))
        return NULL;
    source->line++;
    const size_t length = strlen(line), blank = strspn(line, " \t");
    if ((int)length == size - 1 && line[length - 1] != '\n') {
        source->status = dn_fail(DN_EINVAL, "%s:%d: found a longer line, expected at most %d bytes",
                                 source->name, source->line, size - 2);
        return NULL;
    }
    memmove(line, line + blank, length + 1 - blank); /* inih takes indented lines for more text */
    return line;
}

static int ini_value(void *stream, const char *section, const char *name, const char *value)
{
    (void)section;
    ini_source *source = stream;
    char where[DN_PATH_SIZE + 32];
    snprintf(where, sizeof where, "%s:%d: ", source->name, source->line);
    const int index = dn_option_find(DN_COMMAND_TRAIN, name, strlen(name));
    if (index < 0 || strcmp(name, "config") == 0 || strcmp(name, "help") == 0)
        source->status = dn_fail(
            DN_EINVAL, "%sfound the key '%s', expected an option of 'dn_dist train'", where, name);
    else if (!(source->skip & dn_option_bit(index)))
        source->status = dn_option_set(source->options, index, value, where);
    if (source->status == DN_OK)
        source->options->given |= dn_option_bit(index);
    return source->status == DN_OK;
}

static dn_status read_ini(FILE *file, const char *name, dn_options *options, uint64_t skip)
{
    ini_source source = {.file = file, .name = name, .options = options, .skip = skip};
    const int bad_line = ini_parse_stream(ini_line, &source, ini_value, &source);
    DN_TRY(source.status);
    DN_CHECK(!ferror(file), DN_EIO, "%s: cannot read: %s", name, strerror(errno));
    DN_CHECK(bad_line == 0, DN_EINVAL, "%s:%d: found no value, expected a line of key = value",
             name, bad_line);
    return DN_OK;
}

dn_status dn_options_read_config(dn_options *options)
{
    FILE *file = fopen(options->config, "r");
    DN_CHECK(file, DN_ENOENT, "--config: cannot read %s: %s", options->config, strerror(errno));
    const dn_status status = read_ini(file, options->config, options, options->given);
    fclose(file);
    return status;
}

/* The option's bit where checkpoints record it, else 0. */
static uint64_t recorded(int index)
{
    return dn_option_table[index].bearing == DN_FREE ? 0 : dn_option_bit(index);
}

dn_status dn_options_to_ini(const dn_options *options, char *text, size_t size)
{
    char value[DN_PATH_SIZE];
    int used = snprintf(text, size, "[train]\n");
    for (int i = 0; i < dn_option_count && (size_t)used < size; i++) {
        if (!recorded(i))
            continue;
        dn_option_text(options, i, value);
        used +=
            snprintf(text + used, size - (size_t)used, "%s = %s\n", dn_option_table[i].name, value);
    }
    DN_CHECK((size_t)used < size, DN_EINVAL, "the configuration text: expected at most %zu bytes",
             size - 1);
    return DN_OK;
}

/* Brings a given option and the checkpoint's value together. */
static dn_status settle(const dn_options *given, const dn_options *saved, int index)
{
    const dn_option *o = &dn_option_table[index];
    char ours[DN_PATH_SIZE], theirs[DN_PATH_SIZE];
    dn_option_text(given, index, ours);
    dn_option_text(saved, index, theirs);
    if (strcmp(ours, theirs) == 0)
        return DN_OK;
    DN_CHECK(o->bearing != DN_FIXED, DN_EINVAL,
             "--%s: found %s, expected %s as in the checkpoint (or --resume none)", o->name, ours,
             theirs);
    dn_warn("--%s: the checkpoint has %s, the run goes on with %s", o->name, theirs, ours);
    return DN_OK;
}

dn_status dn_options_resume_from_ini(dn_options *options, const char *text)
{
    dn_options saved = *options;
    saved.given = 0;
    FILE *file = fmemopen((char *)text, strlen(text), "r"); /* opened to read: text stays const */
    DN_CHECK(file, DN_ENOMEM, "the checkpoint's configuration: %s", strerror(errno));
    const dn_status status = read_ini(file, "the checkpoint's configuration", &saved, 0);
    fclose(file);
    DN_TRY(status);
    for (int i = 0; i < dn_option_count; i++)
        if (options->command == DN_COMMAND_TRAIN && (recorded(i) & saved.given & options->given))
            DN_TRY(settle(options, &saved, i));
    for (int i = 0; i < dn_option_count; i++)
        if (recorded(i) & saved.given & ~options->given)
            memcpy((char *)options + dn_option_table[i].offset,
                   (const char *)&saved + dn_option_table[i].offset, dn_option_table[i].size);
    return DN_OK;
}
