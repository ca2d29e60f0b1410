/* A child's results, failures and ends reach its caller. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dn/child.h"
#include "unit.h"

static dn_status count_to_a_million(void *user)
{
    int *const numbers = user;
    for (int i = 0; i < 1000000; i++)
        numbers[i] = i;
    return DN_OK;
}

static void test_pages(void **state)
{
    const size_t bytes = 1000000 * sizeof(int);
    int *const numbers = dn_child_pages(bytes);
    assert_non_null(numbers);
    assert_int_equal(numbers[7], 0);
    assert_int_equal(dn_child_run("numbers", count_to_a_million, numbers), DN_OK);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(numbers[i], i);
    dn_child_pages_free(numbers, bytes);
}

static dn_status refuse(void *user)
{
    return dn_fail(DN_ESHAPE, "%s: found 1, expected 2", (const char *)user);
}

static void test_failure(void **state)
{
    assert_int_equal(dn_child_run("file", refuse, "file"), DN_ESHAPE);
    assert_string_equal(dn_message(), "file: found 1, expected 2");
}

static dn_status crash(void *user)
{
    *(volatile int *)user = 1;
    return DN_OK;
}

static dn_status give_up(void *user)
{
    (void)user;
    abort();
}

static dn_status compute_too_long(void *user)
{
    (void)user;
    raise(SIGXCPU);
    return DN_OK;
}

static dn_status leave(void *user)
{
    (void)user;
    _exit(0);
}

static void test_crash(void **state)
{
    dn_child_fn *const ends[] = {crash, give_up, compute_too_long, leave};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        assert_int_equal(dn_child_run("shard-7", ends[i], NULL), DN_ECORRUPT);
        assert_non_null(strstr(dn_message(), "shard-7: "));
    }
}

static dn_status be_killed(void *user)
{
    (void)user;
    raise(SIGKILL);
    return DN_OK;
}

/* As by the kernel when memory is short: not a fault of the file. */
static void test_killed(void **state)
{
    assert_int_equal(dn_child_run("shard-7", be_killed, NULL), DN_ENOMEM);
    assert_string_equal(dn_message(),
                        "shard-7: the process that reads it was killed; out of memory?");
}

static dn_status take_much(void *user)
{
    (void)user;
    void *const much = mmap(NULL, ((size_t)DN_CHILD_GIB << 30) + 1, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return much == MAP_FAILED ? DN_OK : dn_fail(DN_ENOMEM, "has too much");
}

static void test_memory(void **state)
{
    assert_int_equal(dn_child_run("file", take_much, NULL), DN_OK);
}

static dn_status look_for_files(void *user)
{
    const int *const file = user;
    return lseek(*file, 0, SEEK_CUR) < 0 ? DN_OK : dn_fail(DN_EIO, "still open");
}

static void test_files_are_left(void **state)
{
    char name[] = "/tmp/dn_child_XXXXXX";
    const int file = mkstemp(name);
    assert_true(file >= 0);
    assert_int_equal(dn_child_run("files", look_for_files, (void *)&file), DN_OK);
    assert_int_equal(lseek(file, 0, SEEK_CUR), 0);
    close(file);
    unlink(name);
}

static dn_status overwrite_name(void *user)
{
    memset(user, 'x', PATH_MAX);
    _exit(0);
}

/* A name that the child overwrote has no end, and the page after it is not mapped. */
static void test_name_without_end(void **state)
{
    char *const pages = dn_child_pages(2 * PATH_MAX);
    assert_non_null(pages);
    assert_int_equal(mprotect(pages + PATH_MAX, PATH_MAX, PROT_NONE), 0);
    assert_int_equal(dn_child_run(pages, overwrite_name, pages), DN_ECORRUPT);
    dn_child_pages_free(pages, 2 * PATH_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),           cmocka_unit_test(test_failure),
        cmocka_unit_test(test_crash),           cmocka_unit_test(test_killed),
        cmocka_unit_test(test_memory),          cmocka_unit_test(test_files_are_left),
        cmocka_unit_test(test_name_without_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
