/*
 * Batch norm: coefficients, the moments of what a layer writes, and the sums of its backward pass.
 *
 * Functions of one piece run inside a parallel region; those that prepare or merge are work-sharing
 * loops of one, which have no barrier at their end.
 */
#ifndef DN_NORM_H
#define DN_NORM_H

#include "layers/layer.h"

/* Fills the layer's scale and shift from its input map's batch statistics (pass given) or from its
 * running statistics. */
void dn_norm_prepare(const dn_visit *v, const dn_pass *pass);

/* Doubles of v->partial; and the two of one piece and channel: forward, mean and sum of squares of
 * an output channel; backward, of an input channel, the sums of the masked gradient and of it times
 * (x - mean). Backward of a kind with sums_of_images, `piece` is an image. */
size_t dn_partial_size(const dn_visit *v);
double *dn_partial(const dn_visit *v, int piece, int channel);

/* Forward: the output channels whose moments are taken, all or none; fills what a piece and outputs
 * [first, first + DN_MOMENT_ROWS) have of them; and merges all pieces' into the output map's sums.
 */
enum { DN_MOMENT_ROWS = 4 }; /* as many as kernels sum side by side */
int dn_moment_outputs(const dn_visit *v, const dn_pass *pass);
void dn_moments_of_rows(const dn_visit *v, int piece, int first);
void dn_moments_merge(const dn_visit *v);

/* Merges all pieces' backward: writes the leaf's gradients of gamma and beta, and writes
 * (layer->accumulate: adds to) the input map's sums. */
void dn_norm_sums_merge(const dn_visit *v);

/* What carries a gradient with respect to the ReLU's output, of channels [c, c + rows), through the
 * ReLU into the gradient of the input map, from element `index` of channel `c` on, over n pixels.
 */
dn_norm_grad dn_norm_grad_args(const dn_visit *v, int c, int rows, size_t index, size_t n,
                               float *sums);

/* Does that with gradient(pixels) of one channel, and adds to its sums of a piece. */
void dn_norm_relu_grad(const dn_visit *v, int c, size_t index, size_t n, const float *gradient,
                       double *sums);

/* Writes gradient(n), which it may change, of channel `c` into the input map's, for its last
 * reader, which has no norm: what the deferred correction will divide by is multiplied in. And the
 * sums of such a layer's input, zeros. */
void dn_plain_grad(const dn_visit *v, int c, size_t index, size_t n, float *gradient);
void dn_plain_sums(const dn_visit *v);

/* A norm group: its batches have rows(batches, 2 * outputs) to add up; then the first row is the
 * group's. */
typedef struct dn_norm_group {
    double *rows, *means;
} dn_norm_group;

/* Of a group of so many batches: mean and variance of the layer's output channels, in its map and
 * in the leaf, from means(outputs) and the sums of squares about them, the first row; and
 * correction(outputs, 3) of those channels' gradient, from the first row's A and B. */
void dn_norm_statistics(const dn_visit *v, const dn_norm_group *group, int batches);
void dn_norm_correction(const dn_visit *v, const dn_norm_group *group, int batches,
                        float *correction);

#endif
