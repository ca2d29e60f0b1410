/*
 * Options of a program by a table: its rows drive the command line, --help, and the text of values
 * in files. Messages name an option without dashes, and the caller puts "--" or the place in a file
 * before them, but for those of dn_option_take and dn_option_refuse, which are whole.
 */
#ifndef DN_OPTION_H
#define DN_OPTION_H

#include <stddef.h>
#include <stdio.h>

#include "dn/status.h"
#include "dn/words.h"

typedef enum dn_option_kind {
    DN_TEXT,    /* char[size] */
    DN_WORD,    /* const char *, the user's own word, which is not empty */
    DN_WHOLE,   /* int or int64_t, by its size, from `min` to `max` */
    DN_REAL,    /* double from `min` to `max` */
    DN_BETWEEN, /* double, neither `min` nor `max` themselves */
    DN_CHOICE,  /* int, the index of a name */
    DN_SWITCH,  /* int, as a word of dn_parse_truth says */
    DN_FLAG     /* the same for --help and the like, which no word may follow as a value */
} dn_option_kind;

/* The name at `index` of another module's table; NULL past its end. */
typedef const char *dn_name_fn(int index);

typedef struct dn_option {
    const char *name;
    const char *group; /* heading in --help; NULL: none */
    int takers;        /* bits of the commands that have it */
    dn_option_kind kind;
    size_t offset, size;                  /* of the field */
    double min, max;                      /* of a number */
    const char *argument;                 /* as --help shows it, of a text or number */
    const char *bare;                     /* its value where none follows; NULL: one has to */
    const char *const *names;             /* of a choice, up to a NULL ... */
    dn_name_fn *choice;                   /* ... or where a choice's come from */
    dn_status (*check)(const char *text); /* of a text that is not empty; or NULL */
    const char *initial;                  /* default; NULL: the field stays as it is */
    int tag;                              /* the program's own */
    const char *help;
} dn_option;

/* Bit i: row i of the table. */
typedef unsigned __int128 dn_option_set;

/* Who reads a command line, and where to. */
typedef struct dn_option_reader {
    const dn_option *table; /* a row without a name ends it */
    int takers;             /* rows of others are unknown */
    char usage[64];         /* "dn_dist train", as messages name it */
    int has_words;          /* it takes words besides options: these follow a switch */
    void *fields;
    dn_option_set *given; /* gets a bit for each option that is read */
    dn_status (*take_word)(const struct dn_option_reader *reader, const char *word);
} dn_option_reader;

/* The takers' row of that name (`length` characters, '_' may stand for '-'), or NULL. */
const dn_option *dn_option_find(const dn_option *table, int takers, const char *name,
                                size_t length);

/* "; did you mean '--epochs'?" with those `dashes`, or "", for {.word = NAME} that no option has. A
 * word that an option's help begins with means it, and after "no-" the rest may be a switch. */
const char *dn_option_hint(dn_nearest *nearest, const dn_option *table, int takers,
                           const char *dashes);

/* Sets the row's field of `fields`. DN_EINVAL says what was found and expected; the field is as it
 * was. */
dn_status dn_option_set_field(const dn_option *o, void *fields, const char *text);

/* Sets all fields whose rows have a default. */
dn_status dn_option_set_defaults(const dn_option *table, void *fields);

/* text = the field's value as dn_option_set_field reads it, to the same bits. */
void dn_option_text(const dn_option *o, const void *fields, char *text, size_t size);

/* Takes the option or the word at argv[*at] of argc, moves *at past it and its value: --NAME VALUE,
 * --NAME=VALUE, --no-NAME of a switch; after "--" all are words. DN_EINVAL. */
dn_status dn_option_take(const dn_option_reader *reader, int argc, const char *const *argv,
                         int *at);

/* DN_EINVAL: the option, NAME or NAME=VALUE behind the dashes, is none of the reader's. */
dn_status dn_option_refuse(const dn_option_reader *reader, const char *dashes,
                           const char *argument);

/* The lines of --help about the takers' options, in 80 columns, with defaults in brackets. */
void dn_option_print(FILE *file, const dn_option *table, int takers);

#endif
