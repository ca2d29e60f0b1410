/* Checks that a command's memory fits before it is touched. */
#ifndef DN_COMMAND_MEMORY_H
#define DN_COMMAND_MEMORY_H

#include "dn/net.h"
#include "job/comm.h"
#include "training/step.h"

/* DN_ENOMEM on all ranks if the ranks of some machine need more than 95 % of the memory that is
 * left to it or to their cgroup (the rest is for memory that is not counted). Each rank needs its
 * net's memory, which must not have been touched yet, and `more`. The message names the largest
 * batch that fits; if more.fixed alone leaves no room for any, it names that memory as `fixed_is`.
 * Collective. */
dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, dn_bytes more,
                          const char *fixed_is);

#endif
