/* Counts of out-of-memory kills, in made up /proc and /sys of both versions of cgroups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dn/file.h"
#include "job/oom.h"

static char root[] = "/tmp/test_oom.XXXXXX";

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", root, folder);
    assert_int_equal(dn_make_folders(path), DN_OK);
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    FILE *const file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_nothing_to_read(void **state)
{
    (void)state;
    assert_int_equal(dn_oom_kills(root), 0);
    write_text("/proc/self", "cgroup", "garbage\n4:memory\n\n0::\n");
    assert_int_equal(dn_oom_kills(root), 0);
}

static void test_version_2(void **state)
{
    (void)state;
    write_text("/proc/self", "cgroup", "0::/job/step/rank:0\n");
    write_text("/sys/fs/cgroup/job", "memory.events", "oom_kill 100\n");
    write_text("/sys/fs/cgroup/job/step", "memory.events", "max 5\noom 3\noom_kill 2\n");
    assert_int_equal(dn_oom_kills(root), 0); /* the group itself has no such file */
    write_text("/sys/fs/cgroup/job/step/rank:0", "memory.events", "oom 1\noom_kill 1\n");
    assert_int_equal(dn_oom_kills(root), 3);
    write_text("/sys/fs/cgroup", "memory.events", "low 0\noom_kill 7\noom_group_kill 9\n");
    write_text("/proc/self", "cgroup", "0::/name/outside\n");
    assert_int_equal(dn_oom_kills(root), 7);
}

static void test_version_1(void **state)
{
    (void)state;
    write_text("/proc/self", "cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n");
    write_text("/sys/fs/cgroup/memory/a", "memory.oom_control",
               "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
    write_text("/sys/fs/cgroup/memory", "memory.oom_control", "oom_kill 50\n"); /* the machine's */
    assert_int_equal(dn_oom_kills(root), 4);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_to_read),
                                       cmocka_unit_test(test_version_2),
                                       cmocka_unit_test(test_version_1)};
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
