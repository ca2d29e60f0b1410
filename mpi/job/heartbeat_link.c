/*
 * Connections of the heartbeat: TCP from every rank to rank 0, independent of MPI; see heartbeat.h.
 *
 * Rank 0 listens on IPv6 and IPv4 and broadcasts its addresses by MPI; every other rank connects to
 * the first one that reaches it. A greeting with a random token, which rank 0 returns,
 * authenticates the job's processes. Sockets are blocking, with timeouts, in this file only. The
 * kernel restarts no call with a timeout after a signal, whatever SA_RESTART says (signal(7)).
 */
#include "job/heartbeat_parts.h"

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
    CONNECT_SECONDS = 2,  /* to one address */
    GREETING_SECONDS = 2, /* a rank sends it as soon as it is connected */
    SILENT_SECONDS = 60,  /* before a connection without one is accepted */
    REPLY_SECONDS = 15,   /* rank 0 accepts one rank after another */
    ACCEPT_SECONDS = 30   /* since the last rank that connected */
};

typedef union address {
    sa_family_t family;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

/* The addresses that rank 0 listens on. */
typedef struct endpoint {
    uint64_t token;
    int count;
    address address[ADDRESSES]; /* with the port */
} endpoint;

typedef struct greeting {
    uint64_t token;
    int64_t rank; /* the rank that connects */
} greeting;

/* Lists this host's addresses, with the loopback's for ranks of the same host. Link-local ones are
 * left out, as their scope differs on other hosts. */
static void list_addresses(endpoint *rank_0, int is_v6, in_port_t port)
{
    struct ifaddrs *list = NULL;
    getifaddrs(&list);
    for (const struct ifaddrs *i = list; i && rank_0->count < ADDRESSES; i = i->ifa_next) {
        address *const a = &rank_0->address[rank_0->count];
        if (!(i->ifa_flags & IFF_UP) || !i->ifa_addr)
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            a->v4 = *(const struct sockaddr_in *)i->ifa_addr;
            a->v4.sin_port = port;
            rank_0->count++;
        } else if (i->ifa_addr->sa_family == AF_INET6 && is_v6) {
            a->v6 = *(const struct sockaddr_in6 *)i->ifa_addr;
            a->v6.sin6_port = port;
            rank_0->count += !IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr);
        }
    }
    freeifaddrs(list);
}

/* A socket that listens on IPv6 and IPv4, or on IPv4 alone if the kernel has no IPv6. */
static int listen_on(address *name, socklen_t *size)
{
    static const struct in6_addr any = IN6ADDR_ANY_INIT;
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0) {
        name->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = any};
        *size = sizeof name->v6;
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
    } else {
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        name->v4 = (struct sockaddr_in){.sin_family = AF_INET};
        *size = sizeof name->v4;
    }
    return listener;
}

static dn_status listen_for_ranks(int *listener, endpoint *rank_0)
{
    address name;
    socklen_t size;
    struct rlimit files; /* a connection for each rank may exceed the default limit */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    *listener = listen_on(&name, &size);
    /* Strangers that connect and stay silent, such as port scanners, hold up no rank. */
    setsockopt(*listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &(int){SILENT_SECONDS}, sizeof(int));
    DN_CHECK(*listener >= 0 && bind(*listener, (struct sockaddr *)&name, size) == 0 &&
                 listen(*listener, BACKLOG) == 0 &&
                 getsockname(*listener, (struct sockaddr *)&name, &size) == 0 &&
                 getrandom(&rank_0->token, sizeof rank_0->token, 0) > 0,
             DN_EIO, "cannot listen: %s", strerror(errno));
    const int is_v6 = name.family == AF_INET6;
    list_addresses(rank_0, is_v6, is_v6 ? name.v6.sin6_port : name.v4.sin_port);
    return DN_OK;
}

/* Option SO_RCVTIMEO is for accept and recv, SO_SNDTIMEO for connect. */
static void set_timeout(int socket, int option, int seconds)
{
    const struct timeval time = {.tv_sec = seconds};
    setsockopt(socket, SOL_SOCKET, option, &time, sizeof time);
}

/* Disables Nagle's algorithm: a delayed goodbye is lost if the socket is closed with unread bytes.
 */
static void send_at_once(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* These two return 1 on success. The buffer of a new connection has room for the message. */
static int send_greeting(int socket, const greeting *sent)
{
    return send(socket, sent, sizeof *sent, MSG_NOSIGNAL) == sizeof *sent;
}

static int receive_greeting(int socket, greeting *received, int seconds)
{
    set_timeout(socket, SO_RCVTIMEO, seconds);
    return TEMP_FAILURE_RETRY(recv(socket, received, sizeof *received, MSG_WAITALL)) ==
           sizeof *received;
}

static const char needs_files[] =
    "; rank 0 needs one for each rank: raise its hard limit (ulimit -Hn) above their number";

/* Rank 0: line[r].fd = the connection of rank r, for all others. */
static dn_status accept_ranks(int listener, uint64_t token, struct pollfd *line, int size)
{
    set_timeout(listener, SO_RCVTIMEO, ACCEPT_SECONDS);
    for (int missing = size - 1; missing > 0;) {
        greeting received;
        const int socket = TEMP_FAILURE_RETRY(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        if (socket < 0) {
            DN_CHECK(errno != EAGAIN, DN_EIO, "%d of %d ranks did not connect", missing, size - 1);
            DN_CHECK(errno == ECONNABORTED, DN_EIO, "cannot accept a rank: %s%s", strerror(errno),
                     errno == EMFILE ? needs_files : "");
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

/* 1 if the socket, once connected to that address, reaches rank 0. */
static int reaches_rank_0(int line, const address *to, const greeting *own)
{
    const socklen_t size = to->family == AF_INET6 ? sizeof to->v6 : sizeof to->v4;
    greeting received;
    set_timeout(line, SO_SNDTIMEO, CONNECT_SECONDS);
    return TEMP_FAILURE_RETRY(connect(line, (const struct sockaddr *)to, size)) == 0 &&
           send_greeting(line, own) && receive_greeting(line, &received, REPLY_SECONDS) &&
           memcmp(&received, own, sizeof *own) == 0;
}

/* Another rank: *line = a connection to rank 0. */
static dn_status connect_to_rank_0(int *line, const endpoint *rank_0, int rank)
{
    const greeting own = {.token = rank_0->token, .rank = rank};
    for (int i = 0; i < rank_0->count; i++) {
        const address *const to = &rank_0->address[i];
        *line = socket(to->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (*line < 0 && errno == EAFNOSUPPORT)
            continue;
        DN_CHECK(*line >= 0, DN_EIO, "no socket: %s", strerror(errno));
        send_at_once(*line);
        if (reaches_rank_0(*line, to, &own))
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
    dn_comm_broadcast(comm, &rank_0, sizeof rank_0);
    if (comm->rank > 0)
        status = connect_to_rank_0(&line[0].fd, &rank_0, comm->rank);
    else if (status == DN_OK)
        status = accept_ranks(listener, rank_0.token, line, comm->size);
    if (listener >= 0)
        close(listener);
    return dn_comm_agree(comm, status);
}
