/* One process at a time owns a run's folder, until it ends. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dn/claim.h"
#include "trial_files.h"

#define FOLDER "run"
#define LOCK   FOLDER "/lock"

static int waiting[2] = {-1, -1}; /* a pipe: a byte each time the lock is found taken */
static int removals;              /* how many times the locked file is removed */

/* Replaces the system's. */
int flock(int file, int operation)
{
    const int result = (int)syscall(SYS_flock, file, operation), error = errno;
    if (result != 0 && error == EWOULDBLOCK && waiting[1] >= 0)
        assert_int_equal(write(waiting[1], "", 1), 1);
    if (removals > 0) {
        removals--;
        assert_int_equal(unlink(LOCK), 0);
    }
    errno = error;
    return result;
}

/* Forks a process that takes FOLDER and waits to be killed; returns when it has the folder. With
 * `forks` that process forks a child, which gives the folder up when another process waits for it.
 */
static pid_t start_holder(int forks)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dn_claim claim = {.folder = ""};
        const pid_t own = dn_claim_take(&claim, FOLDER) == DN_OK && forks ? fork() : 0;
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
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_EINVAL);
    snprintf(expected, sizeof expected, "run: found process %d on host ", (int)holder);
    assert_non_null(strstr(dn_message(), expected));
    kill_holder(holder);
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    dn_claim_release(&claim);
    dn_claim_release(&claim);
}

/* A child that a killed run forked to save still owns the folder: the next run waits for it, and
 * recreates the folder if it was removed. */
static void test_forked(void **state)
{
    dn_claim claim = {.folder = ""};
    for (int is_new = 0; is_new < 2; is_new++) {
        if (is_new)
            unlink(LOCK), rmdir(FOLDER);
        assert_int_equal(pipe(waiting), 0);
        kill_holder(start_holder(1));
        dn_log_set_level(DN_QUIET);
        assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
        dn_log_set_level(DN_INFO);
        assert_int_equal(claim.made, is_new);
        assert_int_equal(access(LOCK, F_OK), 0);
        dn_claim_release(&claim);
        close(waiting[0]);
        close(waiting[1]);
        waiting[0] = waiting[1] = -1;
    }
}

/* A folder that was created for a run that does not begin is removed; one that existed is kept with
 * its content. */
static void test_abandoned(void **state)
{
    dn_claim claim = {.folder = ""};
    unlink(LOCK);
    rmdir(FOLDER);
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    assert_int_equal(access(LOCK, F_OK), 0);
    dn_claim_abandon(&claim);
    assert_int_equal(access(FOLDER, F_OK), -1);
    assert_int_equal(mkdir(FOLDER, 0777), 0);
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    dn_claim_abandon(&claim);
    assert_int_equal(access(LOCK, F_OK), 0);
}

/* Created parent folders are removed, too, up to one that existed or is not empty. */
static void test_abandoned_deep(void **state)
{
    char name[400];
    dn_claim claim = {.folder = ""}, beside = {.folder = ""};
    assert_int_equal(mkdir("there", 0777), 0);
    assert_int_equal(dn_claim_take(&claim, "there//a/b/c/"), DN_OK);
    assert_int_equal(dn_claim_take(&beside, "there/a/d"), DN_OK);
    dn_claim_abandon(&claim);
    assert_int_equal(access("there/a/d", F_OK), 0);
    assert_int_equal(access("there/a/b", F_OK), -1);
    assert_int_equal(mkdir("there/a/b", 0777), 0);
    dn_claim_abandon(&beside);
    assert_int_equal(access("there/a/d", F_OK), -1);
    assert_int_equal(rmdir("there/a/b"), 0);
    assert_int_equal(rmdir("there/a"), 0);
    snprintf(name, sizeof name, "there/a/b/%0300d", 1);
    assert_int_equal(dn_claim_take(&claim, name), DN_EIO);
    assert_int_equal(access("there/a", F_OK), -1);
    assert_int_equal(rmdir("there"), 0);
}

/* Folders are removed also if the path contains "." and "..". */
static void test_abandoned_dots(void **state)
{
    dn_claim claim = {.folder = ""};
    assert_int_equal(mkdir("there", 0777), 0);
    assert_int_equal(dn_claim_take(&claim, "there/./a/b/.././c/./"), DN_OK);
    dn_claim_abandon(&claim);
    assert_int_equal(access("there/a", F_OK), -1);
    assert_int_equal(rmdir("there"), 0);
}

/* Taking a lock fails if its file is removed each time it is locked. */
static void test_removed(void **state)
{
    dn_claim claim = {.folder = ""};
    removals = 3;
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    assert_int_equal(removals, 0);
    assert_int_equal(access(LOCK, F_OK), 0);
    dn_claim_release(&claim);
    removals = 1000;
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "run/lock: found it removed by other starts 100 times"));
    assert_string_equal(claim.folder, "");
    removals = 0;
}

/* A process that loses its folder or lock takes them again, unless another process took them
 * meanwhile. */
static void test_kept(void **state)
{
    dn_claim claim = {.folder = ""}, other = {.folder = ""};
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    const int first = claim.file;
    assert_int_equal(dn_claim_keep(&claim), DN_OK);
    assert_int_equal(claim.file, first);
    dn_log_set_level(DN_QUIET);
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_int_equal(unlink(LOCK), 0);
        assert_int_equal(is_folder ? rmdir(FOLDER) : 0, 0);
        assert_int_equal(dn_claim_keep(&claim), DN_OK);
        assert_int_equal(dn_claim_take(&other, FOLDER), DN_EINVAL);
    }
    dn_log_set_level(DN_INFO);
    assert_int_equal(rename(FOLDER, "moved"), 0);
    assert_int_equal(dn_claim_take(&other, FOLDER), DN_OK);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "run: found another run's lock"));
    dn_claim_release(&other);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    dn_claim_release(&claim);
    assert_int_equal(unlink("moved/lock"), 0);
    assert_int_equal(rmdir("moved"), 0);
}

/* Replaces the lock by a copy, as `cp -a` and `rsync` do. */
static void copy_lock(void)
{
    char text[128] = "";
    FILE *const file = fopen(LOCK, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    trial_write(FOLDER "/copy", text);
    assert_int_equal(rename(FOLDER "/copy", LOCK), 0);
}

/* A copy of the folder is accepted unless another process has taken it, including one with the same
 * host name and process number, as in another container. */
static void test_copied(void **state)
{
    dn_claim claim = {.folder = ""}, other = {.folder = ""};
    assert_int_equal(dn_claim_take(&claim, FOLDER), DN_OK);
    dn_log_set_level(DN_QUIET);
    for (int i = 0; i < 2; i++) {
        copy_lock();
        assert_int_equal(dn_claim_keep(&claim), DN_OK);
        assert_int_equal(dn_claim_take(&other, FOLDER), DN_EINVAL);
    }
    dn_log_set_level(DN_INFO);
    copy_lock();
    const int busy = open(LOCK, O_RDONLY);
    assert_int_equal(flock(busy, LOCK_EX), 0); /* by a process that has not written yet */
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    close(busy);
    assert_int_equal(dn_claim_take(&other, FOLDER), DN_OK); /* by the same host and process */
    dn_claim_release(&other);
    assert_int_equal(dn_claim_keep(&claim), DN_EINVAL);
    assert_non_null(strstr(dn_message(), "run: found another run's lock"));
    dn_claim_release(&claim);
}

/* If no file can be opened, the folders that were created are removed. */
static void test_refused(void **state)
{
    dn_claim claim = {.folder = ""};
    struct rlimit files;
    assert_int_equal(dn_claim_take(&claim, "/dev/null/x"), DN_EIO);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const dn_status status = dn_claim_take(&claim, "a/b");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(status, DN_EIO);
    assert_non_null(strstr(dn_message(), "a/b/lock: cannot write: Too many open files"));
    assert_int_equal(access("a", F_OK), -1);
}

/* Whether the owner has ended; unknown for another host. */
static void test_looked_at(void **state)
{
    static const struct {
        const char *host;
        dn_claim_life life;
    } cases[] = {{NULL, DN_CLAIM_ENDED}, {"elsewhere", DN_CLAIM_NOT_KNOWN}};
    char own[65] = "";
    assert_int_equal(gethostname(own, sizeof own - 1), 0);
    assert_true(mkdir(FOLDER, 0777) == 0 || errno == EEXIST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *const file = fopen(LOCK, "w");
        assert_non_null(file);
        fprintf(file, "%s 4194305", cases[i].host ? cases[i].host : own); /* above all processes */
        assert_int_equal(fclose(file), 0);
        assert_int_equal(dn_claim_look(FOLDER), cases[i].life);
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
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
