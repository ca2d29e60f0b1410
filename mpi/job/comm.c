/*
 * Set-up, agreement and the small collectives of comm.h.
 *
 * Agreement costs one reduction of an integer when all is well; why a rank failed is only exchanged
 * when one did. Shared memory is a file without a name (memfd) of the node's rank 0, which all its
 * ranks open through /proc: unlike MPI's shared windows it is not bound by the size of /dev/shm,
 * reports a shortage as a status, and leaves nothing behind when a job is killed.
 */
#include "job/comm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024 };

static void own_host(char host[DN_HOST_BYTES])
{
    memset(host, 0, DN_HOST_BYTES);
    if (gethostname(host, DN_HOST_BYTES - 1) != 0)
        strcpy(host, "unknown");
    for (char *c = host; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr(".-", *c) == NULL)
            *c = '_';
}

static _Noreturn void abort_job(const char *message)
{
    char host[DN_HOST_BYTES];
    int rank = -1;
    own_host(host);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fprintf(stderr, "error: rank %d on host %s: %s\n", rank, host, message);
    fflush(NULL);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

void dn_comm_check(int code, const char *call, const char *function)
{
    if (code == MPI_SUCCESS)
        return;
    char reason[MPI_MAX_ERROR_STRING] = "unknown error", message[MESSAGE_BYTES];
    int length;
    MPI_Error_string(code, reason, &length);
    snprintf(message, sizeof message, "%s in %s: %s", call, function, reason);
    abort_job(message);
}

/* What Open MPI 5 needs to be told, where the user did not choose. From another interface than `lo`
 * it finds no way to its own machine: it says so at every start, and has no TCP there. And a
 * process without a launcher leaves the shared memory that it needs none of in /dev/shm for
 * good. */
static void choose_transports(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (ranks == NULL && getenv("PMIX_RANK") == NULL && getenv("PMI_RANK") == NULL)
        setenv("OMPI_MCA_btl", "self", 0);
    else if (ranks != NULL && here != NULL && strcmp(ranks, here) == 0 &&
             getenv("OMPI_MCA_btl_tcp_if_exclude") == NULL)
        setenv("OMPI_MCA_btl_tcp_if_include", "lo", 0);
}

void dn_comm_init(dn_comm *comm, int *argc, char ***argv)
{
    int provided;
    *comm = (dn_comm){.start = omp_get_wtime()};
    choose_transports();
    DN_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided));
    comm->world = MPI_COMM_WORLD;
    DN_MPI(MPI_Comm_set_errhandler(comm->world, MPI_ERRORS_RETURN));
    DN_MPI(MPI_Comm_rank(comm->world, &comm->rank));
    DN_MPI(MPI_Comm_size(comm->world, &comm->size));
    comm->threads_may_call = provided >= MPI_THREAD_SERIALIZED;
    if (provided < MPI_THREAD_FUNNELED)
        abort_job("this MPI library does not support MPI_THREAD_FUNNELED");
    DN_MPI(MPI_Comm_split_type(comm->world, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL,
                               &comm->node));
    DN_MPI(MPI_Comm_rank(comm->node, &comm->node_rank));
    DN_MPI(MPI_Comm_size(comm->node, &comm->node_size));
    comm->host = calloc(comm->size, sizeof *comm->host);
    if (comm->host == NULL)
        abort_job("out of memory at the start");
    own_host(comm->host[comm->rank]);
    DN_MPI(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, comm->host, DN_HOST_BYTES, MPI_BYTE,
                         comm->world));
}

void dn_comm_finalize(dn_comm *comm)
{
    free(comm->host);
    DN_MPI(MPI_Comm_free(&comm->node));
    DN_MPI(MPI_Finalize());
}

dn_status dn_comm_agree(const dn_comm *comm, dn_status status)
{
    int rank = status == DN_OK ? comm->size : comm->rank; /* the lowest that failed */
    DN_MPI(MPI_Allreduce(MPI_IN_PLACE, &rank, 1, MPI_INT, MPI_MIN, comm->world));
    if (rank == comm->size)
        return DN_OK;

    struct {
        dn_status status;
        char message[MESSAGE_BYTES];
    } report = {.status = status};
    snprintf(report.message, sizeof report.message, "%s", dn_message());
    DN_MPI(MPI_Bcast(&report, sizeof report, MPI_BYTE, rank, comm->world));

    int is_common = status != DN_OK && strcmp(report.message, dn_message()) == 0;
    DN_MPI(MPI_Allreduce(MPI_IN_PLACE, &is_common, 1, MPI_INT, MPI_LAND, comm->world));
    if (is_common)
        return dn_fail(report.status, "%s", report.message);
    return dn_fail(report.status, "rank %d on host %s: %s", rank, comm->host[rank], report.message);
}

int dn_comm_max(const dn_comm *comm, int value)
{
    DN_MPI(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, comm->world));
    return value;
}

dn_status dn_comm_same_hash(const dn_comm *comm, uint64_t hash, const char *what)
{
    uint64_t *all = malloc((size_t)comm->size * sizeof *all);
    if (all == NULL)
        abort_job("out of memory while comparing the hashes of the ranks");
    DN_MPI(MPI_Allgather(&hash, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, comm->world));
    /* Expected is what most ranks have; of equally frequent hashes the lowest rank's. */
    struct {
        int votes, rank;
    } best = {.rank = comm->rank};
    for (int r = 0; r < comm->size; r++)
        best.votes += all[r] == hash;
    DN_MPI(MPI_Allreduce(MPI_IN_PLACE, &best, 1, MPI_2INT, MPI_MAXLOC, comm->world));
    const uint64_t expected = all[best.rank];
    free(all);
    dn_status status = DN_OK;
    if (hash != expected)
        status = dn_fail(DN_ECORRUPT,
                         "%s differ between ranks: found %016" PRIx64 ", expected %016" PRIx64
                         " as on %d of %d ranks",
                         what, hash, expected, best.votes, comm->size);
    return dn_comm_agree(comm, status);
}

void dn_comm_broadcast(const dn_comm *comm, void *data, size_t bytes, int root)
{
    for (size_t begin = 0; begin < bytes; begin += INT_MAX) {
        const size_t part = bytes - begin < INT_MAX ? bytes - begin : INT_MAX;
        DN_MPI(MPI_Bcast((char *)data + begin, (int)part, MPI_BYTE, root, comm->world));
    }
}

void dn_comm_gather_doubles(const dn_comm *comm, double *x, int count)
{
    DN_MPI(MPI_Allreduce(MPI_IN_PLACE, x, count, MPI_UINT64_T, MPI_BOR, comm->world));
}

/* Makes the nameless file; only memory that the node can have at all is promised. */
static dn_status make_shared_file(size_t bytes, int *file)
{
    const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    DN_CHECK(bytes <= memory, DN_ENOMEM, "shared memory of the node: %zu MiB, it has %zu MiB",
             bytes >> 20, memory >> 20);
    *file = memfd_create("dn_shared", MFD_CLOEXEC);
    DN_CHECK(*file >= 0 && ftruncate(*file, (off_t)bytes) == 0, DN_ENOMEM,
             "shared memory of the node: %zu MiB: %s", bytes >> 20, strerror(errno));
    return DN_OK;
}

/* A maker that failed has named no file: its failure counts, as that of the node's lowest rank. */
static dn_status map_shared_file(const char *path, dn_shared *shared)
{
    const int file = open(path, O_RDWR | O_CLOEXEC);
    DN_CHECK(file >= 0, DN_EIO, "shared memory of the node: %s: %s", path, strerror(errno));
    void *data = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    DN_CHECK(data != MAP_FAILED, DN_ENOMEM, "shared memory of the node: cannot map %zu MiB: %s",
             shared->bytes >> 20, strerror(errno));
    shared->data = data;
    return DN_OK;
}

dn_status dn_comm_shared_alloc(const dn_comm *comm, size_t bytes, dn_shared *shared)
{
    int file = -1;
    char path[64] = "";
    dn_status status = DN_OK;
    *shared = (dn_shared){.bytes = bytes > 0 ? bytes : 1};
    if (comm->node_rank == 0) {
        status = make_shared_file(shared->bytes, &file);
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), file);
    }
    DN_MPI(MPI_Bcast(path, sizeof path, MPI_CHAR, 0, comm->node));
    if (status == DN_OK)
        status = map_shared_file(path, shared);
    status = dn_comm_agree(comm, status); /* now all have opened the file */
    if (file >= 0)
        close(file);
    if (status != DN_OK)
        dn_comm_shared_free(shared);
    return status;
}

void dn_comm_shared_free(dn_shared *shared)
{
    if (shared->data != NULL)
        munmap(shared->data, shared->bytes);
    shared->data = NULL;
}
