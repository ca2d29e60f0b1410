/*
 * The table of options, and values by its rows: what the command line, the configuration file and
 * the help share. Only mpi/options.c, mpi/config.c and mpi/option_table.c include this.
 * Not collective.
 */
#ifndef DN_OPTION_TABLE_H
#define DN_OPTION_TABLE_H

#include "options/options.h"

typedef enum dn_option_kind {
    DN_TEXT,
    DN_INT,
    DN_LONG,
    DN_REAL,
    DN_SWITCH,
    DN_CHOICE
} dn_option_kind;

/* How an option bears on a checkpoint. */
typedef enum dn_bearing {
    DN_FREE,    /* not on the weights: not recorded */
    DN_DECIDES, /* on the weights: recorded, may be changed when a run resumes */
    DN_FIXED    /* on the net or the position in the data: recorded, may not be changed */
} dn_bearing;

typedef struct dn_option {
    const char *name;
    int commands;
    const char *group;
    dn_option_kind kind;
    size_t offset, size; /* of the field in dn_options */
    const char *initial; /* default */
    double min, max;
    const char *argument; /* as --help shows it; the names of a choice, in its enum's order */
    dn_bearing bearing;
    const char *help;
    const char *(*choice)(int index); /* where `argument` is NULL: a choice's names, then NULL */
} dn_option;

/* The table, and how many rows it has (at most 64). */
extern const dn_option dn_option_table[];
extern const int dn_option_count;

/* The row of a command's option (name: `length` characters), or -1; several commands are or-ed. */
int dn_option_find(int commands, const char *name, size_t length);

/* Parses `text` into the row's field. `where` stands before the option's name in the message of a
 * DN_EINVAL: "--" or "run.ini:3: ". */
dn_status dn_option_set(dn_options *options, int index, const char *text, const char *where);

/* text = the value of the row's field as dn_option_set reads it, to the same bits. */
void dn_option_text(const dn_options *options, int index, char text[DN_PATH_SIZE]);

/* What --help shows: `argument`, or the names of `choice` written into text(64); never NULL. */
const char *dn_option_argument(const dn_option *option, char *text);

/* The row's bit in dn_options.given. */
static inline uint64_t dn_option_bit(int index)
{
    return UINT64_C(1) << index;
}

/* Reads options.config into the options that were not given yet (INI, inih). */
dn_status dn_options_read_config(dn_options *options);

#endif
