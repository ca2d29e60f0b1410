/* The parser of options (dn/option.h) by a table of its own: words behind "--" and anywhere, and
 * the kinds that dn_dist does not use. */
#include <stdlib.h>

#include "dn/option.h"
#include "parsed.h"

typedef struct dishes {
    const char *name, *words[4];
    double part;
    int side, hot, count;
    dn_option_set given;
} dishes;

static const dn_option dish_table[] = {
    {"dish-name", .takers = 3, .kind = DN_WORD, .offset = offsetof(dishes, name),
     .argument = "NAME", .help = "of it"},
    {"part", .takers = 1, .kind = DN_BETWEEN, .offset = offsetof(dishes, part), .max = 1,
     .argument = "X", .help = "kept"},
    {"side", .takers = 2, .kind = DN_WHOLE, .offset = offsetof(dishes, side), .size = sizeof(int),
     .min = 1, .max = 9, .argument = "[N]", .bare = "4", .initial = "7",
     .help = "the help of this option takes more than one line of eighty columns"},
    {"hot", .takers = 3, .kind = DN_SWITCH, .offset = offsetof(dishes, hot), .bare = "1",
     .help = "or cold"},
    {0}};

static dn_status take_dish(const dn_option_reader *reader, const char *word)
{
    dishes *const d = reader->fields;
    d->words[d->count++] = word;
    return DN_OK;
}

#define READ(d, takers, ...) read_dishes(d, takers, (const char *const[]){__VA_ARGS__, NULL})

static dn_status read_dishes(dishes *d, int takers, const char *const *argv)
{
    const dn_option_reader reader = {dish_table, takers, "cook", 1, d, &d->given, take_dish};
    int argc = 0;
    *d = (dishes){0};
    DN_TRY(dn_option_set_defaults(dish_table, d));
    while (argv[argc])
        argc++;
    for (int i = 0; i < argc;)
        DN_TRY(dn_option_take(&reader, argc, argv, &i));
    return DN_OK;
}

static void test_table(void **state)
{
    dishes d;
    assert_int_equal(READ(&d, 3, "one", "--dish_name=x", "--side", "two", "--hot", "--", "--part"),
                     DN_OK);
    assert_true(d.count == 3 && d.side == 4 && d.hot == 1 && d.given == 13);
    assert_string_equal(d.words[2], "--part");
    assert_string_equal(d.name, "x");
    assert_int_equal(READ(&d, 3, "--side", "5", "--hot", "off", "--part", "0.5"), DN_OK);
    assert_true(d.count == 0 && d.side == 5 && d.hot == 0 && d.part == 0.5);
    assert_int_equal(READ(&d, 3, "--no-hot"), DN_OK);
    assert_true(d.side == 7 && d.given == 8);
    expect_failure(READ(&d, 3, "--side=0"),
                   "--side: found '0', expected a whole number from 1 to 9");
    expect_failure(
        READ(&d, 3,
             "--side=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        "--side: found 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', "
        "expected a whole number from 1 to 9");
    expect_failure(READ(&d, 3, "--part", "1"),
                   "--part: found '1', expected a number between 0 and 1");
    expect_failure(READ(&d, 3, "--dish-name", ""), "--dish-name: found '', expected NAME");
    expect_failure(READ(&d, 3, "--dish-name", "--hot"),
                   "--dish-name: found no value, expected NAME");
    expect_failure(
        READ(&d, 3, "-hot"),
        "-hot: found an unknown option, expected one of 'cook --help'; did you mean '--hot'?");
    expect_failure(READ(&d, 3, "--dish"), "--dish: found an unknown option, expected one of 'cook "
                                          "--help'; did you mean '--dish-name'?");
    expect_failure(READ(&d, 1, "--side=3"),
                   "--side: found an option of other commands, expected one of 'cook --help'");
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    dn_option_print(file, dish_table, 2, NULL);
    fclose(file);
    assert_string_equal(
        text, "  --dish-name NAME        of it\n"
              "  --side [N]              the help of this option takes more than one line of\n"
              "                          eighty columns [7]\n"
              "  --[no-]hot              or cold\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
