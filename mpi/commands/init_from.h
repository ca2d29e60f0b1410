/* The weights and the model that `train --init-from` starts from. Not collective. */
#ifndef DN_COMMANDS_INIT_FROM_H
#define DN_COMMANDS_INIT_FROM_H

#include "options/options.h"
#include "dn/manifest.h"
#include "dn/net.h"

/* Fills the net, which will be trained on `data`, with the weights of --init-from: a checkpoint, a
 * run's folder or a safetensors file. The head keeps its initial weights, and a message says so, if
 * the file's head has another number of classes, or other classes as far as the file names them.
 * Returns errors of reading the file, DN_ESHAPE if the weights are another net's, or DN_ENOMEM;
 * with DN_ECORRUPT the net's weights are undefined. */
dn_status dn_init_from(dn_net *net, const dn_options *options, const dn_manifest *data);

/* options->model = the model that the file of --init-from names, if any. Returns errors of reading
 * the file, or DN_EINVAL if there is no such model. */
dn_status dn_init_model(dn_options *options);

#endif
