/* What tests do with files: a folder to work in, a changed bit, a disk that is full. Any failure
 * fails the test. */
#ifndef DN_TESTS_TRIAL_FILES_H
#define DN_TESTS_TRIAL_FILES_H

#include <sys/resource.h>

#include "unit.h"

/* Fixtures of cmocka, for a test or a group: a new folder under /tmp becomes the current one, and
 * goes with all in it. */
int trial_folder_make(void **state);
int trial_folder_remove(void **state);

#define TRIAL_TEST(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, trial_folder_make, trial_folder_remove)

/* Makes a file of the text, or puts it in the place of one. */
void trial_write(const char *path, const char *text);

/* Inverts a bit of byte `at`. */
void trial_flip(const char *path, long at);

/* From here on a file may have so many bytes, as on a disk that is full; returns the limit before.
 */
rlim_t trial_limit(rlim_t bytes);

#endif
