/*
 * The layers: how each kind of node runs, forward and backward, and what they share.
 *
 * Every function is called outside a parallel region and opens its own, unless it says otherwise.
 * A `pass` of NULL means evaluation: running statistics normalise, and nothing is kept for a
 * backward pass. The order of every sum follows from the shape alone: a piece's sums are kept apart
 * and combined in the order of the pieces, statistics and the norm's in double, weight gradients in
 * float. Who computes a piece, and in how many columns of channels, may follow from the threads.
 */
#ifndef DN_LAYERS_H
#define DN_LAYERS_H

#include "nodes.h"

/* ---- how a node's channels and pieces are cut: weights.c ---- */

enum {
    DN_FORWARD_BLOCK_1X1 = 96, /* input channels a panel of the forward pass holds */
    DN_FORWARD_BLOCK_3X3 = 48,
    DN_BACKWARD_BLOCK = 24, /* input channels a panel of the backward pass holds */
    DN_WINOGRAD = 16, /* elements of a transformed window, and matrices of transformed weights */
    DN_WINOGRAD_TILES = 256 /* about so many of a channel are transformed at once */
};

/* Pieces of backward work: `slices` runs of consecutive pieces, each cut into `columns` runs of
 * blocks of DN_BACKWARD_BLOCK input channels. A slice adds up its own weight gradient. */
typedef struct dn_slices {
    int pieces, slices, blocks, columns;
} dn_slices;

/* For a node with so many input channels over a layout whose work is cut into layout->pieces.
 * Stripes follow from the shape alone; columns, which change no sum's order, from the threads as
 * well. */
dn_slices dn_slices_create(const dn_net *net, const dn_layout *layout, int inputs);

/* Pieces and channel blocks of item `index` of slices * columns. */
typedef struct dn_task {
    int slice, piece, piece_end, block, block_end;
} dn_task;

dn_task dn_slices_task(const dn_slices *slices, int index);

/* ---- the kinds of nodes ---- */

/* stem.c */
void dn_stem_forward(dn_net *net, const dn_node *node, const dn_pass *pass);
void dn_stem_backward(dn_net *net, const dn_node *node);
void dn_stem_pool_forward(dn_net *net, const dn_node *node, const dn_pass *pass);
void dn_stem_pool_backward(dn_net *net, const dn_node *node);

/* conv.c */
void dn_conv_forward(dn_net *net, const dn_node *node, const dn_pass *pass);
void dn_conv_backward(dn_net *net, const dn_node *node, const dn_pass *pass);

/* Multiplies by 0 or 1 / (1 - p) one channel of `images` planes laid out as `padded`, whose source
 * begins at pixel `pixel` of image `image`. */
void dn_conv_dropout(const dn_net *net, const dn_node *node, const dn_pass *pass,
                     const dn_padded *padded, int image, size_t pixel, int channel, float *row);

/* winograd.c: a piece forward and an item backward, inside a parallel region; and the scratch they
 * take, floats a thread. */
void dn_winograd_forward_piece(dn_net *net, const dn_node *node, const dn_pass *pass, int index);
void dn_winograd_backward_item(dn_net *net, const dn_node *node, const dn_pass *pass,
                               const dn_task *item);
size_t dn_winograd_scratch(const dn_net *net, const dn_node *node);

/* transition.c */
void dn_transition_forward(dn_net *net, const dn_node *node, const dn_pass *pass);
void dn_transition_backward(dn_net *net, const dn_node *node);

/* head.c */
void dn_head_forward(dn_net *net, const dn_node *node, const dn_pass *pass);
void dn_head_backward(dn_net *net, const dn_node *node, float label_smoothing);
/* Loss and top-k of the first `count` images from the logits of the last forward pass. */
void dn_head_score(dn_net *net, int count, float label_smoothing, dn_result *result);

/* What a node needs beyond the maps; the memory plan (memory.c) asks each kind of node. */
typedef struct dn_needs {
    size_t scratch;       /* floats a thread */
    size_t packed;        /* floats */
    size_t partial;       /* doubles */
    size_t wgrad_partial; /* floats */
} dn_needs;

dn_needs dn_conv_needs(const dn_net *net, const dn_node *node);
dn_needs dn_transition_needs(const dn_net *net, const dn_node *node);
dn_needs dn_stem_needs(const dn_net *net, const dn_node *node);
dn_needs dn_stem_pool_needs(const dn_net *net, const dn_node *node);
dn_needs dn_head_needs(const dn_net *net, const dn_node *node);

/* ---- shared by the layers: norm.c ---- */

/* Fills the node's scale and shift from its input map's batch statistics (pass given) or from its
 * running statistics. Called before the parallel region. */
void dn_norm_prepare(dn_net *net, const dn_node *node, const dn_pass *pass);

/* Merges what dn_map_piece_moments left for all pieces into the sums of channels [first, first
 * + count). Inside a parallel region. */
void dn_map_merge_moments(dn_net *net, dn_feature_map *map, int first, int count);

/* Mean and variance of the node's output channels, in its map and in the leaf, from mean(outputs)
 * and the sums of squares about it of the whole norm group, squares(outputs). Called by the walk
 * after the node's forward, outside a parallel region. */
void dn_map_statistics(dn_net *net, const dn_node *node, const double *mean, const double *squares);

/* net->coefficients, the deferred correction of the node's output channels, from the norm group's
 * sums(outputs, 2) of A and B (nodes.h). Called by the walk before the node's backward. */
void dn_map_correction(dn_net *net, const dn_node *node, const double *sums);

/* Means and sums of squares of a piece's `count` output channels from `first` on, into
 * net->partial(pieces, count, 2). */
void dn_map_piece_moments(dn_net *net, const dn_feature_map *map, int index, int first, int count);

/* What carries a gradient with respect to the ReLU's output, of channels [c, c + rows), through the
 * ReLU into the gradient of the input map, from element `index` of channel `c` on, over n pixels.
 * The two sums(rows, 2) are what dn_norm_merge_sums will want. */
dn_norm_grad dn_norm_backward_args(const dn_net *net, const dn_node *node, int c, int rows,
                                   size_t index, size_t n, float *sums);

/* Does that with gradient(rows, n). */
void dn_norm_backward(dn_net *net, const dn_node *node, int c, int rows, size_t index, size_t n,
                      const float *gradient, size_t gradient_ld, float *sums);

/* The partial sums (2) of channel `c` of part `part`, for dn_norm_merge_sums. */
static inline double *dn_norm_partial(const dn_net *net, const dn_node *node, int part, int c)
{
    return net->partial + ((size_t)part * (size_t)node->inputs + (size_t)c) * 2;
}

/* Clears those of the item's channels, of part `part`. */
void dn_norm_partial_clear(dn_net *net, const dn_node *node, const dn_task *item, int part);

/* Merges net->partial(parts, inputs, 2): writes the leaf's gradients of gamma and beta, and writes
 * (node->accumulate: adds to) the input map's sums. Inside a parallel region. */
void dn_norm_merge_sums(dn_net *net, const dn_node *node, int parts);

/* ---- shared by the layers: weights.c ---- */

/* Packs the node's weights block by block of `block` input channels, for the forward product
 * (outputs from inputs) or, transposed, for the gradient of the input; a Winograd node's blocks are
 * 16 matrices each. Block i begins at net->packed + i * dn_packed_*_block floats. Inside a parallel
 * region; ends in a barrier. */
void dn_pack_forward(dn_net *net, const dn_node *node, int block);
void dn_pack_transposed(dn_net *net, const dn_node *node, int block);
size_t dn_packed_forward_block(const dn_net *net, const dn_node *node, int block);
size_t dn_packed_transposed_block(const dn_net *net, const dn_node *node, int block);

/* Where slice `slice` adds up the weight gradient of the block that begins at input `first`:
 * (dn_node_products, rows of the block, outputs and pad). */
float *dn_wgrad_partial(dn_net *net, const dn_node *node, int slice, int first);

/* Clears the sums an item will add to. */
void dn_wgrad_partial_clear(dn_net *net, const dn_node *node, const dn_task *item);

/* Packed weights and partial gradients of a node whose forward panels hold `block` channels. */
dn_needs dn_weight_needs(const dn_net *net, const dn_node *node, int block,
                         const dn_slices *slices);

/* The leaf's gradient = the slices' sums, of blocks of `block` inputs, added in order. Inside a
 * parallel region. */
void dn_wgrad_merge(dn_net *net, const dn_node *node, int slices, int block);

/* Taps a node's weights have: kernel * kernel. */
static inline int dn_node_taps(const dn_node *node)
{
    return node->kernel * node->kernel;
}

/* 1: the node's products are those of winograd.c. */
static inline int dn_is_winograd(const dn_net *net, const dn_node *node)
{
    return node->kind == DN_NODE_CONV && node->kernel == 3 && net->products->winograd != NULL;
}

/* Weight matrices (outputs, inputs) that the node's products take: one a tap, or 16. */
static inline int dn_node_products(const dn_net *net, const dn_node *node)
{
    return dn_is_winograd(net, node) ? DN_WINOGRAD : dn_node_taps(node);
}

/* Input channels of the block that begins at `first`. */
static inline int dn_block_rows(const dn_node *node, int first, int block)
{
    return node->inputs - first < block ? node->inputs - first : block;
}

/* This thread's scratch. Inside a parallel region. */
float *dn_thread_scratch(dn_net *net);

/* Row stride of scratch rows that hold a padded piece: room for the leading zero, the padded
 * layout, and what a convolution reads past its end. */
static inline size_t dn_padded_stride(const dn_padded *padded)
{
    const size_t taps = dn_padded_bordered(padded) ? (size_t)padded->width : 0;
    return dn_row_stride(dn_padded_floats(padded) + 4 * DN_LANES + taps);
}

enum { DN_PADDED_LEAD = DN_LANES }; /* floats before a padded row */

static inline dn_needs dn_needs_max(dn_needs a, dn_needs b)
{
    return (dn_needs){a.scratch > b.scratch ? a.scratch : b.scratch,
                      a.packed > b.packed ? a.packed : b.packed,
                      a.partial > b.partial ? a.partial : b.partial,
                      a.wgrad_partial > b.wgrad_partial ? a.wgrad_partial : b.wgrad_partial};
}

#endif
