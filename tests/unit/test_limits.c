/* Limits of cgroups from made-up files: both versions, parent groups, containers, no files. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dn/file.h"
#include "dn/limits.h"
#include "trial_files.h"

static int fakes;

/* The root of the present made-up machine. */
static const char *fake(void)
{
    static char path[64];
    snprintf(path, sizeof path, "%d", fakes);
    return path;
}

static void put(const char *name, const char *text)
{
    char path[512], *slash;
    snprintf(path, sizeof path, "%s/%s", fake(), name);
    slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(dn_make_folders(path), DN_OK);
    *slash = '/';
    assert_int_equal(dn_file_write(path, text, strlen(text)), DN_OK);
}

static void check_processors(double expected)
{
    const dn_limit limit = dn_limit_processors(fake());
    if (isinf(expected)) {
        assert_true(isinf(limit.amount));
        assert_true(limit.group == 0);
        return;
    }
    assert_true(fabs(limit.amount - expected) < 1e-9);
    assert_true(limit.group != 0);
}

static void test_nothing(void **state)
{
    fakes++;
    check_processors(INFINITY);
    assert_true(isinf(dn_limit_memory(fake()).amount));
    assert_true(isinf(dn_machine_memory(fake())));
}

static void test_version_2(void **state)
{
    fakes++;
    put("proc/self/cgroup", "0::/job/step\n");
    put("proc/self/mountinfo", "31 23 0:28 / /sys rw - tmpfs tmpfs rw\n"
                               "32 31 0:29 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
    check_processors(INFINITY);
    put("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    check_processors(INFINITY);
    put("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    check_processors(1.5);
    const uint64_t group = dn_limit_processors(fake()).group;
    put("sys/fs/cgroup/job/step/cpu.max", "200000 100000\n");
    check_processors(1.5);
    put("sys/fs/cgroup/job/step/cpu.max", "50000 100000\n");
    check_processors(0.5);
    assert_true(dn_limit_processors(fake()).group != group);
    put("sys/fs/cgroup/job/memory.max", "max\n");
    put("sys/fs/cgroup/job/step/memory.max", "1000000\n");
    put("sys/fs/cgroup/job/step/memory.current", "700000\n");
    put("sys/fs/cgroup/job/step/memory.stat",
        "anon 1\nfile 900000\ninactive_file 100000\nactive_file 200000\nslab_reclaimable 50000\n");
    assert_true(dn_limit_memory(fake()).amount == 650000);
}

static void test_version_1(void **state)
{
    fakes++;
    put("proc/self/cgroup", "4:memory:/\n2:cpuacct:/other\n1:cpu,cpuset:/job\n0::/\n");
    put("proc/self/mountinfo", "32 31 0:29 / /c/cpuacct rw - cgroup cgroup rw,cpuacct\n"
                               "33 31 0:29 / /c/cpu rw - cgroup cgroup rw,cpu,cpuset\n"
                               "34 31 0:29 / /c/memory rw - cgroup cgroup rw,memory\n");
    put("c/cpuacct/other/cpu.cfs_quota_us", "1000\n");
    put("c/cpuacct/other/cpu.cfs_period_us", "100000\n");
    put("c/cpu/cpu.cfs_quota_us", "-1\n");
    put("c/cpu/cpu.cfs_period_us", "100000\n");
    put("c/cpu/job/cpu.cfs_quota_us", "300000\n");
    put("c/cpu/job/cpu.cfs_period_us", "100000\n");
    check_processors(3);
    put("c/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(isinf(dn_limit_memory(fake()).amount));
    put("c/memory/memory.limit_in_bytes", "4096000\n");
    put("c/memory/memory.usage_in_bytes", "5000000\n");
    assert_true(dn_limit_memory(fake()).amount == 0);
}

/* The mounted folder is the group itself, and its path is that of the host. */
static void test_container(void **state)
{
    fakes++;
    put("proc/self/cgroup", "1:cpu:/docker/12\n");
    put("proc/self/mountinfo", "33 31 0:29 /docker/12 /c/cpu rw - cgroup cgroup rw,cpu\n");
    put("c/cpu/cpu.cfs_quota_us", "250000\n");
    put("c/cpu/cpu.cfs_period_us", "100000\n");
    check_processors(2.5);
    put("proc/self/cgroup", "1:cpu:/../../elsewhere\n");
    check_processors(2.5);
    put("proc/self/cgroup", "1:cpu:/docker/123\n");
    check_processors(2.5);
}

/* Kills in the group and in its siblings, since Slurm gives each rank a group. */
static void test_kills(void **state)
{
    fakes++;
    assert_true(dn_limit_kills(fake()) == 0);
    put("proc/self/mountinfo", "32 31 0:29 / /c rw shared:4 - cgroup2 cgroup2 rw\n"
                               "34 31 0:29 / /c/memory rw - cgroup cgroup rw,memory\n");
    put("proc/self/cgroup", "garbage\n4:memory\n\n0::\n");
    assert_true(dn_limit_kills(fake()) == 0);
    put("proc/self/cgroup", "0::/job/step/rank:0\n");
    put("c/job/memory.events", "oom_kill 100\n");
    put("c/job/step/memory.events", "max 5\noom 3\noom_kill 2\n");
    put("c/job/step/rank:0/memory.events", "oom 1\noom_kill 1\n");
    assert_true(dn_limit_kills(fake()) == 3);
    put("c/memory.events", "low 0\noom_kill 7\noom_group_kill 9\n");
    put("proc/self/cgroup", "0::/\n");
    assert_true(dn_limit_kills(fake()) == 7);
    put("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n");
    put("c/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
    put("c/memory/memory.oom_control", "oom_kill 50\n"); /* the machine's */
    assert_true(dn_limit_kills(fake()) == 4);
}

static void test_machine(void **state)
{
    fakes++;
    put("proc/meminfo",
        "MemTotal: 100 kB\nMemAvailable:   64 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n");
    assert_true(dn_machine_memory(fake()) == 72 * 1024);
}

static void test_threads(void **state)
{
    assert_int_equal(dn_limit_threads(INFINITY, 1, 8), 8);
    assert_int_equal(dn_limit_threads(1.5, 1, 8), 2);
    assert_int_equal(dn_limit_threads(1.5, 2, 8), 1);
    assert_int_equal(dn_limit_threads(7.5, 2, 8), 3);
    assert_int_equal(dn_limit_threads(0.1, 4, 8), 1);
    assert_int_equal(dn_limit_threads(12, 1, 8), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_1), cmocka_unit_test(test_container),
        cmocka_unit_test(test_kills),     cmocka_unit_test(test_machine),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, trial_folder_make, trial_folder_remove);
}
