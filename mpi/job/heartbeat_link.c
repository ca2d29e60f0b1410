/*
 * Connections of the heartbeat (heartbeat.h): TCP from every rank to rank 0, apart from MPI's.
 *
 * Rank 0 listens and broadcasts by MPI at which addresses; every other rank connects to the first
 * that leads there. A greeting with a random token, which rank 0 sends back, tells the job's own
 * processes from others. The sockets block, with a timeout, in this file only.
 */
#include "job/heartbeat.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ADDRESSES = 16, BACKLOG = 4096 };

/* Timeouts. */
enum {
    CONNECT_SECONDS = 2,  /* for one address */
    GREETING_SECONDS = 2, /* which a rank sends as soon as it is connected */
    REPLY_SECONDS = 15,   /* rank 0 accepts one rank after another */
    ACCEPT_SECONDS = 30   /* since the last rank that connected */
};

/* Where rank 0 listens. */
typedef struct endpoint {
    uint64_t token;
    in_port_t port; /* network order */
    int count;
    struct in_addr address[ADDRESSES];
} endpoint;

typedef struct greeting {
    uint64_t token;
    int64_t rank; /* that connects */
} greeting;

/* This host's IPv4 addresses, the loopback's too: for ranks on the same host. */
static void list_addresses(endpoint *rank_0)
{
    struct ifaddrs *list = NULL;
    getifaddrs(&list);
    for (const struct ifaddrs *i = list; i && rank_0->count < ADDRESSES; i = i->ifa_next)
        if ((i->ifa_flags & IFF_UP) && i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
            rank_0->address[rank_0->count++] = ((struct sockaddr_in *)i->ifa_addr)->sin_addr;
    freeifaddrs(list);
}

static dn_status listen_for_ranks(int *listener, endpoint *rank_0)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof name;
    struct rlimit files; /* one connection a rank may exceed the default */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    DN_CHECK(*listener >= 0 && bind(*listener, (struct sockaddr *)&name, size) == 0 &&
                 listen(*listener, BACKLOG) == 0 &&
                 getsockname(*listener, (struct sockaddr *)&name, &size) == 0 &&
                 getrandom(&rank_0->token, sizeof rank_0->token, 0) > 0,
             DN_EIO, "cannot listen: %s", strerror(errno));
    rank_0->port = name.sin_port;
    list_addresses(rank_0);
    return DN_OK;
}

/* Of accept and recv: SO_RCVTIMEO; of connect: SO_SNDTIMEO. */
static void set_timeout(int socket, int option, int seconds)
{
    const struct timeval time = {.tv_sec = seconds};
    setsockopt(socket, SOL_SOCKET, option, &time, sizeof time);
}

/* Small messages leave at once: a goodbye that waits is lost where the socket is closed with
 * unread bytes. */
static void send_at_once(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* These return 1 on success. A fresh connection's buffer has room for what is sent. */
static int send_greeting(int socket, const greeting *sent)
{
    return send(socket, sent, sizeof *sent, MSG_NOSIGNAL) == sizeof *sent;
}

static int receive_greeting(int socket, greeting *received, int seconds)
{
    set_timeout(socket, SO_RCVTIMEO, seconds);
    return recv(socket, received, sizeof *received, MSG_WAITALL) == sizeof *received;
}

/* Rank 0: line[r].fd = the connection of rank r, for all others. */
static dn_status accept_ranks(int listener, uint64_t token, struct pollfd *line, int size)
{
    set_timeout(listener, SO_RCVTIMEO, ACCEPT_SECONDS);
    for (int missing = size - 1; missing > 0;) {
        greeting received;
        const int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0) {
            DN_CHECK(errno != EAGAIN, DN_EIO, "%d of %d ranks did not connect", missing, size - 1);
            DN_CHECK(errno == EINTR || errno == ECONNABORTED, DN_EIO, "cannot accept a rank: %s",
                     strerror(errno));
        } else if (receive_greeting(socket, &received, GREETING_SECONDS) &&
                   received.token == token && received.rank > 0 && received.rank < size &&
                   line[received.rank].fd < 0 && send_greeting(socket, &received)) {
            send_at_once(socket);
            line[received.rank].fd = socket;
            missing--;
        } else {
            close(socket);
        }
    }
    return DN_OK;
}

/* Whether rank 0 is where the socket leads when it is connected to that address. */
static int reaches_rank_0(int line, struct in_addr address, const endpoint *rank_0, int rank)
{
    const struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = rank_0->port, .sin_addr = address};
    const greeting own = {.token = rank_0->token, .rank = rank};
    greeting received;
    set_timeout(line, SO_SNDTIMEO, CONNECT_SECONDS);
    return connect(line, (const struct sockaddr *)&name, sizeof name) == 0 &&
           send_greeting(line, &own) && receive_greeting(line, &received, REPLY_SECONDS) &&
           memcmp(&received, &own, sizeof own) == 0;
}

/* Another rank: *line = a connection to rank 0. */
static dn_status connect_to_rank_0(int *line, const endpoint *rank_0, int rank)
{
    for (int i = 0; i < rank_0->count; i++) {
        *line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        DN_CHECK(*line >= 0, DN_EIO, "no socket: %s", strerror(errno));
        send_at_once(*line);
        if (reaches_rank_0(*line, rank_0->address[i], rank_0, rank))
            return DN_OK;
        close(*line);
        *line = -1;
    }
    return dn_fail(DN_EIO, "none of rank 0's %d addresses leads there", rank_0->count);
}

dn_status dn_heartbeat_connect(const dn_comm *comm, struct pollfd *line)
{
    endpoint rank_0 = {0};
    int listener = -1;
    dn_status status = DN_OK;
    if (comm->rank == 0)
        status = listen_for_ranks(&listener, &rank_0);
    dn_comm_broadcast(comm, &rank_0, sizeof rank_0, 0);
    if (comm->rank > 0)
        status = connect_to_rank_0(&line[0].fd, &rank_0, comm->rank);
    else if (status == DN_OK)
        status = accept_ranks(listener, rank_0.token, line, comm->size);
    if (listener >= 0)
        close(listener);
    return dn_comm_agree(comm, status);
}
