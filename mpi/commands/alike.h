/*
 * Ranks of a job are started alike: else they would wait for one another for ever, or train to
 * other weights than one of them alone would. A wrong launch line, a file on a node's own disk that
 * differs, an old program on one node and mixed processors all lead there.
 */
#ifndef DN_COMMAND_ALIKE_H
#define DN_COMMAND_ALIKE_H

#include "dn/checkpoint.h"
#include "dn/net.h"
#include "job/comm.h"
#include "options/options.h"

/* A checksum of the sources that this program was built of, 16 hexadecimal digits. */
extern const char dn_sources[17];

/* DN_EINVAL on all ranks where one has another version or other sources of dn_dist, command, word
 * or option than rank 0, but for options that ranks may differ in (dn_options_print); names it,
 * with the rank. Collective. */
dn_status dn_same_options(const dn_comm *comm, const dn_command *command,
                          const dn_options *options);

/* DN_EINVAL on all ranks where the nets' kernels come to other bits on one than on rank 0, with the
 * --isa that cures it. Collective. */
dn_status dn_same_kernels(const dn_comm *comm, const dn_net *net, int dtype);

/* state->kernels = the class of bits that the net's kernels come to, for the next checkpoints.
 * Warns where those of the checkpoint that `state` is of, if it tells them, came to others, with
 * the --isa that keeps them. */
void dn_note_kernels(dn_checkpoint *state, const dn_net *net, int dtype);

#endif
