/* Listening, finding rank 0 and shaking hands; see heartbeat_link.h. */
#include "job/heartbeat_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    CONNECT_MS = 3000,   /* for one address */
    HANDSHAKE_MS = 2000, /* rank 0's patience with one caller, who has spoken before it listens */
    WELCOME_MS = 15000,  /* a caller's patience: many call at once */
    SILENCE_MS = 30000   /* rank 0 gives up on ranks that have not called */
};

typedef struct greeting {
    uint64_t token;
    int64_t rank; /* of the caller */
} greeting;

/* This host's IPv4 addresses but the loopback's; returns how many. */
static int own_addresses(uint32_t *address, uint32_t *mask)
{
    struct ifaddrs *list;
    int count = 0;
    if (getifaddrs(&list) != 0)
        return 0;
    for (const struct ifaddrs *i = list; i && count < DN_HEARTBEAT_ADDRESSES; i = i->ifa_next) {
        const int usable = (i->ifa_flags & IFF_UP) && !(i->ifa_flags & IFF_LOOPBACK);
        if (!usable || !i->ifa_addr || !i->ifa_netmask || i->ifa_addr->sa_family != AF_INET)
            continue;
        address[count] = ((const struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr;
        mask[count++] = ((const struct sockaddr_in *)i->ifa_netmask)->sin_addr.s_addr;
    }
    freeifaddrs(list);
    return count;
}

/* A connection a rank may be more than the default limit of open files. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

dn_status dn_heartbeat_listen(int *listener, dn_invitation *invitation)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t size = sizeof name;
    *invitation = (dn_invitation){0};
    raise_file_limit();
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    DN_CHECK(*listener >= 0 && bind(*listener, (struct sockaddr *)&name, size) == 0 &&
                 listen(*listener, BACKLOG) == 0 &&
                 getsockname(*listener, (struct sockaddr *)&name, &size) == 0 &&
                 getrandom(&invitation->token, sizeof invitation->token, 0) > 0,
             DN_EIO, "cannot listen: %s", strerror(errno));
    invitation->count = own_addresses(invitation->address, invitation->mask);
    invitation->port = ntohs(name.sin_port);
    return DN_OK;
}

static int is_ready(int socket, short events, int milliseconds)
{
    struct pollfd ready = {.fd = socket, .events = events};
    int count;
    do
        count = poll(&ready, 1, milliseconds);
    while (count < 0 && errno == EINTR);
    return count > 0;
}

/* Reads a greeting whole; 1 on success. */
static int hear(int socket, greeting *heard, int milliseconds)
{
    size_t have = 0;
    while (have < sizeof *heard) {
        if (!is_ready(socket, POLLIN, milliseconds))
            return 0;
        const ssize_t got = recv(socket, (char *)heard + have, sizeof *heard - have, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        have += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

/* A fresh connection's buffer has room for a greeting. */
static int say(int socket, const greeting *said)
{
    return send(socket, said, sizeof *said, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *said;
}

static void hurry(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

dn_status dn_heartbeat_accept(int listener, const dn_invitation *invitation, struct pollfd *line,
                              int size)
{
    for (int missing = size - 1; missing > 0;) {
        DN_CHECK(is_ready(listener, POLLIN, SILENCE_MS), DN_EIO, "%d of %d ranks did not call",
                 missing, size - 1);
        const int caller = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        DN_CHECK(caller >= 0 || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED, DN_EIO,
                 "cannot take a call: %s", strerror(errno));
        if (caller < 0)
            continue;
        greeting heard;
        if (hear(caller, &heard, HANDSHAKE_MS) && heard.token == invitation->token &&
            heard.rank > 0 && heard.rank < size && line[heard.rank].fd < 0 && say(caller, &heard)) {
            hurry(caller);
            line[heard.rank].fd = caller;
            missing--;
        } else {
            close(caller);
        }
    }
    return DN_OK;
}

/* A connection to that address where rank 0 answers there, else -1. */
static int call(uint32_t address, const dn_invitation *invitation, int rank)
{
    const struct sockaddr_in name = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)invitation->port),
                                     .sin_addr.s_addr = address};
    const greeting own = {.token = invitation->token, .rank = rank};
    greeting heard;
    const int line = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line < 0)
        return -1;
    if ((connect(line, (const struct sockaddr *)&name, sizeof name) == 0 || errno == EINPROGRESS) &&
        is_ready(line, POLLOUT, CONNECT_MS) && say(line, &own) && hear(line, &heard, WELCOME_MS) &&
        memcmp(&heard, &own, sizeof own) == 0) {
        hurry(line);
        return line;
    }
    close(line);
    return -1;
}

dn_status dn_heartbeat_connect(int *socket, const dn_invitation *invitation, int rank,
                               int is_same_host)
{
    uint32_t address[DN_HEARTBEAT_ADDRESSES], mask[DN_HEARTBEAT_ADDRESSES];
    const int own = own_addresses(address, mask);
    *socket = -1;
    DN_CHECK(invitation->port > 0, DN_EIO, "rank 0 does not listen");
    if (is_same_host)
        *socket = call(htonl(INADDR_LOOPBACK), invitation, rank);
    for (int far = 0; far < 2; far++) /* addresses of a network that this host is in come first */
        for (int i = 0; i < invitation->count && *socket < 0; i++) {
            int near = 0;
            for (int j = 0; j < own; j++)
                near |= (address[j] & mask[j]) == (invitation->address[i] & mask[j]);
            if (near != far)
                *socket = call(invitation->address[i], invitation, rank);
        }
    DN_CHECK(*socket >= 0, DN_EIO, "none of rank 0's %d addresses leads there", invitation->count);
    return DN_OK;
}
