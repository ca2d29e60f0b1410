/* The work of each layer of a net (src/layers/layer.h) and the time it took, for `dn_dist info` and
 * `bench`. Not collective. */
#ifndef DN_LAYER_INFO_H
#define DN_LAYER_INFO_H

#include "dn/net.h"

/* A phase is a group of layers whose times are summed, such as "conv3x3"; the kind of layer chooses
 * it. */
enum { DN_MAX_PHASES = 16 };

/* Name of a phase; NULL past the last. */
const char *dn_phase_name(int phase);

/* One pass of a layer over the batch. */
typedef struct dn_layer_work {
    double flops;   /* of its matrix products, two per multiply-add */
    double bytes;   /* maps, gradients and weights read and written, each element once */
    double seconds; /* spent since the last dn_net_phase_reset */
} dn_layer_work;

/* A layer, in the order of the forward pass. The backward pass takes the layers in reverse order
 * and finishes the gradients of their parameters in the order of the leaf. */
typedef struct dn_layer_info {
    char name[96], kind[16];
    int phase;
    int in_channels, in_height, in_width;
    int out_channels, out_height, out_width;
    size_t parameters;
    double multiply_adds; /* forward, one image */
    dn_layer_work forward, backward;
} dn_layer_info;

/* *info = layer `index`, 0 to dn_view.layers - 1. */
void dn_net_layer_info(const dn_net *net, int index, dn_layer_info *info);

/* Resets all layers' seconds to 0. */
void dn_net_phase_reset(dn_net *net);

#endif
