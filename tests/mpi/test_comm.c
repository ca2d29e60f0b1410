/*
 * Agreement, comparison of hashes, gathering, broadcast, shared and free memory, and the
 * heartbeat's connections, on any number of ranks under mpirun. With the argument `apart`, passing
 * a file to odd ranks fails; with `cyclic`, even and odd ranks are on two machines. Prints one
 * line; the exit status is 1 on failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "commands/memory.h"
#include "dn/limits.h"
#include "dn/tree.h"
#include "job/comm.h"
#include "job/heartbeat_parts.h"

enum { STRANGERS = 20 };

static int failures, is_apart, is_cyclic, is_slow, *strangers; /* (STRANGERS) */

/* In place of the C library's. */
ssize_t recvmsg(int line, struct msghdr *message, int flags)
{
    if (!is_apart || !(flags & MSG_CMSG_CLOEXEC))
        return syscall(SYS_recvmsg, line, message, flags);
    errno = EACCES;
    return -1;
}

/* In place of MPI's: ranks in turn on two machines. */
int MPI_Comm_split_type(MPI_Comm old, int type, int key, MPI_Info info, MPI_Comm *new)
{
    return is_cyclic ? PMPI_Comm_split(old, key % 2, key, new)
                     : PMPI_Comm_split_type(old, type, key, info, new);
}

/* In place of the C library's: connections of a port scanner precede the ranks'. */
int listen(int listener, int backlog)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 own; /* its port is where that of IPv4 would be */
    socklen_t size = sizeof own;
    const int result = (int)syscall(SYS_listen, listener, backlog);
    if (strangers && getsockname(listener, (struct sockaddr *)&own, &size) == 0)
        to.sin_port = own.sin6_port;
    for (int i = 0; strangers && i < STRANGERS; i++) {
        strangers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(strangers[i], (const struct sockaddr *)&to, sizeof to) != 0)
            failures++;
    }
    return result;
}

/* In place of the C library's: rank 0 may take its time. */
int accept4(int listener, struct sockaddr *address, socklen_t *size, int flags)
{
    if (is_slow)
        usleep(20000); /* many of the other ranks' signals */
    return (int)syscall(SYS_accept4, listener, address, size, flags);
}

static void expect(const dn_comm *comm, int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "rank %d of %d: %s; message: %s\n", comm->rank, comm->size, what,
                dn_message());
        failures++;
    }
}

static void test_order(const dn_comm *comm)
{
    int own, all[16];
    MPI_Comm_rank(MPI_COMM_WORLD, &own);
    MPI_Allgather(&own, 1, MPI_INT, all, 1, MPI_INT, comm->world);
    expect(comm, all[0] == 0, "rank 0");
    for (int r = 1; r < comm->size; r++) {
        const int machine = is_cyclic ? all[r] % 2 : 0, before = is_cyclic ? all[r - 1] % 2 : 0;
        expect(comm, machine > before || (machine == before && all[r] > all[r - 1]),
               "the ranks of a machine together, in MPI's order");
    }
}

static void test_agree(const dn_comm *comm)
{
    const int last = comm->size - 1;
    expect(comm, dn_comm_agree(comm, DN_OK) == DN_OK, "all well");

    dn_status status = dn_fail(DN_ENOENT, "data: no such folder");
    status = dn_comm_agree(comm, status);
    expect(comm, status == DN_ENOENT, "common failure");
    expect(comm, strcmp(dn_message(), "data: no such folder") == 0, "common message");

    status = comm->rank == last ? dn_fail(DN_EIO, "disk of rank %d", last) : DN_OK;
    status = dn_comm_agree(comm, status);
    expect(comm, status == DN_EIO, "failure of one rank");
    char prefix[32];
    snprintf(prefix, sizeof prefix, "rank %d on host ", last);
    if (comm->size > 1)
        expect(comm, strncmp(dn_message(), prefix, strlen(prefix)) == 0, "prefix");
    expect(comm, strstr(dn_message(), "disk of rank") != NULL, "message of one rank");

    status = comm->rank == 0 ? dn_fail(DN_EINVAL, "mild") : dn_fail(DN_ENOMEM, "bad");
    status = dn_comm_agree(comm, status);
    expect(comm, status == DN_EINVAL, "lowest rank's status");
    expect(comm, strstr(dn_message(), "mild") != NULL, "lowest rank's message");
}

static void test_same_hash(const dn_comm *comm)
{
    expect(comm, dn_comm_same_hash(comm, 77, "weights") == DN_OK, "same hash");
    if (comm->size < 3)
        return;
    const uint64_t hash = comm->rank == 1 ? 0xabc : 0xffffffffffffffff;
    expect(comm, dn_comm_same_hash(comm, hash, "weights") == DN_ECORRUPT, "other hash");
    expect(comm,
           strncmp(dn_message(), "rank 1 on host ", 15) == 0 &&
               strstr(dn_message(), "found 0000000000000abc, expected ffff") != NULL,
           "the rank that differs is named");
}

static void test_merge(const dn_comm *comm)
{
    for (int count = 1; count < 40; count += 3) {
        double x[40][2];
        memset(x, 0, sizeof x);
        const int last = dn_share_begin(count, comm->size, comm->rank + 1);
        for (int i = dn_share_begin(count, comm->size, comm->rank); i < last; i++)
            x[i][0] = -(x[i][1] = 1.5 * i + 1);
        dn_comm_merge_doubles(comm, x[0], 2 * count);
        for (int i = 0; i < count; i++)
            expect(comm, x[i][1] == 1.5 * i + 1 && x[i][0] == -x[i][1], "merged values");
    }
}

static void test_gather(const dn_comm *comm)
{
    for (int count = 1; count < 400000; count = 5 * count + 1) { /* more than a message takes */
        const int first = dn_share_begin(count, comm->size, comm->rank);
        const int own = dn_share_begin(count, comm->size, comm->rank + 1) - first;
        double *const x = calloc((size_t)(comm->rank == 0 ? count : own) + 1, sizeof *x);
        for (int i = 0; x && i < own; i++)
            x[i] = first + i + 1;
        dn_comm_gather(comm, x, (size_t)own * sizeof *x);
        for (int i = 0; x && i < count && comm->rank == 0; i++)
            if (x[i] != i + 1)
                expect(comm, 0, "gathered values");
        free(x);
    }
}

static void test_broadcast(const dn_comm *comm)
{
    char text[32] = "nothing";
    if (comm->rank == 0)
        strcpy(text, "a word to all");
    dn_comm_broadcast(comm, text, sizeof text);
    expect(comm, strcmp(text, "a word to all") == 0, "broadcast");
}

static void test_shared(const dn_comm *comm)
{
    const size_t bytes = 3 << 20;
    dn_shared shared;
    expect(comm, !is_apart || comm->shm_size == 1, "memory of its own");
    expect(comm, dn_comm_shared_alloc(comm, bytes, &shared) == DN_OK, "shared allocation");
    int *x = shared.data;
    for (size_t i = comm->shm_rank; i < bytes / sizeof *x; i += comm->shm_size) {
        expect(comm, x[i] == 0, "fresh memory is zero");
        x[i] = (int)i;
    }
    MPI_Barrier(comm->shm);
    for (size_t i = 0; i < bytes / sizeof *x; i++)
        expect(comm, x[i] == (int)i, "value of another rank");
    dn_comm_shared_free(&shared);
    dn_comm_shared_free(&shared);
    const dn_status status = dn_comm_shared_alloc(comm, (size_t)1 << 60, &shared);
    expect(comm, status == DN_ENOMEM && shared.data == NULL, "too large an allocation");
}

/* The ranks of a machine share its free memory, even if they do not share arrays in it. */
static void test_memory(const dn_comm *comm)
{
    dn_spec spec;
    dn_net *net = NULL;
    const dn_net_options options = {.batch = 1, .norm_group = 1};
    const double left = dn_memory_left("");
    const dn_bytes little = {.fixed = left / 2 / comm->machine_size};
    const dn_bytes much = {.fixed = left / (comm->machine_size - 0.5)};
    expect(comm,
           dn_spec_parse(&spec, "blocks=1:growth=4:stem=cifar") == DN_OK &&
               dn_net_create(&net, &spec, dn_kernels_get(0), &options) == DN_OK,
           "a net");
    expect(comm, dn_check_memory(comm, net, little, "") == DN_OK, "enough memory");
    expect(comm, dn_check_memory(comm, net, much, "") == DN_ENOMEM, "too little memory");
    dn_net_destroy(&net);
}

/* Ranks other than 0 may have fewer descriptors than there are ranks: poll would refuse as many. */
static void test_heartbeat_with_few_files(const dn_comm *comm)
{
    dn_heartbeat *heartbeat;
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    few = (struct rlimit){2, before.rlim_max};
    dn_heartbeat_start(&heartbeat, comm, 5);
    expect(comm, (heartbeat != NULL) == (comm->size > 1), "a heartbeat");
    MPI_Barrier(comm->world);
    if (comm->rank > 0)
        setrlimit(RLIMIT_NOFILE, &few);
    usleep(600000); /* longer than a period */
    dn_heartbeat_stop(&heartbeat);
    if (comm->rank > 0)
        setrlimit(RLIMIT_NOFILE, &before);
}

static void expect_connections(const dn_comm *comm)
{
    struct pollfd line[16];
    for (int r = 0; r < comm->size; r++)
        line[r].fd = -1;
    expect(comm, dn_heartbeat_connect(comm, line) == DN_OK, "the heartbeat's connections");
    for (int r = 0; r < comm->size; r++) {
        const int is_there = comm->rank == 0 ? r > 0 : r == 0;
        expect(comm, (line[r].fd >= 0) == is_there, "a connection to rank 0");
        if (line[r].fd >= 0)
            close(line[r].fd);
    }
}

static void test_heartbeat_among_strangers(const dn_comm *comm)
{
    int silent[STRANGERS];
    strangers = silent;
    expect_connections(comm);
    strangers = NULL;
    for (int i = 0; comm->rank == 0 && i < STRANGERS; i++)
        close(silent[i]);
}

static void ignore(int number)
{
    (void)number;
}

/* Signals come while ranks wait for rank 0. */
static void test_heartbeat_under_signals(const dn_comm *comm)
{
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
    const struct sigaction handled = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &handled, NULL);
    is_slow = 1;
    if (comm->rank > 0)
        setitimer(ITIMER_REAL, &often, NULL);
    expect_connections(comm);
    setitimer(ITIMER_REAL, &never, NULL);
    is_slow = 0;
}

/* A network of this process's own whose only address is ::1; 0 where this is not allowed. */
static int make_network_without_ipv4(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return 0;
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP}, none = {.ifr_name = "lo"};
    none.ifr_addr.sa_family = AF_INET; /* of 0.0.0.0, which takes 127.0.0.1 away */
    const int any = socket(AF_INET, SOCK_DGRAM, 0);
    const int is_made = ioctl(any, SIOCSIFFLAGS, &up) == 0 && ioctl(any, SIOCSIFADDR, &none) == 0;
    close(any);
    return is_made;
}

/* Last: the ranks move into the network of rank 0. */
static void test_heartbeat_without_ipv4(const dn_comm *comm)
{
    char path[64] = "";
    if (comm->rank == 0 && make_network_without_ipv4())
        snprintf(path, sizeof path, "/proc/%d/ns/net", (int)getpid());
    dn_comm_broadcast(comm, path, sizeof path);
    if (path[0] == '\0') {
        if (comm->rank == 0)
            printf("not tried: a network without IPv4 (needs root)\n");
        expect(comm, getenv("DN_ALL_TESTS") == NULL || geteuid() == 0, "all to be tried");
        return;
    }
    const int network = open(path, O_RDONLY | O_CLOEXEC);
    expect(comm, setns(network, CLONE_NEWNET) == 0, "the network of rank 0");
    close(network);
    expect_connections(comm);
}

/* Rank 0 has descriptors for the socket that listens and for one rank, from then on. */
static void test_heartbeat_without_files(const dn_comm *comm)
{
    struct pollfd line[16];
    if (comm->size < 3 || comm->size > 16)
        return;
    for (int r = 0; r < comm->size; r++)
        line[r].fd = -1;
    const int next = dup(STDIN_FILENO);
    close(next);
    const struct rlimit few = {(rlim_t)next + 2, (rlim_t)next + 2};
    if (comm->rank == 0)
        setrlimit(RLIMIT_NOFILE, &few);
    expect(comm, dn_heartbeat_connect(comm, line) == DN_EIO, "too few descriptors");
    expect(comm, strstr(dn_message(), "ulimit -Hn") != NULL, "their remedy is named");
    for (int r = 0; r < comm->size; r++)
        if (line[r].fd >= 0)
            close(line[r].fd);
}

int main(int argc, char **argv)
{
    dn_comm comm;
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    is_cyclic = argc > 1 && strcmp(argv[1], "cyclic") == 0;
    is_apart = argc > 1 && strcmp(argv[1], "apart") == 0 && rank != NULL && atoi(rank) % 2 == 1;
    dn_comm_init(&comm, &argc, &argv);
    test_order(&comm);
    test_agree(&comm);
    test_same_hash(&comm);
    test_merge(&comm);
    test_gather(&comm);
    test_broadcast(&comm);
    test_shared(&comm);
    test_memory(&comm);
    test_heartbeat_with_few_files(&comm);
    test_heartbeat_among_strangers(&comm);
    test_heartbeat_under_signals(&comm);
    test_heartbeat_without_ipv4(&comm);
    test_heartbeat_without_files(&comm);
    MPI_Barrier(comm.world);
    const dn_status status = failures > 0 ? dn_fail(DN_EINVAL, "%d failures", failures) : DN_OK;
    const int is_bad = dn_comm_agree(&comm, status) != DN_OK;
    if (comm.rank == 0)
        printf("small collectives on %d ranks: %s\n", comm.size, is_bad ? "wrong" : "right");
    dn_comm_finalize(&comm);
    return is_bad;
}
