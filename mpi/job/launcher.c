/* Reads what launchers set in the environment of their ranks, and /proc; see launcher.h. */
#include "job/launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 64 };

/* Every launcher sets one of these. */
static const char *const rank_names[] = {"PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK",
                                         "MV2_COMM_WORLD_RANK", "PALS_RANKID"};
enum { RANK_NAMES = sizeof rank_names / sizeof *rank_names };

/* NULL without a launcher. */
static const char *given_rank(void)
{
    const char *rank = NULL;
    for (int i = 0; i < RANK_NAMES && rank == NULL; i++)
        rank = getenv(rank_names[i]);
    return rank;
}

int dn_is_launched(void)
{
    return given_rank() != NULL;
}

/* Slurm also sets SLURM_PROCID in a job's script, where it launched nothing; that is "0" then. */
const char *dn_launched_rank(void)
{
    const char *rank = given_rank();
    if (rank == NULL)
        rank = getenv("SLURM_PROCID");
    return rank != NULL ? rank : "0";
}

/* ---- the number of ranks ---- */

static int env_number(const char *variable)
{
    const char *text = getenv(variable);
    return text != NULL ? atoi(text) : 0;
}

int dn_launched_ranks(void)
{
    int ranks = env_number("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (ranks == 0)
        ranks = env_number("MPI_LOCALNRANKS"); /* MPICH */
    const int nodes = env_number("SLURM_STEP_NUM_NODES");
    if (ranks > 0 || nodes <= 0)
        return ranks;
    return (env_number("SLURM_STEP_NUM_TASKS") + nodes - 1) / nodes;
}

int dn_granted_part(int processors)
{
    const int granted = env_number("SLURM_CPUS_ON_NODE");
    return granted < processors ? granted : 0;
}

/* ---- mpirun, and how it binds ---- */

pid_t dn_mpirun(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL ? getppid() : -1;
}

int dn_mpirun_is_prrte(void)
{
    return getenv("PRTE_LAUNCHED") != NULL;
}

/* 1 if this process's parent, mpirun of Open MPI 5, was given a binding on its command line; the
 * environment of its ranks does not show it. */
static int is_parent_told(void)
{
    char path[PATH_BYTES], arguments[1 << 15];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)getppid());
    FILE *const file = fopen(path, "r");
    const size_t size = file ? fread(arguments, 1, sizeof arguments - 1, file) : 0;
    if (file)
        fclose(file);
    arguments[size] = '\0';
    if (strstr(arguments, "prted") != NULL)
        return 1; /* the daemon's command line does not show mpirun's */
    for (const char *word = arguments; word < arguments + size; word += strlen(word) + 1)
        if (strstr(word, "bind-to") || strstr(word, "map-by") || strstr(word, "rankfile") ||
            strstr(word, "cpu-set") || strstr(word, "cpu-list") || strstr(word, "binding_policy"))
            return 1;
    return size == 0;
}

int dn_is_bound_by_default(void)
{
    static const char *const choices[] = {
        "OMPI_MCA_hwloc_base_binding_policy",    "OMPI_MCA_hwloc_base_cpu_set",
        "OMPI_MCA_rmaps_rank_file_path",         "OMPI_MCA_orte_rankfile",
        "PRTE_MCA_hwloc_default_binding_policy", "PRTE_MCA_hwloc_default_cpu_list",
        "PRTE_MCA_rmaps_default_mapping_policy"};
    const char *mapping = getenv("OMPI_MCA_rmaps_base_mapping_policy");
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (getenv(choices[i]) != NULL)
            return 0;
    if (dn_mpirun_is_prrte())
        return !is_parent_told();
    return getenv("OMPI_MCA_orte_bound_at_launch") != NULL &&
           (mapping == NULL || strcasestr(mapping, "PE=") == NULL);
}

/* ---- the launcher among the ancestors ---- */

static int is_rank_variable(const char *entry)
{
    for (int i = 0; i < RANK_NAMES; i++) {
        const size_t length = strlen(rank_names[i]);
        if (strncmp(entry, rank_names[i], length) == 0 && entry[length] == '=')
            return 1;
    }
    return 0;
}

/* 1 if process `pid` was given a rank, 0 if not; -1 if it cannot be read, as another user's. */
static int was_told_a_rank(int pid)
{
    char path[PATH_BYTES], *entry = NULL;
    size_t size = 0;
    int is_told = 0;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    while (!is_told && getdelim(&entry, &size, '\0', file) > 0)
        is_told = is_rank_variable(entry);
    const int failed = ferror(file);
    free(entry);
    fclose(file);
    return failed ? -1 : is_told;
}

/* The parent of process `pid`; 0 if it is not known. */
static int parent_of(int pid)
{
    char path[PATH_BYTES], line[256];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && parent == 0 && fgets(line, sizeof line, file) != NULL)
        sscanf(line, "PPid: %d", &parent);
    if (file != NULL)
        fclose(file);
    return parent;
}

/* 1 if /proc shows this PID namespace; a container may have the machine's. */
static int has_own_proc(void)
{
    char self[PATH_BYTES] = "";
    return readlink("/proc/self", self, sizeof self - 1) > 0 && atoi(self) == getpid();
}

/*
 * The launcher, or its daemon on this machine, is the nearest ancestor without a rank, or that
 * cannot be read. 0 if there is none: in a container with its own PID namespace, whose first
 * process has a rank or cannot be read.
 */
static int find_launcher(void)
{
    int pid = has_own_proc() ? getppid() : 0, is_told = 1;
    while (pid > 0 && (is_told = was_told_a_rank(pid)) == 1)
        pid = parent_of(pid);
    return pid == 1 && is_told != 0 ? 0 : pid;
}

/* The inode number of the machine's initial user namespace is a constant of Linux. The namespace of
 * another user's launcher, as Slurm's, cannot be read. */
static int shares_user_namespace(int launcher)
{
    char path[PATH_BYTES], own[PATH_BYTES] = "", others[PATH_BYTES] = "user:[4026531837]";
    snprintf(path, sizeof path, "/proc/%d/ns/user", launcher);
    if (readlink("/proc/self/ns/user", own, sizeof own - 1) <= 0)
        return 0;
    const ssize_t length = readlink(path, others, sizeof others - 1);
    if (length > 0)
        others[length] = '\0';
    return strcmp(own, others) == 0;
}

/* ---- transports of Open MPI ---- */

/* Open MPI's shared-memory transport assumes one PID namespace: ranks in different ones (a
 * container each) crash in it. It also reads other processes' memory, which it cannot do across
 * user namespaces. Ranks with the launcher among their ancestors share its PID namespace; if that
 * is not known the transport is disabled, which is slow at worst. Returns 1 if it is. */
static int avoids_shared_memory(void)
{
    const int launcher = find_launcher();
    if (launcher == 0)
        setenv("OMPI_MCA_btl", "^vader,sm", 0);
    else if (!shares_user_namespace(launcher))
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    return launcher == 0;
}

/* 1 if mpirun says that all ranks are on this machine. */
static int is_on_one_machine(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    return ranks != NULL && here != NULL && strcmp(ranks, here) == 0;
}

/* With other interfaces than `lo` Open MPI 5 finds no route to its own machine: it warns at every
 * start, and has no TCP there. Open MPI 4 leaves `lo` out, which may be all that is up, where ranks
 * need TCP. A process without a launcher needs no transport: shared memory would leave a file in
 * /dev/shm, libraries of fabrics take time to load, and Open MPI 4's daemon needs ssh in PATH.
 * setenv does not overwrite what the user set, but Open MPI prefers it to a site's
 * openmpi-mca-params.conf: of a job's, only what would fail otherwise is set. */
void dn_choose_transports(void)
{
    setenv("OMPI_MCA_ess_singleton_isolated", "1", 0); /* no daemon if mpirun has not started it */
    if (!dn_is_launched()) {
        setenv("OMPI_MCA_btl", "self", 0);
        setenv("OMPI_MCA_pml", "ob1", 0);
        return;
    }
    const int needs_tcp = avoids_shared_memory();
    if ((needs_tcp || dn_mpirun_is_prrte()) && is_on_one_machine() &&
        getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}
