/*
 * Cores and NUMA nodes that ranks get, on machines that hwloc makes up: two sockets, eight NUMA
 * nodes, 64 cores of two processors; the same with 16 cores, of which a cgroup grants the upper 14.
 * mpirun's binding; the table; the warnings, word for word.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "job/cores.h"
#include "job/launcher.h"
#include "job/placement.h"
#include "unit.h"

enum { MOST_RANKS = 65 };

static hwloc_topology_t topology;
static dn_cores allowed[MOST_RANKS];

static void load(const char *machine)
{
    assert_int_equal(hwloc_topology_init(&topology), 0);
    assert_int_equal(hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED), 0);
    assert_int_equal(hwloc_topology_set_synthetic(topology, machine), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
}

static int whole(void **state)
{
    load("pack:2 numa:4 core:8 pu:2");
    return 0;
}

static int in_cgroup(void **state)
{
    hwloc_bitmap_t granted = hwloc_bitmap_alloc();
    load("pack:2 numa:4 core:2 pu:2");
    hwloc_bitmap_set_range(granted, 4, 31);
    assert_int_equal(hwloc_topology_allow(topology, granted, NULL, HWLOC_ALLOW_FLAG_CUSTOM), 0);
    hwloc_bitmap_free(granted);
    return 0;
}

static int unload(void **state)
{
    hwloc_topology_destroy(topology);
    return 0;
}

/* The cores that processors [first, last] belong to. */
static dn_cores cores_between(int first, int last)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_bitmap_set_range(set, (unsigned)first, last);
    const dn_cores cores = dn_cores_of(topology, set);
    hwloc_bitmap_free(set);
    return cores;
}

/* Ranks [first, last) may use processors [from, to]. */
static void bind_ranks(int first, int last, int from, int to)
{
    for (int r = first; r < last; r++)
        allowed[r] = cores_between(from, to);
}

static void check_processors(const dn_cores *cores, int n, const char *expected)
{
    char list[256];
    hwloc_bitmap_t set = dn_cores_processors(topology, cores, n);
    hwloc_bitmap_list_snprintf(list, sizeof list, set);
    hwloc_bitmap_free(set);
    assert_string_equal(list, expected);
}

/* The processors that a rank gets when the ranks divide them, and the NUMA nodes they lie on. */
static void check_share(int ranks, int rank, const char *processors, int numa_nodes)
{
    dn_cores share;
    assert_int_equal(dn_cores_divide(allowed, ranks, rank, &share), 1);
    check_processors(&share, -1, processors);
    assert_int_equal(dn_cores_numa_nodes(topology, &share), numa_nodes);
}

static void test_sets(void **state)
{
    const dn_cores all = cores_between(0, 127), one = cores_between(17, 17);
    assert_int_equal(CPU_COUNT(&all), 64);
    assert_int_equal(dn_cores_numa_nodes(topology, &all), 8);
    assert_int_equal(CPU_COUNT(&one), 1);
    check_processors(&one, 0, "16-17");
    check_processors(&all, 63, "126-127");
    const dn_cores seam = cores_between(60, 67);
    assert_int_equal(CPU_COUNT(&seam), 4);
    assert_int_equal(dn_cores_numa_nodes(topology, &seam), 2);
}

static void test_unbound_ranks_divide(void **state)
{
    bind_ranks(0, MOST_RANKS, 0, 127);
    check_share(1, 0, "0-127", 8);
    check_share(2, 1, "64-127", 4);
    check_share(8, 0, "0-15", 1);
    check_share(8, 7, "112-127", 1);
    check_share(16, 3, "24-31", 1);
    check_share(64, 63, "126-127", 1);
    check_share(3, 0, "0-41", 3);
    check_share(3, 1, "42-83", 4);
    check_share(3, 2, "84-127", 3);
}

static void test_too_few_cores(void **state)
{
    dn_cores share;
    bind_ranks(0, MOST_RANKS, 0, 127);
    assert_int_equal(dn_cores_divide(allowed, MOST_RANKS, 0, &share), MOST_RANKS);
    assert_int_equal(CPU_COUNT(&share), 64);
    assert_int_equal(dn_cores_sharers(allowed, MOST_RANKS, 0), MOST_RANKS);
}

static void test_bound_ranks(void **state)
{
    dn_cores share;
    bind_ranks(0, 2, 0, 63); /* two to each socket */
    bind_ranks(2, 4, 64, 127);
    assert_int_equal(dn_cores_sharers(allowed, 4, 1), 2);
    check_share(4, 1, "32-63", 2);
    check_share(4, 2, "64-95", 2);
    bind_ranks(0, 1, 0, 15); /* overlapping, but not the same */
    bind_ranks(1, 2, 8, 31);
    bind_ranks(2, 3, 32, 47);
    assert_int_equal(dn_cores_divide(allowed, 3, 0, &share), 2);
    assert_int_equal(CPU_COUNT(&share), 8);
    assert_int_equal(dn_cores_sharers(allowed, 3, 1), 2);
    check_share(3, 2, "32-47", 1);
    bind_ranks(0, 1, 0, 0); /* the two processors of one core */
    bind_ranks(1, 2, 1, 1);
    assert_int_equal(dn_cores_sharers(allowed, 2, 0), 2);
    assert_int_equal(dn_cores_divide(allowed, 2, 0, &share), 2);
}

static void test_cgroup(void **state)
{
    bind_ranks(0, 7, 0, 31);
    assert_int_equal(CPU_COUNT(&allowed[0]), 14);
    check_share(1, 0, "4-31", 7);
    check_share(7, 0, "4-7", 1);
    check_share(7, 6, "28-31", 1);
    check_share(2, 1, "18-31", 4);
}

/* ---- the launcher's binding ---- */

static const char *program;

/* Runs this program below a shell that has these arguments, as mpirun would, with no variables but
 * these; it then returns dn_is_bound_by_default(). */
static void check_default(int expected, const char *variables, const char *arguments)
{
    char command[PATH_MAX + 256];
    snprintf(command, sizeof command, "sh -c 'env -i %s \"$0\" child; exit $?' '%s' %s", variables,
             program, arguments);
    assert_int_equal(WEXITSTATUS(system(command)), expected);
}

static void test_default_binding(void **state)
{
    check_default(0, "", "");
    check_default(1, "OMPI_MCA_orte_bound_at_launch=1", "");
    check_default(0, "OMPI_MCA_orte_bound_at_launch=1 OMPI_MCA_rmaps_base_mapping_policy=slot:PE=2",
                  "");
    check_default(1, "PRTE_LAUNCHED=1", "-np 2");
    check_default(0, "PRTE_LAUNCHED=1", "-np 2 --bind-to core");
    check_default(0, "PRTE_LAUNCHED=1 PRTE_MCA_hwloc_default_binding_policy=core", "-np 2");
}

/* ---- table and warnings ---- */

static const dn_place usual = {.host = "n01",
                               .cores = 8,
                               .numa_nodes = 1,
                               .sharers = 1,
                               .threads = 8,
                               .pinned = 1,
                               .virtual_ranks = 2,
                               .node_ranks = 8,
                               .node_cores = 64,
                               .node_numa_nodes = 8,
                               .node_processors = 128};

static void test_table(void **state)
{
    dn_place places[17];
    char *text = NULL;
    size_t size = 0;
    for (int r = 0; r < 17; r++) {
        places[r] = usual;
        snprintf(places[r].host, sizeof places[r].host, "n%02d", 1 + r / 8);
    }
    places[9].virtual_ranks = 3;
    places[16].pinned = 0;
    places[16].quota = 1250;
    places[16].quota_ranks = 2;
    FILE *file = open_memstream(&text, &size);
    dn_place_print(file, places, 17);
    fclose(file);
    assert_string_equal(
        text, "rank        host             NUMA nodes  cores  threads  pinned  virtual ranks\n"
              "0-7         n01                       1      8        8     yes              2\n"
              "8-15        n02                       1      8        8     yes            2-3\n"
              "16          n03                       1      8        8      no              2\n"
              "            a CPU quota grants 2 ranks of n03 12.50 processors\n");
    free(text);
}

/* All that is found wrong with the places, word for word. */
static void check_warnings(const dn_place *places, int ranks, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    dn_place_warn(file, places, ranks);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

static void test_warnings(void **state)
{
    dn_place places[8];
    for (int r = 0; r < 8; r++)
        places[r] = usual;
    check_warnings(places, 8, "");
    for (int r = 3; r < 8; r++)
        places[r].threads = 16;
    check_warnings(places, 8,
                   "warning: rank 3 on n01 (and 4 more): 16 threads on 8 cores; use --threads 8, "
                   "or with more cores a rank mpirun --map-by ppr:4:node:PE=16 --bind-to core, or "
                   "srun --ntasks-per-node=4 --cpus-per-task=32 --cpu-bind=cores\n");
    places[0] = usual;
    places[0].threads = 100; /* more than the node has */
    check_warnings(places, 1, "warning: rank 0 on n01: 100 threads on 8 cores; use --threads 8\n");
    for (int r = 0; r < 2; r++) {
        places[r] = usual;
        places[r].sharers = places[r].node_ranks = 2;
        places[r].threads = 4;
    }
    check_warnings(places, 2,
                   "warning: rank 0 on n01 (and 1 more): 2 ranks share 8 of the node's 64 cores; "
                   "use mpirun --map-by ppr:2:node:PE=32 --bind-to core, or srun "
                   "--ntasks-per-node=2 --cpus-per-task=64 --cpu-bind=cores\n");
    places[0] = usual;
    places[0].node_ranks = 1;
    places[0].cores = places[0].threads = 64;
    places[0].numa_nodes = 8;
    check_warnings(places, 1,
                   "warning: rank 0 on n01: its 64 cores lie on 8 NUMA nodes; use mpirun --map-by "
                   "ppr:1:numa:PE=8 --bind-to core, or srun --ntasks-per-node=8 "
                   "--cpus-per-task=16 --cpu-bind=cores\n");
    places[0].numa_nodes = 1;
    places[0].node_idle = 62;
    places[0].quota = 6350;
    places[0].quota_ranks = 1; /* the last thread is held back half of the time */
    check_warnings(places, 1,
                   "warning: rank 0 on n01: 62 of the node's 64 cores stay idle, no rank is bound "
                   "to them; use mpirun --map-by ppr:1:node:PE=64 --bind-to core, or srun "
                   "--ntasks-per-node=1 --cpus-per-task=128 --cpu-bind=cores\n");
    places[0].node_idle = 0;
    places[0].quota = 6300;
    check_warnings(places, 1,
                   "warning: rank 0 on n01: a CPU quota of 63.00 processors holds back 1 x 64 "
                   "threads; raise it (cgroup cpu.max, docker --cpus), or use fewer\n");
    places[0].quota = 0;
    places[0].numa_nodes = 8;
    places[0].threads = 65;
    places[1] = usual;
    check_warnings(places, 2,
                   "warning: rank 0 on n01: 65 threads on 64 cores; use --threads 64\n"
                   "warning: rank 0 on n01: its 64 cores lie on 8 NUMA nodes; use mpirun --map-by "
                   "ppr:1:numa:PE=8 --bind-to core, or srun --ntasks-per-node=8 "
                   "--cpus-per-task=16 --cpu-bind=cores\n");
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return dn_is_bound_by_default();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sets, whole, unload),
        cmocka_unit_test_setup_teardown(test_unbound_ranks_divide, whole, unload),
        cmocka_unit_test_setup_teardown(test_too_few_cores, whole, unload),
        cmocka_unit_test_setup_teardown(test_bound_ranks, whole, unload),
        cmocka_unit_test_setup_teardown(test_cgroup, in_cgroup, unload),
        cmocka_unit_test(test_default_binding),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_warnings),
    };
    return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
