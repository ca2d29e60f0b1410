/* Files in tests: a working folder, a flipped bit, a full disk. Any failure fails the test. */
#ifndef DN_TESTS_TRIAL_FILES_H
#define DN_TESTS_TRIAL_FILES_H

#include <sys/resource.h>

#include "unit.h"

/* Fixtures of cmocka, for a test or a group: make a new folder under /tmp the current one; remove
 * it with its contents. */
int trial_folder_make(void **state);
int trial_folder_remove(void **state);

#define TRIAL_TEST(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, trial_folder_make, trial_folder_remove)

/* Writes the text to a file, replacing an existing one. */
void trial_write(const char *path, const char *text);

/* Inverts a bit of byte `at`. */
void trial_flip(const char *path, long at);

/* The number of entries of a folder. */
int trial_files_in(const char *folder);

/* Limits the size of files to `bytes`, like a full disk; returns the previous limit. */
rlim_t trial_limit(rlim_t bytes);

#endif
