/* cmocka, with the headers that it asks for; its tests need not use their `state`. */
#ifndef DN_TESTS_UNIT_H
#define DN_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
