/*
 * Connections of the heartbeat (heartbeat.h): TCP from every rank to rank 0, apart from MPI's.
 *
 * Rank 0 listens on all its addresses and invites; each other rank tries one after another. A
 * random token tells the job's own ranks from strangers. MPI carries the invitation, and nothing
 * later.
 */
#include "job/heartbeat.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ADDRESSES = 16, BACKLOG = 4096 };

/* Seconds. */
enum {
    CONNECT_PATIENCE = 2,  /* for one address */
    CALLER_PATIENCE = 2,   /* of rank 0 with a caller, who has spoken before it is listened to */
    WELCOME_PATIENCE = 15, /* of a caller: many call at once */
    SILENCE_PATIENCE = 30  /* of rank 0 with ranks that have not called */
};

/* Where rank 0 listens. */
typedef struct invitation {
    uint64_t token;
    in_port_t port; /* network order */
    int count;
    struct in_addr address[ADDRESSES];
} invitation;

typedef struct greeting {
    uint64_t token;
    int64_t rank; /* of the caller */
} greeting;

/* This host's IPv4 addresses, the loopback's too: for ranks on the same host. */
static void add_addresses(invitation *invited)
{
    struct ifaddrs *list = NULL;
    getifaddrs(&list);
    for (const struct ifaddrs *i = list; i && invited->count < ADDRESSES; i = i->ifa_next)
        if ((i->ifa_flags & IFF_UP) && i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
            invited->address[invited->count++] = ((struct sockaddr_in *)i->ifa_addr)->sin_addr;
    freeifaddrs(list);
}

/* A connection a rank may be more than the default limit of open files. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static dn_status invite(int *listener, invitation *invited)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof name;
    raise_file_limit();
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    DN_CHECK(*listener >= 0 && bind(*listener, (struct sockaddr *)&name, size) == 0 &&
                 listen(*listener, BACKLOG) == 0 &&
                 getsockname(*listener, (struct sockaddr *)&name, &size) == 0 &&
                 getrandom(&invited->token, sizeof invited->token, 0) > 0,
             DN_EIO, "cannot listen: %s", strerror(errno));
    invited->port = name.sin_port;
    add_addresses(invited);
    return DN_OK;
}

/* How long the socket's calls may take: SO_RCVTIMEO accept and recv, SO_SNDTIMEO connect. */
static void set_patience(int socket, int calls, int seconds)
{
    const struct timeval time = {.tv_sec = seconds};
    setsockopt(socket, SOL_SOCKET, calls, &time, sizeof time);
}

/* Reads a greeting whole; returns 1 on success. */
static int hear(int socket, greeting *heard, int seconds)
{
    set_patience(socket, SO_RCVTIMEO, seconds);
    return recv(socket, heard, sizeof *heard, MSG_WAITALL) == sizeof *heard;
}

/* A fresh connection's buffer has room for a greeting. Returns 1 on success. */
static int say(int socket, const greeting *said)
{
    return send(socket, said, sizeof *said, MSG_NOSIGNAL) == sizeof *said;
}

/* Rank 0: line[r].fd = the connection of rank r, for all others. */
static dn_status take_calls(int listener, uint64_t token, struct pollfd *line, int size)
{
    set_patience(listener, SO_RCVTIMEO, SILENCE_PATIENCE);
    for (int missing = size - 1; missing > 0;) {
        greeting heard;
        const int caller = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (caller < 0) {
            DN_CHECK(errno != EAGAIN, DN_EIO, "%d of %d ranks did not call", missing, size - 1);
            DN_CHECK(errno == EINTR || errno == ECONNABORTED, DN_EIO, "cannot take a call: %s",
                     strerror(errno));
        } else if (hear(caller, &heard, CALLER_PATIENCE) && heard.token == token &&
                   heard.rank > 0 && heard.rank < size && line[heard.rank].fd < 0 &&
                   say(caller, &heard)) {
            line[heard.rank].fd = caller;
            missing--;
        } else {
            close(caller);
        }
    }
    return DN_OK;
}

/* Whether rank 0 is where the socket leads when it is connected to that address. */
static int reaches_rank_0(int line, struct in_addr address, const invitation *invited, int rank)
{
    const struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = invited->port, .sin_addr = address};
    const greeting own = {.token = invited->token, .rank = rank};
    greeting heard;
    set_patience(line, SO_SNDTIMEO, CONNECT_PATIENCE);
    return connect(line, (const struct sockaddr *)&name, sizeof name) == 0 && say(line, &own) &&
           hear(line, &heard, WELCOME_PATIENCE) && memcmp(&heard, &own, sizeof own) == 0;
}

/* Another rank: *line = a connection to rank 0. */
static dn_status call_rank_0(int *line, const invitation *invited, int rank)
{
    for (int i = 0; i < invited->count; i++) {
        *line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        DN_CHECK(*line >= 0, DN_EIO, "no socket: %s", strerror(errno));
        if (reaches_rank_0(*line, invited->address[i], invited, rank))
            return DN_OK;
        close(*line);
        *line = -1;
    }
    return dn_fail(DN_EIO, "none of rank 0's %d addresses leads there", invited->count);
}

dn_status dn_heartbeat_connect(const dn_comm *comm, struct pollfd *line)
{
    invitation invited = {0};
    int listener = -1;
    dn_status status = DN_OK;
    if (comm->rank == 0)
        status = invite(&listener, &invited);
    dn_comm_broadcast(comm, &invited, sizeof invited, 0);
    if (comm->rank > 0)
        status = call_rank_0(&line[0].fd, &invited, comm->rank);
    else if (status == DN_OK)
        status = take_calls(listener, invited.token, line, comm->size);
    if (listener >= 0)
        close(listener);
    return dn_comm_agree(comm, status);
}
