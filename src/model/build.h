/* From a specification to maps, nodes and named tensors (build.c), for net.c. */
#ifndef DN_BUILD_H
#define DN_BUILD_H

#include "nodes.h"

/* Fills the net's maps, nodes, tensors and counts from its spec and options. Pointers into the
 * arena stay NULL. DN_ENOMEM. */
dn_status dn_build(dn_net *net);

#endif
