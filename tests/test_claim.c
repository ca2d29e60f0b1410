/* A run's folder is one process's at a time, and nobody's once that has ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dn/claim.h"
#include "unit.h"

static char root[64], folder[96], lock[128];

static int make_root(void **state)
{
    strcpy(root, "/tmp/dn-claim-XXXXXX");
    if (mkdtemp(root) == NULL)
        return -1;
    snprintf(folder, sizeof folder, "%s/run", root);
    snprintf(lock, sizeof lock, "%s/lock", folder);
    return 0;
}

static int remove_root(void **state)
{
    unlink(lock);
    rmdir(folder);
    return rmdir(root);
}

static int waiting[2] = {-1, -1}; /* a pipe: a byte each time that the lock is found taken */
static int removals;              /* so many times the file that was locked is removed */

/* In place of the system's. */
int flock(int file, int operation)
{
    const int result = (int)syscall(SYS_flock, file, operation), error = errno;
    if (result != 0 && error == EWOULDBLOCK && waiting[1] >= 0)
        assert_int_equal(write(waiting[1], "", 1), 1);
    if (removals > 0) {
        removals--;
        assert_int_equal(unlink(lock), 0);
    }
    errno = error;
    return result;
}

/* Forks a process that takes the folder, and forks one of its own where `forks`, which gives it up
 * when somebody waits for it, and waits to be killed; returns when it has the folder. */
static pid_t start_holder(int forks)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dn_claim claim = {.folder = ""};
        const pid_t own = dn_claim_take(&claim, folder) == DN_OK && forks ? fork() : 0;
        if (write(ready[1], "", 1) == 1 && (!forks || own > 0))
            pause();
        close(waiting[1]);
        if (read(waiting[0], &byte, 1) == 1) /* the grandchild's end */
            dn_claim_abandon(&claim);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void kill_holder(pid_t holder)
{
    assert_int_equal(kill(holder, SIGKILL), 0);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
}

static void test_taken(void **state)
{
    char expected[96];
    dn_claim claim = {.folder = ""};
    const pid_t holder = start_holder(0);
    assert_int_equal(dn_claim_take(&claim, folder), DN_EINVAL);
    snprintf(expected, sizeof expected, "/run: found process %d on host ", (int)holder);
    assert_non_null(strstr(dn_message(), expected));
    kill_holder(holder);
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    dn_claim_release(&claim);
    dn_claim_release(&claim);
}

/* What a killed run forked, to save, still has its folder: the next run waits for that, and makes
 * the folder again where it went meanwhile. */
static void test_forked(void **state)
{
    dn_claim claim = {.folder = ""};
    for (int is_new = 0; is_new < 2; is_new++) {
        if (is_new)
            unlink(lock), rmdir(folder);
        assert_int_equal(pipe(waiting), 0);
        kill_holder(start_holder(1));
        dn_log_set_level(DN_QUIET);
        assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
        dn_log_set_level(DN_INFO);
        assert_int_equal(claim.made, is_new);
        assert_int_equal(access(lock, F_OK), 0);
        dn_claim_release(&claim);
        close(waiting[0]);
        close(waiting[1]);
        waiting[0] = waiting[1] = -1;
    }
}

/* A folder that was made for a run that does not begin goes with it; one that was there stays, and
 * so does what stands in it. */
static void test_abandoned(void **state)
{
    dn_claim claim = {.folder = ""};
    unlink(lock);
    rmdir(folder);
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    assert_int_equal(access(lock, F_OK), 0);
    dn_claim_abandon(&claim);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    dn_claim_abandon(&claim);
    assert_int_equal(access(lock, F_OK), 0);
}

/* Folders above it that were made with it go, too, up to one that was there or is not empty. */
static void test_abandoned_deep(void **state)
{
    char deep[128], other[128], name[400];
    dn_claim claim = {.folder = ""}, beside = {.folder = ""};
    snprintf(deep, sizeof deep, "%s//a/b/c/", root);
    snprintf(other, sizeof other, "%s/a/d", root);
    assert_int_equal(dn_claim_take(&claim, deep), DN_OK);
    assert_int_equal(dn_claim_take(&beside, other), DN_OK);
    dn_claim_abandon(&claim);
    assert_int_equal(access(other, F_OK), 0);
    snprintf(deep, sizeof deep, "%s/a/b", root);
    assert_int_equal(access(deep, F_OK), -1);
    assert_int_equal(mkdir(deep, 0777), 0);
    dn_claim_abandon(&beside);
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(rmdir(deep), 0);
    snprintf(deep, sizeof deep, "%s/a", root);
    assert_int_equal(rmdir(deep), 0);
    snprintf(name, sizeof name, "%s/a/b/%0300d", root, 1);
    assert_int_equal(dn_claim_take(&claim, name), DN_EIO);
    assert_int_equal(access(deep, F_OK), -1);
    assert_int_equal(access(root, F_OK), 0);
}

/* "." and ".." in a path keep no folder from being removed. */
static void test_abandoned_dots(void **state)
{
    char deep[128];
    dn_claim claim = {.folder = ""};
    snprintf(deep, sizeof deep, "%s/./a/b/.././c/./", root);
    assert_int_equal(dn_claim_take(&claim, deep), DN_OK);
    dn_claim_abandon(&claim);
    snprintf(deep, sizeof deep, "%s/a", root);
    assert_int_equal(access(deep, F_OK), -1);
    assert_int_equal(access(root, F_OK), 0);
}

/* A lock that is removed each time that it is taken is none. */
static void test_removed(void **state)
{
    dn_claim claim = {.folder = ""};
    removals = 3;
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    assert_int_equal(removals, 0);
    assert_int_equal(access(lock, F_OK), 0);
    dn_claim_release(&claim);
    removals = 1000;
    assert_int_equal(dn_claim_take(&claim, folder), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "/run/lock: found it removed by other starts 100 times"));
    assert_string_equal(claim.folder, "");
    removals = 0;
}

/* Who loses folder or lock takes them anew, unless another process has been there meanwhile. */
static void test_kept(void **state)
{
    char moved[128];
    dn_claim claim = {.folder = ""}, other = {.folder = ""};
    snprintf(moved, sizeof moved, "%s/moved", root);
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    const int first = claim.file;
    assert_int_equal(dn_claim_keep(&claim), DN_OK);
    assert_int_equal(claim.file, first);
    dn_log_set_level(DN_QUIET);
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_int_equal(unlink(lock), 0);
        assert_int_equal(is_folder ? rmdir(folder) : 0, 0);
        assert_int_equal(dn_claim_keep(&claim), DN_OK);
        assert_int_equal(dn_claim_take(&other, folder), DN_EINVAL);
    }
    dn_log_set_level(DN_INFO);
    assert_int_equal(rename(folder, moved), 0);
    assert_int_equal(dn_claim_take(&other, folder), DN_OK);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "/run: found another run's lock"));
    dn_claim_release(&other);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    dn_claim_release(&claim);
    snprintf(moved, sizeof moved, "%s/moved/lock", root);
    assert_int_equal(unlink(moved), 0);
    snprintf(moved, sizeof moved, "%s/moved", root);
    assert_int_equal(rmdir(moved), 0);
}

/* As `cp -a` and `rsync` do: puts a copy of the lock in its place. */
static void copy_lock(void)
{
    char text[128] = "", copy[128];
    FILE *file = fopen(lock, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    snprintf(copy, sizeof copy, "%s/copy", folder);
    file = fopen(copy, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(copy, lock), 0);
}

/* A copy of the folder counts as it while no other process has taken that: also none of the same
 * name, as in another container. */
static void test_copied(void **state)
{
    dn_claim claim = {.folder = ""}, other = {.folder = ""};
    assert_int_equal(dn_claim_take(&claim, folder), DN_OK);
    dn_log_set_level(DN_QUIET);
    for (int i = 0; i < 2; i++) {
        copy_lock();
        assert_int_equal(dn_claim_keep(&claim), DN_OK);
        assert_int_equal(dn_claim_take(&other, folder), DN_EINVAL);
    }
    dn_log_set_level(DN_INFO);
    copy_lock();
    const int busy = open(lock, O_RDONLY);
    assert_int_equal(flock(busy, LOCK_EX), 0); /* by who has not written yet */
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    close(busy);
    assert_int_equal(dn_claim_take(&other, folder), DN_OK); /* by the same host and process */
    dn_claim_release(&other);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "/run: found another run's lock"));
    dn_claim_release(&claim);
}

/* No file may be opened: the folders that were made meanwhile go. */
static void test_refused(void **state)
{
    char deep[128];
    dn_claim claim = {.folder = ""};
    struct rlimit files;
    assert_int_equal(dn_claim_take(&claim, "/dev/null/x"), DN_EIO);
    snprintf(deep, sizeof deep, "%s/a/b", root);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const dn_status status = dn_claim_take(&claim, deep);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "/a/b/lock: cannot write: Too many open files"));
    snprintf(deep, sizeof deep, "%s/a", root);
    assert_int_equal(access(deep, F_OK), -1);
}

/* Of another host's processes nothing is known. */
static void test_looked_at(void **state)
{
    static const struct {
        const char *host;
        dn_holder_life life;
    } cases[] = {{NULL, DN_HOLDER_ENDED}, {"elsewhere", DN_HOLDER_NOT_KNOWN}};
    char own[65] = "";
    assert_int_equal(gethostname(own, sizeof own - 1), 0);
    assert_true(mkdir(folder, 0777) == 0 || errno == EEXIST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *const file = fopen(lock, "w");
        assert_non_null(file);
        fprintf(file, "%s 4194305", cases[i].host ? cases[i].host : own); /* above all processes */
        assert_int_equal(fclose(file), 0);
        assert_int_equal(dn_claim_look(folder), cases[i].life);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),          cmocka_unit_test(test_forked),
        cmocka_unit_test(test_abandoned),      cmocka_unit_test(test_abandoned_deep),
        cmocka_unit_test(test_abandoned_dots), cmocka_unit_test(test_removed),
        cmocka_unit_test(test_kept),           cmocka_unit_test(test_copied),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_looked_at),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
