/*
 * Records of a made-up data set, in the current folder, for the tests that make and read them. Any
 * failure that a function does not return fails the test.
 */
#ifndef DN_TESTS_MADE_UP_H
#define DN_TESTS_MADE_UP_H

#include "dn/shard.h"
#include "sets/records.h"

enum { CHANNELS = 3, HEIGHT = 5, WIDTH = 7, CLASSES = 4, IMAGE = CHANNELS * HEIGHT * WIDTH };
enum { TRAIN = 203, TEST = 37, SHARDS = 3 };

extern const dn_raw_set made_up;

/* A pixel is a function of its position; some images are constant, so that they compress. */
uint8_t made_up_pixel(dn_split_id split, int64_t image, int i);

#define MANIFEST "dataset.json"

/* The options of made_up_build, a fixture of cmocka that makes the records again. */
dn_records_options made_up_options(void);
int made_up_build(void **state);

#define MADE_UP_TEST(test) cmocka_unit_test_setup(test, made_up_build)

/* Opens and reads the whole train split; returns the first failure. */
dn_status made_up_read(void);

/* Opens a split and checks its metadata and contents. */
void made_up_check(dn_split_id split);

/* Checks that the status is `expected`, and that the message is one line that begins with the file
 * (or "./" and the file) and contains `text`. */
void made_up_expect(dn_status status, dn_status expected, const char *file, const char *text);

/* Edits dataset.json by commands of sed; renews its seal by the specification. */
void made_up_edit(const char *commands);
void made_up_seal(void);

#endif
