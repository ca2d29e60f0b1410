/*
 * Finding, dividing and pinning; see placement.h. What a rank may use is its binding when it
 * started; where OpenMP binds threads it has already bound the main one, and its places hold what
 * the rank was given.
 */
#include "job/placement.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dn/tree.h"
#include "job/cores.h"

/* ---- too few processors ---- */

static int env_number(const char *variable)
{
    const char *text = getenv(variable);
    return text != NULL ? atoi(text) : 0;
}

/* The ranks of this node; of a step of Slurm, the mean of its nodes. */
static int launched_ranks(void)
{
    const int ranks = env_number("OMPI_COMM_WORLD_LOCAL_SIZE");
    const int nodes = env_number("SLURM_STEP_NUM_NODES");
    if (ranks > 0 || nodes <= 0)
        return ranks;
    return (env_number("SLURM_STEP_NUM_TASKS") + nodes - 1) / nodes;
}

/* What the node's ranks have together: more than this one's, where its launcher bound it. */
static int node_processors(void)
{
    cpu_set_t own, all;
    memset(&all, 0xff, sizeof all);
    if (sched_getaffinity(0, sizeof own, &own) == 0) {
        sched_setaffinity(0, sizeof all, &all); /* as far as a cgroup grants them */
        sched_getaffinity(0, sizeof all, &all);
        sched_setaffinity(0, sizeof own, &own);
    }
    const int count = CPU_COUNT(&all), granted = env_number("SLURM_CPUS_ON_NODE");
    return granted > 0 && granted < count ? granted : count;
}

void dn_place_restart_if_crowded(char **argv, int threads)
{
    const int each = threads > 0 ? threads : env_number("OMP_NUM_THREADS");
    if (launched_ranks() * (each > 0 ? each : 1) <= node_processors())
        return;
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    if (getenv("OMP_WAIT_POLICY") == NULL) {
        setenv("OMP_WAIT_POLICY", "passive", 1);
        execv("/proc/self/exe", argv); /* where that fails, spinning is only slow */
    }
}

/* ---- the cores of a rank ---- */

/* What a rank is given. */
typedef struct finder {
    hwloc_topology_t topology;
    hwloc_bitmap_t processors; /* that the rank may use */
    dn_cores *allowed;         /* (node_size) cores of the node's ranks */
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

static dn_status find_cores(finder *f, int node_size)
{
    f->processors = hwloc_bitmap_alloc();
    f->allowed = calloc((size_t)node_size, sizeof *f->allowed);
    DN_CHECK(f->processors != NULL && f->allowed != NULL, DN_ENOMEM,
             "memory: found none to place %d ranks", node_size);
    /* With the disallowed cores, a core has the same index for all ranks of a node. */
    DN_CHECK(hwloc_topology_init(&f->topology) == 0 &&
                 hwloc_topology_set_flags(f->topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) ==
                     0 &&
                 hwloc_topology_load(f->topology) == 0,
             DN_EIO, "hwloc: cannot read the topology of this node");
    f->openmp_binds = omp_get_proc_bind() != omp_proc_bind_false && omp_get_num_places() > 0;
    if (f->openmp_binds)
        add_openmp_places(f->processors);
    else if (hwloc_get_cpubind(f->topology, f->processors, HWLOC_CPUBIND_THREAD) != 0)
        hwloc_bitmap_fill(f->processors); /* a system without bindings */
    f->share = dn_cores_of(f->topology, f->processors);
    DN_CHECK(CPU_COUNT(&f->share) > 0, DN_EINVAL,
             "cores: this rank's are not among the node's first %d, the most that are known",
             CPU_SETSIZE);
    return DN_OK;
}

/* Collective over the node. */
static void divide_cores(finder *f, const dn_comm *comm, dn_place *place)
{
    DN_MPI(MPI_Allgather(&f->share, sizeof f->share, MPI_BYTE, f->allowed, sizeof f->share,
                         MPI_BYTE, comm->node));
    place->sharers = f->openmp_binds
                         ? dn_cores_sharers(f->allowed, comm->node_size, comm->node_rank)
                         : dn_cores_divide(f->allowed, comm->node_size, comm->node_rank, &f->share);
    place->cores = CPU_COUNT(&f->share);
    place->numa_nodes = dn_cores_numa_nodes(f->topology, &f->share);
    /* The node as far as this rank may know it. */
    const hwloc_const_bitmap_t all = hwloc_topology_get_allowed_cpuset(f->topology);
    const dn_cores cores = dn_cores_of(f->topology, all);
    place->node_ranks = comm->node_size;
    place->node_cores = CPU_COUNT(&cores);
    place->node_numa_nodes = dn_cores_numa_nodes(f->topology, &cores);
    place->node_processors = hwloc_bitmap_weight(all);
}

/* ---- its threads ---- */

static void set_threads(dn_place *place, int threads)
{
    const int cores = place->cores / place->sharers;
    omp_set_dynamic(0);
    if (threads > 0)
        omp_set_num_threads(threads);
    else if (getenv("OMP_NUM_THREADS") == NULL)
        omp_set_num_threads(cores > 1 ? cores : 1);
    place->threads = omp_get_max_threads();
}

/* Binds this thread to what the rank may use of its n-th core, or of all of them where n < 0;
 * returns 1 if it did. */
static int bind_thread(const finder *f, int n)
{
    hwloc_bitmap_t set = dn_cores_processors(f->topology, &f->share, n);
    const int bound = set != NULL && hwloc_bitmap_and(set, set, f->processors) == 0 &&
                      hwloc_set_cpubind(f->topology, set, HWLOC_CPUBIND_THREAD) == 0;
    hwloc_bitmap_free(set);
    return bound;
}

/* Threads made from now on may use what this one may, also when it is bound elsewhere later. */
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

/* Returns 1 where all threads were bound. */
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
    finder f = {0};
    *place = (dn_place){0};
    memcpy(place->host, comm->host[comm->rank], sizeof place->host);
    const dn_status status = dn_comm_agree(comm, find_cores(&f, comm->node_size));
    if (status == DN_OK) {
        divide_cores(&f, comm, place);
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

dn_status dn_place_report(const dn_comm *comm, int virtual_ranks, int table)
{
    dn_place own = *comm->place, *all = NULL;
    own.virtual_ranks = dn_tree_first(virtual_ranks, comm->size, comm->rank + 1) -
                        dn_tree_first(virtual_ranks, comm->size, comm->rank);
    dn_status status = DN_OK;
    if (comm->rank == 0 && (all = malloc((size_t)comm->size * sizeof *all)) == NULL)
        status = dn_fail(DN_ENOMEM, "memory: found none for a table of %d ranks", comm->size);
    DN_TRY(dn_comm_agree(comm, status));
    DN_MPI(MPI_Gather(&own, sizeof own, MPI_BYTE, all, sizeof own, MPI_BYTE, 0, comm->world));
    if (all == NULL)
        return DN_OK;
    if (table)
        dn_place_print(stdout, all, comm->size);
    dn_place_warn(stderr, all, comm->size);
    free(all);
    return DN_OK;
}
