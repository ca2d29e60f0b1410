/*
 * Finds, divides and pins cores; see placement.h. A rank may use the cores of its binding at the
 * start; if OpenMP binds threads it has already bound the main one, and its places contain the
 * rank's binding.
 */
#include "job/placement.h"

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/limits.h"
#include "job/cores.h"
#include "job/launcher.h"

/* Rounds of an idle OpenMP thread before it sleeps: longer than a step's serial parts, and less
 * than a millisecond, so that other processes on its core get their turn. */
#define SPINS "20000"

/* ---- restart ---- */

/* The first number of OMP_NUM_THREADS; 0 if it is not set, or OpenMP ignores it. */
static int env_threads(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end;
    const long number = text != NULL ? strtol(text, &end, 10) : 0;
    if (number < 1 || number > CPU_SETSIZE)
        return 0;
    end += strspn(end, " \t");
    return *end == '\0' || *end == ',' ? (int)number : 0;
}

/* Binds this process to `all`, as far as its parent, mpirun, may use it. */
static void widen(cpu_set_t all)
{
    cpu_set_t parent;
    if (getppid() > 0 && sched_getaffinity(getppid(), sizeof parent, &parent) == 0)
        CPU_AND(&all, &all, &parent);
    sched_setaffinity(0, sizeof all, &all);
}

/* The number of processors of the node's ranks together, which is more than this one's if its
 * launcher bound it. If nobody chose that binding it is lifted, and *is_lifted = 1. */
static int node_processors(int *is_lifted)
{
    cpu_set_t own, all, now;
    memset(&all, 0xff, sizeof all);
    *is_lifted = 0;
    if (sched_getaffinity(0, sizeof own, &own) != 0)
        return CPU_COUNT(&all);
    sched_setaffinity(0, sizeof all, &all); /* limited by its cgroup */
    sched_getaffinity(0, sizeof all, &all);
    const int part = dn_granted_part(CPU_COUNT(&all));
    sched_setaffinity(0, sizeof own, &own);
    if (dn_is_bound_by_default() && part == 0)
        widen(all);
    *is_lifted = sched_getaffinity(0, sizeof now, &now) == 0 && !CPU_EQUAL(&own, &now);
    return part > 0 ? part : CPU_COUNT(&all);
}

/* 1 if the threads of the node's ranks outnumber what can run at once. */
static int is_crowded(int processors, int threads)
{
    const double quota = dn_limit_processors("").amount;
    const int launched = dn_launched_ranks(), ranks = launched > 0 ? launched : 1;
    const int share = processors > ranks ? processors / ranks : 1;
    if (threads <= 0 && (threads = env_threads()) == 0)
        threads = dn_limit_threads(quota, ranks, share);
    return ranks * threads > fmin(processors, quota);
}

void dn_place_restart(char **argv, int threads)
{
    int is_lifted;
    const int asked = getenv("OMP_WAIT_POLICY") != NULL || getenv("GOMP_SPINCOUNT") != NULL;
    if (is_crowded(node_processors(&is_lifted), threads)) {
        setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
        setenv("OMP_WAIT_POLICY", "passive", 0);
    } else if (!asked) {
        setenv("GOMP_SPINCOUNT", SPINS, 0);
    }
    /* OpenMP has read its variables and counted processors before main. If this fails, spinning is
     * merely slow. The path gives the process its name, which top and pgrep show. */
    char path[PATH_MAX] = "";
    if ((is_lifted || !asked) && readlink("/proc/self/exe", path, sizeof path - 1) > 0)
        execv(path, argv);
}

/* ---- the cores of a rank ---- */

/* The cores that a rank is given. */
typedef struct finder {
    const dn_comm *comm;
    hwloc_topology_t topology;
    hwloc_bitmap_t processors; /* those that the rank may use */
    dn_cores *allowed;         /* (machine_size) the cores of the machine's ranks */
    dn_cores share;            /* those this rank takes */
    int openmp_binds;
} finder;

/* The processors of OpenMP's places. */
static void add_openmp_places(hwloc_bitmap_t processors)
{
    for (int p = 0; p < omp_get_num_places(); p++) {
        int ids[CPU_SETSIZE];
        const int count = omp_get_place_num_procs(p);
        if (count > CPU_SETSIZE)
            continue;
        omp_get_place_proc_ids(p, ids);
        for (int i = 0; i < count; i++)
            hwloc_bitmap_set(processors, (unsigned)ids[i]);
    }
}

static dn_status find_cores(finder *f)
{
    f->processors = hwloc_bitmap_alloc();
    f->allowed = calloc((size_t)f->comm->machine_size, sizeof *f->allowed);
    DN_CHECK(f->processors != NULL && f->allowed != NULL, DN_ENOMEM,
             "out of memory: cannot place %d ranks", f->comm->machine_size);
    /* Includes disallowed cores, so that a core has the same index on all ranks of a node. */
    DN_CHECK(hwloc_topology_init(&f->topology) == 0 &&
                 hwloc_topology_set_flags(f->topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) ==
                     0 &&
                 hwloc_topology_load(f->topology) == 0,
             DN_EIO, "hwloc: cannot read the topology of this node");
    f->openmp_binds = omp_get_proc_bind() != omp_proc_bind_false && omp_get_num_places() > 0;
    if (f->openmp_binds)
        add_openmp_places(f->processors);
    else if (hwloc_get_cpubind(f->topology, f->processors, HWLOC_CPUBIND_THREAD) != 0)
        hwloc_bitmap_fill(f->processors); /* the system has no bindings */
    f->share = dn_cores_of(f->topology, f->processors);
    DN_CHECK(CPU_COUNT(&f->share) > 0, DN_EINVAL,
             "cores: this rank's are not among the node's first %d, the most that are known",
             CPU_SETSIZE);
    return DN_OK;
}

/* Collective over the node. */
static void divide_cores(finder *f, dn_place *place)
{
    const dn_comm *const comm = f->comm;
    DN_COLLECTIVE(comm, MPI_Allgather(&f->share, sizeof f->share, MPI_BYTE, f->allowed,
                                      sizeof f->share, MPI_BYTE, comm->machine));
    dn_cores used = f->share;
    for (int r = 0; r < comm->machine_size; r++)
        CPU_OR(&used, &used, &f->allowed[r]);
    place->sharers =
        f->openmp_binds
            ? dn_cores_sharers(f->allowed, comm->machine_size, comm->machine_rank)
            : dn_cores_divide(f->allowed, comm->machine_size, comm->machine_rank, &f->share);
    place->cores = CPU_COUNT(&f->share);
    place->numa_nodes = dn_cores_numa_nodes(f->topology, &f->share);
    /* The node as seen by this rank. */
    const hwloc_const_bitmap_t all = hwloc_topology_get_allowed_cpuset(f->topology);
    const dn_cores cores = dn_cores_of(f->topology, all);
    place->node_ranks = comm->machine_size;
    place->node_cores = CPU_COUNT(&cores);
    place->node_numa_nodes = dn_cores_numa_nodes(f->topology, &cores);
    place->node_processors = hwloc_bitmap_weight(all);
    /* Other jobs' cores are not idle, and a run without a launcher may have been bound on purpose.
     */
    const int is_part = dn_granted_part(place->node_processors) > 0 || dn_launched_ranks() == 0;
    place->node_idle = is_part ? 0 : place->node_cores - CPU_COUNT(&used);
}

/* The CPU quota, and the number of ranks that share it. Collective over the node. */
static void find_quota(const finder *f, dn_place *place)
{
    const dn_comm *const comm = f->comm;
    const dn_limit own = dn_limit_processors("");
    for (int r = 0; r < comm->machine_size; r++) {
        uint64_t group = own.group;
        DN_COLLECTIVE(comm, MPI_Bcast(&group, 1, MPI_UINT64_T, r, comm->machine));
        place->quota_ranks += group == own.group;
    }
    place->quota = own.amount < place->node_processors ? (int)(own.amount * 100) : 0;
}

/* ---- its threads ---- */

static void set_threads(dn_place *place, int threads)
{
    const int cores = place->cores > place->sharers ? place->cores / place->sharers : 1;
    const double quota = place->quota > 0 ? place->quota / 100.0 : INFINITY;
    omp_set_dynamic(0);
    if (threads > 0)
        omp_set_num_threads(threads);
    else if (env_threads() == 0)
        omp_set_num_threads(dn_limit_threads(quota, place->quota_ranks, cores));
    if (omp_get_max_threads() > omp_get_thread_limit()) /* OMP_THREAD_LIMIT: no more would start */
        omp_set_num_threads(omp_get_thread_limit());
    place->threads = omp_get_max_threads();
}

/* Binds this thread to the rank's processors of its n-th core, or of all its cores if n < 0;
 * returns 1 on success. */
static int bind_thread(const finder *f, int n)
{
    hwloc_bitmap_t set = dn_cores_processors(f->topology, &f->share, n);
    const int bound = set != NULL && hwloc_bitmap_and(set, set, f->processors) == 0 &&
                      hwloc_set_cpubind(f->topology, set, HWLOC_CPUBIND_THREAD) == 0;
    hwloc_bitmap_free(set);
    return bound;
}

/* Threads created from now on get this thread's present binding, even after it is bound elsewhere.
 */
static void inherit_binding(void)
{
    cpu_set_t own;
    pthread_attr_t attributes;
    if (sched_getaffinity(0, sizeof own, &own) != 0 || pthread_attr_init(&attributes) != 0)
        return;
    if (pthread_attr_setaffinity_np(&attributes, sizeof own, &own) == 0)
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

/* Returns 1 if all threads were bound. */
static int pin_threads(const finder *f, const dn_place *place)
{
    const int one_each = place->threads == place->cores;
    int failed = !bind_thread(f, -1);
    inherit_binding();
#pragma omp parallel reduction(+ : failed)
    failed += !bind_thread(f, one_each ? omp_get_thread_num() : -1);
    return failed == 0;
}

/* ---- the place ---- */

dn_status dn_place_create(dn_place *place, const dn_comm *comm, int threads, dn_pin pin)
{
    finder f = {.comm = comm};
    *place = (dn_place){0};
    memcpy(place->host, comm->host[comm->rank], sizeof place->host);
    dn_status status = dn_comm_agree(comm, find_cores(&f));
    if (status == DN_OK) {
        divide_cores(&f, place);
        find_quota(&f, place);
        set_threads(place, threads);
        place->pinned =
            f.openmp_binds ||
            (pin == DN_PIN_AUTO && place->sharers == 1 && place->threads <= place->cores &&
             hwloc_topology_is_thissystem(f.topology) && pin_threads(&f, place));
    }
    if (f.topology != NULL)
        hwloc_topology_destroy(f.topology);
    hwloc_bitmap_free(f.processors);
    free(f.allowed);
    return status;
}
