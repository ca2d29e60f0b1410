/*
 * The ranks of a job: the one wrapper of MPI's set-up, small collectives and error handling.
 *
 * An MPI failure ends the job where it happens, in one line that names the rank and the call. A
 * dn_status is agreed on with dn_comm_agree, where all ranks come by, and travels up. MPI is called
 * by one thread at a time: the main one, or a communication thread (MPI_THREAD_SERIALIZED).
 */
#ifndef DN_COMM_H
#define DN_COMM_H

#include <stddef.h>
#include <stdint.h>

#include <mpi.h>

#include "dn/status.h"
#include "job/activity.h"

enum { DN_HOST_BYTES = 64 };

/* What dn_dist ends with, on every rank that can still say so (docs/faults.md). */
typedef enum dn_exit {
    DN_EXIT_DONE = 0,
    DN_EXIT_FAILED = 1,
    DN_EXIT_AGAIN = 75, /* saved on request or by the time limit: run again to go on */
    DN_EXIT_LOST = 76   /* a rank was lost: run again, perhaps without its host */
} dn_exit;

struct dn_heartbeat;
struct dn_timeline;

typedef struct dn_comm {
    int rank, size;                 /* in the job */
    int node_rank, node_size;       /* among those that share this node's memory */
    int machine_rank, machine_size; /* among those of this machine, whether they share it or not */
    MPI_Comm world, node, machine;
    int threads_may_call; /* 1: threads other than the main one may call MPI, one at a time */
    char (*host)[DN_HOST_BYTES];    /* (size) names, all but letters, digits, '.', '-' made '_' */
    const struct dn_place *place;   /* where this rank runs (placement.h), once that is known */
    dn_activity *activity;          /* of this process; never NULL */
    struct dn_heartbeat *heartbeat; /* heartbeat.h; NULL: none. Not owned, nor is the timeline */
    struct dn_timeline *timeline;   /* timeline.h; NULL: none */
    double start;                   /* when the process began, in omp_get_wtime's seconds */
} dn_comm;

/* This host's name, as in dn_comm.host. Not collective. */
void dn_own_host(char host[DN_HOST_BYTES]);

/* Evaluates an MPI call and ends the job with one line when it fails. */
#define DN_MPI(call) dn_comm_check((call), #call, __func__)
void dn_comm_check(int code, const char *call, const char *function);

/* DN_MPI of a call in which the main thread waits for rank `partner`, or for several. */
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
 * DN_OK on all ranks when `status` is DN_OK on all; else the failure of the lowest rank that has
 * one on all, with dn_message set everywhere to its message (prefixed with rank and host unless all
 * ranks failed with the same message). Collective.
 */
dn_status dn_comm_agree(const dn_comm *comm, dn_status status);

/* The agreed status of what rank 0 alone evaluates. Collective. */
#define DN_ON_RANK_0(comm, call) dn_comm_agree(comm, (comm)->rank == 0 ? (call) : DN_OK)

/* DN_OK on all ranks when `hash` is the same on all; else DN_ECORRUPT on all, and the message
 * calls the value `what` and names the first rank that differs from most. Collective. */
dn_status dn_comm_same_hash(const dn_comm *comm, uint64_t hash, const char *what);

/* The largest value that a rank gives, on all ranks. Collective. */
int dn_comm_max(const dn_comm *comm, int value);

/* data(bytes) on every rank = that of rank 0. Collective. */
void dn_comm_broadcast(const dn_comm *comm, void *data, size_t bytes);

/* Completes x(count) on every rank: each element is set on one rank, all bits 0 on the others.
 * Collective. */
void dn_comm_gather_doubles(const dn_comm *comm, double *x, size_t count);

/* Rank 0: x(count) is followed by that of each other rank, in their order, for which there is room.
 * Collective. */
void dn_comm_collect_doubles(const dn_comm *comm, double *x, size_t count);

/* Memory that all ranks of a node see. */
typedef struct dn_shared {
    void *data;
    size_t bytes;
} dn_shared;

/*
 * One zeroed array of `bytes` for each node, the same memory on all its ranks; starts on a page.
 * Of ranks of a machine that cannot share memory (another user's container), each is a node here.
 * What a rank writes is seen by the others after a barrier of comm->node. The kernel frees it with
 * the last process, however that ends. DN_ENOMEM on all ranks of the job when one node is short of
 * memory. Collective.
 */
dn_status dn_comm_shared_alloc(const dn_comm *comm, size_t bytes, dn_shared *shared);

/* Accepts NULL data. Not collective. */
void dn_comm_shared_free(dn_shared *shared);

#endif
