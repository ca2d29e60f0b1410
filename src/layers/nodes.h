/*
 * The inside of a net: maps, and the nodes between them.
 *
 * A DenseNet is a list of nodes. Each reads the first `inputs` channels of one map and writes
 * `outputs` channels into another, from channel `first` on; a dense block is one map into which
 * its layers write in turn, so the concatenation is never built. Forward walks the list, backward
 * walks it in reverse.
 *
 *     stem ─► block map ─► 1x1 ─► bottleneck map ─► 3x3 ─┐
 *                ▲  └────────► transition ─► next block   │
 *                └────────────────────────────────────────┘
 *
 * Shared statistics. Mean and variance belong to a map's channel, so they are computed once, by
 * the node that writes it; every batch norm that reads it differs in gamma and beta only.
 *
 * Deferred correction. A node's backward adds gamma_i * g_i into its input map's gradient, g_i
 * being masked by its ReLU, and keeps the sums A = sum gamma_i * dbeta_i and B = sum gamma_i *
 * dgamma_i. When the writer of the channel loads its own gradient it applies the rest of all those
 * batch norms' backward passes at once, an affine function of gradient and map:
 *
 *     dx = (D - A/M - xhat * B/M) / sqrt(variance + eps),  xhat = (x - mean) / sqrt(variance + eps)
 *
 * Norm groups. Nets whose batches are normalised together walk side by side. After each node
 * forward, and before it backward, they learn each other's `sums` of the channels it writes; mean,
 * variance, A, B and M are then those of all these batches, added up along the tree. An ordinary
 * net is a group of one.
 */
#ifndef DN_NODES_H
#define DN_NODES_H

#include "dn/net.h"
#include "layout.h"

#define DN_NORM_EPSILON 1e-5

typedef struct dn_feature_map {
    char name[64];
    dn_layout layout;
    int channels;
    void *data;            /* (groups, channels, stride) elements of the net's type */
    float *gradient;       /* the same in fp32, before the deferred correction */
    size_t element;        /* bytes of an element of data */
    float *mean, *inverse; /* (channels) of the group: mean, 1 / sqrt(variance + eps) */
    double *sums; /* (channels, 2) of this net: mean and sum of squares about it; backward: A, B */
    size_t statistics; /* in the leaf, from its gradients' end: means, then unbiased variances */
    int written, read; /* first node that writes it, last node that reads it */
    int recomputed;    /* 1: not kept for the backward pass but made again there */
} dn_feature_map;

typedef enum dn_node_kind {
    DN_NODE_STEM,       /* convolution of the images: 3x3, or 7x7 with stride 2 */
    DN_NODE_STEM_POOL,  /* norm, ReLU, 3x3/2 max pool */
    DN_NODE_CONV,       /* norm, ReLU, 1x1 or 3x3 convolution */
    DN_NODE_TRANSITION, /* norm, ReLU, 2x2/2 average pool, 1x1 convolution */
    DN_NODE_HEAD        /* norm, ReLU, global average pool, linear, softmax cross-entropy */
} dn_node_kind;

typedef struct dn_node {
    char name[64]; /* of its convolution, torchvision's */
    dn_node_kind kind;
    int in, out; /* maps; in = -1: the images, out = -1: the logits */
    int inputs, outputs, first, kernel;
    int dropout;         /* 1: drops outputs */
    int accumulate;      /* 0: its backward is the first to write the input's gradient */
    int norm;            /* 1: batch norm and ReLU stand before */
    size_t weight, bias; /* offsets in the parameters, and in the leaf, where their gradients are
                            final once the node's backward returns */
    size_t gamma, beta;  /* the same */
    size_t running_mean, running_var; /* offsets in the running statistics */
    float *scale, *shift; /* (inputs) the norm as scale * x + shift, kept for backward */
    double forward_seconds, backward_seconds; /* since the last dn_net_phase_reset */
} dn_node;

struct dn_net {
    dn_spec spec;
    dn_net_options options;
    const dn_kernels *kernels;
    const dn_product_kernels *products; /* those of the net's element type */
    const dn_map_kernels *on_maps;      /* the same */
    dn_feature_map *maps;
    int map_count;
    dn_node *nodes;
    int node_count;
    dn_tensor *tensors;
    int tensor_count;
    size_t parameter_count, running_count, statistics_count;
    float *parameters, *running, *leaf;

    void *arena;
    size_t arena_bytes;
    dn_region_info *regions;
    void ***targets; /* (region_count) the pointer to a region while it lives, or NULL */
    int region_count;
    const dn_net *lead; /* whose weights and working memory it uses: its own, or its team's first */
    float *images;
    int32_t *labels;
    float *features, *feature_gradient, *logits, *logit_rows; /* head.c */
    double *image_loss;
    float *channel_statistics; /* of all maps and nodes */
    double *channel_sums;      /* of all maps */
    float *packed;             /* weights of the running node, as the kernels want them */
    float *coefficients;       /* (outputs, 3) deferred correction of the running node's output,
                                  by dn_map_correction before its backward */
    double *rows;    /* (norm_group, 2 * outputs) what the team adds up of the running node's output */
    double *means;   /* (outputs) of the norm group, of the running node's output */
    double *partial; /* sums of the running node's pieces: moments (pieces, outputs, 2) forward,
                        norm sums (parts, inputs, 2) backward */
    float *wgrad_partial; /* gradient sums of the running node; see dn_wgrad_partial */
    float *scratch;       /* (threads, scratch_floats) */
    size_t scratch_floats;
    int threads;
};

/* Index of the row of channel `channel` of a piece; `shift` pixels further on. */
static inline size_t dn_map_index(const dn_feature_map *map, const dn_piece *piece, int channel,
                                  ptrdiff_t shift)
{
    const size_t row = (size_t)piece->group * (size_t)map->channels + (size_t)channel;
    return row * map->layout.stride + piece->offset + (size_t)shift;
}

/* Index of the plane of one channel of one image; `shift` pixels further on. */
static inline size_t dn_map_plane_index(const dn_feature_map *map, int image, int channel,
                                        size_t shift)
{
    const dn_layout *layout = &map->layout;
    const size_t row = (size_t)(image / layout->group) * (size_t)map->channels + (size_t)channel;
    return row * layout->stride + (size_t)(image % layout->group) * dn_layout_pixels(layout) +
           shift;
}

/* The 1x1 that writes the bottleneck map which a layer's 3x3 reads: it was built just before. */
static inline const dn_node *dn_node_before(const dn_node *node)
{
    return node - 1;
}

/* Address of an element of the map's data. */
static inline void *dn_map_at(const dn_feature_map *map, size_t index)
{
    return (char *)map->data + index * map->element;
}

/* The end of the leaf's part that is final after the node's backward: of its parameters its norm's
 * scale is the last, and only the stem, which ends the pass, has none. */
static inline size_t dn_node_leaf_end(const dn_net *net, const dn_node *node)
{
    return node->norm ? node->gamma + (size_t)node->inputs
                      : net->parameter_count + net->statistics_count;
}

/* Pixels of all images: what a channel's statistics run over. */
static inline double dn_map_pixels(const dn_feature_map *map)
{
    return (double)map->layout.images * (double)dn_layout_pixels(&map->layout);
}

#endif
