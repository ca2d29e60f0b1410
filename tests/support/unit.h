/* cmocka, with the headers that it asks for; its tests need not use their `state`. DN_SKIP ends a
 * test that lacks something of the system. */
#ifndef DN_TESTS_UNIT_H
#define DN_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define DN_SKIP(why)                                                                               \
    do {                                                                                           \
        print_message("not tried: %s\n", why);                                                     \
        if (getenv("DN_ALL_TESTS") != NULL)                                                        \
            fail_msg("expected all to be tried, as DN_ALL_TESTS is set");                          \
        skip();                                                                                    \
    } while (0)

#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
