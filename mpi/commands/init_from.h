/* Where train --init-from takes its weights, and its model. Not collective. */
#ifndef DN_COMMANDS_INIT_FROM_H
#define DN_COMMANDS_INIT_FROM_H

#include "commands/commands.h"
#include "dn/manifest.h"
#include "dn/net.h"

/* Fills the net, which is to learn from `data`, with the weights of --init-from: of a checkpoint, a
 * run's folder or a safetensors file. Says so where the head stays fresh, as the file's is of
 * another number of classes, or of others as far as it tells. What reading the file returns;
 * DN_ESHAPE where the weights are another net's, DN_ENOMEM: then the net's are undefined. */
dn_status dn_init_from(dn_net *net, const dn_options *options, const dn_manifest *data);

/* options->model = that of the file of --init-from, where it tells one. What reading it returns;
 * DN_EINVAL where there is no such model. */
dn_status dn_init_model(dn_options *options);

#endif
