/* What a net's layers (src/layers/layer.h) are, what they have to do, and how long they took: for
 * `dn_dist info` and `bench`. */
#ifndef DN_LAYER_INFO_H
#define DN_LAYER_INFO_H

#include "dn/net.h"

/* Phases: layers whose times are summed, as their kinds say ("conv3x3"). */
enum { DN_MAX_PHASES = 16 };

/* NULL past the last. */
const char *dn_phase_name(int phase);

/* One pass of a layer over the batch. */
typedef struct dn_layer_work {
    double flops;   /* of its products, two a multiply-add */
    double bytes;   /* maps, gradients and weights to and from memory, each element once */
    double seconds; /* that it took since the last dn_net_phase_reset */
} dn_layer_work;

/* A layer as the forward pass runs it. The backward pass takes the layers in reverse and makes the
 * gradients of a layer's parameters final, in the leaf's order. */
typedef struct dn_layer_info {
    char name[96], kind[16];
    int phase;
    int in_channels, in_height, in_width;
    int out_channels, out_height, out_width;
    size_t parameters;
    double multiply_adds; /* forward, one image */
    dn_layer_work forward, backward;
} dn_layer_info;

/* *info = layer `index`, from 0 on, of dn_view.layers. */
void dn_net_layer_info(const dn_net *net, int index, dn_layer_info *info);

/* Sets all layers' seconds to 0. */
void dn_net_phase_reset(dn_net *net);

#endif
