/*
 * Weights as gemm operands, and their gradients: packing, partial gradients of slices, their sum.
 * Weights of a transformed domain (winograd.c) are transformed on the way: G w G' when packed,
 * G' m G when added up.
 */
#ifndef DN_WEIGHTS_H
#define DN_WEIGHTS_H

#include "layers/drive.h"

enum { DN_WINOGRAD = 16 }; /* elements of Winograd's transformed window, matrices of such weights */

/* Packs the layer's weights into v->packed(dn_packed_size floats), a channel block after another:
 * for the forward gemm (outputs from inputs), or, in a backward visit, transposed for the
 * gradient of the input. Inside a parallel region; ends in a barrier. */
void dn_pack_weights(const dn_visit *v);
size_t dn_packed_size(const dn_visit *v);

/* The packed weights of the block that begins at input `first`. */
const float *dn_packed_at(const dn_visit *v, int first);

/* Carves what packing takes of a thread's scratch. */
void dn_pack_scratch(const dn_visit *v, dn_carver *c);

/* Floats of one slice's weight gradient, and where the slice adds up that of the block that begins
 * at input `first`: (matrices or taps, rows of the block, outputs and pad). */
size_t dn_wgrad_size(const dn_visit *v);
float *dn_wgrad_at(const dn_visit *v, int slice, int first);

/* Clears the sums that a task adds to. */
void dn_wgrad_clear(const dn_visit *v, const dn_task *task);

/* The leaf's gradient = the slices' sums, added in order. Inside a parallel region. */
void dn_wgrad_merge(const dn_visit *v, int slices);

#endif
