/*
 * Passes a file by Unix datagram sockets; see share.h. Each rank but the first binds a socket to an
 * abstract name (without a file). The first rank sends each one a message with the descriptor, and
 * then tells it by MPI whether the message is there, so no rank waits for one that does not come.
 * The names are random, so that they match no socket of another network namespace; a rank accepts a
 * file from its own user only.
 */
#include "job/share.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A message with room for a descriptor and the sender's credentials. */
typedef struct parcel {
    char byte;
    struct iovec part;
    struct msghdr message;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
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

/* Returns a bound socket, or -1. An abstract name begins with a zero byte, and includes the rest of
 * the array. */
static int open_box(struct sockaddr_un *name)
{
    uint64_t random[2];
    const int box = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), yes = 1;
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (getrandom(random, sizeof random, 0) == sizeof random)
        snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "dn_dist.%016" PRIx64 "%016" PRIx64,
                 random[0], random[1]);
    if (box >= 0 && setsockopt(box, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0 &&
        bind(box, (const struct sockaddr *)name, sizeof *name) == 0)
        return box;
    const int reason = errno;
    close(box);
    errno = reason;
    return -1;
}

/* Returns 0, or the errno of the failure. */
static int send_file(int file, struct sockaddr_un *name)
{
    parcel p;
    const int line = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    make_parcel(&p);
    p.message.msg_name = name;
    p.message.msg_namelen = sizeof *name;
    p.message.msg_controllen = CMSG_SPACE(sizeof file);
    struct cmsghdr *header = CMSG_FIRSTHDR(&p.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof file);
    memcpy(CMSG_DATA(header), &file, sizeof file);
    const int reason =
        line >= 0 && sendmsg(line, &p.message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : errno;
    close(line);
    return reason;
}

/* Returns the descriptor of a message, or -1; *sender = the user who sent it, if known. */
static int unpack(parcel *p, uid_t *sender)
{
    struct ucred who;
    int file = -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&p->message); h; h = CMSG_NXTHDR(&p->message, h)) {
        if (h->cmsg_type == SCM_RIGHTS)
            memcpy(&file, CMSG_DATA(h), sizeof file);
        if (h->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&who, CMSG_DATA(h), sizeof who);
            *sender = who.uid;
        }
    }
    return file;
}

/* Returns the file that a process of this user sent; -1 with errno set if none was received. */
static int receive(int box)
{
    for (int reason = 0;; reason = EACCES) {
        parcel p;
        uid_t sender = (uid_t)-1;
        make_parcel(&p);
        if (recvmsg(box, &p.message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) {
            errno = reason ? reason : errno;
            return -1;
        }
        const int file = unpack(&p, &sender);
        if (file >= 0 && sender == geteuid())
            return file;
        close(file);
    }
}

/* Rank 0 serves one rank after the other, to keep few descriptors in flight. */
static void serve(const dn_comm *comm, MPI_Comm group, int file)
{
    struct sockaddr_un name;
    int ranks;
    DN_MPI(MPI_Comm_size(group, &ranks));
    for (int r = 1; r < ranks; r++) {
        DN_COLLECTIVE(comm, MPI_Recv(&name, sizeof name, MPI_BYTE, r, 0, group, MPI_STATUS_IGNORE));
        const int reason = file >= 0 ? send_file(file, &name) : EBADF;
        DN_COLLECTIVE(comm, MPI_Send(&reason, 1, MPI_INT, r, 0, group));
    }
}

int dn_share_file(const dn_comm *comm, MPI_Comm group, int file)
{
    struct sockaddr_un name;
    int rank, reason;
    DN_MPI(MPI_Comm_rank(group, &rank));
    if (rank == 0) {
        serve(comm, group, file);
        return file;
    }
    const int box = open_box(&name), unopened = box < 0 ? errno : 0;
    DN_COLLECTIVE(comm, MPI_Send(&name, sizeof name, MPI_BYTE, 0, 0, group));
    DN_COLLECTIVE(comm, MPI_Recv(&reason, 1, MPI_INT, 0, 0, group, MPI_STATUS_IGNORE));
    file = box >= 0 && reason == 0 ? receive(box) : -1;
    reason = unopened ? unopened : reason ? reason : errno;
    close(box);
    errno = reason;
    return file;
}
