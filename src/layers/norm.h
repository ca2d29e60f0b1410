/*
 * Batch norm: coefficients, the moments of a layer's outputs, and the sums of its backward pass.
 *
 * Functions on one piece are called inside a parallel region; those that prepare or merge are
 * work-sharing loops in one, without a barrier at the end.
 */
#ifndef DN_NORM_H
#define DN_NORM_H

#include "layers/layer.h"

/* Sets the layer's scale and shift from its input map's batch statistics, or from its running
 * statistics if `pass` is NULL. */
void dn_norm_prepare(const dn_visit *v, const dn_pass *pass);

/* Size of v->partial in doubles; and the two sums of one piece and channel: forward, mean and sum
 * of squared deviations of an output channel; backward, for an input channel, the sums of the
 * masked gradient and of it times (x - mean). In the backward pass of a kind with sums_of_images,
 * `piece` is an image. */
size_t dn_partial_size(const dn_visit *v);
double *dn_partial(const dn_visit *v, int piece, int channel);

/* Forward: the number of output channels whose moments are needed, all or 0; computes those of a
 * piece and outputs [first, first + DN_MOMENT_ROWS); and merges the pieces' into the output map's
 * sums. */
enum { DN_MOMENT_ROWS = 4 }; /* as many as kernels sum at once */
int dn_moment_outputs(const dn_visit *v, const dn_pass *pass);
void dn_moments_of_rows(const dn_visit *v, int piece, int first);
void dn_moments_merge(const dn_visit *v);

/* Backward: merges the pieces' sums into the leaf's gradients of gamma and beta, and writes them to
 * (layer->accumulate: adds them to) the input map's sums. */
void dn_norm_sums_merge(const dn_visit *v);

/* Arguments of the kernel that propagates the gradient of the ReLU's output, of channels [c, c +
 * rows), through ReLU and batch norm into the input map's gradient, n pixels starting at element
 * `index` of channel `c`. */
dn_norm_grad dn_norm_grad_args(const dn_visit *v, int c, int rows, size_t index, size_t n,
                               float *sums);

/* Does that for gradient(n) of one channel, and adds to the piece's sums. */
void dn_norm_relu_grad(const dn_visit *v, int c, size_t index, size_t n, const float *gradient,
                       double *sums);

/* Writes gradient(n) of channel `c`, which may be modified, into the input map's gradient, for its
 * last reader, which has no batch norm: multiplied by what the deferred correction will divide by.
 * And zeroes the sums of such a layer's input. */
void dn_plain_grad(const dn_visit *v, int c, size_t index, size_t n, float *gradient);
void dn_plain_sums(const dn_visit *v);

/* The sums of a norm group: its batches have rows(batches, 2 * outputs) to add up; afterwards the
 * first row is the group's sum. */
typedef struct dn_norm_group {
    double *rows, *means;
} dn_norm_group;

/* For a group of `batches` batches: sets the mean and variance of the layer's output channels, in
 * its map and in the leaf, from means(outputs) and the sums of squared deviations in the first row;
 * and correction(outputs, 3) of those channels' gradient, from A and B in the first row. */
void dn_norm_statistics(const dn_visit *v, const dn_norm_group *group, int batches);
void dn_norm_correction(const dn_visit *v, const dn_norm_group *group, int batches,
                        float *correction);

#endif
