/* Options of dn_dist, parsed from words and files. */
#ifndef DN_TESTS_PARSED_H
#define DN_TESTS_PARSED_H

#include "commands/from_options.h"
#include "unit.h"

#define CONFIG "options.ini" /* in the current folder */

extern dn_options options; /* what was parsed last */

/* The command of that name. */
dn_command command_of(const char *name);

/* Parses a command and its arguments. As dn_options_parse. */
#define PARSE(command, ...)                                                                        \
    parse_words(command, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

dn_status parse_words(const char *command, const char *const *argv); /* NULL past the last */

#define PARSE_WELL(...) assert_int_equal(PARSE(__VA_ARGS__), DN_OK)

/* Writes `text` to CONFIG and parses `dn_dist train --lr 0.7 --config CONFIG`. */
dn_status parse_config(const char *text);

/* The status is DN_EINVAL, with the message. */
void expect_failure(dn_status status, const char *message);

#endif
