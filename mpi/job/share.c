/*
 * Handing over a file; see share.h. Rank 0 listens on a Unix socket without a file (an abstract
 * name); the others connect, which takes no accept, and rank 0 then serves as many as connected.
 * The name is random and told by MPI alone, so who listens there is rank 0; and rank 0 serves its
 * own user alone.
 */
#include "job/share.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "job/heartbeat.h"

enum { WAIT_SECONDS = 10 };

/* A message with room for a descriptor. */
typedef struct parcel {
    char byte;
    struct iovec part;
    struct msghdr message;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
} parcel;

static void make_parcel(parcel *p)
{
    memset(p, 0, sizeof *p);
    p->part = (struct iovec){.iov_base = &p->byte, .iov_len = 1};
    p->message = (struct msghdr){.msg_iov = &p->part,
                                 .msg_iovlen = 1,
                                 .msg_control = &p->control,
                                 .msg_controllen = sizeof p->control};
}

static int open_line(void)
{
    const struct timeval wait = {.tv_sec = WAIT_SECONDS};
    const int line = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line >= 0) {
        setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        setsockopt(line, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    }
    return line;
}

/* The abstract name begins with a zero byte; the rest of the array is part of it. */
static int listen_at(struct sockaddr_un *name)
{
    uint64_t random[2];
    const int line = open_line();
    if (getrandom(random, sizeof random, 0) == sizeof random)
        snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "dn_dist.%016" PRIx64 "%016" PRIx64,
                 random[0], random[1]);
    if (line >= 0 && bind(line, (const struct sockaddr *)name, sizeof *name) == 0 &&
        listen(line, SOMAXCONN) == 0)
        return line;
    close(line);
    return -1;
}

static int connect_to(const struct sockaddr_un *name)
{
    const int line = open_line();
    if (line >= 0 && connect(line, (const struct sockaddr *)name, sizeof *name) == 0)
        return line;
    close(line);
    return -1;
}

static int is_own_user(int line)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(line, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* Without a file, those who wait see the connection end. */
static void serve(int listener, int file, int peers)
{
    while (file >= 0 && peers > 0) {
        parcel p;
        const int line = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (line < 0)
            return;
        make_parcel(&p);
        struct cmsghdr *header = CMSG_FIRSTHDR(&p.message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof file);
        memcpy(CMSG_DATA(header), &file, sizeof file);
        if (is_own_user(line))
            sendmsg(line, &p.message, MSG_NOSIGNAL);
        close(line);
        peers--;
    }
}

static int receive(int line)
{
    parcel p;
    int file = -1;
    make_parcel(&p);
    if (line < 0 || recvmsg(line, &p.message, MSG_CMSG_CLOEXEC) != 1)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&p.message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&file, CMSG_DATA(header), sizeof file);
    return file;
}

int dn_share_file(const dn_comm *comm, MPI_Comm node, int file)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int rank;
    DN_MPI(MPI_Comm_rank(node, &rank));
    int line = rank == 0 ? listen_at(&name) : -1;
    DN_COLLECTIVE(comm, MPI_Bcast(&name, sizeof name, MPI_BYTE, 0, node));
    if (rank > 0)
        line = connect_to(&name);
    int peers = rank > 0 && line >= 0;
    DN_COLLECTIVE(comm, MPI_Allreduce(MPI_IN_PLACE, &peers, 1, MPI_INT, MPI_SUM, node));
    if (rank == 0)
        serve(line, file, peers);
    if (rank == 0 || line < 0)
        close(line);
    if (rank == 0)
        return file;
    file = receive(line);
    close(line);
    return file;
}
