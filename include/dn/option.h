/*
 * Options of a program, described by a table. Its rows drive the command line, --help, and the text
 * form of values in files. Messages name an option without dashes; the caller prepends "--" or the
 * place in a file. Only messages of dn_option_take and dn_option_refuse are complete. Not
 * collective.
 */
#ifndef DN_OPTION_H
#define DN_OPTION_H

#include <stddef.h>
#include <stdio.h>

#include "dn/status.h"
#include "dn/words.h"

typedef enum dn_option_kind {
    DN_TEXT,    /* char[size] */
    DN_WORD,    /* const char *, the word as typed; not empty */
    DN_WHOLE,   /* int or int64_t, by its size, from `min` to `max` */
    DN_REAL,    /* double from `min` to `max` */
    DN_BETWEEN, /* double strictly between `min` and `max` */
    DN_CHOICE,  /* int, the index of a name */
    DN_SWITCH,  /* int, a word of dn_parse_truth */
    DN_FLAG     /* as DN_SWITCH, for --help and the like: never followed by a value */
} dn_option_kind;

/* The name at `index` of another module's table; NULL past its end. */
typedef const char *dn_name_fn(int index);

typedef struct dn_option {
    const char *name;
    const char *group; /* heading in --help; NULL: none */
    int takers;        /* bit mask of the commands that have it */
    dn_option_kind kind;
    size_t offset, size;      /* of the field */
    double min, max;          /* of a number */
    const char *argument;     /* placeholder of the value in --help, of a text or number */
    const char *bare;         /* its value if none follows; NULL: a value is required */
    const char *const *names; /* of a choice, NULL-terminated; "": no choice ... */
    dn_name_fn *choice;       /* ... or a function that returns them */
    dn_status (*check)(const char *text); /* validates a text that is not empty; or NULL */
    const char *initial;                  /* default; NULL: the field is left unchanged */
    int tag;                              /* for the program's use */
    const char *help;
} dn_option;

/* Set of options: bit i is row i of the table. */
typedef unsigned __int128 dn_option_set;

/* Parses a command line into a structure. */
typedef struct dn_option_reader {
    const dn_option *table; /* a row without a name ends it */
    int takers;             /* rows of other commands are unknown options */
    char usage[64];         /* "dn_dist train", as messages name it */
    int has_words;          /* 1: it takes words besides options, which may follow a switch */
    void *fields;
    dn_option_set *given; /* receives a bit for each option given */
    dn_status (*take_word)(const struct dn_option_reader *reader, const char *word);
} dn_option_reader;

/* The row of that name (`length` characters; '_' may stand for '-') among the takers' options, or
 * NULL. */
const dn_option *dn_option_find(const dn_option *table, int takers, const char *name,
                                size_t length);

/* "; did you mean '--epochs'?" with these `dashes`, or "", for {.word = NAME}, a name that no
 * option has. A word that an option's help text begins with suggests that option; "no-" may precede
 * a switch. */
const char *dn_option_hint(dn_nearest *nearest, const dn_option *table, int takers,
                           const char *dashes);

/* Sets the row's field in `fields` from text. Errors: DN_EINVAL (says what was found and expected;
 * the field is unchanged). */
dn_status dn_option_set_field(const dn_option *o, void *fields, const char *text);

/* Sets all fields that have a default. */
dn_status dn_option_set_defaults(const dn_option *table, void *fields);

/* text = the field's value in the form that dn_option_set_field reads back exactly. */
void dn_option_text(const dn_option *o, const void *fields, char *text, size_t size);

/* Parses the option or word at argv[*at] and advances *at past it and its value: --NAME VALUE,
 * --NAME=VALUE, or --no-NAME for a switch; after "--" all arguments are words. Errors: DN_EINVAL.
 */
dn_status dn_option_take(const dn_option_reader *reader, int argc, const char *const *argv,
                         int *at);

/* Returns DN_EINVAL with the message for an unknown option, NAME or NAME=VALUE after the dashes. */
dn_status dn_option_refuse(const dn_option_reader *reader, const char *dashes,
                           const char *argument);

/* Writes what precedes the option's help to text(size), which is "" before. */
typedef void dn_option_note(const dn_option *o, char *text, size_t size);

/* Prints --help for the takers' options in 80 columns, with defaults in brackets. `note` may be
 * NULL. */
void dn_option_print(FILE *file, const dn_option *table, int takers, dn_option_note *note);

#endif
