/* Does what a command is about to touch fit into the memory that there is? */
#ifndef DN_COMMAND_MEMORY_H
#define DN_COMMAND_MEMORY_H

#include "dn/net.h"
#include "job/comm.h"
#include "training/step.h"

/* Before a net's memory is touched: DN_ENOMEM on all ranks where those of a machine, each with
 * `more` beside its net, take more than 95 % of what the machine or their cgroup has left: not all
 * that a run touches is counted. The message names the largest batch that fits; where none does for
 * more.fixed, it says what that is, `fixed_is`. Collective. */
dn_status dn_check_memory(const dn_comm *comm, const dn_net *net, dn_bytes more,
                          const char *fixed_is);

#endif
