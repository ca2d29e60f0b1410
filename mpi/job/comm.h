/*
 * The ranks of a job: wraps MPI's initialisation, small collectives and error handling.
 *
 * An MPI failure means that a peer or the network is lost: it ends the job where it happens, with
 * one line that names the rank and the call, and DN_EXIT_LOST. A dn_status that may differ between
 * ranks is agreed on by dn_comm_agree and then returned. MPI is called by one thread at a time, the
 * main one or a communication thread (MPI_THREAD_SERIALIZED).
 */
#ifndef DN_COMM_H
#define DN_COMM_H

#include <stddef.h>
#include <stdint.h>

#include <mpi.h>

#include "dn/status.h"
#include "job/activity.h"

enum { DN_HOST_BYTES = 64 };

/* A host's name; '_' replaces all but letters, digits, '.' and '-'. */
typedef char dn_host[DN_HOST_BYTES];

struct dn_heartbeat;
struct dn_timeline;

typedef struct dn_comm {
    int rank, size;                 /* in the job; those of a machine follow one another */
    int machine_rank, machine_size; /* among the ranks of this machine (node) */
    int shm_rank, shm_size;         /* among those of them that share memory, usually all */
    MPI_Comm world, machine, shm;   /* those of `rank`, `machine_rank` and `shm_rank` */
    int threads_may_call; /* 1: threads other than the main one may call MPI, one at a time */
    dn_host *host;        /* (size) */
    uint64_t *hashes;     /* (size) room for dn_comm_same_hash */
    void *piece;          /* room for a message */
    const struct dn_place *place;   /* where this rank runs (placement.h), once known */
    dn_activity *activity;          /* of this process; never NULL */
    struct dn_heartbeat *heartbeat; /* heartbeat.h; NULL: none; not owned */
    struct dn_timeline *timeline;   /* timeline.h; NULL: none; not owned */
    double start;                   /* when the process started, in seconds of omp_get_wtime */
} dn_comm;

/* host = this host's name. Not collective. */
void dn_own_host(dn_host host);

/* Evaluates an MPI call; if it fails, ends the job with one line and DN_EXIT_LOST. */
#define DN_MPI(call) dn_comm_check((call), #call, __func__)
void dn_comm_check(int code, const char *call, const char *function);

/* DN_MPI for a call in which the main thread waits for rank `partner`, or for several ranks. */
#define DN_COLLECTIVE(comm, call) DN_WAIT_FOR(comm, -1, call)
#define DN_WAIT_FOR(comm, partner, call)                                                           \
    do {                                                                                           \
        dn_note_partner((comm)->activity, partner);                                                \
        dn_note_wait((comm)->activity, 1);                                                         \
        DN_MPI(call);                                                                              \
        dn_note_wait((comm)->activity, 0);                                                         \
    } while (0)

/* Starts MPI. Collective, the first call of a job; failures end the job. */
void dn_comm_init(dn_comm *comm, int *argc, char ***argv);

/* Ends MPI. Collective, the last call of a job. */
void dn_comm_finalize(dn_comm *comm);

/*
 * Returns the same status on all ranks: DN_OK if `status` is DN_OK on all, else that of the lowest
 * rank that failed, with dn_message set to its message everywhere (prefixed with rank and host
 * unless all ranks failed with the same message). Collective.
 */
dn_status dn_comm_agree(const dn_comm *comm, dn_status status);

/* Evaluates `call` on rank 0 only; its status on all ranks. Collective. */
#define DN_ON_RANK_0(comm, call) dn_comm_agree(comm, (comm)->rank == 0 ? (call) : DN_OK)

/* DN_OK on all ranks if `hash` is the same on all; else DN_ECORRUPT on all, with a message that
 * calls the value `what` and names the first rank that differs from the majority. Collective. */
dn_status dn_comm_same_hash(const dn_comm *comm, uint64_t hash, const char *what);

/* The maximum of `value` over all ranks. Collective. */
int dn_comm_max(const dn_comm *comm, int value);

/* Copies rank 0's data(bytes) to all ranks. Collective. */
void dn_comm_broadcast(const dn_comm *comm, void *data, size_t bytes);

/* Completes x(count) on all ranks, where each element is set on one rank and all bits 0 on the
 * others. Collective. */
void dn_comm_merge_doubles(const dn_comm *comm, double *x, size_t count);

/* Appends x(bytes) of every other rank to that of rank 0, in the order of ranks; rank 0 has room
 * for all. Collective. */
void dn_comm_gather(const dn_comm *comm, void *x, size_t bytes);

/* Memory shared by the ranks of comm->shm. */
typedef struct dn_shared {
    void *data;
    size_t bytes;
} dn_shared;

/*
 * Allocates one zeroed, page-aligned array of `bytes` for the ranks of each comm->shm; a rank that
 * cannot share memory (another user's container) has one of its own. A rank's writes are visible to
 * the others after a barrier of comm->shm. The kernel frees the memory with the last process,
 * however that ends. On all ranks of the job, DN_ENOMEM if one machine is short of memory, DN_EIO
 * if the file did not arrive on a rank. Collective.
 */
dn_status dn_comm_shared_alloc(const dn_comm *comm, size_t bytes, dn_shared *shared);

/* Does nothing if shared->data is NULL. Not collective. */
void dn_comm_shared_free(dn_shared *shared);

#endif
