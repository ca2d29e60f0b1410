/* A file is written whole, in place of a former one; where that fails nothing partial is left. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"
#include "trial_files.h"

/* A file is written whole, in place of a former one; where that fails nothing partial is left. */
#define PATH "a/b/file"

static void test_file_write(void **state)
{
    (void)state;
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_make_folders("a/b"), DN_OK);
    assert_int_equal(dn_make_folders("a/b"), DN_OK);
    assert_int_equal(dn_file_write(PATH, "former", 6), DN_OK);
    assert_int_equal(dn_file_write(PATH, "four", 4), DN_OK);
    assert_int_equal(dn_file_load(PATH, &bytes, &size), DN_OK);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "four", 4);
    free(bytes);
    assert_int_equal(dn_file_write("/dev/null/x", "four", 4), DN_EIO);
    assert_non_null(strstr(dn_message(), "/dev/null/x: cannot write"));
    unlink(PATH);
    assert_int_equal(mkdir(PATH, 0777), 0); /* which no file can replace */
    assert_int_equal(dn_file_write(PATH, "four", 4), DN_EIO);
    assert_non_null(strstr(dn_message(), PATH));
    assert_int_not_equal(access(PATH DN_PARTIAL, F_OK), 0);
    rmdir(PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_file_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
