/* See parsed.h. */
#include "parsed.h"

#include <string.h>

#include "trial_files.h"

dn_options options;

dn_command command_of(const char *name)
{
    static const char *const names[] = {"train", "eval",    "info",  "bench",
                                        "plan",  "predict", "export"};
    static const dn_command_bit bits[] = {DN_COMMAND_TRAIN, DN_COMMAND_EVAL, DN_COMMAND_INFO,
                                          DN_COMMAND_BENCH, DN_COMMAND_PLAN, DN_COMMAND_PREDICT,
                                          DN_COMMAND_EXPORT};
    int i = 0;
    while (strcmp(names[i], name) != 0)
        i++;
    return (dn_command){name, "what it does", bits[i], NULL,
                        i == 1 || i > 4 ? "[RUN] WORD..." : NULL};
}

dn_status parse_words(const char *command, const char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    const dn_command c = command_of(command);
    return dn_options_parse(&options, &c, argc, argv);
}

dn_status parse_config(const char *text)
{
    trial_write(CONFIG, text);
    return PARSE("train", "--lr", "0.7", "--config", CONFIG);
}

void expect_failure(dn_status status, const char *message)
{
    assert_int_equal(status, DN_EINVAL);
    assert_string_equal(dn_message(), message);
}
