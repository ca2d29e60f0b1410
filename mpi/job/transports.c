/* What the environment tells of the launcher, and MPI; see transports.h. setenv leaves what the
 * user chose. */
#include "job/transports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 64 };

/* By one of them every launcher tells a process its rank. */
static const char *const rank_names[] = {"PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"};
enum { RANK_NAMES = sizeof rank_names / sizeof *rank_names };

/* NULL without a launcher. */
static const char *given_rank(void)
{
    const char *rank = NULL;
    for (int i = 0; i < RANK_NAMES && rank == NULL; i++)
        rank = getenv(rank_names[i]);
    return rank;
}

/* Slurm sets its own also where it launched nothing, in a job's script: then it is "0". */
const char *dn_launched_rank(void)
{
    const char *rank = given_rank();
    if (rank == NULL)
        rank = getenv("SLURM_PROCID");
    return rank != NULL ? rank : "0";
}

static int is_rank_variable(const char *entry)
{
    for (int i = 0; i < RANK_NAMES; i++) {
        const size_t length = strlen(rank_names[i]);
        if (strncmp(entry, rank_names[i], length) == 0 && entry[length] == '=')
            return 1;
    }
    return 0;
}

/* Whether process `pid` was told a rank; -1 where one may not look, as at another user's. */
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

/* 0 also where it is not known. */
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

/* 1 where /proc shows this process's numbers; a container may have that of the machine. */
static int has_own_proc(void)
{
    char self[PATH_BYTES] = "";
    return readlink("/proc/self", self, sizeof self - 1) > 0 && atoi(self) == getpid();
}

/*
 * The launcher, or its daemon on this machine, is the nearest ancestor that was told no rank, or
 * that one may not look at. 0 where there is none: in a container with process numbers of its own,
 * whose first process was told the rank, or hides.
 */
static int find_launcher(void)
{
    int pid = has_own_proc() ? getppid() : 0, is_told = 1;
    while (pid > 0 && (is_told = was_told_a_rank(pid)) == 1)
        pid = parent_of(pid);
    return pid == 1 && is_told != 0 ? 0 : pid;
}

/* The number of the machine's own user namespace is a constant of Linux. A launcher that is another
 * user's, as Slurm's is, does not show its own. */
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

/* Open MPI's transport through shared memory takes process numbers for the machine's: ranks with
 * numbers of their own (a container each) crash in it; and it reads other processes' memory, which
 * it does not get at in other user namespaces. Ranks whose launcher is among their ancestors share
 * its numbers; where that is not known they do without, which is slow at worst. */
static void avoid_shared_memory(void)
{
    const int launcher = find_launcher();
    if (launcher == 0)
        setenv("OMPI_MCA_btl", "^vader,sm", 0);
    else if (!shares_user_namespace(launcher))
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

/* Open MPI 5 finds from another interface than `lo` no way to its own machine: it says so at every
 * start, and has no TCP there. And a process without a launcher leaves the shared memory that it
 * needs none of in /dev/shm for good. */
void dn_choose_transports(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (given_rank() == NULL) {
        setenv("OMPI_MCA_btl", "self", 0);
        return;
    }
    avoid_shared_memory();
    if (ranks != NULL && here != NULL && strcmp(ranks, here) == 0 &&
        getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}
