/* The table of kinds, for the names of phases, and tests. To add a kind, write a file with its row
 * and add a line here; src/model/build.c decides which layer has which kind. */
#include "layers/layer.h"

static const dn_layer_kind *const kinds[] = {
    &dn_layer_stem3x3,    &dn_layer_stem7x7, &dn_layer_max_pool,
    &dn_layer_conv1x1,    &dn_layer_conv3x3, &dn_layer_winograd,
    &dn_layer_transition, &dn_layer_pool,    &dn_layer_head,
};

const dn_layer_kind *dn_layer_kind_get(int index)
{
    return index < (int)(sizeof kinds / sizeof *kinds) ? kinds[index] : NULL;
}
