/*
 * A layer: what it is, and what it is handed when it runs.
 *
 * A DenseNet is a list of layers. Each reads the first `inputs` channels of one feature map and
 * writes `outputs` channels into another, from channel `first` on; a dense block is one map into
 * which its layers write in turn, so the concatenation is never built. Forward walks the list,
 * backward walks it in reverse (src/model/walk.c).
 *
 *     stem ─► block map ─► 1x1 ─► bottleneck map ─► 3x3 ─┐
 *                ▲  └────────► transition ─► next block   │
 *                └────────────────────────────────────────┘
 *
 * Shared statistics. Mean and variance belong to a map's channel, so they are computed once, by
 * the layer that writes it; every batch norm that reads it differs in gamma and beta only.
 *
 * Deferred correction. A layer's backward adds gamma_i * g_i into its input map's gradient, g_i
 * being masked by its ReLU, and keeps the sums A = sum gamma_i * dbeta_i and B = sum gamma_i *
 * dgamma_i. When the writer of the channel loads its own gradient it applies the rest of all those
 * batch norms' backward passes at once, an affine function of gradient and map:
 *
 *     dx = (D - A/M - xhat * B/M) / sqrt(variance + eps),  xhat = (x - mean) / sqrt(variance + eps)
 *
 * D is kept in the map's type: in bf16 it is rounded after each addition.
 *
 * Norm groups. Nets whose batches are normalised together walk side by side. After each layer
 * forward, and before it backward, they learn the sums of all their batches; mean, variance, A, B
 * and M are then those of the group, added up along the tree. An ordinary net is a group of one.
 *
 * The order of every sum follows from the shape alone: a piece's sums are kept apart and combined
 * in the order of the pieces, statistics and the norm's in double, weight gradients in float. Who
 * computes a piece, and what it is cut into further, may follow from the threads (cut.c).
 */
#ifndef DN_LAYER_H
#define DN_LAYER_H

#include "dn/bf16.h"
#include "dn/net.h"
#include "layers/layout.h"
#include "layers/scratch.h"

#define DN_NORM_EPSILON 1e-5

typedef struct dn_feature_map {
    char name[64];
    dn_layout layout;
    int channels;
    size_t element;        /* bytes of an element */
    float *mean, *inverse; /* (channels) of the group: mean, 1 / sqrt(variance + eps) */
    double *sums; /* (channels, 2) of this net: mean and sum of squares about it; backward: A, B */
    size_t statistics;          /* offset in the leaf: means, then unbiased variances */
    int written, read;          /* first layer that writes it, last layer that reads it */
    int recomputable;           /* 1: one convolution writes all of it, and one layer reads it */
    int recomputed;             /* 1: not kept for the backward pass but computed again there */
    void *data, *backward_data; /* (strips, channels, stride) elements; the same unless
                                   recomputed */
    void *gradient;             /* of the same shape and type, before the deferred correction */
} dn_feature_map;

typedef struct dn_layer dn_layer;

/* What one layer is handed to run once, forward or backward: all that it reads and writes, but for
 * the pass. Made with the memory plan, and const from then on. */
typedef struct dn_visit {
    const dn_layer *layer;
    int time;                      /* when, counted in visits */
    int backward;                  /* 1, or 0 for forward */
    const struct dn_visit *before; /* computes the recomputed input again, or NULL */

    const dn_spec *spec;
    const dn_net_options *options;
    const dn_kernels *kernels;
    const dn_map_kernels *on_maps;      /* those of the net's element type */
    const dn_product_kernels *products; /* the same, but of the head and of Winograd's 3x3 those
                                           of fp32; which source has them, says dispatch.c */
    int threads;

    /* How the work is cut (cut.c). */
    int channel_block; /* input channels that are filled and multiplied at once */
    int part_units;    /* forward: of a part, so that all threads have work: of DN_LANES pixels
                          (kind->cuts_pixels), or of dn_piece_units */
    int parts; /* of a piece at most; forward those that threads share, 1: one thread does it all */
    int slices, ranges; /* backward: weight gradients of their own, cuts of the channel blocks */
    int apart;          /* backward, 1: the input's gradient is done apart from the weights' */
    size_t prepared_floats; /* backward: of a part, where dy is prepared; or 0 */
    int prepared_outputs;   /* of which this many at a time */

    const dn_feature_map *in, *out; /* NULL: the images, the logits */
    void *x, *y;                    /* the maps' data at this time */
    void *dx, *dy;                  /* and gradients */
    float *images;                  /* (batch, channels, height, width) */
    const int32_t *labels;          /* (batch) */
    float *logits;                  /* (batch, classes) */
    double *losses;                 /* (batch) */

    const float *parameters, *running; /* all of the net's; a layer knows its tensors */
    float *leaf;
    const float *correction; /* (outputs, 3) deferred correction of the output; backward */

    /* Shared by the threads, of this visit alone; then (threads, scratch_floats). */
    void *workspace; /* packed, partial, wgrad and prepared are its parts */
    float *packed;   /* the weights as the kernels want them */
    double *partial; /* (pieces, channels, 2) sums: forward the moments of the outputs, backward the
                        norm's of the inputs */
    float *wgrad;    /* weight gradients of slices */
    float *prepared; /* (pieces, parts, prepared_floats) backward: of dy, or NULL */
    float *scratch;
    size_t scratch_floats;
    int short_part; /* for tests: the part that is carved a vector too short: of a thread's scratch,
                       or, negative, of the workspace; 0: none */
} dn_visit;

/* What is done at once backward: a slice, which is a number of consecutive pieces with a weight
 * gradient of its own (split-K: the wgrad gemm runs over pixels), and a range of channel blocks; or
 * for the input's gradient alone a piece of no slice, and a range. */
typedef struct dn_task {
    int slice, first, end; /* input channels [first, end) */
    int wgrad, dgrad;      /* what is wanted: the weights' gradient, the input's, or both */
    float *prepared;       /* of the part that is to be done, or NULL: nothing was prepared */
} dn_task;

/* A block of input channels of a gemm layer over (part of) a piece; gemm.h. */
typedef struct dn_gemm_block dn_gemm_block;

/*
 * A kind of layer: a row in its own file, and in the table of kinds.c. A pass of NULL means
 * evaluation: running statistics normalise, and nothing is kept for a backward pass.
 */
typedef struct dn_layer_kind {
    const char *name;                                 /* of the operation: "conv" */
    const char *phase;                                /* layers whose times are summed: "conv1x1" */
    void (*scratch)(const dn_visit *v, dn_carver *c); /* carves what a thread takes at most */

    /* A part of a piece forward, into the output map; one of a task backward, added to the task's
     * partial sums. Called inside a parallel region by the loops of drive.c. `part` cuts a piece
     * into parts that are run by themselves, so that what a thread works in stays in its caches:
     * sets number `index`, 0 where there are no more; the first is the largest. NULL: forward of
     * v->part_units images or units of rows, backward whole. */
    void (*forward_part)(const dn_visit *v, const dn_pass *pass, const dn_piece *piece);
    void (*backward_part)(const dn_visit *v, const dn_pass *pass, const dn_task *task,
                          const dn_piece *piece);
    int (*part)(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);
    int cuts_pixels; /* 1: a part may be of any DN_LANES pixels, and these are its units; dgrad and
                        what follows are one kernel, where there is such, else go over DN_DX_PIXELS
                        at a time */

    /* Of the output's gradient, what all blocks of channels of a part need: carved by `carve_dy`,
     * and made of outputs [first, end) once for the tasks that share it, where it fits.
     * NULL: none. */
    void (*carve_dy)(const dn_visit *v, const dn_piece *part, dn_carver *c);
    void (*prepare_dy)(const dn_visit *v, const dn_pass *pass, const dn_piece *part, int first,
                       int end, float *prepared);

    /* Of kinds with loops of their own. Called outside a parallel region. */
    void (*forward)(const dn_visit *v, const dn_pass *pass);
    void (*backward)(const dn_visit *v, const dn_pass *pass);
    int sums_of_images; /* 1: the norm's partial sums are those of images, not of pieces */
    size_t (*kept)(const dn_layer *l, int batch); /* floats of layer->kept, or NULL */

    int kernel; /* pixels of its side */

    /* Of kinds with weights: */
    int forward_block, backward_block; /* input channels of a channel block, 0: all; of products
                                          with operands of their own see cut.c */
    int im2col;   /* 1: the kernel's pixels are inputs of a gemm of one tap (not taps of it) */
    int winograd; /* 1: weights are transformed, into DN_WINOGRAD matrices */

    /* Of kinds that gemm.c runs: what fills a panel, and takes the gradient of one (or NULL). */
    int fills_forms; /* 1: fill writes operands in every form, of any number of channels, without a
                        panel: forward, one block then has all of them */
    size_t (*plane)(const dn_visit *v, const dn_piece *piece); /* floats of b->plane, or NULL */
    void (*fill)(const dn_visit *v, const dn_gemm_block *b);
    void (*dgrad)(const dn_visit *v, const dn_gemm_block *b, const float *dy, const float *packed);
} dn_layer_kind;

struct dn_layer {
    char name[64]; /* of what it does, torchvision's */
    const dn_layer_kind *kind;
    int index;   /* in the net */
    int in, out; /* maps; in = -1: the images, out = -1: the logits */
    int inputs, outputs, first;
    int weights_in, taps;           /* its weights as a gemm's: (outputs, weights_in, taps); or 0 */
    float dropout, channel_dropout; /* probability that an output, or a whole channel, is dropped;
                                       of the head: channel_dropout, of a feature */
    int accumulate;                 /* 0: its backward is the first to write the input's gradient */

    /* Its tensors. Their gradients in the leaf are final once its backward returns. */
    const dn_tensor *gamma, *beta, *running_mean, *running_var; /* NULL: no norm and ReLU before */
    const dn_tensor *weight, *bias;                             /* or NULL */

    float *scale, *shift; /* (inputs) the norm as scale * x + shift, kept for backward */
    float *kept;          /* what else its kind keeps for backward */
    double forward_seconds, backward_seconds; /* since the last dn_net_phase_reset */
};

/* The kinds, in the order in which --roofline and bench list their phases; NULL past the end. */
const dn_layer_kind *dn_layer_kind_get(int index);

extern const dn_layer_kind dn_layer_stem3x3, dn_layer_stem7x7; /* stem.c: conv of the images */
extern const dn_layer_kind dn_layer_max_pool;   /* max_pool.c: norm, ReLU, 3x3/2 max pool */
extern const dn_layer_kind dn_layer_conv1x1;    /* conv.c: norm, ReLU, convolution */
extern const dn_layer_kind dn_layer_conv3x3;    /* conv.c: the same */
extern const dn_layer_kind dn_layer_winograd;   /* winograd.c: the same for a 3x3 */
extern const dn_layer_kind dn_layer_transition; /* transition.c: norm, ReLU, average pool, 1x1 */
extern const dn_layer_kind dn_layer_pool;       /* pool.c: average pool */
extern const dn_layer_kind dn_layer_head;       /* head.c: norm, ReLU, average pool, linear */

/* drive.c: the visit's layer runs; outside a parallel region, it opens its own. */
void dn_layer_forward(const dn_visit *v, const dn_pass *pass);
void dn_layer_backward(const dn_visit *v, const dn_pass *pass);

/* cut.c: sets how the visit's work is cut, from all but memory. */
void dn_visit_cut(dn_visit *v);

/* cut.c: the channels of a range, in a task that is else empty. */
dn_task dn_task_of_range(const dn_visit *v, int range);

/* cut.c: kind->part, or what stands for it. */
int dn_piece_part(const dn_visit *v, const dn_piece *piece, int index, dn_piece *part);

/* cut.c: the first part of the first piece; none is larger. */
dn_piece dn_largest_part(const dn_visit *v);

/* drive.c: sets the visit's packed, partial, wgrad and prepared to what its threads share. */
void dn_workspace_carve(dn_visit *v, dn_carver *c);

/* drive.c: this thread's scratch. Inside a parallel region. */
dn_carver dn_thread_scratch(const dn_visit *v);

/* loss.c: by what the pass's images and their targets are mixed. */
dn_mix dn_pass_mix(const dn_pass *pass, const dn_spec *spec);

/* loss.c: top-1 and loss of the first `count` images from the logits that the head's forward visit
 * `v` left: the pass's mean loss, or of evaluation (NULL) the sum. */
void dn_loss_score(const dn_visit *v, int count, const dn_pass *pass, dn_result *result);

/* loss.c: rows(classes, stride) = the mean loss's gradient in these logits, a column an image, and
 * 0 behind the last. Inside a parallel region, whose threads share it. */
void dn_loss_gradient(const dn_visit *v, const dn_pass *pass, float *rows, size_t stride);

/* ---- small geometry ---- */

/* Index of the row of channel `channel` of a piece; `shift` pixels further on. */
static inline size_t dn_map_index(const dn_feature_map *map, const dn_piece *piece, int channel,
                                  ptrdiff_t shift)
{
    const size_t row = (size_t)piece->strip * (size_t)map->channels + (size_t)channel;
    return row * map->layout.stride + piece->offset + (size_t)shift;
}

/* Index of the plane of one channel of one image; `shift` pixels further on. */
static inline size_t dn_map_plane_index(const dn_feature_map *map, int image, int channel,
                                        size_t shift)
{
    const dn_layout *layout = &map->layout;
    const size_t row = (size_t)(image / layout->strip_images) * (size_t)map->channels;
    return (row + (size_t)channel) * layout->stride +
           (size_t)(image % layout->strip_images) * dn_layout_pixels(layout) + shift;
}

/* Address of element `index` of a map's data. */
static inline void *dn_map_at(const dn_feature_map *map, void *data, size_t index)
{
    return (char *)data + index * map->element;
}

/* to(n) = the map's elements from `index` on, without norm or ReLU. */
static inline void dn_map_load(const dn_feature_map *map, const void *data, size_t index, size_t n,
                               float *to)
{
    for (size_t i = 0; i < n && map->element == sizeof(float); i++)
        to[i] = ((const float *)data)[index + i];
    for (size_t i = 0; i < n && map->element == sizeof(uint16_t); i++)
        to[i] = dn_bf16_to_float(((const uint16_t *)data)[index + i]);
}

/* Pixels of all images: what a channel's statistics run over. */
static inline double dn_map_pixels(const dn_feature_map *map)
{
    return (double)map->layout.images * (double)dn_layout_pixels(&map->layout);
}

#endif
