/*
 * Checks that all ranks of a job run the same program with the same options and equivalent kernels.
 * Otherwise they could deadlock, or train to other weights than a single rank would. Causes are a
 * wrong launch line, a file that differs on a node's local disk, an old program on one node, and
 * mixed processors.
 */
#ifndef DN_COMMANDS_CONSISTENCY_H
#define DN_COMMANDS_CONSISTENCY_H

#include "dn/checkpoint.h"
#include "dn/net.h"
#include "job/comm.h"
#include "options/options.h"

/* Checksum of the sources that this program was built from, 16 hexadecimal digits. */
extern const char dn_sources[17];

/* DN_EINVAL on all ranks if the version or sources of dn_dist, the command, an operand or an option
 * on some rank differ from rank 0's, or an option was given elsewhere; the message names the
 * difference and the rank. What may differ, dn_options_print_comparable leaves out. Collective. */
dn_status dn_same_options(const dn_comm *comm, const dn_command *command,
                          const dn_options *options);

/* DN_EINVAL on all ranks if the net's kernels on some rank compute other bits than rank 0's; the
 * message names an --isa that all ranks have. Collective. */
dn_status dn_same_kernels(const dn_comm *comm, const dn_net *net, int dtype);

/* The class of kernels (dn/checkpoint.h) whose bits the net's kernels compute, as checkpoints
 * record it. Not collective. */
const char *dn_kernel_class(const dn_net *net, int dtype);

/* Warns if the checkpoint `state` was trained by kernels of another class than the net's, and names
 * the --isa that keeps that class. Not collective. */
void dn_warn_of_kernels(const dn_checkpoint *state, const dn_net *net, int dtype);

#endif
