/*
 * Weights as gemm operands, channel block by channel block, and their gradients: packing, partial
 * gradients of slices, their sum. Weights of a transformed domain (winograd.c) are transformed on
 * the way: G w G' when packed, G' m G when added up.
 */
#ifndef DN_WEIGHTS_H
#define DN_WEIGHTS_H

#include "layers/layer.h"

enum { DN_WINOGRAD = 16 }; /* elements of Winograd's transformed window, matrices of such weights */

/* Input channels of a channel block of the visit's direction, and of the one that begins at input
 * `first`. */
int dn_visit_block(const dn_visit *v);
int dn_block_rows(const dn_visit *v, int first);

/* Packs the layer's weights into v->packed(dn_packed_size floats), a channel block after another:
 * for the forward gemm (outputs from inputs), or, in a backward visit, transposed for the
 * gradient of the input. Inside a parallel region; ends in a barrier. */
void dn_pack_weights(const dn_visit *v);
size_t dn_packed_size(const dn_visit *v);

/* The packed weights of the block that begins at input `first`. */
float *dn_packed_at(const dn_visit *v, int first);

/* Carves what packing transformed weights takes of a thread's scratch. */
void dn_pack_scratch(const dn_visit *v, dn_carver *c);

/* Floats of one slice's weight gradient of so many input channels, and where the slice adds up that
 * of those from `first` on: (matrices or taps, rows of the block, outputs and pad) a block. */
size_t dn_wgrad_size(const dn_visit *v, int channels);
float *dn_wgrad_at(const dn_visit *v, int slice, int first);

/* The leaf's gradient = the slices' sums, added in order. Inside a parallel region. */
void dn_wgrad_merge(const dn_visit *v, int slices);

#endif
