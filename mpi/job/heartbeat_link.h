/*
 * Connections of the watch (watch.h): TCP from every rank to rank 0, apart from MPI's.
 *
 * Rank 0 listens on all its addresses and invites; each other rank tries them in the order in which
 * they are likely to lead there. A random token tells the job's own ranks from strangers. Several
 * messages are exchanged at the start only; the sockets that result do not block.
 */
#ifndef DN_HEARTBEAT_LINK_H
#define DN_HEARTBEAT_LINK_H

#include <poll.h>
#include <stdint.h>

#include "dn/status.h"

enum { DN_HEARTBEAT_ADDRESSES = 16 };

/* Where rank 0 listens; plain data, to be broadcast. */
typedef struct dn_invitation {
    uint64_t token;
    int32_t port, count; /* port 0: it does not listen */
    uint32_t address[DN_HEARTBEAT_ADDRESSES],
        mask[DN_HEARTBEAT_ADDRESSES]; /* (count), IPv4, network order */
} dn_invitation;

/* Opens rank 0's listening socket and fills the invitation. DN_EIO. Not collective. */
dn_status dn_heartbeat_listen(int *listener, dn_invitation *invitation);

/* Rank 0, while every other rank connects: line[r].fd for r in [1, size), -1 before, = the
 * connection of rank r. Waits until all are there; DN_EIO when none comes for half a minute. The
 * caller closes what is not -1, also after a failure. */
dn_status dn_heartbeat_accept(int listener, const dn_invitation *invitation, struct pollfd *line,
                              int size);

/* Another rank, once rank 0 listens: *socket = a connection to it. DN_EIO when no address leads
 * there; it is -1 then. */
dn_status dn_heartbeat_connect(int *socket, const dn_invitation *invitation, int rank,
                               int is_same_host);

#endif
