/*
 * MPI's initialisation, agreement on errors, and the small collectives; see comm.h.
 *
 * Agreement costs one reduction of an integer unless a rank failed; only then messages are
 * exchanged. Long messages pass through pages of their own: MPI may register them with the network
 * adapter, and a forked child may lack registered pages (docs/cluster.md). Shared memory is an
 * anonymous file (memfd) of rank 0 of comm->shm, whose descriptor is passed to the others
 * (share.h). Unlike MPI's shared windows it is not limited by the size of /dev/shm, reports a
 * shortage as a status, and leaves nothing behind when a job is killed. Ranks that a descriptor
 * cannot be passed to are found at the start, and are alone in comm->shm.
 */
#include "job/comm.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dn/limits.h"
#include "dn/program.h"
#include "job/launcher.h"
#include "job/share.h"

enum {
    MESSAGE_BYTES = 1024,
    GATHER_TAG = 1,
    NOTICE_SECONDS = 2,   /* for the heartbeat to notice a lost rank that MPI noticed first */
    PIECE_BYTES = 1 << 20 /* a message's most, so that a slow network shows progress */
};

void dn_own_host(dn_host host)
{
    memset(host, 0, DN_HOST_BYTES);
    if (gethostname(host, DN_HOST_BYTES - 1) != 0)
        strcpy(host, "unknown");
    for (char *c = host; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr(".-", *c) == NULL)
            *c = '_';
}

static int own_rank = -1; /* for messages of abort_job */

/* Ends the job with the status after one line. A rank that was lost is the heartbeat's to name: it
 * ends this process first if it can. */
static _Noreturn void abort_job(int status, const char *message)
{
    dn_host host;
    dn_own_host(host);
    fprintf(stderr, "dn_dist: rank %d on host %s: %s\n", own_rank, host, message);
    fflush(NULL);
    if (status == DN_EXIT_LOST)
        sleep(NOTICE_SECONDS);
    MPI_Abort(MPI_COMM_WORLD, status);
    abort();
}

void dn_comm_check(int code, const char *call, const char *function)
{
    if (code == MPI_SUCCESS)
        return;
    char reason[MPI_MAX_ERROR_STRING] = "unknown error", message[MESSAGE_BYTES];
    int length;
    MPI_Error_string(code, reason, &length);
    /* Without its arguments, in which the preprocessor has replaced MPI's constants. */
    snprintf(message, sizeof message, "%.*s in %s: %s", (int)strcspn(call, "("), call, function,
             reason);
    abort_job(DN_EXIT_LOST, message);
}

/* comm->machine = the ranks of this machine; comm->world = all ranks, machine by machine: in MPI's
 * order the machines may take turns. Rank 0 is the same in both. */
static void find_machine(dn_comm *comm)
{
    DN_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &own_rank));
    DN_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, own_rank, MPI_INFO_NULL,
                               &comm->machine));
    DN_MPI(MPI_Comm_rank(comm->machine, &comm->machine_rank));
    DN_MPI(MPI_Comm_size(comm->machine, &comm->machine_size));
    int first = own_rank;
    DN_MPI(MPI_Bcast(&first, 1, MPI_INT, 0, comm->machine));
    DN_MPI(MPI_Comm_split(MPI_COMM_WORLD, 0, first, &comm->world));
    DN_MPI(MPI_Comm_rank(comm->world, &comm->rank));
    DN_MPI(MPI_Comm_size(comm->world, &comm->size));
    own_rank = comm->rank;
}

/* comm->shm = the ranks of this machine to which its rank 0 can pass a file; every other rank is
 * alone. */
static void find_sharers(dn_comm *comm)
{
    const int rank = comm->machine_rank, size = comm->machine_size;
    const int file =
        dn_share_file(comm, comm->machine, rank == 0 ? memfd_create("dn_probe", MFD_CLOEXEC) : -1);
    const int reason = file < 0 ? errno : 0;
    DN_MPI(MPI_Comm_split(comm->machine, file >= 0 || rank == 0 ? 0 : rank, rank, &comm->shm));
    if (file >= 0)
        close(file);
    DN_MPI(MPI_Comm_rank(comm->shm, &comm->shm_rank));
    DN_MPI(MPI_Comm_size(comm->shm, &comm->shm_size));
    const int most = dn_comm_max(comm, comm->shm_size < size ? size : 0);
    const int why = most > 0 ? dn_comm_max(comm, rank > 0 ? reason : 0) : 0;
    if (most > 0 && comm->rank == 0)
        dn_warn("ranks of one machine share no memory, as containers of several users do not (%s): "
                "of %d on a machine, some keep a copy of the data set each",
                strerror(why), most);
}

/* Static, as the heartbeat's thread, which ends after MPI, reads it to the last. */
static dn_activity own_activity = {.partner = -1};

void dn_comm_init(dn_comm *comm, int *argc, char ***argv)
{
    int provided;
    /* Before MPI starts: Open MPI then sets PMIX_RANK to 0 where its own launcher did not. */
    const int is_first = !dn_is_launched() || strcmp(dn_launched_rank(), "0") == 0;
    *comm = (dn_comm){.activity = &own_activity, .start = omp_get_wtime()};
    dn_choose_transports();
    DN_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided));
    DN_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)); /* others inherit it */
    comm->threads_may_call = provided >= MPI_THREAD_SERIALIZED;
    if (provided < MPI_THREAD_FUNNELED)
        abort_job(DN_EXIT_FAILED, "this MPI library does not support MPI_THREAD_FUNNELED");
    find_machine(comm);
    if (comm->size == 1 && !is_first)
        abort_job(DN_EXIT_FAILED, "its launcher gave it another rank: expected the mpirun, or "
                                  "srun's --mpi, of the MPI library that dn_dist was built with");
    find_sharers(comm);
    comm->piece =
        mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    comm->host = calloc(comm->size, sizeof *comm->host);
    comm->hashes = calloc(comm->size, sizeof *comm->hashes);
    if (comm->piece == MAP_FAILED || comm->host == NULL || comm->hashes == NULL)
        abort_job(DN_EXIT_FAILED, "out of memory at the start");
    dn_own_host(comm->host[comm->rank]);
    DN_MPI(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, comm->host, DN_HOST_BYTES, MPI_BYTE,
                         comm->world));
}

void dn_comm_finalize(dn_comm *comm)
{
    munmap(comm->piece, PIECE_BYTES);
    free(comm->host);
    free(comm->hashes);
    DN_COLLECTIVE(comm, MPI_Comm_free(&comm->shm));
    DN_COLLECTIVE(comm, MPI_Comm_free(&comm->machine));
    DN_COLLECTIVE(comm, MPI_Comm_free(&comm->world));
    DN_COLLECTIVE(comm, MPI_Finalize());
}

dn_status dn_comm_agree(const dn_comm *comm, dn_status status)
{
    int rank = status == DN_OK ? comm->size : comm->rank; /* the lowest one that failed */
    DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, &rank, 1, MPI_INT, MPI_MIN, comm->world));
    if (rank == comm->size)
        return DN_OK;

    struct {
        dn_status status;
        char message[MESSAGE_BYTES];
    } report = {.status = status};
    snprintf(report.message, sizeof report.message, "%s", dn_message());
    DN_COLLECTIVE(comm, MPI_Bcast(&report, sizeof report, MPI_BYTE, rank, comm->world));

    int is_common = status != DN_OK && strcmp(report.message, dn_message()) == 0;
    DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, &is_common, 1, MPI_INT, MPI_LAND, comm->world));
    if (is_common)
        return dn_fail(report.status, "%s", report.message);
    return dn_fail(report.status, "rank %d on host %s: %s", rank, comm->host[rank], report.message);
}

int dn_comm_max(const dn_comm *comm, int value)
{
    DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, comm->world));
    return value;
}

dn_status dn_comm_same_hash(const dn_comm *comm, uint64_t hash, const char *what)
{
    uint64_t *const all = comm->hashes;
    DN_COLLECTIVE(comm, MPI_Allgather(&hash, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, comm->world));
    /* The majority's hash is expected; of equally frequent ones the lowest rank's. */
    struct {
        int votes, rank;
    } best = {.rank = comm->rank};
    for (int r = 0; r < comm->size; r++)
        best.votes += all[r] == hash;
    DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, &best, 1, MPI_2INT, MPI_MAXLOC, comm->world));
    const uint64_t expected = all[best.rank];
    dn_status status = DN_OK;
    if (hash != expected)
        status = dn_fail(DN_ECORRUPT,
                         "%s differ between ranks: found %016" PRIx64 ", expected %016" PRIx64
                         " as on %d of %d ranks",
                         what, hash, expected, best.votes, comm->size);
    return dn_comm_agree(comm, status);
}

void dn_comm_broadcast(const dn_comm *comm, void *data, size_t bytes)
{
    for (size_t begin = 0; begin < bytes; begin += PIECE_BYTES) {
        const size_t part = bytes - begin < PIECE_BYTES ? bytes - begin : PIECE_BYTES;
        char *const at = (char *)data + begin;
        if (comm->rank == 0)
            memcpy(comm->piece, at, part);
        DN_COLLECTIVE(comm, MPI_Bcast(comm->piece, (int)part, MPI_BYTE, 0, comm->world));
        if (comm->rank > 0)
            memcpy(at, comm->piece, part);
    }
}

void dn_comm_merge_doubles(const dn_comm *comm, double *x, size_t count)
{
    const size_t most = PIECE_BYTES / sizeof *x;
    for (size_t begin = 0; begin < count; begin += most) {
        const size_t part = count - begin < most ? count - begin : most;
        memcpy(comm->piece, x + begin, part * sizeof *x);
        DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, comm->piece, (int)part, MPI_UINT64_T,
                                          MPI_BOR, comm->world));
        memcpy(x + begin, comm->piece, part * sizeof *x);
    }
}

/* Sends data(bytes) to rank 0; on rank 0, receives it from the partner. */
static void hand_over(const dn_comm *comm, int partner, void *data, size_t bytes)
{
    for (size_t begin = 0; begin < bytes; begin += PIECE_BYTES) {
        const size_t part = bytes - begin < PIECE_BYTES ? bytes - begin : PIECE_BYTES;
        char *const at = (char *)data + begin;
        if (comm->rank == 0) {
            DN_WAIT_FOR(comm, partner,
                        MPI_Recv(comm->piece, (int)part, MPI_BYTE, partner, GATHER_TAG, comm->world,
                                 MPI_STATUS_IGNORE));
            memcpy(at, comm->piece, part);
        } else {
            memcpy(comm->piece, at, part);
            DN_WAIT_FOR(
                comm, partner,
                MPI_Send(comm->piece, (int)part, MPI_BYTE, partner, GATHER_TAG, comm->world));
        }
    }
}

void dn_comm_gather(const dn_comm *comm, void *x, size_t bytes)
{
    uint64_t handed = bytes;
    char *end = (char *)x + bytes;
    if (comm->rank > 0) {
        hand_over(comm, 0, &handed, sizeof handed);
        hand_over(comm, 0, x, bytes);
    }
    for (int r = 1; r < comm->size && comm->rank == 0; r++, end += handed) {
        hand_over(comm, r, &handed, sizeof handed);
        hand_over(comm, r, end, handed);
    }
}

/* Creates the anonymous file; fails if this process may not have as much memory now. */
static dn_status make_shared_file(size_t bytes, int *file)
{
    const double left = dn_memory_left("");
    DN_CHECK((double)bytes <= left, DN_ENOMEM,
             "shared memory: expected %zu MiB, found %.0f MiB left", bytes >> 20, left / 0x1p20);
    *file = memfd_create("dn_shared", MFD_CLOEXEC);
    DN_CHECK(*file >= 0 && ftruncate(*file, (off_t)bytes) == 0, DN_ENOMEM,
             "shared memory: %zu MiB: %s", bytes >> 20, strerror(errno));
    return DN_OK;
}

/* If the creator failed it passed no file; its failure is reported, as it is the lowest rank. */
static dn_status map_shared_file(int file, dn_shared *shared)
{
    DN_CHECK(file >= 0, DN_EIO, "shared memory: not received: %s", strerror(errno));
    void *data = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    DN_CHECK(data != MAP_FAILED, DN_ENOMEM, "shared memory: cannot map %zu MiB: %s",
             shared->bytes >> 20, strerror(errno));
    shared->data = data;
    return DN_OK;
}

dn_status dn_comm_shared_alloc(const dn_comm *comm, size_t bytes, dn_shared *shared)
{
    int made = -1;
    dn_status status = DN_OK;
    *shared = (dn_shared){.bytes = bytes > 0 ? bytes : 1};
    if (comm->shm_rank == 0)
        status = make_shared_file(shared->bytes, &made);
    const int file = dn_share_file(comm, comm->shm, status == DN_OK ? made : -1);
    if (status == DN_OK)
        status = map_shared_file(file, shared);
    status = dn_comm_agree(comm, status);
    close(comm->shm_rank == 0 ? made : file);
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
