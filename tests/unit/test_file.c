/* A file is written completely and replaces the previous one; a failure leaves no partial file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dn/file.h"
#include "dn/json.h"
#include "trial_files.h"

#define PATH "a/b/file"

static void test_file_write(void **state)
{
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

static void test_load_most(void **state)
{
    uint8_t *bytes;
    size_t size;
    assert_int_equal(dn_file_write("file", "four", 4), DN_OK);
    assert_int_equal(dn_file_load_most("file", 4, &bytes, &size), DN_OK);
    free(bytes);
    assert_int_equal(dn_file_load_most("file", 3, &bytes, &size), DN_ECORRUPT);
    assert_null(bytes);
    assert_string_equal(dn_message(), "file: found 4 bytes, expected at most 3");
}

/* An output may replace no file, an empty file, or one of the same kind. */
static void test_check_kind(void **state)
{
    assert_int_equal(dn_file_check_kind("nothing", "X", 2, "four"), DN_OK);
    assert_int_equal(dn_file_check_kind("/dev/null", "X", 2, "four"), DN_OK);
    assert_int_equal(dn_file_write("kind", "", 0), DN_OK);
    assert_int_equal(dn_file_check_kind("kind", "X", 2, "four"), DN_OK);
    assert_int_equal(dn_file_write("kind", "..four.", 7), DN_OK);
    assert_int_equal(dn_file_check_kind("kind", "X", 2, "four"), DN_OK);
    assert_int_equal(dn_file_check_kind("kind", "X", 4, "four"), DN_EINVAL);
    assert_int_equal(dn_file_check_kind("kind", "X", 0, "four"), DN_EINVAL);
    assert_string_equal(dn_message(),
                        "kind: found a file that is no X, which is not replaced; name another");
    assert_int_equal(dn_make_folders("folder"), DN_OK);
    assert_int_equal(dn_file_check_kind("folder", "X", 2, "four"), DN_EINVAL);
    assert_string_equal(dn_message(), "folder: found a folder, expected a file to write");
    assert_int_equal(dn_file_check_kind("folder/new", "X", 2, "four"), DN_OK);
    assert_int_equal(dn_file_check_kind("no/new", "X", 2, "four"), DN_ENOENT);
    assert_string_equal(dn_message(), "no/new: cannot write: no folder no");
    assert_int_equal(dn_file_check_kind("no/", "X", 2, "four"), DN_ENOENT);
}

static void test_json(void **state)
{
    json_t *json;
    assert_int_equal(dn_json_save(json_pack("{s:i}", "a", 7), "json", 0), DN_OK);
    assert_int_equal(dn_json_load(&json, "json"), DN_OK);
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 7);
    json_decref(json);
    assert_int_equal(dn_json_save(NULL, "json", 0), DN_ENOMEM);
    assert_int_equal(dn_file_write("json", "{\"a\":1,\n\"a\":2}", 15), DN_OK);
    assert_int_equal(dn_json_load(&json, "json"), DN_ECORRUPT);
    assert_null(json);
    assert_non_null(strstr(dn_message(), "json:2: not valid JSON: duplicate"));
}

/* Links, pipes and devices are written to, not replaced. */
static void test_file_write_special(void **state)
{
    struct stat info;
    char text[5] = "";
    assert_int_equal(dn_make_folders("there"), DN_OK);
    assert_int_equal(dn_file_write("there/file", "former", 6), DN_OK);
    assert_int_equal(symlink("there/file", "link"), 0);
    assert_int_equal(dn_file_write("link", "four", 4), DN_OK);
    assert_true(lstat("link", &info) == 0 && S_ISLNK(info.st_mode));
    assert_true(stat("there/file", &info) == 0 && info.st_size == 4);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(dn_file_write("dangling", "four", 4), DN_EIO);
    assert_string_equal(dn_message(), "dangling: cannot write: a dangling link");
    assert_int_equal(access("dangling" DN_PARTIAL, F_OK), -1);

    assert_int_equal(mkfifo("pipe", 0600), 0);
    const int end = open("pipe", O_RDWR | O_CLOEXEC);
    assert_int_equal(dn_file_write("pipe", "four", 4), DN_OK);
    assert_int_equal(read(end, text, 4), 4);
    assert_string_equal(text, "four");
    close(end);
    assert_true(lstat("pipe", &info) == 0 && S_ISFIFO(info.st_mode));
    assert_int_equal(symlink("/dev/full", "full"), 0); /* root could create a file beside it */
    assert_int_equal(dn_file_write("full", "four", 4), DN_EIO);
    assert_non_null(strstr(dn_message(), "full: cannot write: No space left"));
    assert_true(lstat("/dev/full", &info) == 0 && S_ISCHR(info.st_mode));
    assert_int_equal(dn_file_write("/dev/null", "four", 4), DN_OK);
    assert_true(lstat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
}

/* The call of mkdir during which another process removes a/b, and the error that it returns. */
static struct {
    const char *path;
    int error;
} lost;

/* Replaces the system's. */
int mkdir(const char *path, mode_t mode)
{
    if (!lost.path || strcmp(path, lost.path) != 0)
        return mkdirat(AT_FDCWD, path, mode);
    lost.path = NULL;
    assert_int_equal(rmdir("a/b"), 0);
    errno = lost.error;
    return -1;
}

/* A folder that is removed while its subfolders are created is created again and counted. */
static void test_folder_lost(void **state)
{
    int made;
    assert_int_equal(dn_make_folders("a/b"), DN_OK);
    lost.path = "a/b"; /* it existed, and has been removed */
    lost.error = EEXIST;
    assert_int_equal(dn_make_folders_counted("a/b/c", &made), DN_OK);
    assert_null(lost.path);
    assert_int_equal(made, 2);
    assert_int_equal(rmdir("a/b/c"), 0);
    lost.path = "a/b/c";
    lost.error = ENOENT;
    assert_int_equal(dn_make_folders_counted("a/b/c", &made), DN_OK);
    assert_null(lost.path);
    assert_int_equal(made, 2);
    assert_int_equal(symlink("nowhere", "link"), 0);
    assert_int_equal(dn_make_folders("link/a"), DN_EIO);
    assert_string_equal(dn_message(), "link: found a link to nothing, expected a folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(test_file_write),  TRIAL_TEST(test_load_most),
        TRIAL_TEST(test_json),        TRIAL_TEST(test_file_write_special),
        TRIAL_TEST(test_folder_lost), TRIAL_TEST(test_check_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
